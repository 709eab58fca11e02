"""Imported images and scores through a whole run: they survive it, are scored by it and stand in its report."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glance_bench.engine.runner import run_suite
from glance_bench.engine.verify import verify
from glance_bench.exchange.export import export
from glance_bench.exchange.images import import_images
from glance_bench.exchange.scores import import_scores
from glance_bench.report.leaderboard import lines
from glance_bench.store import Run
from glance_bench.suite import Suite
from glance_bench.terminal import Progress
from tests.engine_fixtures import TEXTS, command, fakes, files, make, settings

pytestmark = pytest.mark.usefixtures("fakes")
__all__ = ["fakes"]


def results(run: Run) -> dict:
    return json.loads((run.folder / "results.json").read_text())


def pictures(run: Run, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for number, prompt in enumerate(run.prompts("own")):
        picture = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(picture).save(folder / f"{prompt.id}.png")
    return folder


def test_imported_images_are_scored_by_the_next_run_and_stay(tmp_path: Path) -> None:
    run = make(tmp_path)
    (tmp_path / "seconds.txt").write_text("2.5\n")
    import_images(run, pictures(run, tmp_path / "made"), "comfy", nfe=7, latency=tmp_path / "seconds.txt")
    before = files(run, ".png")
    run = make(tmp_path)
    assert files(run, ".png") == before and verify(run) == []
    rows = {row["sampler"]: row for row in results(run)["boards"][0]["samplers"]}
    assert set(rows["comfy"]["cells"]) == set(rows["uniform-8"]["cells"])
    assert rows["comfy"]["cells"]["contrast"]["n"] == len(TEXTS)
    assert rows["comfy"]["stated"]["nfe"] == 7
    shown = next(line for line in lines(results(run)) if line.startswith("comfy"))
    assert "7 stated" in shown and "2.50 stated" in shown
    assert "7 stated" in (run.folder / "report" / "index.html").read_text()
    digest = results(run)["digest"]
    assert results(make(tmp_path))["digest"] == digest
    run = make(tmp_path, metrics=["contrast", "distance", "brightness"])
    assert results(run)["boards"][0]["samplers"][-1]["cells"]["brightness"]["n"] == len(TEXTS)


def test_images_of_unknown_cost_have_a_dash(tmp_path: Path) -> None:
    run = make(tmp_path)
    import_images(run, pictures(run, tmp_path / "made"), "comfy")
    run = make(tmp_path)
    shown = next(line for line in lines(results(run)) if line.startswith("comfy"))
    assert shown.split()[1] == "\u2013"
    assert (run.folder / "report" / "index.html").is_file()


def test_images_whose_prompts_are_gone_are_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = make(tmp_path)
    import_images(run, pictures(run, tmp_path / "made"), "comfy")
    run = make(tmp_path, prompts=[{"set": "own", "texts": TEXTS[:3]}])
    assert "imported images 'comfy' on 'own' are left out: 4 of their prompts" in capsys.readouterr().err
    assert [row["sampler"] for row in results(run)["boards"][0]["samplers"]] == ["teacher-50", "uniform-8"]
    run = make(tmp_path)
    assert results(run)["boards"][0]["samplers"][-1]["sampler"] == "comfy"


def test_imported_scores_of_one_sampler_stand_beside_the_others_dashes(tmp_path: Path) -> None:
    run = make(tmp_path, images_per_prompt=4)
    export(run, "dpg", tmp_path / "out", sampler="uniform-8")
    scores = "".join(f"{prompt.id}.png, 1.0, 0.5, 0.5, 0.0, 0.5\n" for prompt in run.prompts("own"))
    (tmp_path / "out" / "results.txt").write_text(scores)
    import_scores(run, "dpg", [tmp_path / "out" / "results.txt"])
    run = make(tmp_path, images_per_prompt=4)
    rows = {row["sampler"]: row["cells"] for row in results(run)["boards"][0]["samplers"]}
    assert rows["uniform-8"]["dpg[official]"]["value"] == 50 and "dpg[official]" not in rows["teacher-50"]
    assert any("dpg[official]" in text for text in results(run)["recipes"].values())
    run_suite(
        Suite.model_validate(settings(tmp_path, images_per_prompt=4, samplers=["teacher-50", "uniform-4"])),
        tmp_path / "run",
        Progress(quiet=True),
    )
    assert "uniform-8" not in json.dumps(results(run)["boards"])


def test_the_three_commands(tmp_path: Path) -> None:
    run = make(tmp_path, images_per_prompt=4)
    done = command(tmp_path, "export", "run", "--format", "dpg", "-o", "out", "--sampler", "uniform-8")
    assert done.returncode == 0 and "next, in a checkout of TencentQQGYLab/ELLA:" in done.stdout, done.stderr
    assert "--resolution 16" in done.stdout
    first = run.prompts("own")[0].id
    (tmp_path / "out" / "results.txt").write_text(f"{first}.png, 1.0, 0.5, 0.5, 0.0, 0.5\nx.png, 1.0, 1.0\n")
    done = command(tmp_path, "import-scores", "run", "out/results.txt", "--format", "dpg")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("dpg[official] for uniform-8: 4 of 28 images; without a score: ")
    assert "of no exported image: out/results.txt line 2: x.png" in done.stdout
    pictures(run, tmp_path / "made")
    done = command(tmp_path, "import-images", "made", "--as", "comfy", "--run", "run", "--nfe", "7")
    assert done.returncode == 0 and "comfy: 7 of 28 images" in done.stdout, done.stderr
    done = command(tmp_path, "export", "run", "--format", "dpg", "--sampler", "comfy")
    assert done.returncode == 2 and "set 'images_per_prompt: 4'" in done.stderr
    done = command(tmp_path, "import-images", "made", "--as", "../up", "--run", "run")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
