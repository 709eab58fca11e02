"""What a report reads again of a run: records and the notes of its scores, not their values."""

import json
from pathlib import Path

import pandas as pd

from glance_bench.report.model import load
from glance_bench.results import scored_records
from glance_bench.units import RECORD_COLUMNS
from tests.fake_run import FakeClip, finish, make_run, prompts_of


def test_records_carry_the_notes_of_every_metric_and_none_of_the_values(tmp_path: Path) -> None:
    run = make_run(tmp_path, prompts_of(6), models=("testbed-flux",))
    finish(run)
    (board,) = load([run.folder]).boards
    assert board.records is not None
    notes = [name for name in board.records if name not in RECORD_COLUMNS]
    assert notes == ["truth_missing", "ocr_read"]
    pd.testing.assert_frame_equal(board.records, scored_records(run)[list(board.records)])
    assert run.notes(FakeClip.name) == []


def test_a_metric_that_scored_nothing_has_no_notes(tmp_path: Path) -> None:
    run = make_run(tmp_path, prompts_of(2), models=("testbed-flux",))
    manifest = json.loads((run.folder / "manifest.json").read_text())
    extra = {"name": "late", "recipe": "late", "kind": "sample", "folder": "scores/late"}
    run.write("manifest.json", {**manifest, "metrics": [*manifest["metrics"], extra]})
    assert run.notes("late") == []
