"""The revenue lines of a class, and the share that a partner takes of them."""

from __future__ import annotations

from planner.economics.cost import Policy
from planner.economics.ledger import LedgerLine, LineKind, drop_empty
from planner.economics.money import to_usd
from planner.economics.plans import ApiPlan, SubscriptionPlan
from planner.economics.usage import ClassUsage


def revenue_lines(usage: ClassUsage) -> tuple[LedgerLine, ...]:
    """Return what a class earned: per token, or its share of seats; nothing for free users.

    Subscriptions are allocated by use: `requests / requests_per_seat_month` seats were needed for a
    month to send these requests, each paid `seat_usd_per_month`.

    Args:
        usage: requests and tokens served, and the plan.

    >>> plan = ApiPlan("r1", 0.55, 2.19, cached_input_usd_per_mtok=0.14)
    >>> usage = ClassUsage("api", plan, 1000, input_tokens=3_000_000, output_tokens=1_000_000,
    ...                    cached_input_tokens=2_000_000)
    >>> [(line.line, line.quantity, line.amount_usd) for line in revenue_lines(usage)]
    [('input tokens', 1.0, 0.55), ('cached input tokens', 2.0, 0.28), ('output tokens', 1.0, 2.19)]
    >>> plus = SubscriptionPlan("plus", seat_usd_per_month=20.0, requests_per_seat_month=400)
    >>> usage = ClassUsage("chat", plus, 1000, input_tokens=0, output_tokens=0)
    >>> [(line.quantity, line.amount_usd) for line in revenue_lines(usage)]
    [(2.5, 50.0)]
    """
    plan = usage.plan
    if isinstance(plan, ApiPlan):
        return drop_empty(_token_lines(usage, plan))
    if isinstance(plan, SubscriptionPlan):
        return drop_empty((_seat_line(usage, plan),))
    return ()


def partner_share_line(
    usage: ClassUsage, lines: tuple[LedgerLine, ...], policy: Policy
) -> tuple[LedgerLine, ...]:
    """Return the line of the partner's share of a class's revenue; none where there is no share.

    Args:
        usage: the class.
        lines: its revenue lines.
        policy: the partner's share.

    >>> plus = SubscriptionPlan("plus", seat_usd_per_month=20.0, requests_per_seat_month=400)
    >>> usage = ClassUsage("chat", plus, 1000, 0, 0)
    >>> policy = Policy(partner_revenue_share_rate=0.2)
    >>> [line.amount_usd for line in partner_share_line(usage, revenue_lines(usage), policy)]
    [10.0]
    """
    if policy.partner_revenue_share_rate == 0:
        return ()
    revenue_usd = to_usd(sum(line.amount_microusd for line in lines))
    line = LedgerLine(
        "partner's share of revenue", LineKind.PARTNER_SHARE, revenue_usd, "USD",
        policy.partner_revenue_share_rate, price="partner_revenue_share",
        source=policy.partner_source, date=policy.partner_date, class_name=usage.name,
    )  # fmt: skip
    return drop_empty((line,))


def _token_lines(usage: ClassUsage, plan: ApiPlan) -> tuple[LedgerLine, ...]:
    uncached = usage.input_tokens - usage.cached_input_tokens
    parts = (
        ("input tokens", uncached, plan.input_usd_per_mtok),
        ("cached input tokens", usage.cached_input_tokens, plan.cached_price_usd_per_mtok),
        ("output tokens", usage.output_tokens, plan.output_usd_per_mtok),
    )
    return tuple(
        LedgerLine(
            line, LineKind.REVENUE, tokens / 1e6, "Mtok", price_usd,
            price=plan.name, source=plan.source, date=plan.date, class_name=usage.name,
        )
        for line, tokens, price_usd in parts
    )  # fmt: skip


def _seat_line(usage: ClassUsage, plan: SubscriptionPlan) -> LedgerLine:
    return LedgerLine(
        "seats, by use", LineKind.REVENUE, usage.requests / plan.requests_per_seat_month,
        "seat-month", plan.seat_usd_per_month,
        price=plan.name, source=plan.source, date=plan.date, class_name=usage.name,
    )  # fmt: skip
