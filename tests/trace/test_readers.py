"""Every public format, from small files written here: what is read, and what is refused."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from planner.errors import PlannerError, TraceError
from planner.trace import TRACE_ROW, RequestBlock, TraceSource, open_trace
from planner.trace.readers import lines
from planner.trace.readers.rows import integer_ids
from planner.trace.table import Rows, concatenate

AZURE_2023 = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
2023-11-16 18:17:14.0319601,110,27
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-12 00:00:00.001163+00:00,2162,5
2024-05-12 00:00:01+00:00,2399,6
2024-05-12 00:00:02.5+00:00,76,15
"""
BURSTGPT_1 = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,230,1317,API log
118,GPT-4,417,0,417,Conversation log
"""
BURSTGPT_2 = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
19440110.0,1722ac82-0a46-4bf0-aa08-89794e7a2b3f,43,GPT-4,906,446,1352,Conversation log
19440161.0,d5983bf9-4b48-497b-892b-a58995247443,2,ChatGPT,36,29,65,Conversation log
19440192.0,,8,GPT-4,1779,123,1902,API log
19440254.0,1722ac82-0a46-4bf0-aa08-89794e7a2b3f,3,GPT-4,1400,178,1578,Conversation log
"""  # noqa: E501 - the published header
MOONCAKE = """{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}
{"timestamp": 3000, "input_length": 7322, "output_length": 490, "hash_ids": [0, 14]}
{"timestamp": 3000, "input_length": 12, "output_length": 3, "hash_ids": []}
"""
PLANNER = """arrival_s,class,input_tokens,output_tokens,reasoning_tokens,session_id,turn,visitor_id,think_s,hash_ids
0.5,chat,100,20,0,,0,7,,1 2 3
0.75,agent,200,30,10,s-1,0,user-a,,4
,agent,260,30,10,s-1,1,user-a,12.5,4 5
2.0,chat,50,5,0,,0,7,,
"""  # noqa: E501 - a header is one line


def write(folder: Path, text: str | bytes, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(source: TraceSource) -> RequestBlock:
    return concatenate(list(source))


def rows_of(folder: Path, text: str | bytes, **options: object) -> Rows:
    return read(open_trace(write(folder, text), **options)).rows  # type: ignore[arg-type]


def fault(folder: Path, text: str | bytes, name: str = "trace.csv", **options: object) -> str:
    path = write(folder, text, name)
    with pytest.raises(TraceError) as caught:
        read(open_trace(path, **options))  # type: ignore[arg-type]
    message = str(caught.value)
    assert name in message
    return message.replace(f"{folder}/", "")


# --- the formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "name"), [(AZURE_2023, "azure-2023"), (AZURE_2024, "azure-2024")])
def test_azure_is_detected(tmp_path: Path, text: str, name: str) -> None:
    source = open_trace(write(tmp_path, text))
    assert source.format == name
    assert read(source).rows["arrival_s"][0] == 0.0
    assert source.class_names == []


def test_azure_2023_times_have_seven_decimals(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, AZURE_2023)
    assert rows["arrival_s"].tolist() == pytest.approx([0.0, 0.052, 10.0520001], abs=1e-10)
    assert rows["input_tokens"].tolist() == [4808, 3180, 110]
    assert rows["output_tokens"].tolist() == [10, 8, 27]
    assert set(rows["class"].tolist()) == {-1}


def test_azure_2024_times_have_a_zone_and_any_number_of_decimals(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, AZURE_2024)
    assert rows["arrival_s"].tolist() == pytest.approx([0.0, 0.998837, 2.498837], abs=1e-10)


def test_either_azure_reader_reads_either_year(tmp_path: Path) -> None:
    assert len(rows_of(tmp_path, AZURE_2024, format="azure-2023")) == 3


def test_burstgpt_release_1(tmp_path: Path) -> None:
    source = open_trace(write(tmp_path, BURSTGPT_1))
    assert source.format == "burstgpt"
    rows = read(source).rows
    assert rows["arrival_s"].tolist() == [0.0, 40.0, 113.0]
    assert rows["output_tokens"].tolist() == [18, 230, 0]
    names = [source.class_names[i] for i in rows["class"]]
    assert names == ["chatgpt-conversation", "chatgpt-api", "gpt-4-conversation"]
    assert source.notes == ("1 requests failed in the recording (no output); kept as such",)
    assert set(rows["session_id"].tolist()) == {-1}


def test_burstgpt_release_2_has_sessions(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, BURSTGPT_2)
    assert rows["arrival_s"].tolist() == [0.0, 51.0, 82.0, 144.0]
    sessions = rows["session_id"].tolist()
    assert sessions[0] == sessions[3] > 0
    assert sessions[1] not in (sessions[0], -1)
    assert sessions[2] == -1
    assert np.isnan(rows["think_s"]).all()  # every turn has an arrival of its own


def test_mooncake_keeps_hash_ids(tmp_path: Path) -> None:
    source = open_trace(write(tmp_path, MOONCAKE, "m.jsonl"))
    assert source.format == "mooncake"
    block = read(source)
    assert block.rows["arrival_s"].tolist() == [0.0, 3.0, 3.0]
    assert block.hash_ids is not None
    assert block.hash_ids.offsets.tolist() == [0, 3, 5, 5]
    assert block.hash_ids.values.tolist() == [0, 1, 2, 0, 14]
    assert block.hash_ids.block_tokens == 512


def planner_jsonl() -> str:
    return "".join(
        json.dumps(row) + "\n"
        for row in (
            {"arrival_s": 0.5, "class": "chat", "input_tokens": 100, "output_tokens": 20}
            | {"visitor_id": "7", "hash_ids": [1, 2, 3]},
            {"arrival_s": 0.75, "class": "agent", "input_tokens": 200, "output_tokens": 30}
            | {
                "reasoning_tokens": 10,
                "session_id": "s-1",
                "visitor_id": "user-a",
                "hash_ids": [4],
            },
            {"class": "agent", "input_tokens": 260, "output_tokens": 30, "think_s": 12.5}
            | {"reasoning_tokens": 10, "session_id": "s-1", "turn": 1, "visitor_id": "user-a"}
            | {"hash_ids": [4, 5], "something": {"else": True}},
            {"arrival_s": 2, "class": "chat", "input_tokens": 50, "output_tokens": 5}
            | {"visitor_id": "7"},
        )
    )


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "jsonl.gz"])
def test_the_planner_format_reads_the_same_as_csv_and_json(tmp_path: Path, kind: str) -> None:
    text = PLANNER.encode() if kind.startswith("csv") else planner_jsonl().encode()
    data = gzip.compress(text) if kind.endswith("gz") else text
    source = open_trace(write(tmp_path, data, f"t.{kind}"))
    assert source.format == "planner"
    block = read(source)
    rows = block.rows
    assert rows["arrival_s"].tolist()[:2] == [0.5, 0.75]
    assert math.isnan(rows["arrival_s"][2])
    assert rows["arrival_s"][3] == 2.0
    assert rows["think_s"][2] == 12.5
    assert rows["reasoning_tokens"].tolist() == [0, 10, 10, 0]
    assert rows["turn"].tolist() == [0, 0, 1, 0]
    assert rows["session_id"][1] == rows["session_id"][2] > 0
    assert rows["visitor_id"].tolist()[::3] == [7, 7]
    assert rows["visitor_id"][1] == rows["visitor_id"][2] > 7
    assert list(source.class_names) == ["chat", "agent"]
    assert rows["class"].tolist() == [0, 1, 1, 0]
    assert block.hash_ids is not None
    assert block.hash_ids.values.tolist() == [1, 2, 3, 4, 4, 5]
    assert block.hash_ids.offsets.tolist() == [0, 3, 4, 6, 6]


def test_turns_are_counted_where_the_column_is_missing(tmp_path: Path) -> None:
    text = "arrival_s,input_tokens,output_tokens,session_id,think_s\n0,1,1,5,\n,2,1,5,3\n,3,1,5,3\n"
    rows = rows_of(tmp_path, text + "1,1,1,6,\n,2,1,6,1\n")
    assert rows["turn"].tolist() == [0, 1, 2, 0, 1]
    assert rows["session_id"].tolist() == [5, 5, 5, 6, 6]


def test_optional_columns_may_be_missing_and_others_are_ignored(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "note,output_tokens,arrival_s,input_tokens\nhello,1,0.5,2\n")
    assert rows.tolist()[0][4:7] == (2, 1, 0)
    assert rows["session_id"][0] == rows["visitor_id"][0] == rows["class"][0] == -1


@pytest.mark.parametrize(
    "text",
    [
        PLANNER.replace("\n", "\r\n"),
        "\ufeff" + PLANNER,
        "\n\n" + PLANNER + "\n\n",
        PLANNER.rstrip("\n"),
        PLANNER.replace("arrival_s,class", '"arrival_s", class'),
        PLANNER.replace(",chat,", ',"chat",'),
    ],
    ids=["crlf", "byte order mark", "empty lines", "no last newline", "spaces", "quotes"],
)
def test_harmless_varieties_of_csv(tmp_path: Path, text: str) -> None:
    expected = rows_of(tmp_path, PLANNER)
    assert rows_of(tmp_path, text).tobytes() == expected.tobytes()


# --- classes -------------------------------------------------------------------------------------


def test_given_class_names_fix_the_indices(tmp_path: Path) -> None:
    source = open_trace(write(tmp_path, PLANNER), class_names=("other", "agent"))
    assert read(source).rows["class"].tolist() == [-1, 1, 1, -1]
    assert list(source.class_names) == ["other", "agent"]
    assert source.unmatched_classes == {"chat": 2}


def test_ids_are_numbers_or_stable_hashes() -> None:
    import pyarrow as pa

    ids = integer_ids(pa.array(["12", "user-a", None, "user-a", "007", "99999999999999999999"]))
    assert ids[0] == 12
    assert ids[1] == ids[3] == 3493891183875615156  # the same in every process
    assert ids[2] == -1
    assert ids[4] == 7
    assert ids[5] > 0
    assert integer_ids(pa.array([5, None])).tolist() == [5, -1]


# --- faults --------------------------------------------------------------------------------------

HEADER = "arrival_s,input_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x,1,1", "arrival_s: 'x' is not a number"),
        (",1,1", "arrival_s: is missing"),
        ("nan,1,1", "arrival_s: is missing or not a number"),
        ("-1,1,1", "arrival_s: -1 is negative"),
        (
            "1715472000,1,1",
            "arrival_s: 1715472000 is beyond 31 years; give seconds since the start",
        ),
        ("inf,1,1", "arrival_s: inf is beyond 31 years"),
        ("1,-5,1", "input_tokens: -5 is negative"),
        ("1,,1", "input_tokens: is missing"),
        ("1,NaN,1", "input_tokens: is missing or not a number"),
        ("1,1.5,1", "input_tokens: 1.5 is not a whole number"),
        ("1,10000001,1", "input_tokens: 10000001 is above the limit of 10,000,000"),
        ("1,1,inf", "output_tokens: inf is above the limit"),
        ("1,1,-inf", "output_tokens: -inf is negative"),
        ("1,1,ten", "output_tokens: 'ten' is not a number"),
        ("0.1,1,1", "arrival_s: 0.1 is earlier than a row before it; sort the file first"),
        ("1,1", "2 fields where the header has 3"),
        ("1,1,1,1", "4 fields where the header has 3"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, row: str, message: str) -> None:
    text = HEADER + "0.5,1,1\n\n" + row + "\n2000,1,1\n"
    assert fault(tmp_path, text).startswith(f"trace.csv:4: {message}")


def test_all_faults_are_named_at_once_in_order_and_the_rest_counted(tmp_path: Path) -> None:
    bad = "".join(f"{i},-1,2\n" for i in range(20)) + "30,1,x\n"
    text = fault(tmp_path, HEADER + "0,x,1\n" + bad)
    shown = text.splitlines()
    assert [line.split(":")[1] for line in shown[:10]] == [str(n) for n in range(2, 12)]
    assert shown[10] == "… and 12 more faults up to line 23"


def test_a_fault_in_a_later_chunk_has_the_right_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines.line_chunks, "__defaults__", (64,))
    good = "".join(f"{i},1,1\n" for i in range(1000))
    assert "trace.csv:1002: input_tokens" in fault(tmp_path, HEADER + good + "1000,x,1\n")
    assert "trace.csv:1002: arrival_s: 998 is earlier" in fault(
        tmp_path, HEADER + good + "998,1,1\n"
    )
    assert len(rows_of(tmp_path, HEADER + good)) == 1000


def test_chains_and_order_hold_across_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines.line_chunks, "__defaults__", (32,))
    turns = "".join(f",{10 + i},1,77,2.5\n" for i in range(1, 40))
    text = "arrival_s,input_tokens,output_tokens,session_id,think_s\n0.5,10,1,77,\n" + turns
    rows = rows_of(tmp_path, text + "1,1,1,78,\n", block_rows=3)
    assert rows["turn"].tolist() == [*range(40), 0]


def test_prefix_ids_are_whole_numbers(tmp_path: Path) -> None:
    header = "arrival_s,input_tokens,output_tokens,hash_ids\n"
    assert "trace.csv:3: hash_ids: must be whole numbers" in fault(
        tmp_path, header + "0,1,1,1 2\n1,1,1,3 x\n"
    )
    block = read(open_trace(write(tmp_path, header + "0,1,1, 1  2 \n1,1,1,\n2,1,1,7\n")))
    assert block.hash_ids is not None
    assert block.hash_ids.values.tolist() == [1, 2, 7]
    assert block.hash_ids.offsets.tolist() == [0, 2, 2, 3]


def test_minus_one_is_no_id_and_other_negative_numbers_are_faults(tmp_path: Path) -> None:
    header = "arrival_s,input_tokens,output_tokens,session_id,visitor_id\n"
    rows = rows_of(tmp_path, header + "0,1,1,-1,-1\n1,1,1,-1,5\n")
    assert rows["session_id"].tolist() == [-1, -1]
    assert rows["visitor_id"].tolist() == [-1, 5]
    row = '{"arrival_s": 0, "input_tokens": 1, "output_tokens": 1, "session_id": -4}\n'
    assert "1: session_id: -4 is a negative id" in fault(tmp_path, row, "t.jsonl")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (",5,1,9,3\n", "2: session_id: 9 has a later turn (with think_s) that does not stand"),
        ("0,5,1,,\n,5,1,,3\n", "3: session_id: -1 has a later turn"),
        ("0,5,1,1,\n1,5,1,2,\n,5,1,1,3\n", "4: session_id: 1 has a later turn"),
        ("0,5,1,1,\n2,5,1,1,3\n", "3: arrival_s: 2 stands beside think_s"),
        ("0,5,1,1,\n,5,1,1,-3\n", "3: think_s: -3 must be a pause of at least 0 seconds"),
        ("0,5,1,1,\n,5,1,1,inf\n", "3: think_s: inf must be a pause"),
    ],
)
def test_later_turns_stand_behind_their_session(tmp_path: Path, rows: str, message: str) -> None:
    header = "arrival_s,input_tokens,output_tokens,session_id,think_s\n"
    assert message in fault(tmp_path, header + rows)


def test_reasoning_is_part_of_the_output(tmp_path: Path) -> None:
    text = "arrival_s,input_tokens,output_tokens,reasoning_tokens\n0,1,5,6\n"
    assert "2: reasoning_tokens: 6 exceeds the output tokens" in fault(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n\r\n", "is empty"),
        (HEADER, "has a header and no requests"),
        ("arival_s,input_tokens,output_tokens\n1,1,1\n", "did you mean arrival_s"),
        ("a;b;c\n1;2;3\n", "no known trace format"),
        ("arrival_s,arrival_s,input_tokens,output_tokens\n1,1,1,1\n", "stands twice"),
        (b"arrival_s,input_tokens,output_tokens\n1,1,1\n1,\xff,1\n", "3: byte 0xff is not UTF-8"),
        (b"arrival_s,input_tokens,output_tokens\n1,1,1\n1,\x00,1\n", "3: input_tokens: '\\x00'"),
    ],
)
def test_files_that_are_no_trace(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert message in fault(tmp_path, text)


def test_a_wrong_format_names_the_missing_column(tmp_path: Path) -> None:
    text = fault(tmp_path, PLANNER, format="burstgpt")
    assert "trace.csv:1: column 'Timestamp', 'Model'" in text
    assert "the header has arrival_s, class" in text
    message = fault(tmp_path, PLANNER, format="azure-203")
    assert "unknown trace format 'azure-203'; did you mean azure-2023?" in message


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"nothing\.csv: no such trace"):
        open_trace(tmp_path / "nothing.csv")
    with pytest.raises(TraceError, match="is a folder without ServeGen files"):
        open_trace(tmp_path)
    with pytest.raises(TraceError, match="is a folder; only ServeGen"):
        read(open_trace(tmp_path, "mooncake"))


def test_truncated_and_damaged_gzip(tmp_path: Path) -> None:
    text = HEADER + "".join(f"{i},{i * 7919 % 1000},1\n" for i in range(20_000))
    data = gzip.compress(text.encode())
    message = fault(tmp_path, data[: len(data) // 2], "t.csv.gz")
    assert "the gzip stream ends too early (after about line" in message
    assert "fetch or write it again" in message
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 0xFF
    assert "gzip" in fault(tmp_path, bytes(damaged), "t.csv.gz")
    assert "ends too early" in fault(tmp_path, data[:15], "t.csv.gz")


def test_a_file_without_line_breaks_is_not_swallowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE_BYTES", 1000)
    monkeypatch.setattr(lines.line_chunks, "__defaults__", (256,))
    text = HEADER + "0,1,1\n" + "7" * 5000
    assert "trace.csv:3: line of more than 4 MiB" in fault(tmp_path, text, format="planner")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is not JSON"),
        ("[1, 2]", "is not a JSON object but '[1, 2]'"),
        ('{"timestamp": 9, "input_length": 5}', "output_length: is missing"),
        (
            '{"timestamp": "a", "input_length": 5, "output_length": 1}',
            "must be a number, found 'a'",
        ),
        ('{"timestamp": 9, "input_length": true, "output_length": 1}', "must be a number, found"),
        (
            '{"timestamp": 9, "input_length": -5, "output_length": 1}',
            "input_length: -5 is negative",
        ),
        (
            '{"timestamp": 9, "input_length": 5, "output_length": 1, "hash_ids": 3}',
            "must be a list",
        ),
        ("[" * 100_000, "too deeply nested"),
        (
            '{"timestamp": -9, "input_length": 5, "output_length": 1}',
            "timestamp: -0.009 is negative",
        ),
    ],
)
def test_faults_of_json_lines(tmp_path: Path, line: str, message: str) -> None:
    text = fault(tmp_path, MOONCAKE + line + "\n", "m.jsonl", format="mooncake")
    assert text.startswith("m.jsonl:4: ")
    assert message in text


def test_mixed_kinds_of_ids_in_json(tmp_path: Path) -> None:
    row = '{"arrival_s": 0, "input_tokens": 1, "output_tokens": 1, "session_id": %s}\n'
    assert (
        read(open_trace(write(tmp_path, row % 5 + row % 6, "t.jsonl"))).rows["session_id"][1] == 6
    )
    assert "t.jsonl" in fault(tmp_path, row % 5 + row % '"a"', "t.jsonl")
    assert "must be whole numbers or text" in fault(tmp_path, row % 0.5, "t.jsonl")


def test_times_that_do_not_fit_the_rest_of_the_file(tmp_path: Path) -> None:
    text = fault(tmp_path, AZURE_2024 + "yesterday,1,1\n")
    assert text.startswith("trace.csv:5: TIMESTAMP: 'yesterday' is not a time")
    assert "+00:00" in text
    text = fault(tmp_path, AZURE_2023 + "2023-11-16 18:17:20+00:00,1,1\n")
    assert "trace.csv:5: TIMESTAMP" in text
    assert "TIMESTAMP: is missing" in fault(tmp_path, AZURE_2023 + ",1,1\n")
    assert "3: TIMESTAMP: is missing" in fault(
        tmp_path, AZURE_2023.replace("2023-11-16 18:17:04.0319600", "")
    )


def test_azure_out_of_order_names_line_and_remedy(tmp_path: Path) -> None:
    text = fault(tmp_path, AZURE_2023 + "2023-11-16 18:17:04.0,1,1\n")
    assert text.startswith("trace.csv:5: TIMESTAMP: ")
    assert "is earlier than a row before it" in text
    assert "--sort" in text


def test_parquet_faults(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def saved(**columns: object) -> Path:
        path = tmp_path / "t.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    good = saved(arrival_s=[0.0, 1.0], input_tokens=[5, 6], output_tokens=[1, 2])
    assert read(open_trace(good)).rows["input_tokens"].tolist() == [5, 6]
    with pytest.raises(TraceError, match="column output_tokens not found"):
        read(open_trace(saved(arrival_s=[0.0], input_tokens=[5])))
    with pytest.raises(TraceError, match=r"t\.parquet:row 2: input_tokens: -6 is negative"):
        read(open_trace(saved(arrival_s=[0.0, 1.0], input_tokens=[5, -6], output_tokens=[1, 2])))
    empty, times = pa.array([], pa.float64()), pa.array([0], pa.timestamp("s"))
    with pytest.raises(TraceError, match="has no rows"):
        read(open_trace(saved(arrival_s=empty, input_tokens=empty, output_tokens=empty)))
    with pytest.raises(TraceError, match="column arrival_s holds timestamp"):
        read(open_trace(saved(arrival_s=times, input_tokens=[1], output_tokens=[1])))
    good.write_bytes(good.read_bytes()[:-20])
    with pytest.raises(TraceError, match="cannot be read as Parquet"):
        read(open_trace(good))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
@example(b"0\r0")
@example(b'"')
@example(b"PAR1")
@example(b"\x1f\x8b")
@example(b'{"timestamp"')
def test_garbage_is_refused_politely(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("garbage") / "t.csv"
    path.write_bytes(data)
    for name in ("auto", "planner", "mooncake", "azure-2024"):
        with pytest.raises(PlannerError, match="t\\.csv"):
            read(open_trace(path, name))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.text("0123456789.-+einfa \",'x\x00é", max_size=6)] * 3),
        min_size=1,
        max_size=5,
    )
)
def test_hostile_cells_are_read_or_refused_with_their_line(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.mktemp("hostile") / "t.csv"
    path.write_text(HEADER + "".join(",".join(row) + "\n" for row in cells), encoding="utf-8")
    rows, message = np.zeros(0, TRACE_ROW), "t.csv"
    try:
        rows = read(open_trace(path, "planner")).rows
    except TraceError as error:
        message = str(error)
    assert "t.csv" in message
    assert np.all(rows["input_tokens"] >= 0)
    assert np.isfinite(rows["arrival_s"]).all()
    assert np.all(np.diff(rows["arrival_s"]) >= 0)


def test_a_truncated_gzip_file_is_reported_with_the_line_reached(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i % 977 + 1},{i % 499 + 1}\n" for i in range(100_000))
    data = gzip.compress(f"arrival_s,input_tokens,output_tokens\n{rows}".encode())
    path = write(tmp_path, data[: len(data) // 2], "trace.csv.gz")
    with pytest.raises(TraceError, match="ends too early") as caught:
        read(open_trace(path))
    line = int(str(caught.value).partition("after about line ")[2].partition(")")[0])
    assert 30_000 < line < 70_000


def test_digits_grouped_by_underscores_are_no_number(tmp_path: Path) -> None:
    text = "arrival_s,input_tokens,output_tokens\n0,1_000,1\n"
    assert "trace.csv:2: input_tokens: '1_000' is not a number" in fault(tmp_path, text)


def test_what_is_only_named_parquet_is_no_parquet(tmp_path: Path) -> None:
    assert "trace.parquet: is not a Parquet file" in fault(tmp_path, PLANNER, "trace.parquet")
