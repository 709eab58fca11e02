"""Lists of prompts named by their path, good and bad: every complaint is one line that names file and line."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as sampled
from hypothesis import strategies as st

from glance_bench.errors import UsageError
from glance_bench.prompts import listed
from glance_bench.prompts.reading import LONGEST, lines_of, rows_of, strings_in
from glance_bench.prompts.tables import table_bytes
from glance_bench.registry import PROMPT_SETS

SHARED = Path(os.environ.get("GLANCE_BENCH_SHARED", Path(__file__).parents[2] / "shared")) / "data"


def put(folder: Path, name: str, content: str | bytes) -> Path:
    place = folder / name
    place.write_bytes(content.encode() if isinstance(content, str) else content)
    return place


def texts(place: Path | str) -> list[tuple[str, str]]:
    return [(one.id, one.text) for one in listed.load(str(place)).prompts]


def complaint(place: Path | str) -> str:
    with pytest.raises(UsageError) as error:
        listed.load(str(place))
    line = str(error.value)
    assert "\n" not in line and str(place).partition("#")[0] in line
    return line


# --- good files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"one\ntwo", b"one\r\ntwo\r\n", b"\xef\xbb\xbfone\ntwo\n", b"one\rtwo"])
def test_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path, content: bytes) -> None:
    assert texts(put(tmp_path, "list.txt", content)) == [("1", "one"), ("2", "two")]


def test_a_text_list_keeps_spaces_and_skips_blank_lines(tmp_path: Path) -> None:
    place = put(tmp_path, "list.txt", " a cup \n\n  \nform\x0cfeed\u2028here\n\n")
    assert texts(place) == [("1", " a cup "), ("4", "form\x0cfeed\u2028here")]


@pytest.mark.parametrize("name", ["Prompt", "caption", "TEXT"])
def test_the_column_is_found(tmp_path: Path, name: str) -> None:
    place = put(tmp_path, "list.csv", f'n,{name}\n1,"a cup, red"\n2,"two\nlines"\n3,"a ""sign"""\n')
    assert texts(place) == [("2", "a cup, red"), ("3", "two\nlines"), ("5", 'a "sign"')]


def test_ids_categories_and_other_columns(tmp_path: Path) -> None:
    place = put(tmp_path, "list.tsv", "id\tprompt\ttext\tcategory\nx7\ta cup\tFRESH\tcups\n")
    (one,) = listed.load(str(place)).prompts
    assert (one.id, one.text, one.category, one.meta) == ("x7", "a cup", "cups", {"text": "FRESH"})
    rows = [
        {
            "id": 3,
            "prompt": "a sign",
            "wanted_text": ["OPEN", "24 h"],
            "tag": "colors",
            "include": [{"count": 1}],
        }
    ]
    (one,) = listed.load(str(put(tmp_path, "list.jsonl", json.dumps(rows[0])))).prompts
    assert (one.id, one.wanted_text) == ("3", ("OPEN", "24 h"))
    assert one.meta == {"tag": "colors", "include": [{"count": 1}]}


def test_a_column_named_in_the_path(tmp_path: Path) -> None:
    place = put(tmp_path, "list.csv", "prompt,de\na cup,eine Tasse\n")
    assert texts(f"{place}#column=de") == [("2", "eine Tasse")]
    assert "no column 'dee'; did you mean 'de'?" in complaint(f"{place}#column=dee")
    assert "after # only column=NAME" in complaint(f"{place}#row=3")


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = tmp_path / "list.parquet"
    pq.write_table(pa.table({"caption": ["a", "b"], "image": [b"\x89", b"\x89"], "n": [4, 5]}), place)
    whole = listed.load(str(place))
    assert [(one.id, one.text, one.meta) for one in whole.prompts] == [
        ("1", "a", {"n": 4}),
        ("2", "b", {"n": 5}),
    ]
    assert "not a Parquet file" in complaint(put(tmp_path, "bad.parquet", b"PAR1 no"))


def test_the_limit_takes_the_first_and_the_name_is_the_path(tmp_path: Path) -> None:
    place = put(tmp_path, "list.txt", "a\nb\nc\n")
    load = PROMPT_SETS.get(f"file:{place}")
    assert load(2).prompts == load(None).prompts[:2]
    assert load(None).name == f"file:{place}" and load(2).revision != load(None).revision


def test_an_own_list_in_the_format_of_a_benchmark(tmp_path: Path) -> None:
    entry = {
        "tag": "colors",
        "include": [{"class": "cup", "count": 1, "color": "red"}],
        "prompt": "one cup, red",
    }
    (one,) = listed.load(str(put(tmp_path, "long.jsonl", json.dumps(entry) + "\n"))).prompts
    assert one.meta["include"][0]["color"] == "red" and one.meta["tag"] == "colors"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published files are not at hand")
@pytest.mark.parametrize(
    ("file", "count"),
    [
        ("hpsv2/sample_hpsv2.jsonl", 400),
        ("hpsv2/hps_v2_all.txt", 750),
        ("flow_grpo_ocr/test.txt", 1018),
        ("geneval/evaluation_metadata.jsonl", 553),
        ("drawbench/drawbench.csv#column=Prompts", 200),
        ("longtext_bench/text_prompts.jsonl", 160),
    ],
)
def test_published_lists_by_their_paths(file: str, count: int) -> None:
    assert len(listed.load(str(SHARED / file)).prompts) == count


# --- bad files ------------------------------------------------------------------------------------------------

LONG = "x" * (LONGEST + 1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "n,words\n1,a\n",
            ":2: has no column 'prompt', 'caption' or 'text' but 'n', 'words'; name one",
        ),
        ("a.csv", "id,prompt\n1,a\n2,b\n1,c\n", ":4: id '1' is taken by line 2"),
        ("a.csv", "id,prompt\n,a\n", ":2: id is ''; expected text or a whole number"),
        ("a.csv", "id,prompt\n1,a\n2, \n", ":3: the prompt is empty"),
        ("a.csv", "id,prompt\n1,a\n2\n", ":3: has 1 cells where the header has 2"),
        ("a.csv", "prompt,prompt\na,b\n", ":1: has column 'prompt' twice"),
        ("a.csv", 'prompt\nfine\n"open\n', ":3: not a table of cells: unexpected end of data"),
        ("a.csv", 'prompt\n"Open" sign\n', ":2: not a table of cells: ',' expected after '\"'"),
        ("a.csv", "", ":1: is empty; a table begins with the names of its columns"),
        ("a.csv", "prompt\n", ": has no prompts"),
        ("a.txt", "\n \n", ": has no prompts"),
        ("a.txt", f"a\n{LONG}\n", f":2: the prompt has {LONGEST + 1:,} characters; at most {LONGEST:,}"),
        ("a.csv", f"prompt\n{'y' * 140_000}\n", ":2: not a table of cells: field larger than field limit"),
        (
            "a.txt",
            "a\n['one', 'two']\n",
            ":2: the prompt is the printed form of a Python list of 2; write one prompt",
        ),
        (
            "a.csv",
            "caption\n\"['one', 'two']\"\n",
            ":2: the prompt is the printed form of a Python list of 2",
        ),
        ("a.txt", b"a\nb\ncaf\xe9\n", ":3: is not UTF-8 text (byte 0xe9)"),
        ("a.csv", "prompt\nä\n".encode("utf-16"), ":1: is not UTF-8 text (it begins like UTF-16)"),
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": \n', ":2: not JSON: Expecting value at column 12"),
        ("a.jsonl", '{"prompt": "a"}\n["b"]\n', ":2: is a JSON array; each line must be an object"),
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": ["b"]}\n', ":2: the prompt is a JSON array, not text"),
        ("a.jsonl", '{"prompt": "a", "id": true}\n', ":1: id is True"),
        ("a.jsonl", '{"prompt": "a", "n": NaN}\n', ":1: not JSON: NaN is not JSON"),
        ("a.jsonl", '{"prompt": "a", "wanted_text": "b"}\n', ":1: wanted_text must be a list of strings"),
        ("a.jsonl", '{"prompt": "\\ud800"}\n', ":1: the prompt has half of a surrogate pair"),
        ("a.jsonl", "[" * 100_000, ":1: not JSON"),
        ("a.docx", "a", ": prompts are read from .txt, .csv, .tsv, .jsonl, .parquet"),
    ],
)
def test_bad_input(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    place = put(tmp_path, name, content)
    assert message in complaint(place).removeprefix(str(place))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in complaint(tmp_path / "no.txt")


def test_the_longest_prompt_passes(tmp_path: Path) -> None:
    assert len(texts(put(tmp_path, "a.txt", LONG[1:]))[0][1]) == LONGEST
    assert len(texts(put(tmp_path, "a.csv", f"prompt\n{LONG[1:]}\n"))[0][1]) == LONGEST


def test_brackets_alone_are_no_list(tmp_path: Path) -> None:
    fine = ["[cat] on a mat", "[a, b]", "['open", "[1, 2", "a ['cup']"]
    assert [text for _, text in texts(put(tmp_path, "a.txt", "\n".join(fine)))] == fine


def test_printed_lists_are_read_without_running_anything(tmp_path: Path) -> None:
    place = tmp_path / "a.csv"
    assert strings_in("['it\\'s', \"two\"]", place, 3) == ("it's", "two")
    for value in ("[__import__('os')]", "['a', 2]", "plain", "[" * 5000 + "]" * 5000):
        with pytest.raises(UsageError, match=re.escape(f"{place}:3: expected the printed form")):
            strings_in(value, place, 3)


# --- against the standard library -----------------------------------------------------------------------------

WORDS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\r\x00"), min_size=1, max_size=12
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@sampled(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6), st.sampled_from([",", "\t"]))
def test_tables_read_as_the_csv_module_reads_them(
    tmp_path: Path, rows: list[tuple[str, str]], delimiter: str
) -> None:
    data = table_bytes(("a", "b"), [{"a": a, "b": b} for a, b in rows], delimiter)
    theirs = list(csv.DictReader(io.StringIO(data.decode(), newline=""), delimiter=delimiter))
    ours = [row for _, row in rows_of(put(tmp_path, "t.csv", data), ("a", "b"), delimiter)]
    assert ours == [row for row in theirs if any(cell.strip() for cell in row.values())]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@sampled(st.lists(WORDS.map(lambda text: text.replace("\n", " ")), min_size=1, max_size=6))
def test_lines_keep_their_numbers_and_their_text(tmp_path: Path, rows: list[str]) -> None:
    rows[0] = "x" + rows[0]  # a first character that is a byte order mark is one
    for end in ("\n", "\r\n"):
        found = list(lines_of(put(tmp_path, "t.txt", end.join(rows))))
        assert found == [(number, row) for number, row in enumerate(rows, 1) if row.strip()]
