"""The papers' numbers as files: the shipped one against its source, and files that are wrong."""

import os
from pathlib import Path
from typing import Any

import pytest

from glance_bench.errors import UsageError
from glance_bench.exchange.official import official_names
from glance_bench.models.checkpoints import family_geometry
from glance_bench.registry import FAMILIES, METRICS, MODELS, PROMPT_SETS
from glance_bench.resources import data_dir
from glance_bench.samplers.cards import load_card
from glance_bench.suite import TrainedSampler, load_suite
from glance_bench.tables.published import PaperTables, load_paper
from glance_bench.yamlfile import read_yaml

SHARED = Path(os.environ.get("GLANCE_BENCH_SHARED", Path(__file__).parents[2] / "shared"))
FACTS = SHARED / "paper" / "glance-2512.02899v2.yaml"
SHIPPED = data_dir("baselines") / "published" / "tables" / "glance.yaml"
ABLATIONS = ("table 3", "table 4", "table 5", "table 6")


@pytest.fixture(scope="module")
def glance() -> PaperTables:
    return load_paper("glance")


@pytest.mark.skipif(not FACTS.is_file(), reason=f"the facts typed out of the paper are not here: {FACTS}")
def test_every_number_is_the_papers(glance: PaperTables) -> None:
    facts = read_yaml(FACTS)
    assert (glance.paper.id, glance.paper.title) == (facts["paper"]["id"], facts["paper"]["title"])
    compared = 0
    for table in glance.tables:
        source = facts[table.id.replace(" ", "")]
        assert table.columns == list(source["columns"])
        assert [row.label for row in table.rows] == [row["model"] for row in source["rows"]]
        if "better" in source:
            assert [glance.columns[name].better for name in table.columns] == list(source["better"])
        for row, printed in zip(table.rows, source["rows"], strict=True):
            assert row.values == (None if printed["values"] is None else list(printed["values"])), row.label
            compared += len(row.values or [])
            if table.id in ("table 1", "table 2"):
                assert row.nfe == str(printed["nfe"])
                assert (row.family, row.method) == (printed["family"], printed["method"])
            if table.id == "table 2":
                assert row.data == (None if printed["data"] is None else str(printed["data"]))
                assert row.gpu_hours == printed["gpu_hours"]
        suspected = {s["cell"] for s in source.get("suspect", [])}
        assert bool(suspected) is bool(table.suspect)
    assert compared == 13 * 8 + 14 * 5 + 5 * 5 + 3 * 5 + 3 * 5 + 4 * 5 + 4 * 6
    told = " ".join(claim["text"] for claim in facts["claims"])
    for claim in glance.claims:
        for field in ("percent", "less", "times"):
            if (value := getattr(claim, field, None)) is not None:
                assert any(
                    text in told for text in (f"{value:.2f}", f"{value:.1f}", f"{value:.3f}", f"{value:g}x")
                )


def test_rows_are_samplers_that_are_here(glance: PaperTables) -> None:
    for table in glance.tables:
        for row in table.rows:
            if row.card is None:
                continue
            family = MODELS.get(glance.families[row.family].model).family
            assert family in FAMILIES.names()
            assert load_card(row.card).compile(family_geometry(family, 1024)).nfe == row.evaluations, (
                row.label
            )


def test_ablation_rows_are_samplers_of_their_suites(glance: PaperTables) -> None:
    for table in glance.tables:
        assert bool(table.ablation) is (table.id in ABLATIONS)
        if table.ablation:
            suite = load_suite(table.ablation.replace("ablation-", "ablations/"))
            assert suite.name == table.ablation
            like = {s.label: s.like for s in suite.samplers if isinstance(s, TrainedSampler)}
            assert {row.sampler for row in table.rows} == {
                name for name in like if not name.endswith("-tuned")
            }
            for row in table.rows:
                assert row.card in (None, like[str(row.sampler)])


def test_columns_are_measured_by_their_suites(glance: PaperTables) -> None:
    for name, column in glance.columns.items():
        assert column.prompt_set in PROMPT_SETS
        suite = load_suite(str(column.suite))
        assert [use.set for use in suite.prompts] == [column.prompt_set], name
        own = [metric for metric in column.metrics if not metric.endswith("[official]")]
        said = [metric.replace("[judge]", f"[{suite.judge}]") for metric in suite.metrics]
        assert set(own) <= set(said) and all(metric in METRICS for metric in own), name
        assert {metric for metric in column.metrics if metric not in own} <= set(official_names()), name
        assert bool(column.metrics) is not bool(column.mean_of), name
        if column.reference:
            assert column.reference == suite.reference


def test_suspect_cells_are_named(glance: PaperTables) -> None:
    first = glance.tables[0]
    eight = first.row("Glance (FLUX) 8")
    assert eight is not None and first.value(eight, "hpsv2.vqa") == 0.895
    assert "0.795 would fit" in (first.suspicion(eight, "hpsv2.vqa") or "")
    assert first.suspicion(eight, "hpsv2.clip") is None
    uniform = glance.tables[1].row("LoRA (Qwen) uniform")
    assert uniform is not None and all(
        glance.tables[1].suspicion(uniform, c) for c in glance.tables[1].columns
    )


GOOD = """\
paper: {id: x, title: A paper}
families: {flux: {model: flux.1-dev}}
columns:
  a: {title: A, benchmark: B, better: higher, decimals: 1, prompt_set: p, metrics: [m], protocol: q}
  b: {title: A, benchmark: B, better: lower, decimals: 1, prompt_set: p, metrics: [m], protocol: q}
tables:
  - id: table 1
    caption: c
    columns: [a, b]
    rows:
      - {label: one, family: flux, teacher: true, values: [1, 2.5]}
      - {label: two, family: flux, values: [1, null]}
      - {label: three, family: flux, values: null}
claims:
  - {kind: retention, text: t, student: two, teacher: one, column: a, percent: 99}
"""


def write(folder: Path, *changes: tuple[str, str]) -> str:
    text = GOOD
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = folder / "paper.yaml"
    path.write_text(text)
    return str(path)


def test_another_papers_file(tmp_path: Path) -> None:
    paper = load_paper(write(tmp_path))
    assert [row.nfe for row in paper.tables[0].rows] == ["", "", ""]
    assert paper.tables[0].value(paper.tables[0].rows[1], "b") is None


@pytest.mark.parametrize(
    ("before", "after", "line", "message"),
    [
        ("values: [1, 2.5]", "values: [1, 2.5, 3]", 11, "table 1, one: 3 values for 2 columns"),
        ("values: [1, null]", "values: []", 12, "table 1, two: 0 values for 2 columns"),
        ("better: lower", "better: less", 5, "columns.b.better"),
        ("label: two", "label: one", 12, "table 1: row 'one' is listed twice"),
        ("[1, 2.5]", "[1, .nan]", 11, "finite number"),
        ("[1, 2.5]", "[1, .inf]", 11, "finite number"),
        ("[1, 2.5]", "[1, '2.5']", 11, "valid number"),
        ("columns: [a, b]", "columns: [a, c]", 9, "unknown column 'c'"),
        ("columns: [a, b]", "columns: [a, a]", 9, "column 'a' is listed twice"),
        (
            "label: two, family: flux",
            "label: two, family: flax",
            12,
            "unknown family 'flax'; did you mean 'flux'",
        ),
        ("label: two,", "label: two, teacher: true,", 12, "a second teacher of family 'flux'"),
        ("label: two,", "label: two, passes: 3,", 12, "passes"),
        ("label: two,", "label: two, lable: x,", 12, "lable'; did you mean 'label'"),
        ("student: two", "student: too", 15, "unknown row 'too'; did you mean 'two'"),
        ("percent: 99", "percentage: 99", 15, "percentage'; did you mean 'percent'"),
        ("kind: retention", "kind: guess", 15, "retention"),
        (
            "metrics: [m], protocol: q}\n  b",
            "metrics: [m], mean_of: [b], protocol: q}\n  b",
            4,
            "both metrics and",
        ),
        ("{id: x, title: A paper}", "{id: x}", 1, "'paper.title' is required"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(
    tmp_path: Path, before: str, after: str, line: int, message: str
) -> None:
    path = write(tmp_path, (before, after))
    with pytest.raises(UsageError) as caught:
        load_paper(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_key_that_a_merge_brings_has_the_line_of_the_merge(tmp_path: Path) -> None:
    merged = "  a: &a {title: A, benchmark: B, better: high, decimals: 1, prompt_set: p, protocol: q}\n  b: {<<: *a}"
    lines: Any = GOOD.splitlines()
    path = tmp_path / "paper.yaml"
    path.write_text("\n".join([*lines[:3], *merged.splitlines(), *lines[5:]]))
    with pytest.raises(UsageError, match=r"paper\.yaml:[45]: columns\.[ab]\.better"):
        load_paper(str(path))


def test_names_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown paper 'glanse'; did you mean 'glance'"):
        load_paper("glanse")
    with pytest.raises(UsageError, match="No such file"):
        load_paper(str(tmp_path / "none.yaml"))
    (tmp_path / "torn.yaml").write_text("paper: [")
    with pytest.raises(UsageError, match="not YAML"):
        load_paper(str(tmp_path / "torn.yaml"))
