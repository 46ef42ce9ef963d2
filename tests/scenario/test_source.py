from __future__ import annotations

import re
from pathlib import Path

import pytest

from planner.errors import Fault, ScenarioError
from planner.scenario.source import MAXIMUM_BYTES, parse_option, parse_text, read_document


def faults_of(text: str) -> list[Fault]:
    try:
        return parse_text(text, "f.yaml").faults
    except ScenarioError as error:
        return list(error.faults)


def only_fault(text: str) -> Fault:
    faults = faults_of(text)
    assert len(faults) == 1, faults
    return faults[0]


def test_data_and_marks() -> None:
    document = parse_text("a: 1\nb:\n  - x: NO\n  - {y: 12:30}\n", "f.yaml")
    assert document.data == {"a": 1, "b": [{"x": "NO"}, {"y": "12:30"}]}
    assert document.mark(("a",)) == (1, 4)
    assert document.mark(("b", 0, "x")) == (3, 8)
    assert document.mark(("b", 1)) == (4, 5)
    assert document.mark(("b", 1, "y")) == (4, 9)
    assert document.mark(("b", 7, "nowhere")) == (3, 3)


def test_key_places_are_kept_apart_from_value_places() -> None:
    node, _ = parse_text("a:\n  bc:   5\n", "f.yaml").root.follow(("a", "bc"))
    assert (node.place.line, node.place.column) == (2, 9)
    assert (node.head.line, node.head.column) == (2, 3)
    assert node.place.source_line == "  bc:   5"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_editors_count_them(end: str) -> None:
    document = parse_text(f"a: 1{end}b: 2{end}c: 3", "f.yaml")
    assert document.mark(("c",)) == (3, 4)
    assert document.root.follow(("b",))[0].place.source_line == "b: 2"


def test_a_byte_order_mark_is_no_character() -> None:
    assert parse_text("\ufeffa: 1", "f.yaml").data == {"a": 1}


def test_every_repeated_key_is_a_fault_with_both_lines() -> None:
    first, second = faults_of("a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert str(first) == (
        "f.yaml:2:11: key 'c' is already given at line 2; keep one of them\n"
        "     2 | b: {c: 1, c: 2}\n"
        "       |           ^"
    )
    assert (second.line, second.column) == (3, 1)
    assert parse_text("a: 1\na: 3\n", "f.yaml").data == {"a": 1}


def test_anchors_aliases_and_merge_keys() -> None:
    text = "base: &b {x: 1, y: 2}\none: *b\ntwo: {<<: *b, y: 3}\nthree: {<<: [{y: 4}, *b]}\n"
    data = parse_text(text, "f.yaml").data
    assert data == {
        "base": {"x": 1, "y": 2},
        "one": {"x": 1, "y": 2},
        "two": {"x": 1, "y": 3},
        "three": {"x": 1, "y": 4},
    }


def test_a_quoted_merge_key_is_a_key() -> None:
    assert parse_text('{"<<": 1}', "f.yaml").data == {"<<": 1}


def test_the_value_of_an_alias_points_to_its_anchor() -> None:
    document = parse_text("a: &n\n  - 1\nb: *n\n", "f.yaml")
    node, _ = document.root.follow(("b",))
    assert (node.head.line, node.place.line) == (3, 1)
    assert document.mark(("b", 0)) == (2, 5)


@pytest.mark.parametrize(
    ("text", "line", "column", "problem"),
    [
        ("a: *x", 1, 4, "no anchor &x above; define it first"),
        ("a: &ab 1\nb: *ac", 2, 4, "no anchor &ac above; choose one of ab"),
        ("&a [1, *a]", 1, 8, "*a stands inside &a and would never end"),
        ("a: 1\n\tb: 2", 2, 1, "a tab where YAML needs spaces"),
        ("a: b: c", 1, 5, "a second ':' on the line, or wrong indentation"),
        ("a: @x", 1, 4, "character '@' that cannot start any token; put the text in quotes"),
        ("a: [1, 2", 1, 9, "begun at line 1"),
        ("a: 'x", 1, 6, "found unexpected end of stream"),
        ("- a\nb: 1", 2, 1, "begun at line 1"),
        ("a: \x00", 1, 4, "character U+0000 is not allowed in YAML"),
        ("a: x\u2028y", 1, 5, "character U+2028"),
        ("a: x\x1b[0m", 1, 5, "character U+001B"),
        ('a: "\\0"', 1, 4, "an escape stands for a character that text cannot hold"),
        ('a: "\\ud800"', 1, 4, "an escape stands for a character that text cannot hold"),
        ('a: "\\Uffffffff"', 1, 7, "is not YAML"),
        ("a: !!python/object:os.system x", 1, 4, "tag !!python/object:os.system has no meaning"),
        ("a: !foo [x]", 1, 4, "tag !foo has no meaning here"),
        ("a: !!int x", 1, 4, "'x' is not a whole number, as its tag !!int says"),
        ("a: !!bool 1", 1, 4, "'1' is not a truth value"),
        ("1: a", 1, 1, "key '1' is a whole number; put it in quotes"),
        ("true: a", 1, 1, "key 'true' is a truth value"),
        ("~: a", 1, 1, "key '~' is empty"),
        ("? [a]\n: b", 1, 3, "a list or mapping cannot be a key"),
        ("a: {<<: 3}", 1, 5, "<< merges mappings"),
        ("%YAML 1.1\n---\na: 1", 1, 1, "this file says YAML 1.1; scenarios are YAML 1.2"),
        ("a: 1\n---\nb: 1", 2, 1, "a second document starts here"),
        ("a: " + "9" * 5000, 1, 4, "a number of 5000 characters"),
        ("[" * 100, 1, 65, "nested deeper than 64 levels"),
        ("- " * 100, 1, 129, "nested deeper than 64 levels"),
    ],
)
def test_what_is_refused(text: str, line: int, column: int, problem: str) -> None:
    fault = only_fault(text)
    assert problem in fault.message
    assert (fault.line, fault.column) == (line, column)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!!str 12", "12"), ("! 12", "12"), ("'12'", "12"), ('"12"', "12"), ("|\n 12", "12\n"),
        ("!!int '12'", 12), ("!!float 12", 12.0), ("!!null ''", None), ("!!bool 'true'", True),
        ("!!seq [1]", [1]), ("!!map {a: 1}", {"a": 1}), ("%YAML 1.2\n---\n5", 5), ("--- 5\n...", 5),
    ],
)  # fmt: skip
def test_tags_and_styles(text: str, value: object) -> None:
    document = parse_text(text, "f.yaml")
    assert document.data == value.rstrip("\n") if text.startswith("|") else document.data == value
    assert document.faults == []


def test_empty_text_is_nothing() -> None:
    assert parse_text("", "f.yaml").data is None
    assert parse_text("# only a comment\n", "f.yaml").data is None


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    assert "stands for more than 500,000 values" in only_fault("\n".join(lines)).message


def test_endless_nesting_is_refused_at_its_first_levels() -> None:
    only_fault("[" * 1_000_000)


# --- files ---------------------------------------------------------------------------------------


def file_fault(path: Path) -> Fault:
    with pytest.raises(ScenarioError) as caught:
        read_document(str(path))
    (fault,) = caught.value.faults
    return fault


def test_a_missing_file_suggests_a_neighbour(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").touch()
    fault = file_fault(tmp_path / "quikstart.yaml")
    assert fault.message == "no such file; did you mean quickstart.yaml?"
    assert file_fault(tmp_path / "no" / "x.yaml").message == "no such file"


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    assert file_fault(tmp_path).message == "is a folder; name a scenario file in it"


def test_a_path_that_no_system_takes() -> None:
    assert file_fault(Path("a\0b")).message.startswith("cannot be read")


@pytest.mark.parametrize(
    ("raw", "line", "column", "problem"),
    [
        (b"a: 1\nb: caf\xe9\n", 2, 7, "byte 0xe9 is not UTF-8 text; save the file as UTF-8"),
        (b"\xff\xfea\x00", 1, 1, "is UTF-16 text; save it as UTF-8"),
        (b"\x1f\x8b\x08\x00", 1, 2, "byte 0x8b is not UTF-8"),
    ],
)
def test_other_encodings(tmp_path: Path, raw: bytes, line: int, column: int, problem: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(raw)
    fault = file_fault(path)
    assert problem in fault.message
    assert (fault.line, fault.column) == (line, column)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    with path.open("wb") as file:
        file.truncate(1000 * MAXIMUM_BYTES)
    assert "is larger than 4 MiB" in file_fault(path).message


def test_an_option_is_its_own_place() -> None:
    node = parse_option("{a: [1, NO]}", "--set x={a: [1, NO]}")
    assert node.plain() == {"a": [1, "NO"]}
    assert node.follow(("a", 1))[0].place == ("--set x={a: [1, NO]}", 0, 0, "")
    with pytest.raises(ScenarioError, match=re.escape("--set x=[1: expected ',' or ']'")):
        parse_option("[1", "--set x=[1")
