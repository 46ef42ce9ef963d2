"""The page: one file, no network, sound HTML, the same bytes each time."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from planner.kernel.dtypes import CLASS_WINDOW, POOL_WINDOW
from planner.report.html import render_html
from planner.report.page import plotly_script
from planner.results import Assumption, Result
from tests.results.synthetic import make_result, make_run

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Collects ids, references and scripts, and checks that elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self._script = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self._script = dict(attrs).get("id") or ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[self._script] = self.scripts.get(self._script, "") + data

    def values(self, attribute: str) -> list[str]:
        return [str(found[attribute]) for _, found in self.attributes if attribute in found]


def page_without_plotly(result: Result) -> str:
    """Return the page with its largest part cut out."""
    return render_html(result).replace(plotly_script(), "")


@pytest.fixture(scope="module")
def text() -> str:
    return page_without_plotly(make_result(overload=2.0))


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_same_result_gives_the_same_bytes() -> None:
    assert render_html(make_result()) == render_html(make_result())


def test_plotly_is_there_once_and_nothing_is_loaded(text: str, page: Page) -> None:
    assert render_html(make_result()).count(plotly_script()) == 1
    assert "https://" not in text
    assert "http://" not in text
    assert not page.values("src")
    assert {link[0] for link in page.values("href")} == {"#"}
    assert "default-src 'none'" in text


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    ids = Counter(page.values("id"))
    assert max(ids.values()) == 1
    targets = [link[1:] for link in page.values("href")] + page.values("aria-labelledby")
    assert set(targets) <= set(ids)


def test_every_chart_has_a_place_a_name_and_a_table(page: Page) -> None:
    specs = json.loads(page.scripts["figures"])
    places = [found for _, found in page.attributes if str(found.get("id")).startswith("chart-")]
    assert {f"chart-{key}" for key in specs} == {place["id"] for place in places}
    assert all(place["role"] == "img" and place["aria-label"] for place in places)
    tables = json.loads(page.scripts["tables"])
    behind = page.values("data-table")
    assert len(behind) >= len(places)
    assert set(behind) | set(page.values("data-copy")) <= set(tables)
    for table in tables.values():
        assert all(len(row) == len(table["columns"]) for row in table["rows"])


def test_colours_of_figures_are_those_of_both_themes(page: Page, text: str) -> None:
    used = set(re.findall(r"var:([a-z0-9-]+)", page.scripts["figures"]))
    assert used
    for name in used:
        assert len(re.findall(rf"--{name}: #[0-9a-f]{{6}};", text)) == 3, name


def test_tables_have_captions_and_heads(text: str) -> None:
    shown = re.findall(r"<table[ >].*?</table>", text, flags=re.DOTALL)
    assert len(shown) >= 6
    for table in shown:
        assert "<caption" in table
        assert 'scope="col"' in table
        assert 'scope="row"' in table


def test_trouble_is_on_the_first_screen(text: str) -> None:
    lead = text.split('id="promises"', maxsplit=1)[0]
    assert "Cannot keep up" in lead
    assert "the queue grows by 2 requests per second" in lead
    assert lead.count("card alarm") == 4, "an overloaded fleet must not look cheap"
    assert lead.count("with promises broken") == 2


def test_a_broken_promise_without_growth_is_named() -> None:
    result = make_result()
    objectives = result.frames.objectives
    objectives.loc[0, ["verdict", "limit"]] = ["broken", 1.0]
    text = page_without_plotly(result)
    assert "anonymous-chat: p99 time to first token is 1.25 s, 1 s promised." in text


def test_hostile_texts_stay_texts() -> None:
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&$title\u2028"
    result = make_result(
        name=attack,
        description=attack,
        notes=(attack,),
        assumptions=(Assumption(attack, attack, attack, attack, attack, attack, attack),),
    )
    text = page_without_plotly(result)
    assert "<script>alert" not in text
    assert "<img" not in text
    assert json.loads(Page(text).scripts["tables"])["assumptions"]["rows"][0][0] == attack


def test_weak_tiers_are_flagged(text: str) -> None:
    assert '<span class="tag warn">estimated</span>' in text
    assert (
        "Of 7 figures: 3 official, measured or fitted; 1 from analysts; 1 the scenario&#x27;s own; "
        "2 estimated or claimed, and marked." in text
    )


def test_a_rate_limit_that_refuses_many_stands_beside_the_slo(text: str) -> None:
    assert text.count("of arrivals refused by the rate limit, not counted") == 1


def test_a_run_without_prices_has_no_money() -> None:
    text = page_without_plotly(make_result(money=False))
    assert 'id="money"' not in text
    assert 'href="#money"' not in text
    assert "no prices" in text


def test_a_run_without_requests_is_shown() -> None:
    run = make_run()
    run.class_windows[:] = np.zeros((), dtype=CLASS_WINDOW)
    run.pool_windows[:] = np.zeros((), dtype=POOL_WINDOW)
    run.histograms[:] = 0
    text = page_without_plotly(make_result(frames=run.frames(), money=False))
    assert "No request was measured" in text
    assert "promises are kept" not in text
    assert 'aria-label="kept"' not in text
    page = Page(text)
    assert json.loads(page.scripts["figures"])["latency-ttft"]["data"]


def test_a_single_class_has_no_row_of_totals() -> None:
    run = make_run()
    one = replace(
        run,
        classes=run.classes[:1],
        class_windows=np.ascontiguousarray(run.class_windows[:, :1]),
        histograms=run.histograms[:1],
    )
    text = page_without_plotly(make_result(frames=one.frames(), money=False))
    assert 'class="sum"' not in text
