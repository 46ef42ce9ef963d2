"""Terminal, Markdown, annotations, JUnit: what others read, read back by their own rules."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from urllib.parse import unquote

import junitparser
import pytest
from rich.console import Console

from planner.regress.content import to_json
from planner.regress.github import commands
from planner.regress.junit import to_junit
from planner.regress.markdown import LIMIT, TAG, to_markdown
from planner.regress.prose import prose
from planner.regress.row import Mark
from planner.regress.runs import Outcome
from planner.regress.terminal import print_outcomes
from planner.regress.wording import closing, headline
from tests.regress.forecasts import COST, compared, forecast, outcome

WORSE = compared(
    forecast(
        cost_per_hour_usd=120.0, classes__chat__ttft_p99_s=0.8, pools__chat__nodes_at_peak=15,
        slo_attainment_rate=0.998, scenario="other",
    ),
)  # fmt: skip
PRICED = compared(forecast(cost_per_hour_usd=150.0), at_old_prices={COST: 110.0 - 8.0})
ALL = [
    outcome(WORSE),
    outcome(compared(forecast()), "scenarios/quiet.yaml"),
    outcome(None, "scenarios/broken.yaml"),
    outcome(compared(forecast(seed=2)), "scenarios/seed.yaml"),
    outcome(PRICED, "scenarios/priced.yaml"),
]


def terminal(outcomes: list[Outcome]) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_outcomes(outcomes, console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_terminal() -> None:
    assert (
        terminal(ALL[:2])
        == """\
! scenarios/small.yaml
    changed: the scenario
    !  cost per hour        $100.00/h  → $120.00/h     +20.0%  gate 5%
    -  chat: p99 TTFT          1.00 s  → 800 ms        −20.0%
    !  chat: nodes at peak         14  → 15         +1, +7.1%  gate 5% and 1 node
    ~  SLO attainment
= scenarios/quiet.yaml  as its baseline

+ worse  - better  ~ noise  x not comparable  ! failed
Of 2 forecasts, 1 fails its gates; 2 metrics worse, 1 better.
Mend it; or, if it is meant: planner baseline update FILE and commit what it writes, or acknowledge
it under regress.acknowledged with a day and a reason.
"""
    )


def test_the_share_of_prices_is_shown() -> None:
    assert "prices +48.0%, behaviour +2.0%" in terminal([ALL[4]])
    assert headline([ALL[4]]) == "The forecast stays within the gates; 1 moved by prices."


def test_headline_counts_the_worst_first() -> None:
    assert headline(ALL) == (
        "Of 5 forecasts, 1 fails its gates, 1 cannot be simulated, 1 has no comparable baseline; "
        "2 metrics worse, 1 better, 1 moved by prices."
    )


def test_what_could_not_be_compared_is_not_called_the_same() -> None:
    missing = outcome(compared(forecast(seed=2)), "scenarios/seed.yaml")
    assert "as its baseline" not in terminal([missing])
    assert headline([missing]) == ("The forecast has no comparable baseline; nothing was compared.")
    assert headline([missing, ALL[1]]) == (
        "Of 2 forecasts, 1 has no comparable baseline; of what was compared, nothing moved beyond "
        "noise and tolerance."
    )


# --- Markdown ------------------------------------------------------------------------------------


def test_markdown_has_tag_headline_and_changed_metrics_only() -> None:
    text = to_markdown(ALL)
    assert text.startswith(f"{TAG}\n### Cost forecast\n\n**Of 5 forecasts, 1 fails its gates")
    assert "| `!` | cost per hour | $100.00/h | $120.00/h | +20.0% | gate 5% |" in text
    assert "quiet.yaml" not in text
    assert "SLO" not in text  # within noise
    assert "1 without a change beyond noise." in text
    assert text.index("small.yaml") < text.index("priced.yaml")


def test_markdown_against_what_is_not_the_authors_names_no_update() -> None:
    assert closing(ALL) in to_markdown(ALL)
    text = to_markdown(ALL, against="the <target> branch")
    assert "### Cost forecast against the \\<target\\> branch\n" in text
    assert closing(ALL) not in text


def test_markdown_is_cut_below_what_github_takes() -> None:
    many = [outcome(WORSE, f"scenarios/{number}.yaml") for number in range(500)]
    text = to_markdown(many)
    assert len(text) <= LIMIT < 65_536
    left = re.search(r"(\d+) more changed and are left out", text)
    assert left is not None
    assert int(left[1]) + text.count("#### ") == 500


def test_one_large_section_leaves_room_for_the_others() -> None:
    row = next(row for row in WORSE.rows if row.name == COST)
    better = replace(row, mark=Mark.BETTER)
    large = replace(WORSE, rows=(*[better] * 2000, *[row] * 3))
    text = to_markdown([outcome(large, "scenarios/large.yaml"), *ALL])
    assert len(text) <= LIMIT
    assert text.count("#### ") == 5  # the quiet one has none
    left = re.search(r"\nand (\d+) more metrics; the log of the run has them\n", text)
    assert left is not None
    section = text[text.index("large.yaml") : left.start()]
    assert section.count("| `!` |") == 3  # the failed ones are never cut first
    assert section.count("| `-` |") + int(left[1]) == 2000


def test_markdown_of_hostile_names() -> None:
    text = to_markdown([outcome(WORSE, "a|b @everyone <img> [x](y).yaml")])
    assert r"a\|b" in text
    assert r"\<img\> \[x\](y).yaml" in text
    assert "@everyone" not in text


# --- GitHub --------------------------------------------------------------------------------------

COMMAND = re.compile(r"::(error|warning) file=([^,:]*),line=([0-9]+),title=([^,:]*)::(.*)")


def test_annotations_read_back() -> None:
    found = [COMMAND.fullmatch(line) for line in commands(ALL)]
    assert all(found)
    first = found[0]
    assert first is not None
    # percent-encoding is all that GitHub undoes, so `unquote` reads what it reads
    assert [unquote(part) for part in first.groups()] == [
        "error", "scenarios/small.yaml", "1", "forecast of small",
        "cost per hour $100.00/h → $120.00/h (+20.0%); gate 5%\n"
        "chat: nodes at peak 14 → 15 (+1, +7.1%); gate 5% and 1 node",
    ]  # fmt: skip
    assert not any("\n" in line for line in commands(ALL))


# --- JUnit, JSON, prose --------------------------------------------------------------------------


def test_junit_is_read_by_a_parser() -> None:
    text = to_junit(ALL)
    suites = junitparser.JUnitXml.fromstring(text.encode())
    assert (suites.tests, suites.failures, suites.errors) == (14, 2, 2)
    first = next(iter(suites))
    assert (first.name, first.tests, first.failures) == ("scenarios/small.yaml", 4, 2)
    case = next(each for each in first if each.name == COST)
    assert [type(each).__name__ for each in case.result] == ["Failure"]
    assert case.result[0].message == "cost per hour $100.00/h → $120.00/h (+20.0%); gate 5%"


def test_junit_holds_any_text() -> None:
    text = to_junit([outcome(WORSE, "a<b>&\x00\x1b.yaml")])
    assert (
        next(iter(junitparser.JUnitXml.fromstring(text.encode()))).name == "a<b>&\ufffd\ufffd.yaml"
    )


def test_json_has_everything() -> None:
    content = json.loads(to_json(ALL))
    assert (content["verdict"], content["exit_code"]) == ("error", 2)
    row = content["scenarios"][0]["metrics"][COST]
    assert (row["mark"], row["before"], row["after"], row["relative_change"]) == (
        "!",
        100,
        120,
        0.2,
    )


@pytest.mark.parametrize(
    ("comparison", "lines"),
    [
        (
            WORSE,
            [
                "From a to b:",
                "  changed: the scenario",
                "\nWorse:",
                "  cost per hour $100.00/h → $120.00/h (+20.0%); gate 5%",
                "  chat: nodes at peak 14 → 15 (+1, +7.1%); gate 5% and 1 node",
                "\nBetter:",
                "  chat: p99 TTFT 1.00 s → 800 ms (−20.0%)",
                "\nWithin noise and tolerance:",
                "  SLO attainment 99.9% → 99.8% (−0.1 pp)",
            ],
        ),
        (compared(forecast()), ["From a to b:", "  all 4 metrics are the same"]),
    ],
    ids=["worse", "same"],
)
def test_prose(comparison: object, lines: list[str]) -> None:
    assert list(prose("a", "b", comparison)) == lines  # type: ignore[arg-type]
