"""The published LoRA on the true-size transformers, on the meta device: parameters and predicted memory."""

from __future__ import annotations

import pytest

from glance_bench.models.flux import FluxFamily
from glance_bench.models.qwen_image import QwenImageFamily
from glance_bench.training.memory import GIB, TRUE_SIZE, on_meta, predict
from glance_bench.training.recipe import load_recipe


@pytest.mark.parametrize(
    ("family", "recipe", "billions", "trainable", "low", "high"),
    [  # parameters in all and trainable (millions); training memory in GiB at 1024 px: 8-bit base, cached embeddings
        (FluxFamily, "glance-flux", 11.90, 18.7, 14.0, 16.0),
        (QwenImageFamily, "glance-qwen", 20.43, 235.9, 24.0, 26.0),
    ],
)
def test_true_size(family, recipe, billions, trainable, low, high) -> None:
    whole = on_meta(family.transformer_class, TRUE_SIZE[family.name])
    assert sum(p.numel() for p in whole.parameters()) / 1e9 == pytest.approx(billions, abs=0.005)
    memory = predict(family.name, None, load_recipe(recipe), 4096)
    assert memory.trainable / 1e6 == pytest.approx(trainable, abs=0.05)
    middle = (low + high) / 2
    assert memory.total / GIB == pytest.approx(middle, rel=0.15)
