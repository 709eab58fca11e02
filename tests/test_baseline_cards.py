"""The cards of other people's samplers: what they compile to, whose weights they need, and what a wrong one is told."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from diffusers import FlowMatchEulerDiscreteScheduler
from typer.testing import CliRunner

from glance_bench.cli import app
from glance_bench.errors import MissingData, UsageError
from glance_bench.models.checkpoints import read_geometry
from glance_bench.prefetch import targets_of
from glance_bench.registry import MODELS
from glance_bench.samplers import show
from glance_bench.samplers.cards import Geometry, SamplerCard, list_cards, load_card
from glance_bench.samplers.lora_files import trained_adapters
from glance_bench.suite import Suite, load_suite
from glance_bench.trajectory import FLUX_SHIFT, QWEN_SHIFT, teacher_grid

from .hub_cache import hub_file, use_cache
from .lora_files import write_lora

FLUX = Geometry("flux", FLUX_SHIFT, 4096, 3.5, cfg=False)
QWEN = Geometry("qwen_image", QWEN_SHIFT, 4096, 4.0, cfg=True)
# Of the cards as they were before cards had options, on testbed-qwen: units made then are still these samplers'.
DIGESTS = {
    "teacher-50": "44d95fc3b2e85a8e",
    "teacher-50-unguided": "d07c672f17ae6aa3",
    "uniform-20": "4774598116f03d07",
    "uniform-10": "01a8d79dd802b7dd",
    "uniform-8": "1874955d74b9270a",
    "uniform-4": "859df617e4e2f45d",
    "native-10": "be8ca76d6fecc331",
    "native-8": "3cf36eaea7cbdbc6",
    "slowfast-8-base": "77f6a0837f2685a8",
    "slowfast-10-base": "cf7d251a915e1257",
    "slowfast-15-base": "d0350221351db4a3",
    "glance-8": "f330c8d7f00c4975",
    "glance-8-fast-only": "55ffbe18f64eb727",
    "glance-8-slow-only": "b0d6cc359d4a94df",
    "glance-10": "4f6941adf3c1975f",
    "glance-10@paper": "bdd5086469b3cb18",
    "glance-10@released": "4a5c5652827fff4d",
    "glance-10@simpletuner": "72411eb33a379ef1",
}
PUBLISHED = {  # family, NFE on it, guidance, scales, files as prefetch calls them
    "flux-schnell-4": ("flux", 4, 0.0, [], ["flux.1-schnell"]),
    "flux-turbo-8": (
        *("flux", 8, 3.5, [1.0]),
        ["alimama-creative/FLUX.1-Turbo-Alpha:diffusion_pytorch_model.safetensors"],
    ),
    "hyper-flux-8": (
        *("flux", 8, 3.5, [0.125]),
        ["ByteDance/Hyper-SD:Hyper-FLUX.1-dev-8steps-lora.safetensors"],
    ),
    "tdd-4": ("flux", 4, 2.0, [0.125], ["RED-AIGC/TDD:FLUX.1-dev_tdd_lora_weights.safetensors"]),
    "tdd-8": ("flux", 8, 2.0, [0.125], ["RED-AIGC/TDD:FLUX.1-dev_tdd_lora_weights.safetensors"]),
    "qwen-lightning-4": (
        *("qwen_image", 4, 1.0, [1.0]),
        ["lightx2v/Qwen-Image-Lightning:Qwen-Image-Lightning-4steps-V2.0.safetensors"],
    ),
    "qwen-lightning-8": (
        *("qwen_image", 8, 1.0, [1.0]),
        ["lightx2v/Qwen-Image-Lightning:Qwen-Image-Lightning-8steps-V2.0.safetensors"],
    ),
    "qwen-distill-15": (
        *("qwen_image", 15, 1.0, [1.0]),
        ["DiffSynth-Studio/Qwen-Image-Distill-LoRA:model.safetensors"],
    ),
    "glance-10@official": (
        *("qwen_image", 20, 5.0, [4.0, 4.0]),
        ["CSU-JPG/Glance:glance_qwen_slow.safetensors", "CSU-JPG/Glance:glance_qwen_fast.safetensors"],
    ),
    "glance-10@official-released": (
        *("qwen_image", 20, 5.0, [1.0, 1.0]),
        ["CSU-JPG/Glance:glance_qwen_slow.safetensors", "CSU-JPG/Glance:glance_qwen_fast.safetensors"],
    ),
}


def card(folder: Path, text: str) -> SamplerCard:
    path = folder / "card.yaml"
    path.write_text(f"name: x\n{text}", encoding="utf-8")
    return load_card(str(path))


def test_digests_of_cards_without_options_are_what_they_were() -> None:
    entry = MODELS.get("testbed-qwen")
    shape = replace(read_geometry(entry.path), adapters=trained_adapters(entry.adapters))
    assert {name: load_card(name).digest(shape)[:16] for name in DIGESTS} == DIGESTS


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_a_published_sampler_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family, nfe, guidance, scales, files = PUBLISHED[name]
    use_cache(monkeypatch, tmp_path)
    found = load_card(name)
    shape = FLUX if family == "flux" else QWEN
    plan = found.compile(shape)
    assert (found.families, found.published) == ([family], files)
    assert plan.nfe == nfe and {step.guidance for step in plan.steps} == {guidance}
    assert [e.scale for e in found.experts] == scales and found.licence and found.citation
    if not found.base:
        with pytest.raises(MissingData, match=r"waits for .*safetensors of .* \(.*\): glance-bench prefetch"):
            found.digest(shape)
        for target in files:
            repo, _, file = target.partition(":")
            write_lora(hub_file(tmp_path, repo, file), alpha=False)
        assert len(found.digest(shape)) == 64
        assert all(step.adapter.startswith(str(tmp_path)) for step in found.compile(shape).steps)


def test_every_published_baseline_is_tested_here() -> None:
    assert {one.name for one in list_cards() if one.published} == set(PUBLISHED)


@pytest.mark.parametrize("steps", [4, 8])
@pytest.mark.parametrize("tokens", [256, 4096])
def test_lightning_steps_as_its_own_scheduler_does(steps: int, tokens: int) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(  # of its generate_with_diffusers.py
        base_image_seq_len=256,
        base_shift=math.log(3),
        max_image_seq_len=8192,
        max_shift=math.log(3),
        shift=1.0,
        shift_terminal=None,
        use_dynamic_shifting=True,
    )
    scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)], mu=math.log(3))
    plan = load_card(f"qwen-lightning-{steps}").compile(replace(QWEN, tokens=tokens))
    assert plan.sigmas == pytest.approx(scheduler.sigmas.numpy(), abs=2e-7)
    assert plan.sigmas[1] != pytest.approx(teacher_grid(QWEN_SHIFT, tokens, steps)[1], abs=1e-3)


def test_schnell_takes_even_steps() -> None:
    assert list(load_card("flux-schnell-4").compile(FLUX).sigmas) == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_options_enter_the_digest_when_set(tmp_path: Path) -> None:
    schedule = "schedule: {kind: native, steps: 4}\n"
    plain = card(tmp_path, schedule).digest(FLUX)
    assert card(tmp_path, schedule + "solver: euler\nlicence: mine\n").digest(FLUX) == plain
    others = [
        "solver: heun\n",
        "solver: ab2\n",
        "max_sequence_length: 256\n",
        "cache: {kind: first-block}\n",
        "cache: {kind: first-block, threshold: 0.2}\n",
        "cache: {kind: taylorseer}\n",
        "cache: {kind: taylorseer, lite: true}\n",
        "cache: {kind: dbcache}\n",
    ]
    digests = [card(tmp_path, schedule + other).digest(FLUX) for other in others]
    digests.append(
        card(tmp_path, "schedule: {kind: native, steps: 4, shift: {max_tokens: 8192}}\n").digest(FLUX)
    )
    assert len({plain, *digests}) == len(digests) + 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("solver: huen\n", "unknown solver 'huen'.*heun"),
        ("cache: {kind: first-blok}\n", "first-block"),
        ("cache: {kind: first-block, treshold: 1.0}\n", r"card.yaml:3: unknown key.*threshold"),
        ("cache: {kind: first-block, threshold: 0}\n", "greater than 0"),
        (
            "cache: {kind: magcache, ratios: {flux: [1.0, 0.9]}}\n",
            "ratios of family 'qwen_image' are missing",
        ),
        ("solver: heun\ncache: {kind: first-block}\n", "heun.*takes no cache"),
        ("base: flux.1-schnel\n", "unknown model 'flux.1-schnel'.*flux.1-schnell"),
        ("base: flux.1-schnell\n", r"is of family flux: expected families: \[flux\]"),
        ("experts: [{name: a, lora: {repo: one/two, file: x.bin}}]\n", "file"),
        ("experts: [{name: a, lora: {repo: one/two, file: ../x.safetensors}}]\n", "file"),
        ("experts: [{name: a, lora: {repo: one, file: x.safetensors}}]\n", "repo"),
        ("max_sequence_length: 0\n", "max_sequence_length"),
    ],
)
def test_a_wrong_card_is_told_where(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        card(tmp_path, f"schedule: {{kind: native, steps: 4}}\n{text}")


def test_a_wrong_shift(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="max_tokens must be above base_tokens"):
        card(tmp_path, "schedule: {kind: native, steps: 4, shift: {max_tokens: 256}}\n")


def test_what_trajectory_and_list_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_cache(monkeypatch, tmp_path)
    shown = CliRunner().invoke(app, ["trajectory", "uniform-5-heun"]).stdout
    assert "NFE 9, 5.56x fewer" in shown and "solver heun" in shown and "evals" in shown
    assert show.document(load_card("teacher-50-fbcache"), FLUX)["cache"] == {
        "kind": "first-block",
        "threshold": 0.1,
    }
    shown = CliRunner().invoke(app, ["trajectory", "tdd-4"]).stdout
    assert "RED-AIGC/TDD:FLUX.1-dev_tdd_lora_weights.safetensors at 0.125" in shown
    assert "at most 256 tokens" in shown and "licence unverified" in shown
    listed = CliRunner().invoke(app, ["list", "samplers", "--json"]).stdout
    about = {one["name"]: one["about"] for one in json.loads(listed)}
    assert "glance-bench prefetch ByteDance/Hyper-SD:Hyper-FLUX" in about["hyper-flux-8"]
    assert "Apache-2.0" in about["qwen-lightning-8"]


def test_prefetch_of_a_suite_fetches_what_its_cards_name() -> None:
    data = {
        "name": "x",
        "prompts": [{"set": "testbed", "limit": 1}],
        "samplers": ["teacher-50", "tdd-4", "flux-schnell-4", "qwen-lightning-4"],
    }
    flux = targets_of(Suite.model_validate(data | {"models": ["testbed-flux"]}))
    assert flux == ["RED-AIGC/TDD:FLUX.1-dev_tdd_lora_weights.safetensors", "flux.1-schnell"]
    qwen = targets_of(Suite.model_validate(data | {"models": ["testbed-qwen"]}))
    assert qwen == ["lightx2v/Qwen-Image-Lightning:Qwen-Image-Lightning-4steps-V2.0.safetensors"]
    assert targets_of(load_suite("quickstart")) == []
