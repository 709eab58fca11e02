"""Every placement, put into effect on the testbed's models: which pixels stay, how near the others come."""

import gc
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ModelMixin
from transformers import PreTrainedModel

from glance_bench.errors import GlanceBenchError
from glance_bench.models import quantised
from glance_bench.models.placement import PLANS, placement
from glance_bench.models.placing import load_transformer
from glance_bench.models.quantised import quantise
from glance_bench.registry import FAMILIES, MODELS
from glance_bench.samplers.cards import load_card
from glance_bench.samplers.lora_files import trained_adapters
from glance_bench.trajectory import Trajectory

SIZE = (64, 64)
PROMPTS = ["a red circle", "two blue squares"]
NEAR = {
    "quanto-int8": 38.0,
    "quanto-float8": 33.0,
    "bnb-nf4": 22.0,
}  # decibels; 44, 37 and 25 were the lowest seen


@dataclass
class Played:
    """A testbed model, a sampler with the pair's adapters, one without, and the images of both."""

    name: str
    adapted: Trajectory
    bare: Trajectory
    images: list[np.ndarray]

    def load(self, plan: str) -> Any:
        entry = MODELS.get(self.name)
        return FAMILIES.get(entry.family).load(entry.path, placement=placement(plan, self.name, SIZE, None))

    def play(self, model: Any) -> list[np.ndarray]:
        embeds = model.encode(PROMPTS)
        noise = model.noise([1, 2], resolution=SIZE)
        return [model.sample(t, embeds, noise, resolution=SIZE) for t in (self.adapted, self.bare)]


@pytest.fixture(scope="module", params=["testbed-flux", "testbed-qwen"])
def played(request: pytest.FixtureRequest) -> Played:
    entry = MODELS.get(request.param)
    model = FAMILIES.get(entry.family).load(entry.path)
    shape = replace(model.geometry(*SIZE), adapters=trained_adapters(entry.adapters))
    four = load_card("uniform-4").compile(shape).steps
    bare = Trajectory(
        (replace(four[0], sigma_next=four[2].sigma), replace(four[2], sigma_next=four[-1].sigma_next))
    )
    slow, *_, fast = load_card("glance-8").compile(shape).steps
    assert slow.adapter and fast.adapter and slow.adapter != fast.adapter
    adapted = Trajectory(
        tuple(
            replace(step, adapter=like.adapter, adapter_scale=like.adapter_scale)
            for step, like in zip(bare.steps, (slow, fast), strict=True)
        )
    )
    found = Played(request.param, adapted, bare, [])
    found.images = found.play(model)
    assert (found.images[0] != found.images[1]).any()
    return found


def psnr(images: np.ndarray, others: np.ndarray) -> float:
    error = np.mean((images.astype(float) - others.astype(float)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_gives_its_images_with_adapters_and_without(played: Played, plan: str) -> None:
    model = played.load(plan)
    near = [psnr(made, whole) for made, whole in zip(played.play(model), played.images, strict=True)]
    if plan in NEAR:
        assert all(NEAR[plan] < value < 90 for value in near), near
    else:
        assert near == [float("inf")] * 2
    encoders = [name for name, part in model.pipe.components.items() if isinstance(part, PreTrainedModel)]
    assert bool(encoders) == (plan == "all-on-gpu")


def test_encoders_and_transformer_are_never_there_together(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alive() -> set[str]:
        gc.collect()
        owned = {
            id(part): part for part in gc.get_objects() if isinstance(part, ModelMixin | PreTrainedModel)
        }
        return {type(part).__name__ for part in owned.values()} - before

    before: set[str] = set()
    before = alive()
    model = played.load("encode-then-drop")
    whole = model.encode(PROMPTS)
    encoding = alive()
    played.play(model)
    drawing = alive()
    assert encoding and drawing and not encoding & drawing & {type(model.pipe.transformer).__name__}
    again = model.encode(PROMPTS)  # a late prompt costs a reload, and nothing else
    assert model.pipe.transformer is None
    for one, other in zip(whole, again, strict=True):
        assert torch.equal(one["prompt_embeds"], other["prompt_embeds"])
    assert psnr(played.play(model)[0], played.images[0]) == float("inf")


def test_quantised_weights_compute_in_float32_from_files_in_16_bits(tmp_path: Path) -> None:
    family, source = FAMILIES.get("flux"), MODELS.get("testbed-flux").path
    kind, device = family.transformer_class, torch.device("cpu")
    half = kind.from_pretrained(source, subfolder="transformer", dtype=torch.bfloat16)
    half.save_pretrained(tmp_path / "transformer")
    made = load_transformer(kind, tmp_path, "int8", torch.float32, device)
    weight = made.proj_out.weight
    assert weight.dtype == torch.float32 and weight._data.dtype == torch.int8
    exact = half.proj_out.weight.float()
    step = exact.abs().amax(1, keepdim=True) / 127
    assert (weight.dequantize() - exact).abs().le(0.51 * step).all()  # scales in bfloat16 would be 0.4 % off
    assert {p.dtype for n, p in made.named_parameters() if "norm" in n and "linear" not in n} <= {
        torch.float32
    }


def test_what_was_quantised_is_let_go_before_the_next_layer_is_widened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers = torch.nn.Sequential(*(torch.nn.Linear(4, 4, dtype=torch.bfloat16) for _ in range(4)))
    originals = [weakref.ref(layer.weight) for layer in layers]
    quanto, there = quantised._quanto, []

    def counting(weights: str) -> Any:
        make = quanto(weights)

        def made(layer: torch.nn.Linear, dtype: torch.dtype) -> torch.nn.Module:
            gc.collect()
            there.append(sum(ref() is not None for ref in originals))
            return make(layer, dtype)

        return made

    monkeypatch.setattr(quantised, "_quanto", counting)
    quantise(layers, "int8", torch.float32, torch.device("cpu"))
    assert there == [4, 3, 2, 1]
    assert all(layer.weight._data.dtype == torch.int8 for layer in layers)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optimum.quanto", None)
    layer = torch.nn.Sequential(torch.nn.Linear(4, 4))
    with pytest.raises(GlanceBenchError, match="weights int8 need optimum-quanto: python -m pip install"):
        quantise(layer, "int8", torch.float32, torch.device("cpu"))
