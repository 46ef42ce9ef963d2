"""What every page does, in a real browser: no network, no errors, tables, themes, phones, axe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import NewPage
from tests.browser.pages import OTHERS, Pages

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.compiled  # pages are made of whole runs, far too long in pure Python


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    return Pages(tmp_path_factory.mktemp("pages"))


SCROLL = """async () => {
    for (const chart of document.querySelectorAll('.chart')) {
        chart.scrollIntoView({block: 'center', behavior: 'instant'});
        while (!chart.querySelector('.main-svg')) await new Promise(requestAnimationFrame);
    }
}"""
"""Charts are drawn when they come near the screen."""


def violations(page: Page) -> list[str]:
    """Return what axe-core finds that keeps people out: `serious` and `critical`."""
    axe = pytest.importorskip("axe_playwright_python")
    page.evaluate(Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{each['id']}: {node['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def requested(page: Page) -> list[str]:
    """Return a list that fills with the addresses that a page asks for."""
    found: list[str] = []
    page.on("request", lambda request: found.append(request.url))
    return found


@pytest.mark.parametrize("name", ["report", *OTHERS])
def test_every_page_is_sound_on_a_phone(
    name: str, pages: Pages, new_page: NewPage, console_errors: list[str]
) -> None:
    page = new_page(width=390, height=844, color_scheme="dark")
    addresses = requested(page)
    page.goto(pages.address(name))
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    figures = json.loads(str(page.text_content("#figures")))
    page.evaluate(SCROLL)
    assert page.locator(".chart:has(.main-svg)").count() == len(figures)
    assert page.locator("details.data").count() == len(figures)
    page.evaluate("document.querySelectorAll('details.data summary').forEach((e) => e.click())")
    page.wait_for_function("!document.querySelector('details.data .scroll:empty')")
    assert page.locator("details.data .scroll table tbody tr").count() >= len(figures)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.click("#theme")
    assert page.get_attribute("html", "data-theme") == "light"
    assert len(addresses) == 1, "nothing but the page itself is asked for"
    assert console_errors == []
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    if name != "report":  # it takes a look of its own
        assert violations(page) == []


@pytest.fixture(scope="module")
def report(pages: Pages, browser: Browser) -> Iterator[Page]:
    """Yield the page that holds everything; tests leave it as they found it."""
    still = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = still.new_page()
    page.goto(pages.address("report"))
    yield page
    still.close()


def trace(page: Page, chart: str, name: str) -> dict[str, Any]:
    """Return what plotly draws of a series."""
    page.locator(f"#{chart}").scroll_into_view_if_needed()
    page.locator(f"#{chart} .main-svg").first.wait_for()
    found: dict[str, Any] = page.evaluate(
        """([chart, name]) => {
            const found = document.getElementById(chart)._fullData.find((t) => t.name === name);
            return {visible: found.visible, colour: found.line?.color};
        }""",
        [chart, name],
    )
    return found


def test_the_first_screen_holds_the_four_numbers_and_their_intervals(report: Page) -> None:
    report.evaluate("scrollTo(0, 0)")
    cards = report.locator(".card")
    assert cards.count() == 4
    assert cards.nth(0).inner_text().startswith("accelerators at peak\n24\n90% interval 296 to 331")
    assert "90% interval" in cards.nth(3).inner_text()
    assert "paying users only" in cards.nth(3).inner_text()
    box = report.locator(".status").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900


def test_hovering_shows_a_value(report: Page) -> None:
    report.locator("#chart-demand").scroll_into_view_if_needed()
    report.locator("#chart-demand .nsewdrag").first.hover()
    report.wait_for_selector("#chart-demand .hoverlayer text")
    assert "/s" in str(report.locator("#chart-demand .hoverlayer").text_content())


def test_a_class_is_switched_off_in_the_legend_and_stays_off_in_another_theme(
    report: Page,
) -> None:
    entry = report.locator("#latency ul.legend button", has_text="chat")
    assert trace(report, "chart-latency-ttft", "chat")["visible"] is True
    entry.click()
    assert entry.get_attribute("aria-pressed") == "false"
    for metric in ("ttft", "tpot", "e2e"):
        assert trace(report, f"chart-latency-{metric}", "chat")["visible"] is False
        assert trace(report, f"chart-latency-{metric}", "reasoning")["visible"] is True
    assert trace(report, "chart-demand", "chat")["visible"] is True, "another legend's"
    report.click("#theme")
    assert trace(report, "chart-latency-ttft", "chat")["visible"] is False
    entry.press("Space")
    assert trace(report, "chart-latency-ttft", "chat")["visible"] is True


def test_results_side_by_side_are_switched_by_class_or_by_result(report: Page) -> None:
    entry = report.locator("#comparison ul.legend button", has_text="three nodes")
    entry.click()
    assert trace(report, "chart-compared-ttft", "three nodes")["visible"] is False
    assert trace(report, "chart-compared-ttft", "two nodes")["visible"] is True
    entry.click()
    row = report.locator("#comparison tr", has_text="accelerators at peak").inner_text().split("\t")
    assert row[1:] == ["24", "32", "+33.3%"]


def test_the_theme_is_switched_and_remembered(pages: Pages, new_page: NewPage) -> None:
    report = new_page()
    report.goto(pages.address("report"))
    surface = "getComputedStyle(document.body).backgroundColor"
    light, line = report.evaluate(surface), trace(report, "chart-latency-ttft", "chat")["colour"]
    report.click("#theme")
    assert report.evaluate(surface) == light, "light is what the system has"
    report.click("#theme")
    assert report.evaluate(surface) != light
    assert trace(report, "chart-latency-ttft", "chat")["colour"] != line
    label = report.get_attribute("#theme", "aria-label")
    assert label == report.inner_text("#said") == "Colour theme: dark"
    report.reload()
    assert report.get_attribute("html", "data-theme") == "dark"
    assert report.inner_text("#theme") == "☾ dark"


def test_the_table_behind_a_chart_is_copied_as_csv(pages: Pages, new_page: NewPage) -> None:
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(pages.address("report"))
    details = page.locator("details.data:has([data-table=quantiles])").first
    details.locator("summary").click()
    assert details.locator("table caption").inner_text().startswith("Time to first token (TTFT)")
    button = details.locator("button[data-copy]")
    button.click()
    page.wait_for_function("document.querySelector('#said').textContent.includes('copied')")
    assert button.inner_text().startswith("Copied")
    head, *rows = page.evaluate("navigator.clipboard.readText()").strip().split("\n")
    assert head == "class,metric,percentile,value_s"
    assert len(rows) == details.locator("tbody tr").count()
    assert {row.split(",")[1] for row in rows} == {"ttft"}
    assert page.inner_text("#said") == f"{len(rows)} rows copied as CSV"


def test_the_keyboard_reaches_everything_in_order(pages: Pages, new_page: NewPage) -> None:
    report = new_page()
    report.goto(pages.address("ablation"))
    focus = "document.activeElement.textContent.trim()"
    report.keyboard.press("Tab")
    assert report.evaluate(focus) == "Skip to the results"
    box = report.locator(".skip").bounding_box()
    assert box is not None
    assert box["y"] >= 0
    report.keyboard.press("Tab")
    assert report.evaluate(focus) == "Worth"
    links = report.locator(".top nav a").count()
    for _ in range(links):
        report.keyboard.press("Tab")
    assert report.evaluate("document.activeElement.id") == "theme"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert report.evaluate(outline) == "solid", "the focus is seen"
    report.focus(".skip")
    report.keyboard.press("Enter")
    assert report.url.endswith("#worth")


def test_paper_is_light_and_no_chart_is_wider_than_it(pages: Pages, new_page: NewPage) -> None:
    page = new_page(color_scheme="dark")
    page.goto(pages.address("report"))
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    body = page.evaluate("document.body.getBoundingClientRect().right")
    charts = (
        "[...document.querySelectorAll('.chart svg')].map(e => e.getBoundingClientRect().right)"
    )
    assert max(page.evaluate(charts)) <= body
    assert page.locator(".top").is_hidden()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.get_attribute("html", "data-theme") is None


def test_the_report_keeps_nobody_out(report: Page) -> None:
    assert violations(report) == []
