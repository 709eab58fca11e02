"""Metrics that cannot be measured here: a run goes on without them and says what each one waits for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from glance_bench.errors import MissingData, UsageError
from glance_bench.metrics.choose import make_metric
from glance_bench.registry import METRICS, Registry
from glance_bench.suite import load_suite

from .engine_fixtures import fakes, make, settings  # noqa: F401

WAITS = "waits for a large network (5 GB): glance-bench prefetch large"


def absent() -> None:
    raise MissingData(WAITS)


def test_a_run_measures_what_it_can_and_lists_the_rest(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fakes: None,  # noqa: F811
) -> None:
    monkeypatch.setitem(METRICS._targets, "large", absent)
    run = make(tmp_path, metrics=["contrast", "large"])
    built = json.loads((run.folder / "results.json").read_text())
    assert built["waiting"] == {"large": WAITS}
    assert {column["metric"] for column in built["columns"]} == {"contrast", "health"}
    assert WAITS in (run.folder / "report" / "index.html").read_text()
    alone = json.loads((make(tmp_path, metrics=["contrast"]).folder / "results.json").read_text())
    assert "waiting" not in alone
    assert alone["digest"] == built["digest"]


def test_what_a_profile_leaves_out_is_named(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(
        "version: 1\nname: two\nprompts: [{set: testbed, limit: 2}]\nsamplers: [uniform-4]\n"
        "metrics: [truth, 'clip[testbed-clip]']\n"
        "profiles:\n  small:\n    models: [testbed-flux]\n    metrics: [truth]\n"
    )
    suite = load_suite(str(file)).with_profile("small")
    assert (suite.metrics, suite.left_out) == (["truth"], ["clip[testbed-clip]"])
    done = subprocess.run(
        [sys.executable, "-m", "glance_bench", "plan", str(file), "-o", str(tmp_path / "run")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "not here    clip[testbed-clip]: left out by profile small" in done.stdout


def test_a_starred_name_hands_over_what_stands_in_its_place() -> None:
    registry = Registry("thing", {"plain": len, "answer[*]": str.upper, "file:*": str.title}, "no.such.group")
    assert registry.get("answer[yes]")() == "YES"
    assert registry.get("file:a/b.txt")() == "A/B.Txt"
    assert registry.get("plain") is len
    assert "answer[x]" in registry and "answer[" not in registry and "answerx]" not in registry
    with pytest.raises(UsageError, match="did you mean"):
        registry.get("answr[x]")


def test_a_judge_is_named_once_for_the_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS._targets, "asked[*]", lambda judge: judge)
    head = (
        "version: 1\nname: asked\nmodels: [testbed-flux]\nprompts: [{set: testbed}]\nsamplers: [uniform-4]\n"
    )
    (tmp_path / "none.yaml").write_text(head + "metrics: ['asked[judge]']\n")
    with pytest.raises(UsageError, match=r"none.yaml:6: metric 'asked\[judge\]' needs 'judge'"):
        load_suite(str(tmp_path / "none.yaml"))
    (tmp_path / "one.yaml").write_text(head + "metrics: ['asked[judge]']\njudge: somebody\n")
    assert load_suite(str(tmp_path / "one.yaml")).metric_names() == (["asked[somebody]"], [])


def test_references_are_found_or_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from .test_results import Apart

    class Sourced(Apart):
        def __init__(self, source: Path | None | str = "none yet") -> None:
            self.source = source

        def against(self, source: Path | None) -> "Sourced":
            return Sourced(source)

    monkeypatch.setitem(METRICS._targets, "apart", Sourced)
    assert make_metric("apart", "teacher").source is None
    assert make_metric("apart", str(tmp_path)).source == tmp_path
    with pytest.raises(UsageError, match="the suite needs 'reference'"):
        make_metric("apart")
    with pytest.raises(UsageError, match="no such file"):
        make_metric("apart", str(tmp_path / "gone"))
    monkeypatch.delenv("GLANCE_BENCH_DATA", raising=False)
    with pytest.raises(MissingData, match="DIR/coco/val"):
        make_metric("apart", "data:coco/val")
    monkeypatch.setenv("GLANCE_BENCH_DATA", str(tmp_path))
    with pytest.raises(MissingData, match="coco/val"):
        make_metric("apart", "data:coco/val")
    (tmp_path / "coco/val").mkdir(parents=True)
    assert make_metric("apart", "data:coco/val").source == tmp_path / "coco/val"


def test_what_a_prompt_is_judged_by_may_come_after_its_images(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fakes: None,  # noqa: F811
) -> None:
    from glance_bench.prompts import Prompt, PromptSet
    from glance_bench.registry import PROMPT_SETS

    from . import fake_family

    def loader(meta: dict) -> object:
        prompts = (Prompt("a", "a picture of one", "", (), meta), Prompt("b", "a picture of two", ""))
        return lambda limit: PromptSet("asked", "r1", prompts)

    uses = {"prompts": [{"set": "asked"}], "metrics": ["contrast"], "samplers": ["uniform-8"]}
    monkeypatch.setitem(PROMPT_SETS._targets, "asked", loader({}))
    run = make(tmp_path, **uses)
    plain = run.scores("contrast")
    made, scored = len(fake_family.FakeFamily.calls), set((run.folder / "scores").rglob("*.parquet"))
    monkeypatch.setitem(PROMPT_SETS._targets, "asked", loader({"questions": [{"id": 1}]}))
    again = make(tmp_path, **uses)
    assert len(fake_family.FakeFamily.calls) == made, "no image is made again"
    assert len(set((run.folder / "scores").rglob("*.parquet")) - scored) == 1
    assert again.scores("contrast").equals(plain)
