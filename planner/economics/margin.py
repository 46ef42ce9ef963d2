"""Gross margin under named definitions, because public figures mix them.

What inference for free users is (cost of revenue, or marketing) and whether the share of a revenue
partner is deducted are choices of policy. One set of amounts therefore gives three margins; a
report names the one in its headline and shows the others beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

import pandas as pd

from planner.economics.money import ratio, to_usd

Definition = Literal["paid_only", "all_users_in_cogs", "free_in_marketing"]
DEFINITIONS: Final[tuple[Definition, ...]] = get_args(Definition)

DEFINITION_TEXT: Final[Mapping[Definition, str]] = MappingProxyType(
    {
        "paid_only": "revenue from paying users less inference for them, over that revenue; free "
        "users, what advertising earns from them, and the partner's share are left out",
        "all_users_in_cogs": "revenue less inference for all users and the partner's share, over "
        "revenue",
        "free_in_marketing": "revenue less inference for paying users and the partner's share, "
        "over revenue; inference for free users is marketing",
    }
)
"""What each definition means, for people."""


@dataclass(frozen=True)
class Margin:
    """Gross margin of a class or of everything under one definition, in exact micro-dollars."""

    definition: Definition
    revenue_microusd: int
    """Revenue that the definition counts."""
    cost_of_revenue_microusd: int
    """Inference that the definition counts."""
    partner_share_microusd: int
    """Owed to the partner, its own line in each definition."""
    left_out_microusd: int
    """Inference for free users that the definition does not count, or counts as marketing."""
    left_out_revenue_microusd: int = 0
    """Revenue from free users (advertising) that the definition does not count."""

    @property
    def partner_share_deducted_microusd(self) -> int:
        """The partner's share where the definition deducts it."""
        return 0 if self.definition == "paid_only" else self.partner_share_microusd

    @property
    def gross_profit_microusd(self) -> int:
        """Revenue − cost of revenue − the partner's share where the definition deducts it."""
        costs = self.cost_of_revenue_microusd + self.partner_share_deducted_microusd
        return self.revenue_microusd - costs

    @property
    def margin_rate(self) -> float | None:
        """Gross profit / revenue, at most 1 and possibly negative; None without revenue."""
        return ratio(self.gross_profit_microusd, self.revenue_microusd)

    @property
    def margin_before_partner_rate(self) -> float | None:
        """The same as if the partner got nothing."""
        profit = self.revenue_microusd - self.cost_of_revenue_microusd
        return ratio(profit, self.revenue_microusd)


def margin_of(
    definition: Definition,
    *,
    revenue_microusd: int,
    paying_cost_microusd: int,
    free_cost_microusd: int,
    partner_share_microusd: int = 0,
    free_revenue_microusd: int = 0,
) -> Margin:
    """Return the margin under one definition.

    Args:
        definition: which costs count.
        revenue_microusd: all revenue, before the partner's share.
        paying_cost_microusd: cost of inference for paying users, idle and overhead included.
        free_cost_microusd: the same for free users.
        partner_share_microusd: owed to the partner.
        free_revenue_microusd: of the revenue, from advertising to free users.

    >>> amounts = dict(revenue_microusd=100, paying_cost_microusd=41, free_cost_microusd=7)
    >>> [margin_of(d, **amounts, partner_share_microusd=20).margin_rate for d in DEFINITIONS]
    [0.59, 0.32, 0.39]
    >>> margin_of("paid_only", **amounts, free_revenue_microusd=18).margin_rate
    0.5
    """
    counts_free = definition == "all_users_in_cogs"
    left_out_revenue = free_revenue_microusd if definition == "paid_only" else 0
    return Margin(
        definition,
        revenue_microusd=revenue_microusd - left_out_revenue,
        cost_of_revenue_microusd=paying_cost_microusd + (free_cost_microusd if counts_free else 0),
        partner_share_microusd=partner_share_microusd,
        left_out_microusd=0 if counts_free else free_cost_microusd,
        left_out_revenue_microusd=left_out_revenue,
    )


@dataclass(frozen=True)
class MarginReport:
    """One set of amounts under every definition; `definition` is the headline's."""

    definition: Definition
    margins: tuple[Margin, ...]
    """One per definition, in the order of `DEFINITIONS`."""

    @property
    def headline(self) -> Margin:
        """The margin under the headline's definition."""
        return self.margins[DEFINITIONS.index(self.definition)]

    @property
    def revenue_usd(self) -> float:
        """Revenue that the headline's definition counts, before the partner's share."""
        return to_usd(self.headline.revenue_microusd)

    @property
    def cost_usd(self) -> float:
        """Inference that the headline's definition counts, the partner's share apart."""
        return to_usd(self.headline.cost_of_revenue_microusd)

    @property
    def partner_share_usd(self) -> float:
        """Owed to the partner."""
        return to_usd(self.headline.partner_share_microusd)

    @property
    def margin_rate(self) -> float | None:
        """The headline's margin; None without revenue."""
        return self.headline.margin_rate

    @property
    def others(self) -> dict[str, float | None]:
        """The margin under each of the other definitions."""
        return {
            m.definition: m.margin_rate for m in self.margins if m.definition != self.definition
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one row per definition: its text, its amounts in USD and its margins (0 to 1)."""
        rows = [
            {
                "definition": margin.definition,
                "headline": margin.definition == self.definition,
                "revenue_usd": to_usd(margin.revenue_microusd),
                "cost_of_revenue_usd": to_usd(margin.cost_of_revenue_microusd),
                "partner_share_usd": to_usd(margin.partner_share_microusd),
                "partner_share_deducted_usd": to_usd(margin.partner_share_deducted_microusd),
                "gross_profit_usd": to_usd(margin.gross_profit_microusd),
                "left_out_usd": to_usd(margin.left_out_microusd),
                "left_out_revenue_usd": to_usd(margin.left_out_revenue_microusd),
                "margin_rate": margin.margin_rate,
                "margin_before_partner_rate": margin.margin_before_partner_rate,
                "meaning": DEFINITION_TEXT[margin.definition],
            }
            for margin in self.margins
        ]
        rates = ["margin_rate", "margin_before_partner_rate"]
        return pd.DataFrame(rows).astype(dict.fromkeys(rates, "float64"))


def margin_report(
    definition: Definition,
    *,
    revenue_microusd: int,
    paying_cost_microusd: int,
    free_cost_microusd: int,
    partner_share_microusd: int = 0,
    free_revenue_microusd: int = 0,
) -> MarginReport:
    """Return the margin under every definition, with `definition` as the headline.

    Args: as `margin_of`.

    >>> report = margin_report("all_users_in_cogs", revenue_microusd=100, paying_cost_microusd=41,
    ...                        free_cost_microusd=7, partner_share_microusd=20)
    >>> report.margin_rate, report.others
    (0.32, {'paid_only': 0.59, 'free_in_marketing': 0.39})
    """
    margins = tuple(
        margin_of(
            each,
            revenue_microusd=revenue_microusd,
            paying_cost_microusd=paying_cost_microusd,
            free_cost_microusd=free_cost_microusd,
            partner_share_microusd=partner_share_microusd,
            free_revenue_microusd=free_revenue_microusd,
        )
        for each in DEFINITIONS
    )
    return MarginReport(definition, margins)


def sum_margins(margins: Sequence[Margin]) -> Margin:
    """Return the margin of the whole from those of its parts, all under one definition.

    Raises:
        ValueError: there are no parts, or their definitions differ.

    >>> amounts = dict(revenue_microusd=10, paying_cost_microusd=4, free_cost_microusd=1)
    >>> part = margin_of("paid_only", **amounts)
    >>> sum_margins([part, part]).margin_rate
    0.6
    """
    definitions = {margin.definition for margin in margins}
    if len(definitions) != 1:
        found = ", ".join(sorted(definitions)) or "none"
        raise ValueError(f"margins add up only under one definition, found {found}")
    return Margin(
        definitions.pop(),
        revenue_microusd=sum(m.revenue_microusd for m in margins),
        cost_of_revenue_microusd=sum(m.cost_of_revenue_microusd for m in margins),
        partner_share_microusd=sum(m.partner_share_microusd for m in margins),
        left_out_microusd=sum(m.left_out_microusd for m in margins),
        left_out_revenue_microusd=sum(m.left_out_revenue_microusd for m in margins),
    )
