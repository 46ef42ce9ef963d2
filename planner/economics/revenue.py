"""The revenue lines of a class by its plan, and the share that a partner takes of them."""

from __future__ import annotations

from planner.economics.cost import Policy
from planner.economics.ledger import LedgerLine, LineKind, drop_empty
from planner.economics.money import to_usd
from planner.economics.plans import (
    AdvertisingPlan,
    ApiPlan,
    LongContextPrice,
    Plan,
    SubscriptionPlan,
)
from planner.economics.usage import ClassUsage, Tokens


def revenue_lines(usage: ClassUsage) -> tuple[LedgerLine, ...]:
    """Return what a class earned: per token, its share of seats, advertisements, or nothing.

    Subscriptions are allocated by use: `requests / requests_per_seat_month` seats were needed for a
    month to send these requests, each paid `seat_usd_per_month`. Of that, breakage is for what the
    seats include and nobody used.

    Args:
        usage: requests and tokens served, and the plan.

    >>> plan = ApiPlan("r1", 0.55, 2.19, cached_input_usd_per_mtok=0.14)
    >>> usage = ClassUsage("api", plan, 1000, input_tokens=3_000_000, output_tokens=1_000_000,
    ...                    cached_input_tokens=2_000_000)
    >>> [(line.line, line.quantity, line.amount_usd) for line in revenue_lines(usage)]
    [('input tokens', 1.0, 0.55), ('cached input tokens', 2.0, 0.28), ('output tokens', 1.0, 2.19)]
    >>> plus = SubscriptionPlan("plus", seat_usd_per_month=20.0, requests_per_seat_month=400,
    ...                         included_requests_per_seat_month=500)
    >>> usage = ClassUsage("chat", plus, 1000, input_tokens=0, output_tokens=0)
    >>> [(line.line, line.quantity, line.amount_usd) for line in revenue_lines(usage)]
    [('seats, by use', 2.0, 40.0), ('seats, breakage', 0.5, 10.0)]
    >>> usage = ClassUsage("guests", AdvertisingPlan("ads", 0.002), 1000, 0, 0)
    >>> [(line.line, line.quantity, line.amount_usd) for line in revenue_lines(usage)]
    [('advertisements', 1000, 2.0)]
    """
    plan = usage.plan
    if isinstance(plan, ApiPlan):
        return drop_empty(_api_lines(usage, plan))
    if isinstance(plan, SubscriptionPlan):
        return drop_empty(_seat_lines(usage, plan))
    if isinstance(plan, AdvertisingPlan):
        line = _line(usage, plan, "advertisements", usage.requests, "message", plan.message_usd)
        return drop_empty((line,))
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


def _api_lines(usage: ClassUsage, plan: ApiPlan) -> tuple[LedgerLine, ...]:
    long, every = usage.long_context, usage.tokens
    if plan.long_context is None:
        return _token_lines(usage, plan, every, plan, "")
    short = Tokens(
        every.input - long.input,
        every.cached_input - long.cached_input,
        every.output - long.output,
    )
    return _token_lines(usage, plan, short, plan, "") + _token_lines(
        usage, plan, long, plan.long_context, ", long context"
    )


def _token_lines(
    usage: ClassUsage, plan: ApiPlan, tokens: Tokens, prices: ApiPlan | LongContextPrice, note: str
) -> tuple[LedgerLine, ...]:
    """Return the lines of some tokens, each named after what it is, e.g. `output tokens, batch`."""
    input_usd = prices.input_usd_per_mtok
    cached_usd = prices.cached_input_usd_per_mtok
    if cached_usd is None:
        cached_usd = input_usd
    write_usd = prices.cache_write_usd_per_mtok
    uncached = tokens.input - tokens.cached_input
    written = round(plan.cache_write_rate * uncached) if write_usd is not None else 0
    tier = "" if plan.service_tier == "standard" else f", {plan.service_tier}"
    parts = (
        ("input tokens", uncached - written, input_usd),
        ("input tokens written to the cache", written, write_usd or 0.0),
        ("cached input tokens", tokens.cached_input, cached_usd),
        ("output tokens", tokens.output, prices.output_usd_per_mtok),
    )  # fmt: skip
    return tuple(
        _line(usage, plan, f"{line}{tier}{note}", count / 1e6, "Mtok", price_usd)
        for line, count, price_usd in parts
    )


def _seat_lines(usage: ClassUsage, plan: SubscriptionPlan) -> tuple[LedgerLine, ...]:
    seats = plan.seat_months(usage.requests)
    included = plan.included_requests_per_seat_month
    used = seats if included is None else usage.requests / included
    return tuple(
        _line(usage, plan, f"seats, {part}", count, "seat-month", plan.seat_usd_per_month)
        for part, count in (("by use", used), ("breakage", seats - used))
    )


def _line(
    usage: ClassUsage, plan: Plan, line: str, quantity: float, unit: str, unit_price_usd: float
) -> LedgerLine:
    return LedgerLine(
        line, LineKind.REVENUE, quantity, unit, unit_price_usd,
        price=plan.name, source=plan.source, date=plan.date, class_name=usage.name,
    )  # fmt: skip
