"""The frozen transformer in the weights that a recipe asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..models import placing
from ..models.checkpoints import check_weights

__all__ = ["load_transformer"]


def load_transformer(family: Any, checkpoint: Path, weights: str, device: str) -> nn.Module:
    """The transformer of a checkpoint folder on ``device``, frozen, its base weights as named.

    ``float32``, ``bfloat16`` and ``float16`` are plain; ``float8``, ``int8`` and ``nf4`` are quantised, and compute
    in bfloat16, or float16 on a GPU without it.
    Raises GlanceBenchError when weights or the quantising package are missing.
    """
    check_weights(checkpoint)
    plain = placing.DTYPES.get(weights)
    stored, dtype = (weights, _compute_dtype(device)) if plain is None else ("plain", plain)
    made = placing.load_transformer(family.transformer_class, checkpoint, stored, dtype, torch.device(device))
    return made.requires_grad_(False)


def _compute_dtype(device: str) -> torch.dtype:
    """bfloat16 where the hardware has it. torch's own question says yes on a V100, where it is emulated."""
    if device == "cuda" and torch.cuda.get_device_capability() < (8, 0):
        return torch.float16
    return torch.bfloat16
