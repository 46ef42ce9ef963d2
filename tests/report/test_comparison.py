"""Results side by side: differences from the first, and curves of both."""

from __future__ import annotations

from dataclasses import replace

from planner.report.comparison import comparison_chapter
from planner.report.html import Beside, render_html
from planner.report.page import plotly_script
from planner.results.result import Result
from tests.report.test_html import Page
from tests.results.synthetic import make_result


def cheaper() -> Result:
    """Return the result with half the bill."""
    result = make_result()
    finance = result.finance
    assert finance is not None
    assert finance.cost_per_hour_usd is not None
    halved = replace(finance, cost_per_hour_usd=finance.cost_per_hour_usd / 2)
    return replace(result, finance=halved)


def test_a_difference_is_relative_and_says_which_way_is_better() -> None:
    (body,) = comparison_chapter([("dear", make_result()), ("cheap", cheaper())]).body
    row = body.split('<th scope="row">cost per hour</th>')[1].split("</tr>")[0]
    assert '<td class="n gain">−50.0%</td>' in row
    (body,) = comparison_chapter([("cheap", cheaper()), ("dear", make_result())]).body
    row = body.split('<th scope="row">cost per hour</th>')[1].split("</tr>")[0]
    assert '<td class="n loss">+100.0%</td>' in row
    assert body.count(">same<") > 5


def test_a_result_without_prices_leaves_gaps_not_zeros() -> None:
    chapter = comparison_chapter([("a", make_result()), ("b", make_result(money=False))])
    row = chapter.body[0].split('<th scope="row">cost per hour</th>')[1].split("</tr>")[0]
    assert row.count(">–<") == 2


def test_curves_of_every_class_and_result_are_drawn_over_each_other() -> None:
    chapter = comparison_chapter([("a", make_result()), ("b", cheaper()), ("c", cheaper())])
    figure = chapter.figures[0]
    drawn = {(trace["legendgroup"], trace["name"]) for trace in figure.spec["data"]}
    classes = set(make_result().frames.classes["class"])
    assert drawn == {(name, label) for name in classes for label in "abc"}
    assert len({trace["line"]["dash"] for trace in figure.spec["data"]}) == 3


def test_the_page_shows_it_after_the_promises() -> None:
    beside = Beside(label="a", others=(("<b>", cheaper()),))
    text = render_html(make_result(), beside).replace(plotly_script(), "")
    Page(text)
    assert text.index('id="promises"') < text.index('id="comparison"') < text.index('id="demand"')
    assert "<b></th>" not in text
