"""Money and energy from what a simulation measured: pure functions on plain values.

`settle(pools, classes, policy)` gives a `Statement`: the ledger, cost per class and pool, margin
under every definition, unit costs. The rest are its parts, each usable alone.
"""

from planner.economics.allocation import (
    UNALLOCATED,
    CostShare,
    TokenCosts,
    allocate_costs,
    allocate_to_tokens,
)
from planner.economics.capital import (
    OwnedAsset,
    OwnedCost,
    Recovery,
    capital_recovery_factor,
    capital_recovery_per_hour_usd,
    owned_cost_per_hour,
    straight_line_per_hour_usd,
)
from planner.economics.cost import Policy, node_hour_usd, pool_cost_lines
from planner.economics.energy import (
    HOURS_PER_MONTH,
    EnergyUse,
    PowerTerms,
    device_power_w,
    pool_energy,
)
from planner.economics.ledger import COST_KINDS, LEDGER_COLUMNS, Ledger, LedgerLine, LineKind
from planner.economics.margin import (
    DEFINITION_TEXT,
    DEFINITIONS,
    Definition,
    Margin,
    MarginReport,
    margin_of,
    margin_report,
    sum_margins,
)
from planner.economics.margin_arithmetic import (
    cost_cut_for_margin,
    margin_after_cost_change,
    margin_of_rest,
    revenue_share_of_part,
)
from planner.economics.money import CURRENCY, split_exactly, to_microusd, to_usd
from planner.economics.plans import (
    AdvertisingPlan,
    ApiPlan,
    FreePlan,
    LongContextPrice,
    Plan,
    SubscriptionPlan,
    is_paying,
)
from planner.economics.rates import MachineRate, RatePart, Terms, billed_node_hours
from planner.economics.revenue import partner_share_line, revenue_lines
from planner.economics.statement import ClassStatement, PoolStatement, Statement, settle
from planner.economics.usage import (
    ClassUsage,
    PoolRole,
    PoolTime,
    PoolUsage,
    PriceLayer,
    Tokens,
    TokenWeights,
)

__all__ = [
    "COST_KINDS",
    "CURRENCY",
    "DEFINITIONS",
    "DEFINITION_TEXT",
    "HOURS_PER_MONTH",
    "LEDGER_COLUMNS",
    "UNALLOCATED",
    "AdvertisingPlan",
    "ApiPlan",
    "ClassStatement",
    "ClassUsage",
    "CostShare",
    "Definition",
    "EnergyUse",
    "FreePlan",
    "Ledger",
    "LedgerLine",
    "LineKind",
    "LongContextPrice",
    "MachineRate",
    "Margin",
    "MarginReport",
    "OwnedAsset",
    "OwnedCost",
    "Plan",
    "Policy",
    "PoolRole",
    "PoolStatement",
    "PoolTime",
    "PoolUsage",
    "PowerTerms",
    "PriceLayer",
    "RatePart",
    "Recovery",
    "Statement",
    "SubscriptionPlan",
    "Terms",
    "TokenCosts",
    "TokenWeights",
    "Tokens",
    "allocate_costs",
    "allocate_to_tokens",
    "billed_node_hours",
    "capital_recovery_factor",
    "capital_recovery_per_hour_usd",
    "cost_cut_for_margin",
    "device_power_w",
    "is_paying",
    "margin_after_cost_change",
    "margin_of",
    "margin_of_rest",
    "margin_report",
    "node_hour_usd",
    "owned_cost_per_hour",
    "partner_share_line",
    "pool_cost_lines",
    "pool_energy",
    "revenue_lines",
    "revenue_share_of_part",
    "settle",
    "split_exactly",
    "straight_line_per_hour_usd",
    "sum_margins",
    "to_microusd",
    "to_usd",
]
