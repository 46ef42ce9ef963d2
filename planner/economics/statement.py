"""The statement of a period: ledger, what each class and pool costs, margin, unit costs.

`settle` is the one door from what a simulation measured to money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from planner.economics.allocation import (
    UNALLOCATED,
    CostShare,
    TokenCosts,
    allocate_costs,
    allocate_to_tokens,
)
from planner.economics.cost import Policy, pool_cost_lines
from planner.economics.energy import EnergyUse, pool_energy
from planner.economics.ledger import COST_KINDS, Ledger, LedgerLine, LineKind
from planner.economics.margin import Definition, Margin, MarginReport, margin_of, margin_report
from planner.economics.money import CURRENCY, ratio, to_usd
from planner.economics.plans import SubscriptionPlan
from planner.economics.revenue import partner_share_line, revenue_lines
from planner.economics.usage import ClassUsage, PoolUsage


@dataclass(frozen=True)
class ClassStatement:
    """Money of one request class."""

    usage: ClassUsage
    cost: CostShare
    revenue_microusd: int
    partner_share_microusd: int
    token_costs: TokenCosts = field(default_factory=TokenCosts)
    """The cost by what the tokens are."""

    def margin(self, definition: Definition) -> Margin:
        """Return the class's margin under a definition; they add up to the total's."""
        cost_microusd = self.cost.cost_microusd
        return margin_of(
            definition,
            revenue_microusd=self.revenue_microusd,
            paying_cost_microusd=cost_microusd if self.usage.is_paying else 0,
            free_cost_microusd=0 if self.usage.is_paying else cost_microusd,
            partner_share_microusd=self.partner_share_microusd,
            free_revenue_microusd=0 if self.usage.is_paying else self.revenue_microusd,
        )

    @property
    def seat_months(self) -> float:
        """Seats that it took for a month to send its requests; 0 if it has no subscription."""
        plan = self.usage.plan
        if not isinstance(plan, SubscriptionPlan):
            return 0.0
        return plan.seat_months(self.usage.requests)

    @property
    def cost_per_seat_month_usd(self) -> float | None:
        """Cost of serving one seat for a month; None without a subscription."""
        return ratio(self.cost.cost_usd, self.seat_months)

    @property
    def input_cost_usd_per_mtok(self) -> float | None:
        """Cost of a million uncached input tokens, as a price for them would be."""
        tokens = self.usage.input_tokens - self.usage.cached_input_tokens
        return ratio(to_usd(self.token_costs.input_microusd), tokens / 1e6)

    @property
    def cached_input_cost_usd_per_mtok(self) -> float | None:
        """Cost of a million cached input tokens, as a price for them would be."""
        cost_usd = to_usd(self.token_costs.cached_input_microusd)
        return ratio(cost_usd, self.usage.cached_input_tokens / 1e6)

    @property
    def output_cost_usd_per_mtok(self) -> float | None:
        """Cost of a million output tokens, as a price for them would be: without the input's."""
        return ratio(to_usd(self.token_costs.output_microusd), self.usage.output_tokens / 1e6)

    @property
    def cost_per_request_usd(self) -> float | None:
        """Cost per request served; None if there was none."""
        return ratio(self.cost.cost_usd, self.usage.requests)

    @property
    def cost_per_million_output_tokens_usd(self) -> float | None:
        """Cost per million output tokens, input included; None if there was none."""
        return ratio(self.cost.cost_usd, self.usage.output_tokens / 1e6)

    @property
    def cost_per_task_usd(self) -> float | None:
        """All cost over the tasks that its tokens would do; None if no task finished."""
        return ratio(self.cost.cost_usd, self.usage.tasks)

    @property
    def revenue_per_task_usd(self) -> float | None:
        """All revenue over the same; None if no task finished."""
        return ratio(to_usd(self.revenue_microusd), self.usage.tasks)


@dataclass(frozen=True)
class PoolStatement:
    """Money and energy of one pool at one price."""

    usage: PoolUsage
    lines: tuple[LedgerLine, ...]
    energy: EnergyUse
    """Measured also for rented nodes, whose price includes it."""

    def cost_microusd(self, *kinds: LineKind) -> int:
        """Return the exact cost of these kinds; all of it if none is named."""
        return sum(line.amount_microusd for line in self.lines if not kinds or line.kind in kinds)


@dataclass(frozen=True)
class Statement:
    """All money of a period."""

    ledger: Ledger
    classes: tuple[ClassStatement, ...]
    pools: tuple[PoolStatement, ...]
    unallocated: CostShare
    """Cost of pools that served nobody; counted with the paying users in each margin."""
    margin: MarginReport
    period_hours: float

    @property
    def unallocated_margin(self) -> Margin:
        """What the unallocated cost takes from the headline's gross profit."""
        return margin_of(
            self.margin.definition,
            revenue_microusd=0,
            paying_cost_microusd=self.unallocated.cost_microusd,
            free_cost_microusd=0,
        )

    @property
    def cost_usd(self) -> float:
        """The bill: the sum of all cost lines."""
        return to_usd(self.ledger.cost_microusd)

    @property
    def revenue_usd(self) -> float:
        """Revenue before the partner's share."""
        return to_usd(self.ledger.revenue_microusd)

    @property
    def cost_per_hour_usd(self) -> float | None:
        """Mean cost per hour of the period."""
        return ratio(self.cost_usd, self.period_hours)

    @property
    def revenue_per_hour_usd(self) -> float | None:
        """Mean revenue per hour of the period."""
        return ratio(self.revenue_usd, self.period_hours)

    @property
    def cost_per_million_output_tokens_usd(self) -> float | None:
        """All cost over the output tokens of all classes, reasoning included."""
        return ratio(self.cost_usd, sum(c.usage.output_tokens for c in self.classes) / 1e6)

    @property
    def cost_per_million_tokens_usd(self) -> float | None:
        """All cost over input (cached included) and output tokens of all classes."""
        tokens = sum(c.usage.input_tokens + c.usage.output_tokens for c in self.classes)
        return ratio(self.cost_usd, tokens / 1e6)

    @property
    def cost_per_request_usd(self) -> float | None:
        """All cost over all requests served."""
        return ratio(self.cost_usd, sum(c.usage.requests for c in self.classes))

    @property
    def break_even_share(self) -> float | None:
        """Share of this traffic at which its revenue would pay for this fleet; None without any.

        The partner's share goes with the revenue. The fleet stays as it is, so its cost does, but
        for the electricity of owned nodes.
        """
        kept_microusd = self.ledger.revenue_microusd - self.ledger.partner_share_microusd
        return ratio(self.ledger.cost_microusd, kept_microusd) if kept_microusd > 0 else None

    @property
    def energy_kwh(self) -> float:
        """Energy of all pools at the meter, PUE included."""
        return sum(pool.energy.total_kwh for pool in self.pools)

    @property
    def energy_per_output_token_j(self) -> float | None:
        """Energy of all pools over all output tokens, joules."""
        energy_j = sum(pool.energy.total_j for pool in self.pools)
        return ratio(energy_j, sum(c.usage.output_tokens for c in self.classes))

    def class_frame(self) -> pd.DataFrame:
        """Return one row per class (and one for unallocated cost, if any) with USD columns.

        `margin_rate` is under the headline's definition; NaN where there is no revenue.
        """
        definition = self.margin.definition
        rows = [_class_row(each, each.margin(definition)) for each in self.classes]
        nobody = ClassUsage(UNALLOCATED, None, requests=0, input_tokens=0, output_tokens=0)
        last = _class_row(ClassStatement(nobody, self.unallocated, 0, 0), self.unallocated_margin)
        if self.unallocated.cost_microusd:
            rows.append(last)
        numbers = [
            "gross_profit_usd", "margin_rate", "cost_per_request_usd",
            "cost_per_million_output_tokens_usd", "cost_per_task_usd", "revenue_per_task_usd",
            "cost_per_seat_month_usd", "input_cost_usd_per_mtok", "cached_input_cost_usd_per_mtok",
            "output_cost_usd_per_mtok",
        ]  # fmt: skip
        frame = pd.DataFrame(rows, columns=list(last))
        return frame.astype(dict.fromkeys(numbers, "float64"))

    def unit_frame(self) -> pd.DataFrame:
        """Return what one unit costs, USD, by class and over all: NaN where there was none.

        A million input, cached input or output tokens cost what they cost by themselves, so they
        compare with prices; `all_per_mtok_output_usd` is all cost over the output. Those of
        conversations and seats are over the classes that have them.
        """
        every = [
            _unit_row(each.usage.name, [each], each.cost.cost_microusd) for each in self.classes
        ]
        every.append(_unit_row("all", self.classes, self.ledger.cost_microusd))
        return pd.DataFrame(every).astype(dict.fromkeys(list(every[0])[1:], "float64"))

    def revenue_frame(self) -> pd.DataFrame:
        """Return revenue by plan and line: quantity, unit price and amount in USD, with its origin.

        The classes of a plan are added up.
        """
        frame = self.ledger.to_frame()
        earned = frame[frame["kind"] == LineKind.REVENUE.value]
        keys = ["price", "line", "unit", "unit_price_usd", "currency", "date", "source"]
        sums = ["quantity", "amount_usd", "amount_microusd"]
        return earned.groupby(keys, sort=False, as_index=False)[sums].sum()

    def pool_frame(self) -> pd.DataFrame:
        """Return one row per pool and price: hours, utilisation, cost by kind, energy."""
        return pd.DataFrame([_pool_row(each) for each in self.pools])

    def class_pool_frame(self) -> pd.DataFrame:
        """Return one row per class and pool that worked for it: device-hours, share of cost."""
        busy: dict[str, float] = {}
        for each in self.pools:
            busy[each.usage.pool] = busy.get(each.usage.pool, 0.0) + each.usage.busy_device_hours
        whole = {
            pool: sum(each.usage.pool_weights.get(pool, 0.0) for each in self.classes)
            for pool in busy
        }
        rows = [
            (each.usage.name, pool, busy[pool] * (weight / whole[pool]), weight / whole[pool])
            for each in self.classes
            for pool, weight in each.usage.pool_weights.items()
            if weight
        ]
        numbers = ["busy_device_hours", "cost_share_rate"]
        frame = pd.DataFrame(rows, columns=["class", "pool", *numbers])
        return frame.astype(dict.fromkeys(numbers, "float64"))


def settle(pools: Sequence[PoolUsage], classes: Sequence[ClassUsage], policy: Policy) -> Statement:
    """Return the statement of a period.

    Args:
        pools: machine time held and used; a pool with several prices comes several times. All have
            the same period.
        classes: what was served, with unique names; their weights by pool say who bears its cost.
        policy: overhead, power prices, partner's share, headline definition.

    Raises:
        ValueError: there is no pool, periods differ, names of classes repeat, or a class has weight
            in a pool that is not there.

    >>> from planner.economics.plans import ApiPlan
    >>> from planner.economics.rates import MachineRate
    >>> rate = MachineRate("lease", "h800", "on_demand", 2.0, "2025-02-28", "open-infra-index")
    >>> fleet = PoolUsage("r1", "h800-8", "h800", devices_per_node=8, period_hours=24.0,
    ...     peak_nodes=278, node_hours=226.75 * 24, busy_device_hours=226.75 * 24 * 8,
    ...     node_power_w=10_200.0, rate=rate)
    >>> day = ClassUsage("all", ApiPlan("r1", 0.55, 2.19, cached_input_usd_per_mtok=0.14),
    ...     requests=1, input_tokens=608 * 10**9, cached_input_tokens=342 * 10**9,
    ...     output_tokens=168 * 10**9, pool_weights={"r1": 1.0})
    >>> statement = settle([fleet], [day], Policy(node_overhead_rate=0.0))
    >>> statement.cost_usd, statement.revenue_usd, round(statement.margin.margin_rate, 3)
    (87072.0, 562100.0, 0.845)
    """
    period_hours = _check_inputs(pools, classes)
    pool_statements = tuple(
        PoolStatement(usage, pool_cost_lines(usage, policy), pool_energy(usage, policy.power))
        for usage in pools
    )
    cost_lines = tuple(line for pool in pool_statements for line in pool.lines)
    *shares, unallocated = allocate_costs(cost_lines, classes)
    earned = [revenue_lines(usage) for usage in classes]
    owed = [
        partner_share_line(usage, lines, policy)
        for usage, lines in zip(classes, earned, strict=True)
    ]
    roles = {usage.pool: usage.role for usage in pools}
    class_statements = tuple(
        ClassStatement(
            usage,
            share,
            _total(revenue),
            _total(partner),
            allocate_to_tokens(share, usage.tokens, roles, policy.token_weights),
        )
        for usage, share, revenue, partner in zip(classes, shares, earned, owed, strict=True)
    )
    income_lines = tuple(line for group in (*earned, *owed) for line in group)
    return Statement(
        ledger=Ledger(cost_lines + income_lines),
        classes=class_statements,
        pools=pool_statements,
        unallocated=unallocated,
        margin=_margin(class_statements, unallocated, policy),
        period_hours=period_hours,
    )


def _margin(
    classes: tuple[ClassStatement, ...], unallocated: CostShare, policy: Policy
) -> MarginReport:
    paying = sum(c.cost.cost_microusd for c in classes if c.usage.is_paying)
    free = sum(c.cost.cost_microusd for c in classes if not c.usage.is_paying)
    return margin_report(
        policy.definition,
        revenue_microusd=sum(c.revenue_microusd for c in classes),
        paying_cost_microusd=paying + unallocated.cost_microusd,
        free_cost_microusd=free,
        partner_share_microusd=sum(c.partner_share_microusd for c in classes),
        free_revenue_microusd=sum(c.revenue_microusd for c in classes if not c.usage.is_paying),
    )


def _check_inputs(pools: Sequence[PoolUsage], classes: Sequence[ClassUsage]) -> float:
    periods = {usage.period_hours for usage in pools}
    if len(periods) != 1:
        found = ", ".join(f"{hours:g} h" for hours in sorted(periods)) or "no pool"
        raise ValueError(f"pools must cover one and the same period, found {found}")
    names = [usage.name for usage in classes]
    if len(set(names)) != len(names):
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"class names must be unique, found more than one {', '.join(repeated)}")
    known = {usage.pool for usage in pools}
    for usage in classes:
        unknown = sorted(set(usage.pool_weights) - known)
        if unknown:
            raise ValueError(
                f"ClassUsage({usage.name}).pool_weights names {', '.join(unknown)}, which is no "
                f"pool; pools: {', '.join(sorted(known))}"
            )
    return periods.pop()


def _total(lines: tuple[LedgerLine, ...]) -> int:
    return sum(line.amount_microusd for line in lines)


def _class_row(each: ClassStatement, margin: Margin) -> dict[str, object]:
    return {
        "class": each.usage.name,
        "plan": each.usage.plan.name if each.usage.plan else "",
        "paying": each.usage.is_paying,
        "requests": each.usage.requests,
        "input_tokens": each.usage.input_tokens,
        "cached_input_tokens": each.usage.cached_input_tokens,
        "output_tokens": each.usage.output_tokens,
        "reasoning_tokens": each.usage.reasoning_tokens,
        "workload_usd": to_usd(each.cost.workload_microusd),
        "idle_usd": to_usd(each.cost.idle_microusd),
        "overhead_usd": to_usd(each.cost.overhead_microusd),
        "cost_usd": each.cost.cost_usd,
        "revenue_usd": to_usd(each.revenue_microusd),
        "partner_share_usd": to_usd(each.partner_share_microusd),
        "gross_profit_usd": to_usd(margin.gross_profit_microusd),
        "margin_rate": margin.margin_rate,
        "cost_per_request_usd": each.cost_per_request_usd,
        "cost_per_million_output_tokens_usd": each.cost_per_million_output_tokens_usd,
        "tasks": each.usage.tasks,
        "cost_per_task_usd": each.cost_per_task_usd,
        "revenue_per_task_usd": each.revenue_per_task_usd,
        "seat_months": each.seat_months,
        "cost_per_seat_month_usd": each.cost_per_seat_month_usd,
        "input_cost_usd_per_mtok": each.input_cost_usd_per_mtok,
        "cached_input_cost_usd_per_mtok": each.cached_input_cost_usd_per_mtok,
        "output_cost_usd_per_mtok": each.output_cost_usd_per_mtok,
    }


def _unit_row(
    name: str, classes: Sequence[ClassStatement], cost_microusd: int
) -> dict[str, object]:
    usages = [each.usage for each in classes]
    cost_usd = to_usd(cost_microusd)
    cached = sum(usage.cached_input_tokens for usage in usages)
    uncached = sum(usage.input_tokens for usage in usages) - cached
    output = sum(usage.output_tokens for usage in usages)
    costs = [each.token_costs for each in classes]
    seats = [each for each in classes if each.seat_months]
    talking = [each for each in classes if each.usage.tasks]
    return {
        "class": name,
        "per_request_usd": ratio(cost_usd, sum(usage.requests for usage in usages)),
        "per_conversation_usd": ratio(
            sum(each.cost.cost_usd for each in talking), sum(each.usage.tasks for each in talking)
        ),
        "per_mtok_input_usd": ratio(to_usd(sum(c.input_microusd for c in costs)), uncached / 1e6),
        "per_mtok_cached_input_usd": ratio(
            to_usd(sum(c.cached_input_microusd for c in costs)), cached / 1e6
        ),
        "per_mtok_output_usd": ratio(to_usd(sum(c.output_microusd for c in costs)), output / 1e6),
        "all_per_mtok_output_usd": ratio(cost_usd, output / 1e6),
        "per_seat_month_usd": ratio(
            sum(each.cost.cost_usd for each in seats), sum(each.seat_months for each in seats)
        ),
    }


def _pool_row(each: PoolStatement) -> dict[str, object]:
    usage = each.usage
    by_kind = {f"{kind.value}_usd": to_usd(each.cost_microusd(kind)) for kind in COST_KINDS}
    return {
        "pool": usage.pool,
        "node": usage.node,
        "chip": usage.chip,
        "role": usage.role,
        "price": usage.rate.name,
        "terms": usage.rate.terms,
        "per_device_hour_usd": usage.rate.per_device_hour_usd,
        "peak_nodes": usage.peak_nodes,
        "device_hours": usage.device_hours,
        "billed_device_hours": usage.billed_device_hours,
        "busy_device_hours": usage.busy_device_hours,
        "utilisation_rate": usage.utilisation_rate,
        **by_kind,
        "cost_usd": to_usd(each.cost_microusd()),
        "energy_kwh": each.energy.total_kwh,
        "currency": CURRENCY,
        "date": usage.rate.date,
        "source": usage.rate.source,
        "tier": usage.rate.tier,
    }
