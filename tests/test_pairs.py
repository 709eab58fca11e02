"""Pair metrics: an image beside the reference's from the same noise, scored once, through a whole run."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glance_bench.metrics.base import PairMetric
from glance_bench.metrics.psnr import Psnr
from tests.report_files import page_of

from .engine_fixtures import fakes, make  # noqa: F401

USES = {"metrics": ["psnr", "contrast"], "samplers": ["uniform-8", "teacher-50"], "images_per_prompt": 2}


def pixels(folder: Path, name: str) -> np.ndarray:
    with Image.open(folder / name) as opened:
        return np.asarray(opened.convert("RGB")).astype(float)


def test_each_image_meets_the_teacher_s_of_the_same_noise(tmp_path: Path, fakes: None) -> None:  # noqa: F811
    run = make(tmp_path, **USES)
    assert isinstance(Psnr(), PairMetric)
    built = json.loads((run.folder / "results.json").read_text())
    rows = {row["sampler"]: row["cells"] for row in built["boards"][0]["samplers"]}
    assert built["boards"][0]["reference"] == "teacher-50"
    assert "psnr" not in rows["teacher-50"]
    records = run.records().set_index(["sampler", "prompt_id", "index"])["image"]
    by_prompt: dict[str, list[float]] = {}
    for (prompt, index), image in records["uniform-8"].items():
        error = np.mean(
            (pixels(run.folder, image) - pixels(run.folder, records["teacher-50", prompt, index])) ** 2
        )
        by_prompt.setdefault(prompt, []).append(min(100.0, 10 * np.log10(255**2 / error)) if error else 100.0)
    cell = rows["uniform-8"]["psnr"]
    assert cell["value"] == pytest.approx(
        np.mean([np.mean(values) for values in by_prompt.values()]), rel=1e-6
    )
    assert (cell["n"], cell["prompts"]) == (len(records["uniform-8"]), len(by_prompt))
    (shown,) = page_of(run.folder / "report").index["boards"]
    assert [c["name"] for c in shown["columns"] if c["images"] and not c["flag"]] == ["psnr", "contrast"]
    assert [note["name"] for note in shown["notes"]] == ["words"]


def test_a_second_run_compares_nothing_and_damage_is_scored_again(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    fakes: None,  # noqa: F811
) -> None:
    run = make(tmp_path, **USES)
    before = (run.folder / "results.json").read_bytes()
    (folder,) = (run.folder / "scores").glob("psnr-*")
    files = {file: file.stat().st_mtime_ns for file in folder.glob("*.parquet")}
    assert files
    make(tmp_path, **USES)
    assert {file: file.stat().st_mtime_ns for file in folder.glob("*.parquet")} == files
    next(iter(files)).write_bytes(b"no table")
    make(tmp_path, **USES)
    assert "moved to quarantine, scored again" in capsys.readouterr().err
    assert (run.folder / "results.json").read_bytes() == before


def test_without_a_teacher_the_first_sampler_is_the_reference(tmp_path: Path, fakes: None) -> None:  # noqa: F811
    run = make(tmp_path, metrics=["psnr"], samplers=["uniform-8", "uniform-4"])
    board = json.loads((run.folder / "results.json").read_text())["boards"][0]
    assert board["reference"] == "uniform-8"
    assert ["psnr" in row["cells"] for row in board["samplers"]] == [False, True]


def test_a_sampler_that_stands_alone_has_no_pairs_and_no_value(tmp_path: Path, fakes: None) -> None:  # noqa: F811
    run = make(tmp_path, **{**USES, "samplers": ["uniform-8"]}, timing={"repeats": 0})
    built = json.loads((run.folder / "results.json").read_text())
    (row,) = built["boards"][0]["samplers"]
    assert "psnr" not in row["cells"] and "contrast" in row["cells"]
