"""Comparisons as JUnit XML: a suite per scenario, a case per metric."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree

from planner.regress.row import Mark, Row
from planner.regress.runs import Outcome
from planner.regress.wording import sentence

_CONTROL: Final = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
"""What XML 1.0 cannot hold."""


def to_junit(outcomes: Sequence[Outcome]) -> str:
    """Return the XML, without times: the same forecasts, the same bytes."""
    root = ElementTree.Element("testsuites", name="planner regress")
    for outcome in outcomes:
        suite = ElementTree.SubElement(root, "testsuite", name=_clean(outcome.case.label))
        _fill(suite, outcome)
        _count(suite, [suite])
    _count(root, list(root))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _fill(suite: ElementTree.Element, outcome: Outcome) -> None:
    label, comparison = outcome.case.label, outcome.comparison
    if comparison is None:
        _say(_case(suite, label, "forecast"), "error", outcome.error)
        return
    for obstacle in comparison.obstacles:
        _say(_case(suite, label, "baseline"), "error", obstacle)
    for row in comparison.rows:
        _row(_case(suite, label, row.name), row)


def _row(case: ElementTree.Element, row: Row) -> None:
    if row.mark == Mark.FAILED:
        _say(case, "failure", sentence(row))
    elif row.mark == Mark.NOT_COMPARABLE and not row.price_share:
        _say(case, "error", sentence(row))
    elif row.mark != Mark.SAME:
        ElementTree.SubElement(case, "system-out").text = _clean(f"{row.mark} {sentence(row)}")


def _case(suite: ElementTree.Element, label: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=_clean(label), name=_clean(name))


def _say(case: ElementTree.Element, kind: str, text: str) -> None:
    found = ElementTree.SubElement(case, kind, message=_clean(text).splitlines()[0], type=kind)
    found.text = _clean(text)


def _count(element: ElementTree.Element, suites: Sequence[ElementTree.Element]) -> None:
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
        element.set(name, str(sum(len(list(suite.iter(tag))) for suite in suites)))
    element.set("skipped", "0")


def _clean(text: str) -> str:
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
