"""The published LoRA on the true-size transformers, on the meta device: parameters and predicted memory."""

from __future__ import annotations

import pytest
from diffusers import FluxTransformer2DModel, QwenImageTransformer2DModel

from glance_bench.training.memory import GIB, on_meta, predict_for
from glance_bench.training.recipe import load_recipe

FLUX = {"guidance_embeds": True}  # the class's defaults are FLUX.1's: 19 + 38 blocks, 24 heads of 128
QWEN: dict[str, object] = {}  # and Qwen-Image's: 60 blocks, 24 heads of 128


@pytest.mark.parametrize(
    ("kind", "config", "recipe", "trainable", "low", "high"),
    [  # trainable parameters in millions; training memory in GiB at 1024 px: 8-bit base, cached embeddings
        (FluxTransformer2DModel, FLUX, "glance-flux", 18.7, 14.0, 16.0),
        (QwenImageTransformer2DModel, QWEN, "glance-qwen", 235.9, 24.0, 26.0),
    ],
)
def test_true_size(kind, config, recipe, trainable, low, high) -> None:
    memory = predict_for(on_meta(kind, config), load_recipe(recipe), 4096 + 512)
    assert memory.trainable / 1e6 == pytest.approx(trainable, abs=0.05)
    middle = (low + high) / 2
    assert memory.total / GIB == pytest.approx(middle, rel=0.15)
