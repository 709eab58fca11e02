"""The ablation suites and their tables."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from glance_bench import stats
from glance_bench.errors import GlanceBenchError
from glance_bench.registry import PROMPT_SETS
from glance_bench.samplers.cards import load_card
from glance_bench.suite import TrainedSampler, find_suite, load_suite
from glance_bench.tables.published import load_paper
from glance_bench.testbed import ablations
from glance_bench.yamlfile import read_yaml
from tests.fake_run import make_run

SUITES = ("stages", "samples", "timesteps", "sample-identity")


def matrix(*rows: list[float]) -> pd.DataFrame:
    return pd.DataFrame([dict(zip("abcd", row, strict=True)) for row in rows])


@pytest.mark.parametrize("name", SUITES)
def test_suites_have_the_cells_that_their_tables_show(name: str) -> None:
    suite = load_suite(f"ablations/{name}")
    ablation = ablations.ABLATIONS[suite.name]
    trained = [sampler for sampler in suite.samplers if isinstance(sampler, TrainedSampler)]
    published = [sampler.label for sampler in trained if not sampler.label.endswith("-tuned")]
    assert list(ablation.rows) == published
    (printed,) = (table for table in load_paper("glance").tables if table.id == ablation.table)
    assert list(ablation.rows.values()) == [row.label for row in printed.rows]
    shown = {
        *(s.label for s in trained),
        *(sampler for sampler in suite.samplers if isinstance(sampler, str)),
    }
    assert all({first, second} <= shown for _, first, second in ablation.questions)
    assert suite.samplers[0] == ablations.TEACHER
    assert all(entry.seeds == [0, 1, 2] for entry in suite.train)
    prompts = PROMPT_SETS.get(suite.prompts[0].set)(suite.prompts[0].limit).prompts
    assert len(prompts) == 200 and sum(bool(prompt.wanted_text) for prompt in prompts) == 100
    assert suite.images_per_prompt == 2
    assert {*ablations.MEANS, ablations.FD} <= {*suite.metrics, "ocr_word_accuracy"}


def test_every_row_of_a_table_takes_the_steps_it_is_named_after() -> None:
    steps = {"ablation-stages": 8, "ablation-samples": 10, "ablation-sample-identity": 10}
    for name in SUITES:
        suite = load_suite(f"ablations/{name}")
        for sampler in suite.samplers:
            if isinstance(sampler, TrainedSampler) and suite.name in steps:
                schedule = load_card(sampler.like).schedule
                count = schedule.steps if hasattr(schedule, "steps") else schedule.slow + schedule.fast
                assert count == steps[suite.name], sampler.label


def test_differences_are_paired_by_prompt_and_by_place_of_the_seed() -> None:
    first = matrix([1, 0.5, 1, 0], [1, 1, 1, 0.5], [0.5, 1, 1, 0])
    second = matrix([0.5, 0.5, 0, 0], [1, 0, 0.5, 0], [0, 1, 0.5, 0.5])
    alone = matrix([0.5, 0.5, 0, 0])
    for other in (second, alone):
        values = first.to_numpy() - other.to_numpy()
        interval = stats.crossed_interval(values)
        expected = f"{values.mean():+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
        assert ablations._difference({"x": first, "y": other}, "x", "y") == expected
    fewer = second.drop(columns="b")
    assert ablations._difference({"x": first, "y": fewer}, "x", "y") == ablations._difference(
        {"x": first.drop(columns="b"), "y": fewer}, "x", "y"
    )
    assert ablations._difference({"x": first}, "x", "y") == ""


def test_other_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GlanceBenchError, match="'fake' is none of ablation-stages"):
        list(ablations.report(make_run(tmp_path)))


@pytest.mark.slow
def test_a_run_of_an_ablation_becomes_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLANCE_BENCH_CACHE", str(tmp_path / "cache"))
    tree = read_yaml(find_suite("ablations/timesteps"))
    for entry in tree["train"]:
        entry.setdefault("changes", {})["steps"] = 2  # the tables look the same after little training
    (tmp_path / "suite.yaml").write_text(json.dumps(tree))
    run = [sys.executable, "-m", "glance_bench", "run", "suite.yaml", "--limit", "6", "-o", "run"]
    subprocess.run(run, check=True, cwd=tmp_path, capture_output=True)
    report = [sys.executable, "-m", "glance_bench.testbed.ablations", "run", "--write", "out"]
    printed = subprocess.run(report, check=True, cwd=tmp_path, capture_output=True, text=True).stdout
    assert (tmp_path / "out" / "ablation-timesteps.md").read_text() + "\n" == printed
    assert (tmp_path / "out" / "ablation-timesteps.results.json").stat().st_size > 1000
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| slow5+fast10 | 3 |")]
    assert len(rows) == 2 and all("0.874 / 0.813 / 0.175 / 0.422 / 0.305" in row[-1] for row in rows)
    for row in rows:
        values = [float(cell.split(" [")[0]) for cell in row[2:7]]
        assert 0 <= values[0] <= 1 and np.isfinite(values).all() and values[4] > 0.2
