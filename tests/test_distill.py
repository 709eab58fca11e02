"""Distillation: teacher paths and their shards, the student's loss, and that it goes on after a kill."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors import safe_open

from glance_bench.errors import GlanceBenchError
from glance_bench.models.checkpoints import checkpoint_digest
from glance_bench.models.recorder import Recorder
from glance_bench.registry import FAMILIES, MODELS, PROMPT_SETS
from glance_bench.samplers.cards import load_card
from glance_bench.samplers.lora_files import trained_adapters
from glance_bench.sealed import sha256_file
from glance_bench.testbed import distill
from glance_bench.testbed.scenes import UNSEEN_WORDS, is_held_out
from glance_bench.training import distill as training
from glance_bench.training.lora import add_lora, save_lora
from glance_bench.training.paths import make_shard, play, read_shards
from glance_bench.trajectory import Move, from_moves, uniform_indices

CAPTIONS = ["a red circle on the sea", 'a sign that says "OPEN" on the hills']


class Last(Recorder):
    def on_step(self, index: int, latents: Any) -> None:
        self.latents = latents.detach().clone()


@pytest.fixture(scope="module", params=["testbed-flux", "testbed-qwen"])
def family(request: pytest.FixtureRequest) -> Any:
    entry = MODELS.get(request.param)
    return FAMILIES.get(entry.family).load(entry.path)


# -- teacher paths -------------------------------------------------------------------------------------------


def test_a_path_is_the_pipelines_own_guidance_included(family: Any) -> None:
    trajectory, noise = load_card("uniform-4").compile(family.geometry()), family.noise([1, 2])
    watch = Last()
    family.sample(trajectory, family.encode(CAPTIONS), noise, watch)
    path = play(family, trajectory, CAPTIONS, noise, [0, 2, 4], precision=torch.float32)
    assert path.shape == (2, 3, 64, 64) and torch.equal(path[:, 0], noise)
    assert torch.allclose(path[:, -1], watch.latents, atol=1e-4)
    assert not torch.allclose(path[:, 1], watch.latents, atol=0.1)


@pytest.mark.parametrize("order", [1, 2])
def test_the_order_is_how_fast_a_paths_error_falls(order: int) -> None:
    """dx/ds = x from s = 1 to 0 ends at x / e. Half the step: 2 ** order times less error."""
    world = SimpleNamespace(
        pipe=SimpleNamespace(transformer=None),
        geometry=lambda: SimpleNamespace(tokens=4),
        encode=list,
        inputs=lambda embeds, guidance: {},
        velocity=lambda transformer, latents, told, inputs, tokens: latents,
    )

    def error(steps: int) -> float:
        edges = [1 - i / steps for i in range(steps + 1)]
        moves = [Move(a, b, a) for a, b in zip(edges, edges[1:], strict=False)]
        noise = torch.ones(1, 4, 1)
        end = play(world, from_moves(moves), ["x"], noise, [steps], order=order, precision=torch.float32)
        return abs(float(end.mean()) - math.exp(-1))

    assert error(16) / error(32) == pytest.approx(2**order, rel=0.15)


def test_the_short_teacher_stops_at_every_level_of_the_students() -> None:
    assert set(distill.LEVELS[:-1]) <= set(distill.PLAYED)
    assert set(uniform_indices(4)) <= set(distill.LEVELS) and set(uniform_indices(8)) <= set(distill.LEVELS)
    assert [distill.PLAYED[at] for at in distill.KEEP[:-1]] == list(distill.LEVELS[:-1])


def test_training_never_sees_a_held_out_scene() -> None:
    held_out = {prompt.text for prompt in PROMPT_SETS.get("testbed")(None).prompts}
    for number in range(10240):
        scene, text = distill.training_prompt(number)
        assert not is_held_out(scene) and not set(scene.words) & set(UNSEEN_WORDS) and text not in held_out


def test_a_shard_is_made_once_and_appears_whole(tmp_path: Path) -> None:
    file, made = tmp_path / "000000.safetensors", []

    def latents() -> torch.Tensor:
        made.append(1)
        return torch.arange(24, dtype=torch.float32).reshape(2, 3, 2, 2)

    def interrupted() -> torch.Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_shard(file, "key", CAPTIONS, interrupted)
    assert list(tmp_path.iterdir()) == []
    assert make_shard(file, "key", CAPTIONS, latents) and not make_shard(file, "key", CAPTIONS, latents)
    assert made == [1]
    paths = read_shards(tmp_path, 2, [0, 2])
    assert paths.captions == tuple(CAPTIONS) and paths.latents.dtype == torch.float16
    assert paths.latents[1].flatten().tolist() == [12, 13, 14, 15, 20, 21, 22, 23]
    with pytest.raises(GlanceBenchError, match="has 2 teacher paths, expected 3"):
        read_shards(tmp_path, 3, [0])
    make_shard(tmp_path / "000001.safetensors", "other", CAPTIONS, latents)
    with pytest.raises(GlanceBenchError, match="made with different settings"):
        read_shards(tmp_path, 4, [0])
    file.write_bytes(b"cut short")
    with pytest.raises(GlanceBenchError, match="cannot be read"):
        read_shards(tmp_path, 2, [0])


# -- the student ---------------------------------------------------------------------------------------------


@dataclass
class Student:
    """testbed-flux's transformer learning two steps of four made-up paths; everything but the seed is fixed."""

    folder: Path
    kill_at: int | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)

    def run_in(self, steps: int = 12) -> tuple[list[float], dict[str, torch.Tensor], Any]:
        entry = MODELS.get("testbed-flux")
        family = FAMILIES.get(entry.family).load(entry.path)
        recipe = distill.recipe_for("flux", 4).model_copy(
            update={"steps": steps, "batch": 4, "warmup": 0, "rank": 2, "precision": "float32"}
        )
        torch.manual_seed(0)
        add_lora(family.pipe.transformer, recipe)
        embeds = family.encode(CAPTIONS * 2)
        noise = torch.randn(4, 5, 64, 64, generator=torch.Generator().manual_seed(3)).half()

        def on_step(step: int, loss: float) -> None:
            if step == self.kill_at:
                raise KeyboardInterrupt

        trained = training.distil(
            family.pipe.transformer,
            family.velocity,
            noise,
            lambda picks: family.inputs([embeds[pick] for pick in picks]),
            load_card("distilled-4").compile(family.geometry()),
            (8, 8),
            recipe,
            self.folder / "state",
            "key",
            Accelerator(cpu=True),
            on_step,
        )
        weights = {
            n: p.detach().clone() for n, p in family.pipe.transformer.named_parameters() if p.requires_grad
        }
        return trained.losses, weights, family


def test_the_loss_falls_and_a_killed_training_ends_in_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 4)
    losses, weights, family = Student(tmp_path / "whole").run_in()
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])
    with pytest.raises(KeyboardInterrupt):
        Student(tmp_path / "killed", kill_at=7).run_in()
    again, resumed, _ = Student(tmp_path / "killed").run_in()
    assert again == losses
    assert all(torch.equal(resumed[name], value) for name, value in weights.items())
    file = tmp_path / "all.safetensors"
    save_lora(family.pipe.transformer, family.pipeline_class, file)
    with safe_open(file, "pt") as opened:
        assert '"transformer.lora_alpha": 20' in opened.metadata()["lora_adapter_metadata"]


# -- what is packaged -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["testbed-flux", "testbed-qwen"])
@pytest.mark.parametrize("steps", [4, 8])
def test_packaged_loras_learnt_from_ten_thousand_paths_of_these_weights(name: str, steps: int) -> None:
    entry = MODELS.get(name)
    folder = entry.adapters / f"distilled-{steps}"
    (known,) = json.loads((folder / "training.json").read_text())["experts"].values()
    assert known["model"] == checkpoint_digest(entry.path) and known["samples"] >= 10_000
    assert known["recipe"] == distill.recipe_for(entry.family, steps).model_dump(
        mode="json", exclude={"title"}
    )
    assert known["seconds"] > 0 and known["teacher_seconds"] > 0 and known["teacher_evaluations"] > 10_000
    assert len(known["losses"]) == known["recipe"]["steps"]
    assert sum(known["losses"][-50:]) < 0.7 * sum(known["losses"][:50])
    file = folder / known["file"]
    assert sha256_file(file) == known["sha256"]
    with safe_open(file, "pt") as opened:
        metadata = json.loads(opened.metadata()["lora_adapter_metadata"])
        kinds = {opened.get_slice(key).get_dtype() for key in opened.keys()}  # noqa: SIM118
    assert metadata["transformer.r"] == metadata["transformer.lora_alpha"] == 20 and kinds == {"F16"}


def test_packaged_loras_change_pixels(family: Any) -> None:
    entry = MODELS.get(family.path.name)
    embeds, noise = family.encode(CAPTIONS[:1]), family.noise([0])
    geometry = replace(family.geometry(), adapters=trained_adapters(entry.adapters))
    made = {
        sampler: family.sample(load_card(sampler).compile(geometry), embeds, noise)
        for sampler in ("distilled-4", "distilled-8", "uniform-4")
    }
    assert all((a != b).any() for a, b in itertools.combinations(made.values(), 2))
    weights = {p.dtype for n, p in family.pipe.transformer.named_parameters() if "lora_" in n}
    assert weights == {torch.float32}  # half the size on disk, not in use
