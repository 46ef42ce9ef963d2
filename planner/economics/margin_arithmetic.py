"""What has to be true for a margin: the arithmetic behind public claims, on rates alone.

With m the gross margin and revenue 1, the cost of revenue is 1 − m. Part of it may be fixed in
points of revenue (a partner's share); the rest moves with the cost of inference.
"""

from __future__ import annotations

from planner.economics.checks import require_range


def margin_after_cost_change(
    margin_rate: float,
    *,
    cost_factor: float,
    affected_share_rate: float = 1.0,
    fixed_rate: float = 0.0,
) -> float:
    """Return the margin after (part of) the inference cost is multiplied by a factor.

    1 − fixed − (1 − m − fixed) · (1 − a + a · f).

    Args:
        margin_rate: margin before.
        cost_factor: f; 0.5 halves the cost, 2 doubles it.
        affected_share_rate: a, share of the inference cost that the factor applies to, 0 to 1.
        fixed_rate: cost of revenue that cannot change, as a share of revenue.

    Raises:
        ValueError: a rate is out of range, or the fixed part exceeds the cost of revenue.

    >>> round(margin_after_cost_change(0.39, cost_factor=0.5), 4)
    0.695
    >>> round(margin_after_cost_change(0.39, cost_factor=0.5, fixed_rate=0.20), 4)
    0.595
    """
    require_range("cost factor", cost_factor)
    require_range("affected share of cost", affected_share_rate, maximum=1.0)
    variable_rate = _variable_cost_rate(margin_rate, fixed_rate)
    change = 1.0 - affected_share_rate + affected_share_rate * cost_factor
    return 1.0 - fixed_rate - variable_rate * change


def cost_cut_for_margin(
    margin_rate: float, target_rate: float, *, fixed_rate: float = 0.0
) -> float:
    """Return by which share the inference cost must fall to reach a target margin.

    (target − m) / (1 − m − fixed). Negative where the target is below, above 1 where it is out of
    reach.

    Args:
        margin_rate: margin now.
        target_rate: margin wanted.
        fixed_rate: cost of revenue that cannot change, as a share of revenue.

    Raises:
        ValueError: a rate is above 1, or there is no cost that could change.

    >>> round(cost_cut_for_margin(0.39, 0.52), 3)
    0.213
    >>> round(cost_cut_for_margin(0.39, 0.52, fixed_rate=0.2), 3)
    0.317
    """
    require_range("target margin", target_rate, minimum=float("-inf"), maximum=1.0)
    variable_rate = _variable_cost_rate(margin_rate, fixed_rate)
    if variable_rate == 0:
        raise ValueError(
            f"no cost can change: margin {margin_rate} and fixed share {fixed_rate} leave none"
        )
    return (target_rate - margin_rate) / variable_rate


def margin_of_rest(whole_rate: float, part_rate: float, *, part_revenue_share_rate: float) -> float:
    """Return the margin that the rest of a year needs for the year to reach `whole_rate`.

    (whole − share · part) / (1 − share): margins add up weighted by revenue.

    Args:
        whole_rate: margin of the year.
        part_rate: margin of the part that is over.
        part_revenue_share_rate: that part's share of the year's revenue, 0 to below 1.

    Raises:
        ValueError: the share is out of range.

    >>> round(margin_of_rest(0.52, 0.39, part_revenue_share_rate=5.7 / 24.2), 3)
    0.56
    """
    require_range("share of revenue", part_revenue_share_rate, maximum=1.0)
    if part_revenue_share_rate == 1:
        raise ValueError("share of revenue must be less than 1, found 1: there is no rest")
    earned = part_revenue_share_rate * part_rate
    return (whole_rate - earned) / (1.0 - part_revenue_share_rate)


def revenue_share_of_part(whole_rate: float, part_rate: float, rest_rate: float) -> float:
    """Return the share of revenue that a part must have for three stated margins to agree.

    (rest − whole) / (rest − part).

    Args:
        whole_rate: margin of the whole; between the other two.
        part_rate: margin of the part.
        rest_rate: margin of the rest.

    Raises:
        ValueError: no share of revenue makes the three agree.

    >>> round(revenue_share_of_part(0.52, 0.39, 0.56), 4)
    0.2353
    """
    if part_rate == rest_rate or not (
        min(part_rate, rest_rate) <= whole_rate <= max(part_rate, rest_rate)
    ):
        raise ValueError(
            f"margins {part_rate} and {rest_rate} cannot average to {whole_rate}; "
            "the whole lies between its parts, and the parts must differ"
        )
    return (rest_rate - whole_rate) / (rest_rate - part_rate)


def _variable_cost_rate(margin_rate: float, fixed_rate: float) -> float:
    require_range("margin", margin_rate, minimum=float("-inf"), maximum=1.0)
    require_range("fixed share of revenue", fixed_rate, maximum=1.0 - margin_rate)
    return 1.0 - margin_rate - fixed_rate
