"""How much memory training takes, from the checkpoint's configuration alone.

Parameters are counted on torch's meta device, adapters included, so nothing is allocated. Activations assume gradient
checkpointing: every block keeps its inputs, and one block at a time is computed again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..models.checkpoints import read_settings
from ..models.placement import BITS
from ..registry import FAMILIES
from .lora import add_lora
from .recipe import Recipe

__all__ = ["TRUE_SIZE", "Memory", "on_meta", "predict", "predict_for"]

# The published transformers are their classes' default configurations, but for FLUX.1-dev's guidance embedding.
TRUE_SIZE: dict[str, dict[str, Any]] = {"flux": {"guidance_embeds": True}, "qwen_image": {}}

GIB = 2**30
PUBLISHED_TEXT = 512
OVERHEAD = 0.8  # GiB: the CUDA context, the allocator's rounding, the library's workspaces
KEPT_IN_A_BLOCK = (
    34  # values a token and a channel while one block is recomputed: attention, MLP, their gradients
)


@dataclass(frozen=True)
class Memory:
    """Bytes by what holds them."""

    trainable: int
    weights: float
    adapter: float
    activations: float

    @property
    def total(self) -> float:
        return self.weights + self.adapter + self.activations + OVERHEAD * GIB

    def document(self) -> dict[str, Any]:
        """JSON data; sizes in GiB."""
        return {
            "trainable_parameters": self.trainable,
            "memory_gib": {
                "total": self.total / GIB,
                "weights": self.weights / GIB,
                "adapter": self.adapter / GIB,
                "activations": self.activations / GIB,
                "overhead": OVERHEAD,
            },
        }


def on_meta(transformer_class: Any, config: dict[str, Any]) -> nn.Module:
    """A transformer of this configuration without storage."""
    with torch.device("meta"):
        made: nn.Module = transformer_class.from_config(config)
    return made


def predict(family: str, checkpoint: Path | None, recipe: Recipe, tokens: int) -> Memory:
    """For a checkpoint folder, or the family's published transformer, and ``tokens`` image tokens.

    The text is as long as the model takes: 512 tokens for the published ones.
    """
    config, text = TRUE_SIZE[family], PUBLISHED_TEXT
    if checkpoint:
        config = json.loads((checkpoint / "transformer" / "config.json").read_text(encoding="utf-8"))
        text = read_settings(checkpoint).max_sequence_length
    return predict_for(on_meta(FAMILIES.get(family).transformer_class, config), recipe, tokens + text)


def predict_for(transformer: nn.Module, recipe: Recipe, tokens: int) -> Memory:
    """For a transformer on the meta device and ``tokens`` image and text tokens together, batch 1.

    Linear weights take the bits of ``recipe.base_weights``, everything else 16 (or the plain type's own); the adapter
    has float32 weights and gradients, and two optimizer states of 1 (8-bit) or 4 bytes. Activations are 16 bit.
    """
    linear = sum(module.weight.numel() for module in transformer.modules() if isinstance(module, nn.Linear))
    total = sum(parameter.numel() for parameter in transformer.parameters())
    rest_bits = 32 if recipe.base_weights == "float32" else 16
    weights = (linear * BITS[recipe.base_weights] + (total - linear) * rest_bits) / 8
    trainable = add_lora(transformer, recipe)
    adapter = trainable * (4 + 4 + (2 if recipe.optimizer == "adamw-8bit" else 8))
    config: Any = transformer.config
    width = config.num_attention_heads * config.attention_head_dim
    blocks = config.num_layers + getattr(config, "num_single_layers", 0)
    size = 4 if recipe.precision == "float32" else 2
    activations = tokens * width * size * (blocks + KEPT_IN_A_BLOCK)
    return Memory(trainable, weights, adapter, activations)
