"""The suites of the published benchmarks: what they ask for is known, and their testbed profile runs offline."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from glance_bench.prefetch import targets_of
from glance_bench.profiles import choose
from glance_bench.registry import METRICS, PROMPT_SETS
from glance_bench.suite import list_suites, load_suite

BENCHMARKS = ("coco", "hpsv2", "oneig", "geneval", "dpg", "longtext", "dense-text")
SETTINGS = {  # what the official protocols fix: images a prompt, and the noise
    "coco": (1, "by-index"),
    "hpsv2": (1, "hashed"),
    "oneig": (4, "hashed"),
    "geneval": (4, "hashed"),
    "dpg": (4, "hashed"),
    "longtext": (4, "hashed"),
    "dense-text": (1, "hashed"),
}


def test_there_is_a_suite_for_each_benchmark() -> None:
    assert set(BENCHMARKS) <= set(list_suites())


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_suite_has_the_published_settings_for_both_families(name: str) -> None:
    suite = load_suite(name)
    assert (suite.images_per_prompt, suite.noise) == SETTINGS[name]
    assert suite.resolution == 1024
    assert list(suite.profiles) == ["h100", "bfloat16", "v100-32gb", "v100-16gb", "testbed"]
    anywhere = suite.with_profile("bfloat16")
    assert (anywhere.dtype, anywhere.placement, anywhere.batch_size) == ("bfloat16", "auto", 1)
    real = suite.with_profile("h100")
    assert real.models == ["flux.1-dev", "qwen-image"]
    assert all(use.set in PROMPT_SETS and use.limit is None for use in real.prompts)
    assert all(metric in METRICS for metric in real.metric_names()[0])


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_machine_without_a_gpu_gets_the_testbed_and_is_told_what_is_left_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    suite, why = choose(load_suite(name), None)
    assert "NO GPU" in why and suite.label == f"{name}-testbed"
    assert suite.models == ["testbed-flux", "testbed-qwen"] and suite.resolution == 64
    assert all(use.set.startswith("testbed") for use in suite.prompts)
    assert set(load_suite(name).metrics) == set(suite.left_out) | set(suite.metrics) & set(
        load_suite(name).metrics
    )


def test_prefetch_knows_prompts_models_and_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    wanted = targets_of(load_suite("dpg"))
    assert wanted == ["dpg", "flux.1-dev", "qwen-image", "qwen2.5-vl-7b", "clip-vit-l-14-336"]
    assert targets_of(load_suite("dpg").with_profile("testbed")) == wanted[3:]


def test_what_cannot_be_fetched_is_a_line_each_with_what_to_do_by_hand(tmp_path: Path) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path), "GLANCE_BENCH_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "glance_bench", "prefetch", "-q", "geneval", "suites/longtext.yaml"],
        capture_output=True,
        text=True,
        env={**os.environ, **offline},
        cwd=Path(__file__).parent.parent,
    )
    assert done.returncode == 3 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 5, "prompts; and of the suite prompts, two models, the judge"
    assert all(line.startswith("error: cannot fetch ") and "By hand: " in line for line in lines)


def test_a_run_of_one_measures_what_it_can_and_says_what_it_waits_for(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "glance_bench", "run", "hpsv2", "--limit", "3"),
            *("--samplers", "teacher-50,uniform-4", "-o", str(tmp_path / "run"), "-q"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_CACHE": str(tmp_path / "hub")},
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "waits for hpsv2.1 (3.9 GB)" in line]
    assert "hpsv2.1[vit-h-14]" in line and "hpsv2.1[vit-h-14-quickgelu]" in line
    assert "glance-bench prefetch hpsv2.1, then glance-bench convert hpsv2.1 FILE" in line
    built = json.loads((tmp_path / "run" / "results.json").read_text())
    cells = {row["sampler"]: row["cells"] for row in built["boards"][0]["samplers"]}
    assert {"clip[testbed-clip]", "truth", "psnr"} <= set(cells["uniform-4"])
    assert "psnr" not in cells["teacher-50"] and "clip[testbed-clip]" in cells["teacher-50"]
    assert set(built["waiting"]) >= {"fid[inception-2015-12-05,bicubic-aa]", "vqascore[clip-flant5-xxl]"}
