"""`failures` on real run folders, as another process: what it prints, its JSON, its exit codes."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glance_bench.commands import failing
from glance_bench.evidence import read_evidence, write_evidence
from glance_bench.failures.listing import lines, listing
from glance_bench.report.model import load

from .fake_run import finish, make_run, prompts_of

SAMPLERS = ("teacher-50", "uniform-8", "uniform-4")
EVIL = 'ev|il & <b>%_x</b> [y]($z) "q" `c`\nnext\x1b[31m\u202e'


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of two models and a black image, the evidence of it alone, and a run of one sampler."""
    folder = tmp_path_factory.mktemp("runs")
    prompts = prompts_of(24)
    finish(make_run(folder / "one", prompts, samplers=SAMPLERS, black=[("uniform-4", "p001")]))
    finish(make_run(folder / "single", prompts[:4], models=["testbed-flux"], samplers=SAMPLERS[:1]))
    (folder / "kept").mkdir()
    write_evidence(read_evidence(folder / "one"), folder / "kept")
    return folder


def process(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command as another process, which must not import torch."""
    code = (
        "import sys, typer\n"
        "from glance_bench.commands import failing\n"
        "app = typer.Typer()\n"
        "app.command()(failing.failures)\n"
        "try:\n    app(sys.argv[1:])\n"
        "finally:\n    assert 'torch' not in sys.modules\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        **{"cwd": folder, "capture_output": True, "text": True, "timeout": 60},
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent), "CI": "1"},
    )


def test_the_worst_images_with_causes_and_paths(runs: Path) -> None:
    done = process(runs, "one", "--top", 3)
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout.splitlines()
    heads = [line for line in shown if "against teacher-50" in line and not line.startswith("The")]
    assert heads == [
        f"{model} on testbed (TESTBED), against teacher-50" for model in ("testbed-flux", "testbed-qwen")
    ]
    assert sum(line.startswith("The 3 images that lose most") for line in shown) == 2
    first = shown.index(next(line for line in shown if line.startswith("  1. ")))
    assert shown[first].startswith("  1. uniform-4, p001 #0 (")
    assert shown[first + 1] == "     the image is black all over"
    images = [line.split(": ", 1)[1] for line in shown if line.startswith("     image: ")]
    assert len(images) == 6
    assert all((runs / image).is_file() for image in images)
    theirs = [line.split(": ", 1)[1] for line in shown if line.startswith("     teacher-50: ")]
    assert all("/teacher-50-" in path and (runs / path).is_file() for path in theirs)


def test_text_is_shown_as_a_difference(runs: Path) -> None:
    done = process(runs, "one", "--metric", "ocr", "--sampler", "uniform-4", "--top", 1)
    assert done.returncode == 0
    assert 'wanted "OPEN", read "0PEM x"' in done.stdout
    assert "     text: [-O-]{+0+}PE[-N-]{+M x+}" in done.stdout


def test_json_is_the_ranking_that_the_samples_give(runs: Path) -> None:
    done = process(runs, "one", "--metric", "truth", "--sampler", "uniform-8", "--top", 50, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert set(document) == {"schema", "run", "metric", "sampler", "category", "top", "boards"}
    assert document["schema"] == "glance-bench/worst/1"
    samples = read_evidence(runs / "one").samples
    for board in document["boards"]:
        assert set(board) == {
            *(
                "model",
                "prompt_set",
                "testbed",
                "reference",
                "columns",
                "ranked_by",
                "tests",
                "sentences",
                "images",
            ),
        }
        assert board["columns"][0] == "overall"
        assert board["ranked_by"] == "truth"
        own = samples[samples["model"] == board["model"]].set_index(["sampler", "prompt_id"])["truth"]
        drop = own["teacher-50"] - own["uniform-8"]
        expected = {prompt: value for prompt, value in drop.items() if value > 0}
        assert {image["prompt"]: image["drop"] for image in board["images"]} == pytest.approx(expected)
        listed = [image["drop"] for image in board["images"]]
        assert listed == sorted(listed, reverse=True)
        for image in board["images"]:
            assert image["sampler"] == "uniform-8"
            assert image["reference_value"] - image["value"] == pytest.approx(image["drop"])
            assert Path(runs, image["image"]).is_file()
            assert image["causes"]


def test_only_a_category(runs: Path) -> None:
    document = json.loads(process(runs, "one", "--category", "sign", "--json", "--top", 100).stdout)
    found = [image for board in document["boards"] for image in board["images"]]
    assert found
    assert {image["category"] for image in found} == {"sign"}
    everything = json.loads(process(runs, "one", "--json", "--top", 100).stdout)
    signs = [i["prompt"] for b in everything["boards"] for i in b["images"] if i["category"] == "sign"]
    assert [image["prompt"] for image in found] == signs


def test_evidence_without_images_is_ranked_all_the_same(runs: Path) -> None:
    done = process(runs, "kept", "--top", 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert "     image: not kept" in done.stdout
    assert "the image is black all over" in done.stdout
    ours, theirs = (json.loads(process(runs, name, "--json").stdout)["boards"] for name in ("one", "kept"))
    ranked = [[(i["sampler"], i["prompt"], i["drop"]) for i in b["images"]] for b in ours]
    assert ranked == [[(i["sampler"], i["prompt"], i["drop"]) for i in b["images"]] for b in theirs]
    assert [board["sentences"] for board in ours] == [board["sentences"] for board in theirs]


def test_images_of_an_unpacked_bundle_are_found(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "kept", tmp_path / "bundle")
    (tmp_path / "bundle" / "images").mkdir()
    sha = (
        read_evidence(runs / "one")
        .samples.set_index(["model", "sampler", "prompt_id"])
        .loc[("testbed-flux", "uniform-4", "p001"), "image_sha256"]
    )
    (tmp_path / "bundle" / "images" / f"{sha}.png").write_bytes(b"a picture")
    found = listing(load([tmp_path / "bundle"]), top=1)["boards"][0]["images"][0]
    assert found["image"] == str(tmp_path / "bundle" / "images" / f"{sha}.png")
    assert found["reference_image"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ("one", "--sampler", "uniform-5"),
            2,
            "no sampler 'uniform-5'; did you mean 'uniform-8' or 'uniform-4'?",
        ),
        (("one", "--sampler", "teacher-50"), 2, "'teacher-50' is what the others are compared with"),
        (("one", "--metric", "trut"), 2, "no metric or column 'trut'; did you mean 'truth'"),
        (
            ("one", "--metric", "fd[fake]"),
            2,
            "'fd[fake]' has no value of an image and of its reference to rank by",
        ),
        (("one", "--category", "sing"), 2, "no category 'sing'; did you mean 'sign'"),
        (("one", "--top", "-1"), 2, "top"),
        (("nowhere",), 3, "nowhere is not a finished run"),
        ((".",), 3, "is not a finished run"),
    ],
)
def test_what_is_wrong_is_said(runs: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = process(runs, *arguments)
    assert done.returncode == code, done.stderr
    assert said in " ".join(done.stderr.split())
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_damaged_samples_are_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "kept", tmp_path / "kept")
    (tmp_path / "kept" / "samples.parquet").write_bytes(b"something else")
    done = process(tmp_path, "kept")
    assert done.returncode == 3
    assert "was altered" in done.stderr


def test_only_the_sentences(runs: Path) -> None:
    done = process(runs, "one", "--top", 0)
    assert done.returncode == 0
    assert "testbed-flux on testbed (TESTBED), against teacher-50" in done.stdout
    assert "image" not in done.stdout


def test_one_sampler(runs: Path) -> None:
    done = process(runs, "single")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing to compare: no other sampler has values beside the reference's" in done.stdout
    assert "No image is worse than the reference's" in done.stdout


def test_hostile_prompts_print_on_their_own_lines(tmp_path: Path) -> None:
    prompts = [replace(prompt, text=EVIL, category=EVIL, wanted_text=(EVIL,)) for prompt in prompts_of(6)]
    finish(make_run(tmp_path / "run", prompts, models=["testbed-flux"], samplers=SAMPLERS))
    shown = list(lines(listing(load([tmp_path / "run"]))))
    assert any("ev|il" in line for line in shown)
    assert not any(c in line for line in shown for c in "\n\x1b\u202e")
    done = process(tmp_path, "run")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout


def test_a_planted_loss_is_printed(tmp_path: Path) -> None:
    """uniform-4 swaps colours in half of its images: Truth falls, which 40 prompts are enough to show."""
    finish(make_run(tmp_path / "run", prompts_of(40), models=["testbed-flux"], samplers=SAMPLERS))
    document = listing(load([tmp_path / "run"]))
    (board,) = document["boards"]
    told = [one["text"] for one in board["sentences"] if one["sampler"] == "uniform-4"]
    assert told
    assert [f"  - {text}" for text in told][0] in list(lines(document))
    losses = [one["difference"] for one in board["sentences"] if one["column"] == "truth"]
    assert all(loss < 0 for loss in losses)
    assert np.isfinite(losses).all()
    assert failing.__all__ == ["failures"]
