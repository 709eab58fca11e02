"""Random adapters: the shape that a family's published recipe trains, for the time that switching and serving take."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ..models.placing import DTYPES
from ..models.random_weights import build
from ..training.lora import add_lora, save_lora
from ..training.recipe import PUBLISHED, load_recipe

__all__ = ["random_adapter"]

SPREAD = 0.01


def random_adapter(folder: Path, dtype: str, file: Path, seed: int) -> None:
    """Write a LoRA file for the model whose configurations are in ``folder``, without building its weights."""
    model = build(folder, device="meta", dtype=dtype)
    transformer = model.pipe.transformer
    add_lora(transformer, load_recipe(PUBLISHED[model.name]))
    random = torch.Generator().manual_seed(seed)
    for name, empty in list(transformer.named_parameters()):
        if empty.requires_grad:
            weight = torch.empty(empty.shape, dtype=DTYPES[dtype]).normal_(0.0, SPREAD, generator=random)
            owner, _, own = name.rpartition(".")
            transformer.get_submodule(owner).register_parameter(own, nn.Parameter(weight))
    file.parent.mkdir(parents=True, exist_ok=True)
    save_lora(transformer, model.pipeline_class, file)
