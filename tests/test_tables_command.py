"""`tables` as a process: what it prints and writes, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tables_fixtures import make_evidence

ROOT = Path(__file__).resolve().parent.parent
CALL = "import typer; from glance_bench.commands.tabulating import tables; typer.run(tables)"
VALUES = {"teacher-50": {"truth": [0.5, 0.7]}, "glance-8": {"truth": [0.4, 0.7]}}


def call(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", CALL, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_evidence(
        tmp_path / "run", VALUES, name="quickstart", testbed=True, model="testbed-flux", prompt_set="testbed"
    )
    return tmp_path / "run"


def test_without_runs_it_prints_what_is_published() -> None:
    done = call("-q")
    assert "| FLUX.1 dev |  | 50 | printed | 27.8 |" in done.stdout
    assert "no weights" in done.stdout and "this machine has no GPU" in done.stdout
    assert "Contradictions found" in done.stdout and done.stderr == ""


def test_a_run_of_the_testbed_and_every_output(run: Path, tmp_path: Path) -> None:
    done = call(run, "--format", "html", "-o", tmp_path / "t.html", "--figure", tmp_path / "f.svg")
    assert done.stdout == "" and "reading" in done.stderr
    assert "testbed-flux" in (tmp_path / "t.html").read_text()
    assert (tmp_path / "f.svg").read_bytes().startswith(b"<?xml")
    made = json.loads(call(run, "--json", "-q").stdout)
    assert made["runs"] == ["quickstart"] and made["unused_runs"] == []
    assert {line["section"] for line in made["cells"]} == {"paper"} and made["testbed"]["cells"]
    call(run, "--json", "-q", "-o", tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text()) == made


@pytest.mark.parametrize("file", ["results.json", "samples.parquet"])
def test_a_damaged_run(run: Path, file: str) -> None:
    (run / file).write_bytes((run / file).read_bytes()[:-7])
    assert "error: " in call(run, code=3).stderr


def test_results_edited_by_hand(run: Path) -> None:
    path = run / "results.json"
    path.write_text(path.read_text().replace("0.5", "0.9"))
    assert "was altered" in call(run, code=3).stderr


def test_another_schema(run: Path) -> None:
    document = json.loads((run / "results.json").read_text()) | {"schema": "glance-bench/results/1"}
    (run / "results.json").write_text(json.dumps(document))
    assert "results/1" in call(run, code=3).stderr


def test_no_run_at_all(tmp_path: Path) -> None:
    assert "is not a finished run" in call(tmp_path / "none", code=3).stderr


def test_requests_that_are_wrong(tmp_path: Path) -> None:
    assert "did you mean 'glance'" in call("--paper", "glanze", code=2).stderr
    paper = tmp_path / "p.yaml"
    paper.write_text("paper: {id: x, title: y}\nfamilies: {}\n")
    assert f"error: {paper}:" in call("--paper", paper, code=2).stderr
    assert "written as .svg" in call("--figure", "f.jpg", code=2).stderr
    call("--format", "docx", code=2)


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; from glance_bench.tables.fill import fill; from glance_bench.tables.published import load_paper;"
        "from glance_bench.tables.render import text; text(fill(load_paper('glance'), []), 'html');"
        "print(*sorted({'torch', 'diffusers', 'transformers', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
