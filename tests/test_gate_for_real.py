"""The gate on real images: samplers that were really replaced or spoilt, and the same ones on fresh noise. Slow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from safetensors import safe_open
from safetensors.torch import save_file

from glance_bench.registry import MODELS

from .engine_fixtures import command

pytestmark = pytest.mark.slow

ADAPTERS = MODELS.get("testbed-flux").adapters
SUITE = {
    "version": 1,
    "name": "pull-request",
    "models": ["testbed-flux"],
    "prompts": [{"set": "testbed", "limit": 60}],
    "metrics": ["truth", "clip[testbed-clip]"],
    "batch_size": 30,
    "slice_size": 60,
    "timing": {"repeats": 0},
}
UNIFORM = "name: slowfast-10-base\ntitle: Not what its name says\nschedule: {kind: uniform, steps: 8}\n"


def run(folder: Path, name: str, **changes: object) -> Path:
    """A finished run of the suite with these changes."""
    with (folder / f"{name}.yaml").open("w") as file:
        YAML().dump(SUITE | changes, file)
    done = command(folder, "run", f"{name}.yaml", "-o", name, "-q")
    assert done.returncode == 0, done.stderr
    return folder / name


def gate(folder: Path, name: str, baseline: str) -> tuple[int, dict]:
    done = command(folder, "gate", name, "--baseline", baseline, "--format", "json", "-q")
    return done.returncode, json.loads(done.stdout)


def test_another_sampler_under_the_same_name_fails(tmp_path: Path) -> None:
    (tmp_path / "slowfast-10-base.yaml").write_text(UNIFORM)
    block = {"steps": "same", "on_inconclusive": "warn"}
    run(tmp_path, "before", samplers=["uniform-4", "slowfast-10-base"], gate=block)
    run(tmp_path, "after", samplers=["uniform-4", "slowfast-10-base.yaml"], gate=block)
    code, found = gate(tmp_path, "after", "before")
    assert code == 1
    failed = [check for check in found["checks"] if check["verdict"] == "fail"]
    assert {check["sampler"] for check in failed} == {"slowfast-10-base"}
    assert any("NFE 10, now 8" in check["message"] for check in failed)
    assert gate(tmp_path, "before", "before")[0] == 0


def rewritten(source: Path, target: Path, *, alpha: bool) -> None:
    """A LoRA as strong as ``source``, its alpha a quarter of its rank; or the same weights without alpha."""
    with safe_open(source, framework="pt") as opened:
        tensors = {key: opened.get_tensor(key) for key in opened.offset_keys()}
        metadata = json.loads(opened.metadata()["lora_adapter_metadata"])
    key = next(name for name in metadata if name.endswith(".lora_alpha"))
    strength = metadata[key] / metadata[key.replace("lora_alpha", "r")]
    grown = {k: t * 4 * strength if "lora_B" in k else t for k, t in tensors.items()}
    metadata[key] = metadata[key.replace("lora_alpha", "r")] / 4
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(grown, target, {"lora_adapter_metadata": json.dumps(metadata)} if alpha else {"format": "pt"})


def test_a_lora_that_lost_its_alpha_fails(tmp_path: Path) -> None:
    for phase in ("slow", "fast"):
        for folder, alpha in (("whole", True), ("lost", False)):
            rewritten(
                ADAPTERS / "glance-10" / f"{phase}.safetensors",
                tmp_path / folder / f"{phase}.safetensors",
                alpha=alpha,
            )
    for folder, scale in (("whole", ""), ("lost", ", scale: 1.0")):
        (tmp_path / f"{folder}.yaml").write_text(
            "name: pair\ntitle: A slow and a fast LoRA\nschedule: {kind: slow-fast, slow: 5, fast: 5}\nexperts:\n"
            f"  - {{name: slow, lora: {folder}/slow.safetensors{scale}, until: {{step: 5}}}}\n"
            f"  - {{name: fast, lora: {folder}/fast.safetensors{scale}}}\n"
        )
    whole = run(tmp_path, "before", samplers=["glance-10", "whole.yaml"])
    rows = {
        row["sampler"]: row["cells"]
        for row in json.loads((whole / "results.json").read_text())["boards"][0]["samplers"]
    }
    assert rows["pair"]["truth"]["value"] == pytest.approx(rows["glance-10"]["truth"]["value"], abs=0.02)
    run(tmp_path, "after", samplers=["glance-10", "lost.yaml"])
    code, found = gate(tmp_path, "after", "before")
    assert code == 1
    failed = {(check["sampler"], check["column"]) for check in found["checks"] if check["verdict"] == "fail"}
    assert {("pair", "truth"), ("pair", "clip[testbed-clip]")} <= failed
    assert {sampler for sampler, _ in failed} == {"pair"}


def test_the_same_samplers_on_fresh_noise_pass(tmp_path: Path) -> None:
    """Twenty pull requests that change nothing but the noise, at margins that sixty prompts can decide; and one at the
    same margins that plays two steps.
    """
    margins = {"truth": 0.15, "truth_all": 0.3, "clip[testbed-clip]": "6%"}
    changes = {"samplers": ["uniform-4", "uniform-8"], "gate": {"noise": "fresh", "margins": margins}}
    run(tmp_path, "baseline", **changes)
    codes = []
    for seed in range(1, 21):
        run(tmp_path, f"seed-{seed}", **changes, seed=seed)
        codes.append(gate(tmp_path, f"seed-{seed}", "baseline")[0])
    assert codes == [0] * 20
    (tmp_path / "uniform-8.yaml").write_text(
        "name: uniform-8\ntitle: Two steps only\nschedule: {kind: uniform, steps: 2}\n"
    )
    run(tmp_path, "broken", **(changes | {"samplers": ["uniform-4", "uniform-8.yaml"]}), seed=21)
    code, found = gate(tmp_path, "broken", "baseline")
    failed = {check["sampler"] for check in found["checks"] if check["verdict"] == "fail"}
    assert code == 1 and failed == {"uniform-8"}
