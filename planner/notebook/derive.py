"""Which controls a scenario has: its pools, classes, prices and techniques say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from planner.catalog import Catalog
from planner.errors import CatalogError
from planner.notebook.controls import Control, Menu, Slider, Switch, step_for
from planner.notebook.edits import Edit, Number, Text
from planner.pricing import rate_of
from planner.scenario import LoadedScenario, Scenario
from planner.scenario.check_speculation import check_speculation
from planner.scenario.schema.pools import Pool, Speculation
from planner.scenario.targets import Target, targets_at
from planner.search.techniques import used_by

TRAFFIC: Final = "Traffic"
PRICES: Final = "Prices"
TECHNIQUES: Final = "Techniques"
_OFF: Final = "off"
_AS_STATED: Final = "as in the scenario"
_WITH_MENUS: Final = frozenset({"weight quantization", "KV quantization", "speculative decoding"})
"""Techniques that pools choose from a menu of their own."""
_WEIGHTS: Final = ("bf16", "fp8", "fp4")
_CACHES: Final = ("bf16", "fp8")
_DRAFTS: Final = (
    ("mtp", 1), ("mtp", 3), ("eagle3", 1), ("eagle3", 3), ("eagle3", 5), ("p-eagle", 5),
    ("n-gram", 3),
)  # fmt: skip
"""Method and drafted tokens that menus offer, where published measurements tell of the model."""
_PAID: Final = {
    "subscription": ("per_seat",),
    "api": ("input", "cached_input", "output"),
    "advertising": ("per_message",),
    "free": (),
}
"""What users pay, by kind of plan."""


def controls_of(loaded: LoadedScenario, catalog: Catalog) -> tuple[Control, ...]:
    """Return the controls of a scenario, group by group.

    Args:
        loaded: the scenario as it starts.
        catalog: models, chips, nodes and prices, those of its price tables included.
    """
    scenario = loaded.scenario
    found: list[Control] = [*_traffic(scenario)]
    for pool in scenario.pools:
        found += _of_pool(pool, scenario, catalog)
    found += _prices(scenario, catalog)
    found += [
        Switch(f"techniques.{technique.name}", TECHNIQUES, technique.name, technique)
        for technique in used_by(scenario)
        if technique.name not in _WITH_MENUS
    ]
    return tuple(found)


# --- numbers --------------------------------------------------------------------------------------


def slider_at(
    path: str,
    target: Target,
    group: str,
    label: str,
    *,
    unit: str = "",
    low: float = 0.0,
    high: float | None = None,
) -> Slider:
    """Return a slider over one number of the scenario.

    Args:
        path: of the number.
        target: the number.
        group: it stands in.
        label: of the slider.
        unit: of its values, as the scenario writes it; empty: the base unit.
        low: its least value.
        high: its greatest; None: three times the start.
    """
    start = target.value
    most = 3 * start or 1.0 if high is None else high
    step = step_for(most - low, start)
    if target.is_whole:
        step, most = max(round(step), 1), max(round(most), round(start) + 1)
    return Slider(
        path, group, label, unit or target.unit, start, min(low, start), max(most, start), step,
        partial(_stated, path, target), target.is_whole,
    )  # fmt: skip


def _stated(path: str, target: Target, value: float) -> Sequence[Edit]:
    return (Number(path, target, value),)


def _traffic(scenario: Scenario) -> Iterator[Slider]:
    """Yield the level of all traffic, and the demand of each class."""
    moved: dict[str, tuple[str, Target, str]] = {}
    for klass in scenario.workload.classes:
        stem = f"workload.classes.{klass.name}"
        if klass.open is not None:
            what = "sessions" if klass.sessions or klass.agent else "requests"
            path, label = f"{stem}.open.rate", f"{klass.name}: {what}"
        elif klass.closed is not None:
            path, label = f"{stem}.closed.clients", f"{klass.name}: clients"
        elif klass.trace is not None:
            path, label = f"{stem}.trace.rate_scale", f"{klass.name}: times the trace's rate"
        else:
            path, label = "workload.trace.rate_scale", "the shared trace: times its rate"
        target = targets_at(scenario, path)[0]
        moved[path] = (label, target, "/s" if klass.open is not None else "")
    yield Slider(
        "traffic.level", TRAFFIC, "Level of all traffic", "%", 100, 10, 300, 5,
        lambda percent: [
            Number(path, target, factor=percent / 100) for path, (_, target, _) in moved.items()
        ],
    )  # fmt: skip
    for path, (label, target, unit) in moved.items():
        # A class without traffic, or without a client, is none.
        low = 1.0 if target.is_whole else step_for(3 * target.value or 1.0, target.value)
        yield slider_at(path, target, TRAFFIC, label, unit=unit, low=low)


# --- pools ----------------------------------------------------------------------------------------


def _of_pool(pool: Pool, scenario: Scenario, catalog: Catalog) -> Iterator[Control]:
    stem, group = f"pools.{pool.name}", f"Pool {pool.name}"
    yield _machines(pool, group, scenario, catalog)
    yield _nodes(f"{stem}.nodes", group, "Nodes", scenario)
    for index, entry in enumerate(pool.schedule):
        yield _nodes(
            f"{stem}.schedule[{index}].nodes", group, f"Nodes from {entry.at} on", scenario
        )
    yield _format(f"{stem}.weight_dtype", group, "Weights", pool.weight_dtype, _WEIGHTS)
    yield _format(f"{stem}.kv_dtype", group, "KV cache", pool.kv_dtype, _CACHES)
    if pool.decode is None:  # a pool that only prefills verifies no drafts
        yield _speculation(pool, group, catalog)


def _nodes(path: str, group: str, label: str, scenario: Scenario) -> Slider:
    target = targets_at(scenario, path)[0]
    return slider_at(path, target, group, label, high=max(2 * target.value, 8))


def _format(path: str, group: str, label: str, stated: str, offered: Sequence[str]) -> Menu:
    choices = tuple(offered) if stated in offered else (stated, *offered)
    return Menu(path, group, label, stated, choices, lambda dtype: [Text(path, dtype)])


def _machines(pool: Pool, group: str, scenario: Scenario, catalog: Catalog) -> Menu:
    """Return the menu of nodes that are delivered and have a price on the scenario's day."""
    path = f"pools.{pool.name}"
    prices = _machine_prices(pool, scenario, catalog)
    titles = tuple(_machine_title(name, catalog) for name in prices)

    def edits(name: str) -> list[Edit]:
        return [
            Text(f"{path}.node", name),
            *_one_price(pool, str(prices[name])),
        ]

    return Menu(f"{path}.node", group, "Machines", pool.node, tuple(prices), edits, titles)


def _machine_prices(pool: Pool, scenario: Scenario, catalog: Catalog) -> dict[str, str | None]:
    """Return the price of each kind of node that the pool may have; None: by default terms."""
    prices = {pool.node: pool.price}
    for node in catalog.nodes.values():
        if node.name != pool.node and catalog.chip(node.chip).status == "shipping":
            found = _price_on(node.chip, pool, scenario, catalog)
            if found is not None:
                prices[node.name] = found
    return prices


def _machine_title(name: str, catalog: Catalog) -> str:
    node = catalog.node(name)
    return f"{node.devices} × {catalog.chip(node.chip).title}"


def _price_on(chip: str, pool: Pool, scenario: Scenario, catalog: Catalog) -> str | None:
    """Return the price that a pool would pay for another chip: on its terms, else by default."""
    prices = scenario.prices
    own = {price.name: price.terms for price in prices.nodes}
    named = pool.price or (pool.price_mix[0].price if pool.price_mix else None)
    try:
        if named is None:
            terms = prices.default_terms
        else:
            terms = own.get(named) or catalog.machine_price_on(named, prices.date).terms
    except CatalogError:
        terms = prices.default_terms
    for wanted in (terms, prices.default_terms, "on_demand"):
        try:
            return catalog.price_for(chip, wanted, prices.date).name
        except CatalogError:
            continue
    return None


def _one_price(pool: Pool, name: str) -> list[Edit]:
    mixed = [Text(f"pools.{pool.name}.price_mix", "[]")] if pool.price_mix else []
    return [*mixed, Text(f"pools.{pool.name}.price", name)]


def _speculation(pool: Pool, group: str, catalog: Catalog) -> Menu:
    path = f"pools.{pool.name}.speculation"
    model, chip = catalog.model(pool.model), catalog.chip(catalog.node(pool.node).chip)
    texts = {_OFF: "null"}
    if pool.speculation is not None:
        texts = {_AS_STATED: "", **texts}
    for method, drafted in _DRAFTS:
        stated = Speculation.model_validate({"method": method, "draft_tokens": drafted})
        tried = pool.model_copy(update={"speculation": stated})
        faults = check_speculation(tried, model, chip, catalog)
        if not any(where == ("speculation", "method") for where, _ in faults):
            plural = "s" if drafted > 1 else ""
            text = f"{{method: {method}, draft_tokens: {drafted}}}"
            texts[f"{method}, {drafted} drafted token{plural}"] = text

    def edits(choice: str) -> list[Edit]:
        # What the scenario states is removed first: nothing of it would suit another method.
        return [Text(path, text) for text in dict.fromkeys(("null", texts[choice]))]

    return Menu(path, group, "Speculation", next(iter(texts)), tuple(texts), edits)


# --- money ----------------------------------------------------------------------------------------


def _prices(scenario: Scenario, catalog: Catalog) -> Iterator[Control]:
    terms = set()
    for pool in scenario.pools:
        slider, paid = _machine_price(pool, scenario, catalog)
        terms.add(paid)
        yield slider
    for index, plan in enumerate(scenario.prices.plans):
        for field in _PAID[plan.kind]:
            if getattr(plan, field) is not None:
                target = targets_at(scenario, f"prices.plans[{index}].{field}")[0]
                path, label = f"prices.plans.{plan.name}.{field}", field.replace("_", " ")
                yield slider_at(path, target, PRICES, f"{plan.name}: {label}")
    if "owned" in terms:  # rented prices include it
        path = "prices.power.electricity"
        yield slider_at(path, targets_at(scenario, path)[0], PRICES, "Electricity", high=0.3)
    path, share = "prices.partner_revenue_share", 100 * scenario.prices.partner_revenue_share
    yield Slider(
        path, PRICES, "Partner's share of revenue", "%", share, 0, 100, step_for(100, share),
        lambda percent: [Text("prices.partner_revenue_share", f"{percent:g}%")],
    )  # fmt: skip
    path = "prices.margin"
    definitions = ("all_users_in_cogs", "paid_only", "free_in_marketing")
    yield Menu(
        path, PRICES, "Definition of margin", scenario.prices.margin, definitions,
        lambda name: [Text(path, name)],
    )  # fmt: skip


def _machine_price(pool: Pool, scenario: Scenario, catalog: Catalog) -> tuple[Slider, str]:
    """Return the slider over what a device-hour costs, and the terms that the scenario states.

    It starts at the listed price of whichever machines the pool has, and moves along with them.
    Of a mix, the base load's is shown, and one price takes the place of all.
    """
    stated = pool.price_mix[0].price if pool.price_mix else pool.price
    rates = {
        node: rate_of(name, catalog.node(node).chip, scenario.prices, catalog)
        for node, name in (_machine_prices(pool, scenario, catalog) | {pool.node: stated}).items()
    }
    starts = {node: round(rate.per_device_hour_usd, 6) for node, rate in rates.items()}
    high = max(round(3 * starts[pool.node], 6), *starts.values()) or 1.0
    step = min(step_for(high, start) for start in starts.values())
    label = f"{pool.name}: an accelerator-hour"
    versions = {
        node: Slider(
            f"pools.{pool.name}.price", PRICES, label, "USD/h", start, 0.0, high, step,
            partial(_own_price, pool, rates[node].terms, scenario.prices.date),
        )
        for node, start in starts.items()
    }  # fmt: skip
    slider = replace(versions[pool.node], follows=f"pools.{pool.name}.node", versions=versions)
    return slider, rates[pool.node].terms


def _own_price(pool: Pool, terms: str, date: str, value: float) -> list[Edit]:
    name = f"what-if-{pool.name}"[:64]
    entry = (
        f"{{name: {name}, per_device_hour: {value!r} USD/h, terms: {terms}, "
        f"as_of: '{date}', source: what-if}}"
    )
    return [Text("prices.nodes", f"[{entry}]"), *_one_price(pool, name)]
