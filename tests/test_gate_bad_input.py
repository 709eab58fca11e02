"""Evidence and requests that no verdict may be given on, as CI meets them: exit codes and streams."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.gate_fixtures import command, edited, evidence, put, scores, times

LATER = ("2026-01-02T00:00:00",)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline, and the same run again."""
    folder = tmp_path_factory.mktemp("gate")
    for name in ("baseline", "same"):
        put(evidence(), folder / name)
    return folder


def test_unreadable_sides_are_exit_code_3(room: Path, tmp_path: Path) -> None:
    good = evidence()
    by_hand = put(good, tmp_path / "by-hand")
    document = json.loads((by_hand / "results.json").read_text())
    document["boards"][0]["samplers"][1]["cells"]["truth"]["value"] = 0.99
    (by_hand / "results.json").write_text(json.dumps(document))
    schema = put(edited(good, lambda d: d.update(schema="glance-bench/results/9")), tmp_path / "schema")
    cut = put(good, tmp_path / "cut")
    (cut / "samples.parquet").write_bytes((cut / "samples.parquet").read_bytes()[:-9])
    twice = put(replace(good, samples=pd.concat([good.samples, good.samples.iloc[[3]]])), tmp_path / "twice")
    (tmp_path / "empty").mkdir()
    for broken, told in (
        (by_hand, "was altered"),
        (schema, "'glance-bench/results/9'"),
        (cut, "was altered"),
        (twice, "lists 1 images twice"),
        (tmp_path / "empty", "not a finished run"),
    ):
        shown = command(room / "same", "--baseline", broken)
        assert shown.returncode == 3 and told in shown.stderr and shown.stdout == "", (broken, shown)
        assert len(shown.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("one prompt", 4, "too few"),
        ("NaN scores", 4, "1 without a value on one side only: p005 #0"),
        ("no variance", 1, "-0.500 [-0.500, -0.500]"),
        ("slow", 4, "glance-bench run ci --time-again"),
        ("nothing gated", 5, "NOTHING MEASURED"),
    ],
)
def test_thin_and_odd_evidence_has_its_exit_code(tmp_path: Path, name: str, code: int, told: str) -> None:
    base = run = evidence()
    samples = base.samples.copy()
    own = samples["sampler"] == "slowfast-10"
    if name == "one prompt":
        base = run = evidence(scores(1))
    elif name == "NaN scores":
        samples.loc[own & (samples["prompt_id"] == "p005"), "truth"] = float("nan")
        run = replace(base, samples=samples)
    elif name == "no variance":
        samples.loc[own, "clip"] -= 0.5
        run = replace(base, samples=samples)
    elif name == "slow":
        run = replace(base, timing=times(1, LATER, speedup=4.0))
    else:
        left = ["truth", "clip", "ocr", "lpips", "fd", "health"]
        run = evidence(gate={"leave_out": left, "speed": None})
    shown = command(put(run, tmp_path / "run"), "--baseline", put(base, tmp_path / "base"))
    assert shown.returncode == code and told in shown.stdout, shown
    assert "PASS" not in shown.stdout.splitlines()[0]


def test_wrong_requests_are_exit_code_2(room: Path, tmp_path: Path) -> None:
    (tmp_path / "ci.yaml").write_text("name: ci\ngate:\n  margins:\n    truth: lots\n")
    (tmp_path / "key.yaml").write_text("name: ci\ngate:\n  margin: {truth: 1%}\n")
    (tmp_path / "other.yaml").write_text("name: other\n")
    (tmp_path / "column.yaml").write_text("name: ci\ngate: {leave_out: [thruth]}\n")
    base = ("--baseline", room / "baseline")
    for arguments, told in (
        ((room / "same",), "--baseline"),
        ((room / "same", "--baseline", "nothing-like-it"), "no baseline 'nothing-like-it'"),
        ((room / "same", *base, "--format", "html"), "html"),
        (
            (room / "same", *base, "--suite", tmp_path / "ci.yaml"),
            "ci.yaml:4: gate.margins.truth: a margin is a number",
        ),
        (
            (room / "same", *base, "--suite", tmp_path / "key.yaml"),
            "key.yaml:3: unknown key 'gate.margin'; did you mean",
        ),
        ((room / "same", *base, "--suite", tmp_path / "other.yaml"), "the run is of 'ci'"),
        ((room / "same", *base, "--suite", tmp_path / "column.yaml"), "no column or metric 'thruth'"),
    ):
        shown = command(*arguments)
        assert shown.returncode == 2 and "Traceback" not in shown.stderr, shown
        assert told in shown.stderr, (told, shown.stderr)
