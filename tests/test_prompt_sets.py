"""Loaders of published prompt sets on tiny files of the same formats; what is refused, and in which words."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given as sampled
from hypothesis import strategies as st

from glance_bench.errors import MissingData, UsageError
from glance_bench.prompts import (
    Prompt,
    coco,
    dpg,
    geneval,
    hpsv2,
    oneig,
)
from glance_bench.prompts.files import digest, missing
from glance_bench.prompts.order import as_set, spread
from glance_bench.prompts.questions import COLUMNS, item_rows, questions_of
from glance_bench.prompts.sources import SOURCES, Source


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, and an empty cache."""
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("GLANCE_BENCH_DATA", str(data))
    monkeypatch.setenv("GLANCE_BENCH_CACHE", str(tmp_path / "cache"))
    return data


def expect(monkeypatch: pytest.MonkeyPatch, name: str, **changes: object) -> Source:
    """The set's first source with other expectations, so that a tiny file can be the official one."""
    first, *others = SOURCES[name]
    source = dataclasses.replace(first, **changes)  # type: ignore[arg-type]
    monkeypatch.setitem(SOURCES, name, (source, *others))
    return source


def put(folder: Path, file: str, content: str | bytes) -> Path:
    place = folder / file
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content.encode() if isinstance(content, str) else content)
    return place


# --- what the digest and the count say ------------------------------------------------------------------------


def metadata(*prompts: str) -> str:
    entries = ({"tag": "colors", "include": [{"class": "cup", "count": 1}], "prompt": one} for one in prompts)
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def test_other_content_is_refused_with_both_digests_and_counts(folder: Path) -> None:
    place = put(folder, "geneval/evaluation_metadata.jsonl", metadata("a red cup", "a blue cup"))
    found = digest(SOURCES["geneval"][0], place)
    with pytest.raises(UsageError) as error:
        geneval.load()
    line = str(error.value)
    assert "\n" not in line and str(place) in line and f"file:{place}" in line
    assert found[:12] in line and "5c48e0813e81" in line and "2 prompts instead of 553" in line


def test_a_file_saved_with_other_line_ends_is_recognised(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = metadata("a red cup", "a blue cup")
    place = put(folder, "geneval/evaluation_metadata.jsonl", text)
    source = expect(monkeypatch, "geneval", count=2, sha256=digest(SOURCES["geneval"][0], place))
    assert [one.text for one in geneval.load().prompts] == ["a red cup", "a blue cup"]
    for other in ("\ufeff" + text, text.replace("\n", "\r\n"), text.removesuffix("\n")):
        put(folder, source.file, other)
        with pytest.raises(
            UsageError, match="2 prompts as it should have, and only byte order mark or line ends"
        ):
            geneval.load()
    put(folder, source.file, text.replace("red", "tan"))
    with pytest.raises(UsageError) as error:
        geneval.load()
    assert "only byte order mark" not in str(error.value)


def test_a_damaged_official_file_names_the_line_and_that_it_is_not_official(folder: Path) -> None:
    place = put(folder, "geneval/evaluation_metadata.jsonl", metadata("a red cup") + '{"tag": "colors",\n')
    with pytest.raises(UsageError, match=re.escape(f"{place}:2: not JSON")) as error:
        geneval.load()
    assert "the official file has 5c48e0813e81" in str(error.value)


def test_a_count_is_checked_where_no_digest_is_known(folder: Path) -> None:
    for style in hpsv2.STYLES:
        put(folder, f"hpsv2/{style}.json", json.dumps([f"{style} {n}" for n in range(800)]))
    whole = hpsv2.load()
    assert len(whole.prompts) == 3200
    assert [one.id for one in whole.prompts[:5]] == [
        *(f"{style}/00000" for style in hpsv2.STYLES),
        "anime/00001",
    ]
    assert Counter(one.category for one in hpsv2.load(400).prompts) == {style: 100 for style in hpsv2.STYLES}
    back = hpsv2.as_published(whole.prompts)
    assert {name: json.loads(data) for name, data in back.items()} == {
        f"{style}.json": [f"{style} {n}" for n in range(800)] for style in hpsv2.STYLES
    }
    put(folder, "hpsv2/photo.json", json.dumps([f"photo {n}" for n in range(799)]))
    with pytest.raises(UsageError, match="not the official list of hpsv2: 799 prompts instead of 800"):
        hpsv2.load()
    put(folder, "hpsv2/photo.json", json.dumps(["a photo", ""]))
    with pytest.raises(UsageError, match=r"photo\.json:1: item 1 of the array is no prompt"):
        hpsv2.load()


def test_what_is_missing_is_said_with_size_and_command(folder: Path) -> None:
    with pytest.raises(MissingData) as error:
        geneval.load()
    assert str(error.value) == "waits for prompts of geneval (85 kB): glance-bench prefetch geneval"
    for load in (hpsv2.load, coco.load_10k, dpg.load, oneig.load):
        with pytest.raises(MissingData, match=r"^waits for prompts of .*: glance-bench prefetch \S+$"):
            load()
    with pytest.raises(MissingData, match="put coco2014/captions_val2014.json into the folder of --data"):
        coco.load_val2014()
    assert str(missing("dsg")) == "waits for prompts of dsg (1.9 MB): glance-bench prefetch dsg"


def test_a_mistyped_data_folder_is_not_taken_for_missing_prompts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLANCE_BENCH_DATA", str(folder / "no"))
    with pytest.raises(UsageError, match=r"--data: no folder .*no"):
        geneval.load()


def test_a_prefetched_file_is_found_in_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = metadata("a red cup")
    cache = Path(os.environ["GLANCE_BENCH_CACHE"])
    place = put(cache, "prompts/af4902f24d3c/geneval/evaluation_metadata.jsonl", text)
    expect(monkeypatch, "geneval", count=1, sha256=digest(SOURCES["geneval"][0], place))
    assert len(geneval.load().prompts) == 1
    monkeypatch.delenv("GLANCE_BENCH_DATA")
    assert len(geneval.load().prompts) == 1


# --- formats with side files ----------------------------------------------------------------------------------

QUESTIONS = f"""{",".join(COLUMNS)}
vrd1,a cup on a mat,cup,1,0,entity,whole,entity - whole (cup),Is there a cup?
vrd1,a cup on a mat,mat,2,0,entity,whole,entity - whole (mat),Is there a mat?
vrd1,a cup on a mat,on,3,"1,2",relation,spatial,"relation - spatial (cup, mat, on)",Is the cup on the mat?
7,two hats,hats,1,0,other,count,"other - count (hats, ==2)",Are there two hats?
"""


def test_dpg_with_its_questions_from_the_first_row_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "dpg_bench/prompts/vrd1.txt", "a cup on a mat\r\n")
    put(folder, "dpg_bench/prompts/7.txt", " two hats")
    source = expect(monkeypatch, "dpg", count=2, sha256=None)
    bare = {one.id: one for one in dpg.load().prompts}
    assert bare["vrd1"].text == "a cup on a mat" and bare["7"].text == " two hats"
    assert bare["vrd1"].meta == {"source": "vrd"} and bare["7"].meta == {"source": ""}

    table_file = put(folder, "dpg_bench/dpg_bench.csv", QUESTIONS)
    asked = {one.id: one.meta["questions"] for one in dpg.load().prompts}
    assert [(one["id"], one["text"], one["parents"]) for one in asked["vrd1"]] == [
        (1, "Is there a cup?", []),  # row 0, which the official loader loses
        (2, "Is there a mat?", []),
        (3, "Is the cup on the mat?", [1, 2]),
    ]
    assert asked["7"][0]["category"] == "other - count"
    put(folder, "dpg_bench/dpg_bench.csv", QUESTIONS.rpartition("7,two")[0])
    with pytest.raises(UsageError, match=f"{table_file}: has no question on '7'"):
        dpg.load()
    put(folder, f"{source.file}/8.txt", " \n")
    with pytest.raises(UsageError, match=r"8\.txt:1: the prompt is empty"):
        dpg.load()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x,t,k,1,0,e,w,e (k),Is it?\nx,t,k,1,0,e,w,e (k),Is it?\n", ":3: x has question 1 on line 2 too"),
        ("x,t,k,one,0,e,w,e (k),Is it?\n", ":2: proposition_id is 'one'"),
        ("x,t,k,1,0,e,w,e (k), \n", ":2: question 1 of x is empty"),
        ("x,t,k,1,0,e,w,e (k)\n", ":2: has 8 cells where the header has 9"),
    ],
)
def test_a_bad_question_table(folder: Path, row: str, message: str) -> None:
    place = put(folder, "q.csv", QUESTIONS.splitlines()[0] + "\n" + row)
    with pytest.raises(UsageError, match=re.escape(message)):
        for rows in item_rows(place).values():
            questions_of(place, rows)


def test_oneig_with_its_official_side_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = "category,id,prompt_en,type,prompt_length,class\r\n"
    put(
        folder,
        "oneig/OneIG-Bench.csv",
        header
        + 'Text_Rendering,000,"a sign ""Fresh Tea""",NP,short,\r\n'
        + "General_Object,003,a hat and a cup,NP,short,\r\n"
        + "Knowledge_Reasoning,001,why ice floats,NP,short,physics\r\n",
    )
    expect(monkeypatch, "oneig", count=3, sha256=None)
    bare = {one.id: one for one in oneig.load().prompts}
    assert bare["text/000"].wanted_text == ("Fresh Tea",)
    assert bare["reasoning/001"].meta == {
        "oneig_id": "001",
        "set": "reasoning",
        "type": "NP",
        "prompt_length": "short",
        "class": "physics",
    }

    printed = str(["Fresh Tea", 'say "hi"'])
    put(folder, "oneig/text_content.csv", f'id,text_content\n000,"{printed.replace(chr(34), chr(34) * 2)}"\n')
    graph = {"question": '{"1": "A hat?", "2": "A cup?"}', "dependency": '{"1": [0], "2": [1]}'}
    put(folder, "oneig/Q_D/object.json", json.dumps({"003": graph}))
    put(folder, "oneig/gt_answer.json", json.dumps({"001": "Ice is less dense."}))
    full = {one.id: one for one in oneig.load().prompts}
    assert full["text/000"].wanted_text == ("Fresh Tea", 'say "hi"')
    assert full["object/003"].meta["questions"] == [
        {"id": 1, "text": "A hat?", "parents": [], "category": ""},
        {"id": 2, "text": "A cup?", "parents": [1], "category": ""},
    ]
    assert full["reasoning/001"].meta["answer"] == "Ice is less dense."

    put(folder, "oneig/text_content.csv", "id,text_content\n000,Fresh Tea\n")
    with pytest.raises(UsageError, match=r"text_content\.csv:2: expected the printed form of a Python list"):
        oneig.load()
    put(folder, "oneig/text_content.csv", "id,text_content\n009,['x']\n")
    with pytest.raises(UsageError, match="about 'text/009', which is no prompt"):
        oneig.load()
    put(folder, "oneig/text_content.csv", "id,text_content\n")
    put(folder, "oneig/Q_D/object.json", json.dumps({"003": {"question": "no JSON", "dependency": "{}"}}))
    with pytest.raises(UsageError, match=r"object\.json:1: prompt '003' has no usable question"):
        oneig.load()


def test_a_coco_annotation_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expect(monkeypatch, "coco-val2014", count=2)
    tree = {
        "images": [{"id": 9, "file_name": "nine.jpg"}],
        "annotations": [
            {"id": 31, "image_id": 9, "caption": "a cup\n"},
            {"id": 30, "image_id": 9, "caption": "one cup"},
        ],
    }
    put(folder, "coco2014/captions_val2014.json", json.dumps(tree))
    assert [(one.id, one.text, one.meta) for one in coco.load_val2014().prompts] == [
        ("31", "a cup\n", {"image_id": 9, "file_name": "nine.jpg"}),
        ("30", "one cup", {"image_id": 9, "file_name": "nine.jpg"}),
    ]
    for change, message in [
        ({"images": []}, "annotation 0 is of image 9, which is not listed"),
        ({"annotations": [{"id": 1, "image_id": 9}]}, "annotation 0 has no id, image_id and caption"),
        ({"annotations": 3}, "is no COCO annotation file"),
    ]:
        put(folder, "coco2014/captions_val2014.json", json.dumps({**tree, **change}))
        with pytest.raises(UsageError, match=message):
            coco.load_val2014()


def test_the_10k_list_is_whatever_single_list_the_hub_folder_holds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    expect(monkeypatch, "coco-10k", count=3)
    place = folder / "coco2014/t2i-prompts-coco-10k"
    (place / "data").mkdir(parents=True)
    put(place, "README.md", "about")
    with pytest.raises(UsageError, match="expected one list of prompts .* found none"):
        coco.load_10k()
    pq.write_table(pa.table({"prompt": ["a", "b"]}), place / "data/train-00000-of-00002.parquet")
    pq.write_table(pa.table({"prompt": ["c"]}), place / "data/train-00001-of-00002.parquet")
    assert [(one.id, one.text) for one in coco.load_10k().prompts] == [
        ("00000", "a"),
        ("00001", "b"),
        ("00002", "c"),
    ]
    put(place, "more.txt", "d\n")
    with pytest.raises(UsageError, match=r"found train-00000.*, more\.txt"):
        coco.load_10k()


# --- order ----------------------------------------------------------------------------------------------------


def test_spread_is_this_order() -> None:
    prompts = [
        Prompt(f"{kind}{n}", "t", kind)
        for kind, count in (("a", 4), ("b", 2), ("c", 1))
        for n in range(count)
    ]
    # due at: a 1/8 3/8 5/8 7/8, b 1/4 3/4, c 1/2
    assert [one.id for one in spread(prompts)] == ["a0", "b0", "a1", "c0", "a2", "b1", "a3"]


@sampled(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.data())
def test_every_prefix_holds_every_group_in_proportion(sizes: list[int], data: st.DataObject) -> None:
    prompts = [Prompt(f"{kind}/{n}", "t", str(kind)) for kind, size in enumerate(sizes) for n in range(size)]
    ordered = spread(prompts)
    assert sorted(one.id for one in ordered) == sorted(one.id for one in prompts)
    total, cut = sum(sizes), data.draw(st.integers(0, sum(sizes)))
    part = Counter(one.category for one in ordered[:cut])
    for kind, size in enumerate(sizes):
        # Cut at t, every group is rounded to n t +- 1/2; so the cut itself is off by up to half a prompt a group.
        assert abs(part[str(kind)] - cut * size / total) <= 1 / 2 + size / total * len(sizes) / 2 + 1e-9
        own = [one.id for one in ordered if one.category == str(kind)]
        assert own == [f"{kind}/{n}" for n in range(size)]


def test_a_set_refuses_an_id_twice_even_beyond_the_limit() -> None:
    prompts = [Prompt("a", "one", ""), Prompt("b", "two", ""), Prompt("a", "three", "")]
    with pytest.raises(UsageError, match="prompt set 'own' has id 'a' twice"):
        as_set("own", prompts, 1)
