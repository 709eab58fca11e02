"""Filled tables as Markdown, LaTeX, CSV, HTML, JSON and as a figure; names that are out to break them."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from glance_bench.errors import UsageError
from glance_bench.tables.figure import draw, figure_format
from glance_bench.tables.fill import fill
from glance_bench.tables.filled import Filled
from glance_bench.tables.flat import as_csv, document
from glance_bench.tables.published import PaperTables, load_paper
from glance_bench.tables.render import FORMATS, text
from glance_bench.tables.sections import sections
from glance_bench.tables.sheets import TESTBED
from tests.tables_fixtures import Lacking, column, make_evidence, make_paper, row, table

HOSTILE = (
    "=1+1 | <script>alert(1)</script> $x$ \\input{/etc/passwd} %_#&~^{} \u202e\x1b[31m [a](b) \u4e2d `c` *d*"
)
pytestmark = pytest.mark.filterwarnings("ignore:Glyph .* missing from font")  # of the figure
TEX = next((tool for tool in ("pdflatex", "tectonic") if shutil.which(tool)), None)


LACKING = Lacking("no weights", f"waits for {HOSTILE}")


def paper_of(label: str = "s") -> PaperTables:
    rows = [
        row("t", [27.8, 0.5], teacher=True, steps=50, passes=2, card="teacher-50"),
        row(label, [34.2, 0.45], steps=8, card="glance-8", method=label, data=label),
        row("none", None, steps=8, card="x"),
    ]
    columns = {"fid": column(title="FID", better="lower", decimals=1, metrics=["fid"]), "a": column()}
    made = table("table 1", rows, ["fid", "a"], caption=label)
    suspect = [{"row": label, "column": "a", "why": f"looks wrong {label}"}]
    claims = [
        {"kind": "retention", "text": label, "student": label, "teacher": "t", "column": "a", "percent": 90}
    ]
    return make_paper(
        rows, columns=columns, tables=[made | {"figure": True, "suspect": suspect}], claims=claims,
        paper={"id": label, "title": label},
    )  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """A hostile paper, a run of its model without FID and a run of the testbed."""
    folder = tmp_path_factory.mktemp("runs")
    values = {"teacher-50": {"clip": [0.4, 0.5, 0.7]}, "glance-8": {"clip": [0.3, 0.5, 0.6]}}
    real = make_evidence(folder / "a", values, name=HOSTILE)
    own = make_evidence(folder / "b", values, name="quickstart", testbed=True, model="testbed-flux")
    return fill(paper_of(HOSTILE), [real, own], LACKING)


def test_markdown_tables_are_whole(filled: Filled) -> None:
    shown = text(filled, "md")
    tables = [line for line in shown.splitlines() if line.startswith("| ")]
    for group in re.findall(r"(?:^\|.*\n)+", shown, re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in group.splitlines()}
        assert len(widths) == 1
    assert len(tables) > 15
    assert "<script" not in shown and "\x1b" not in shown and "\u202e" not in shown
    assert "| printed | 34.2 | 0.450 † |" in shown
    assert re.search(r"\| measured \| no weights \| 0\.4667 \[0\.3\d+, 0\.6\d*\] n=3 \|", shown)
    assert re.search(r"\| delta \|  \| \+0\.0167 \[-0\.1\d+, \+0\.1\d*\] \|", shown)
    assert "printed nowhere" in shown


def test_the_testbed_never_stands_in_the_papers_section(filled: Filled) -> None:
    for format in ("md", "html"):
        shown = text(filled, format)  # type: ignore[arg-type]
        before, after = shown.rsplit(TESTBED, 1)
        assert "testbed-flux" not in before and "testbed-flux" in after
    lines = list(csv.DictReader(io.StringIO(as_csv(filled))))
    assert {line["section"] for line in lines} == {"paper", "testbed"}
    for line in lines:
        assert (line["model"] == "testbed-flux") is (line["section"] == "testbed")
        assert not (line["section"] == "testbed" and line["printed"])


def test_csv_has_a_line_a_cell(filled: Filled) -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(filled))))
    paper = [line for line in lines if line["section"] == "paper"]
    assert len(paper) == 6 and len(lines) == 6 + 2
    clip = next(line for line in paper if line["column"] == "a" and line["sampler"] == "glance-8")
    assert (
        float(clip["measured"]) == pytest.approx(1.4 / 3) and clip["n"] == "3" and clip["printed"] == "0.45"
    )
    assert float(clip["kept"]) == pytest.approx(1.4 / 1.6)
    fid = next(line for line in paper if line["column"] == "fid" and line["sampler"] == "glance-8")
    assert (fid["measured"], fid["reason"]) == ("", "no weights")
    assert clip["row"].startswith("'=1+1")  # no spreadsheet takes it for a formula
    assert all(value[:1] not in ("=", "+", "@") for line in lines for value in line.values())


def test_json_is_strict_and_says_the_same(filled: Filled) -> None:
    made = json.loads(json.dumps(document(filled), allow_nan=False))
    assert made["schema"] == "glance-bench/tables/1"
    assert len(made["cells"]) == 6 and len(made["testbed"]["cells"]) == 2
    assert made["suspect"][0]["column"] == "a"
    assert made["claims"][0]["from_cells"][0]["value"] == pytest.approx(90)
    assert made["claims"][0]["measured"] == pytest.approx(100 * 1.4 / 1.6)


class Checker(HTMLParser):
    """Open tags, the shape of every table, and what could run or load."""

    VOID = {"meta"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables: list[list[int]] = []
        self.seen: set[str] = set()
        self.scopes: list[str | None] = []
        self.spans: list[int] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not any(name.startswith("on") or name == "src" for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        given = dict(attrs)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.spans = [n - 1 for n in self.spans if n > 1]
            self.tables[-1].append(len(self.spans))
        elif tag in ("td", "th"):
            self.tables[-1][-1] += 1
            self.spans += [int(given["rowspan"])] if int(given.get("rowspan") or 1) > 1 else []  # type: ignore[arg-type]
        if tag == "th":
            self.scopes.append(given.get("scope"))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_well_formed_accessible_and_loads_nothing(filled: Filled) -> None:
    shown = text(filled, "html")
    checker = Checker()
    checker.feed(shown)
    assert checker.open == [] and "script" not in checker.seen and "link" not in checker.seen
    assert len(checker.tables) == sum(len(section.sheets) for section in sections(filled))
    assert all(len(set(rows)) == 1 for rows in checker.tables)  # every row fills every column
    assert set(checker.scopes) == {"col", "row", "rowgroup"}
    assert shown.count("<caption>") == len(checker.tables)
    assert "&lt;script&gt;alert(1)" in shown and "\u202e" not in shown
    assert "default-src 'none'" in shown.replace("&#39;", "'") and 'lang="en"' in shown


def test_latex_is_escaped(filled: Filled) -> None:
    shown = text(filled, "latex")
    body = shown.partition(r"\begin{document}")[2]
    assert r"\input{" not in body and "<" not in body and "\u4e2d" not in body
    assert r"\textbackslash{}input\{/etc/passwd\} \%\_\#\&\textasciitilde{}\textasciicircum{}\{\}" in body
    assert "U+4E2D" in body


def test_latex_is_balanced_and_every_row_whole(filled: Filled) -> None:
    shipped = fill(load_paper("glance"), [], LACKING)
    kinds = set()
    for made in (filled, shipped):
        body = text(made, "latex").partition(r"\begin{document}")[2]
        depth = 0
        for token in re.findall(r"\\.|[{}]", body):
            depth += {"{": 1, "}": -1}.get(token, 0)
            assert depth >= 0
        assert depth == 0
        tables = re.findall(
            r"\\begin\{(tabular|longtable)\}\{@\{\}(.*?)@\{\}\}\n(.*?)\\end\{\1\}", body, re.S
        )
        for kind, columns, inside in tables:
            rows = [line for line in inside.splitlines() if line.endswith(r"\\")]
            count = len(re.sub(r"p\{[^}]*\}", "p", columns))
            assert rows and {len(re.findall(r"(?<!\\)&", line)) + 1 for line in rows} == {count}
            assert {r"\toprule", r"\midrule", r"\bottomrule"} <= set(inside.splitlines())
            kinds.add(kind)
        assert len(tables) == sum(len(section.sheets) for section in sections(made))
    assert kinds == {"tabular", "longtable"}


@pytest.mark.skipif(TEX is None, reason="no TeX (pdflatex or tectonic) is installed")
def test_latex_compiles(filled: Filled, tmp_path: Path) -> None:
    for name, made in (("hostile", filled), ("glance", fill(load_paper("glance"), []))):
        file = tmp_path / f"{name}.tex"
        file.write_text(text(made, "latex"), encoding="utf-8")
        stop = ["-interaction=nonstopmode", "-halt-on-error"] if TEX == "pdflatex" else []
        done = subprocess.run(
            [str(TEX), *stop, file.name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert file.with_suffix(".pdf").stat().st_size > 1000


def test_every_format_gives_the_same_bytes_again(filled: Filled) -> None:
    for format in FORMATS:
        assert text(filled, format) == text(filled, format)


def test_the_shipped_paper_without_runs() -> None:
    made = fill(load_paper("glance"), [], LACKING)
    titles = [section.title for section in sections(made)]
    assert titles[0] == "Printed and measured" and titles[-1] == TESTBED
    first = sections(made)[0]
    assert [sheet.caption.partition(".")[0] for sheet in first.sheets] == [
        *(f"Table {n}" for n in range(1, 7)),
        "Figure 4",
    ]
    shown = text(made, "md")
    assert "No run was given." in shown
    assert "5x in steps, 5x in model evaluations" in shown
    assert "| table 1 | Glance (FLUX) 8 | VQAScore |" in shown
    assert "figure 4: 92.59 % (90.83 to 94.39), within rounding" in shown


@pytest.mark.parametrize("format", ["svg", "pdf", "png"])
def test_the_figure_is_drawn_and_the_same_again(filled: Filled, format: Any) -> None:
    drawn = draw(filled, format)
    assert drawn.startswith({"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}[format])
    assert draw(filled, format) == drawn


def test_the_figure_tells_printed_from_measured(filled: Filled) -> None:
    drawn = draw(filled, "svg").decode()
    assert drawn.count('id="printed-') == 4  # of two rows and two columns
    assert drawn.count('id="measured-') == 2  # CLIP alone
    nothing = draw(fill(paper_of(), [], LACKING), "svg").decode()
    assert nothing.count('id="printed-') == 4 and 'id="measured-' not in nothing
    assert "<dc:date>" not in drawn


def test_figures_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"written as \.svg, \.pdf, \.png"):
        figure_format(paper_of(), tmp_path / "figure.jpg")
    with pytest.raises(UsageError, match="marked as a figure"):
        figure_format(make_paper([row("t", [1.0])]), tmp_path / "figure.svg")
    assert figure_format(paper_of(), tmp_path / "F.SVG") == "svg"
