"""`compare` and `leaderboard` on real run folders: formats, exit codes, what is hostile and what is damaged."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from glance_bench.commands import comparing
from glance_bench.comparison import compare, two_samplers
from glance_bench.evidence import read_evidence, results_seal, write_evidence
from glance_bench.leaderboard import leaderboard
from glance_bench.prompts import Prompt
from glance_bench.report import comparison as comparison_text
from glance_bench.report import standings
from glance_bench.sealed import json_bytes
from glance_bench.stats import Jackknife

from .fake_run import finish, make_run, prompts_of
from .made_evidence import evidence

SAMPLERS = ("teacher-50", "uniform-8", "uniform-4")
EVIL = 'ev|il & <b>%_x</b> [y]($z) "q" `c`\nnext\x1b[31m\u202e'

app = typer.Typer()
app.command("compare")(comparing.compare)
app.command("leaderboard")(comparing.leaderboard)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three runs: one, the same prompts and more with two images each, and other prompts."""
    folder = tmp_path_factory.mktemp("runs")
    prompts = prompts_of(12)
    black = [("uniform-4", "p001")]
    finish(make_run(folder / "one", prompts, models=["testbed-flux"], samplers=SAMPLERS, black=black))
    more = [*SAMPLERS, "native-10"]
    finish(make_run(folder / "two", prompts[:9], models=["testbed-flux"], samplers=more, images_per_prompt=2))
    others = [replace(prompt, id=f"q{prompt.id}") for prompt in prompts[:3]]
    finish(make_run(folder / "three", others, models=["testbed-flux"], samplers=SAMPLERS))
    return folder


def call(*arguments: object) -> Any:
    """The commands in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def process(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The commands as another process, which must not import torch."""
    code = (
        "import sys, typer\n"
        "from glance_bench.commands import comparing\n"
        "app = typer.Typer()\n"
        "for one in (comparing.compare, comparing.leaderboard):\n    app.command(one.__name__)(one)\n"
        "try:\n    app(sys.argv[1:])\n"
        "finally:\n    assert 'torch' not in sys.modules\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        **{"cwd": folder, "capture_output": True, "text": True, "timeout": 60},
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent), "CI": "1"},
    )


def test_two_samplers_of_a_run(runs: Path) -> None:
    done = process(runs, "compare", "uniform-8", "uniform-4", "--run", "one")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "uniform-4 against uniform-8: testbed-flux on testbed (TESTBED), one" not in done.stdout
    )  # it is "fake"
    assert "12 prompts in common, 12 pairs of images, same noise" in done.stdout
    for expected in (
        "Truth",
        "OCR words",
        "CLIP",
        "FD",
        "Failed",
        "Slices",
        "category: sign",
        "Latency",
        "p adj.",
    ):
        assert expected in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 400 and "\x1b" not in done.stdout


def test_numbers_of_a_real_run_are_those_of_its_samples(runs: Path) -> None:
    document = json.loads(call("compare", "uniform-8", "uniform-4", "--run", runs / "one", "--json").stdout)
    assert document["schema"] == "glance-bench/comparison/1"
    (one,) = document["comparisons"]
    frame = read_evidence(runs / "one").samples.pivot(index="prompt_id", columns="sampler", values="truth")
    found = {effect["column"]: effect for effect in one["metrics"]}
    assert found["truth"]["delta"] == pytest.approx((frame["uniform-4"] - frame["uniform-8"]).mean())
    assert (found["failed"]["losses"], found["failed"]["p"]) == (1, 1.0)
    cells = {
        row["sampler"]: row["cells"]["fd[fake]"]
        for row in read_evidence(runs / "one").results["boards"][0]["samplers"]
    }
    a, b = (Jackknife.of_cell(cells[name]) for name in ("uniform-4", "uniform-8"))
    assert a is not None and b is not None and len(a.pairs) == 6
    error = (a - b).error
    assert found["fd[fake]"]["high"] - found["fd[fake]"]["delta"] == pytest.approx(2.200985 * error, rel=1e-5)
    paths = [path for entry in one["moved"][0]["worse"] for path in entry["images_a"] + entry["images_b"]]
    assert paths and all(Path(path).is_file() for path in paths)


def test_two_runs_and_one_sampler_of_them(runs: Path) -> None:
    document = json.loads(call("compare", runs / "one", runs / "two", "--json", "--no-slices").stdout)
    assert [one["a"]["sampler"] for one in document["comparisons"]] == list(SAMPLERS)
    assert document["not_shared"] == ["native-10 (testbed-flux on testbed) is only in B"]
    pairing = document["comparisons"][0]["pairing"]
    assert (pairing["prompts"], pairing["images"], pairing["only_a"], pairing["noise"]) == (9, 9, 3, "same")
    why = {e["column"]: e["why"] for e in document["comparisons"][0]["not_compared"]}
    assert "those are not paired" in why["fd[fake]"]
    shown = call(
        "compare", runs / "one", runs / "two", "--sampler", "uniform-4", "--format", "md", "--moved", 0
    )
    assert shown.exit_code == 0 and shown.stdout.startswith("# Comparison\n")
    assert shown.stdout.count("## uniform-4: ") == 1 and "moved most" not in shown.stdout


def test_evidence_without_images_is_compared_all_the_same(runs: Path, tmp_path: Path) -> None:
    write_evidence(read_evidence(runs / "one"), tmp_path / "bare")
    ours, bare = (
        json.loads(call("compare", "uniform-8", "uniform-4", "--run", place, "--json").stdout)["comparisons"][
            0
        ]
        for place in (runs / "one", tmp_path / "bare")
    )
    assert bare["metrics"] == ours["metrics"] and bare["slices"] == ours["slices"]
    first = bare["moved"][0]["worse"][0]
    assert first["images_a"] == []
    frame = read_evidence(runs / "one").samples
    own = frame[(frame["sampler"] == "uniform-8") & (frame["prompt_id"] == first["prompt"])]
    image = tmp_path / "bare" / "images" / f"{own['image_sha256'].item()}.png"  # as a bundle brings it
    image.parent.mkdir()
    image.touch()
    done = call("compare", "uniform-8", "uniform-4", "--run", tmp_path / "bare", "--json")
    first = json.loads(done.stdout)["comparisons"][0]["moved"][0]["worse"][0]
    assert (first["images_a"], first["images_b"]) == ([str(image)], [])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("compare", "uniform-8", "unifrom-4", "--run", "one"), 2, "did you mean 'uniform-4'"),
        (("compare", "uniform-8", "uniform-8", "--run", "one"), 2, "with itself"),
        (("compare", "one", "./one"), 2, "with itself"),
        (("compare", "uniform-8", "uniform-4"), 2, "need --run"),
        (("compare", "one", "uniform-4"), 2, "'uniform-4' is no run folder"),
        (("compare", "uniform-8", "uniform-4", "--run", "one", "--sampler", "x"), 2, "--sampler"),
        (("compare", "one", "two", "--sampler", "x"), 2, "has no sampler 'x'"),
        (("compare", "uniform-8", "uniform-4", "--run", "one", "--margin", "much"), 2, "--margin 'much'"),
        (
            ("compare", "uniform-8", "uniform-4", "--run", "one", "--metrics", "trooth"),
            2,
            "did you mean 'truth'",
        ),
        (("compare", "uniform-8", "uniform-4", "--run", "nowhere"), 3, "not a finished run"),
        (("compare", "one", "three"), 3, "no prompt in common"),
        (("leaderboard", "one", "nowhere"), 3, "not a finished run"),
        (("leaderboard", "one", "--quality", "trooth"), 2, "did you mean 'truth'"),
    ],
)
def test_exit_codes(
    runs: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.chdir(runs)
    done = call(*arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_an_edited_run_and_a_foreign_schema_are_refused_by_a_process(runs: Path, tmp_path: Path) -> None:
    for name, change in (("edited", {"run": "better"}), ("old", {"schema": "glance-bench/results/1"})):
        write_evidence(read_evidence(runs / "one"), tmp_path / name)
        path = tmp_path / name / "results.json"
        document = json.loads(path.read_text()) | change
        if name == "old":
            document["seal"] = results_seal(document)
        path.write_bytes(json_bytes(document))
    edited = process(tmp_path, "compare", "uniform-8", "uniform-4", "--run", "edited")
    assert (edited.returncode, edited.stdout) == (3, "") and "was altered" in edited.stderr
    old = process(tmp_path, "leaderboard", "old", "edited")
    assert (old.returncode, old.stdout) == (3, "") and "run its suite again" in old.stderr


def test_leaderboard_of_two_runs_in_every_format(runs: Path, tmp_path: Path) -> None:
    text = process(runs, "leaderboard", "one", "two", "one")
    assert (text.returncode, text.stderr) == (0, "")
    assert text.stdout.splitlines()[0] == "testbed-flux on testbed (TESTBED)"
    assert "uniform-4 (fake in one)" in text.stdout and "uniform-4 (fake in two)" in text.stdout
    document = json.loads(call("leaderboard", runs / "one", runs / "two", "--format", "json").stdout)
    assert (document["schema"], len(document["runs"])) == ("glance-bench/leaderboard/1", 2)
    target = tmp_path / "board.csv"
    done = call("leaderboard", runs / "one", runs / "two", "--format", "csv", "--output", target)
    assert (done.exit_code, done.stdout) == (0, "")
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    told = {row["name"]: row for row in document["boards"][0]["rows"]}
    assert [row["row"] for row in rows] == list(told)
    for row, (_, wanted) in zip(rows, told.items(), strict=True):
        for key, cell in wanted["cells"].items():
            assert float(row[key]) == cell["value"] and float(row[f"{key} high"]) == cell["high"]
            assert int(row[f"{key} n"]) == cell["n"]
            assert row[f"{key} group"] == ("" if cell["group"] is None else str(cell["group"]))
            assert (cell["group"] is None) == (key == "fd[fake]")  # too few images to be judged
    for form, start in (("md", "# Leaderboard"), ("latex", "% needs \\usepackage[T1]{fontenc}")):
        assert call("leaderboard", runs / "one", "--format", form).stdout.startswith(start)


def hostile() -> Any:
    """Evidence whose sampler, category, run and prompts are as bad as names get."""
    values = {
        name: {"x": np.linspace(shift, 1, 8)} for name, shift in (("=plain", 0.0), (EVIL, 0.4), ("*[z", 0.2))
    }
    texts = {f"p{i:03d}": EVIL for i in range(8)}
    return evidence(values, texts=texts, name=EVIL, facets={"category": [EVIL, "other"] * 4})


def cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) - 1


def test_hostile_names_stay_in_their_cells() -> None:
    made = hostile()
    compared = compare(two_samplers(made, "=plain", EVIL))
    merged = leaderboard([made])
    plain = ["\n".join(comparison_text.lines(compared)), "\n".join(standings.lines(merged))]
    marked = ["\n".join(comparison_text.markdown(compared)), "\n".join(standings.markdown(merged))]
    for text in (*plain, *marked, standings.csv_table(merged), standings.latex_tables(merged)):
        assert "ev" in text and not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)
    for text in marked:
        assert "<b>" not in text and not re.search(r"(?<!\\)\]\(", text)
        tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
        assert tables
        for lines in map(str.splitlines, tables):
            assert len({cells(line) for line in lines}) == 1
    rows = list(csv.reader(io.StringIO(standings.csv_table(merged))))
    assert {len(row) for row in rows} == {len(rows[0])} and len(rows) == 4
    assert "'=plain" in [row[3] for row in rows] and not any(
        c.startswith(("=", "+", "@")) for r in rows for c in r
    )


def test_latex_rows_are_whole_and_nothing_in_them_is_a_command() -> None:
    text = standings.latex_tables(leaderboard([hostile()]))
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    width = len(re.search(r"\\begin{tabular}{(lr+)}", text)[1])
    assert len(body) == 3
    for line in body:
        assert line.endswith(" \\\\") and len(re.findall(r"(?<!\\)&", line)) == width - 1
        assert not line.startswith(("[", "*"))
        bare = re.sub(r"\\text[a-z]+\{\}|\\[{}$&#_%]|\$\\times\$|\{[\[*-]\}|&| \\\\$", "", line)
        assert not set("\\{}$#_%^~<>|") & set(bare), bare


@pytest.mark.skipif(not any(map(shutil.which, ("pdflatex", "lualatex", "tectonic"))), reason="no TeX here")
def test_latex_compiles(tmp_path: Path) -> None:
    body = standings.latex_tables(leaderboard([hostile()]))
    source = tmp_path / "board.tex"
    source.write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage[utf8]{inputenc}\\usepackage{booktabs}\n"
        f"\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    program = next(found for name in ("pdflatex", "lualatex", "tectonic") if (found := shutil.which(name)))
    options = [] if "tectonic" in program else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([program, *options, source.name], cwd=tmp_path, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_terminals_get_a_table(runs: Path) -> None:
    from rich.console import Console

    made = hostile()
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(comparison_text.table(compare(two_samplers(made, "=plain", EVIL))))
        console.print(standings.table(leaderboard([made])))
    shown = capture.get()
    assert "\x1b" not in shown and "\u202e" not in shown and "Slices" in shown
    assert "\u2026" not in shown  # nothing was cut


def test_a_narrow_terminal_loses_intervals_before_numbers(runs: Path) -> None:
    from rich.console import Console

    document = leaderboard([read_evidence(runs / "one")])

    def shown(width: int) -> list[str]:
        console = Console(width=width, color_system=None)
        with console.capture() as capture:
            console.print(standings.table(document))
        return capture.get().splitlines()

    value = named_value(document, "uniform-4", "truth")
    for width, spread in ((240, True), (100, False), (40, False)):
        text = "\n".join(shown(width))
        line = text.split("uniform-4")[1].split("Truth: truth")[0]
        assert f"{value:.3f} (" in line and ("\u2013" in line) == spread


def named_value(document: dict[str, Any], sampler: str, key: str) -> float:
    (row,) = (row for row in document["boards"][0]["rows"] if row["name"] == sampler)
    value: float = row["cells"][key]["value"]
    return value


def test_prompts_of_the_same_name_and_other_words_are_other_prompts(runs: Path, tmp_path: Path) -> None:
    changed = [Prompt(p.id, f"{p.text}!", p.category, p.wanted_text, dict(p.meta)) for p in prompts_of(4)]
    finish(make_run(tmp_path / "changed", changed, models=["testbed-flux"], samplers=SAMPLERS))
    done = call("compare", runs / "one", tmp_path / "changed")
    assert done.exit_code == 3 and "4 have the same id and another text" in done.stderr
