"""Small LoRA files for tests that load no model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


def write_lora(file: Path, value: float = 1.0, *, alpha: bool = True) -> Path:
    """A kohya-style file of one layer whose weights are ``value``, with its alpha or without."""
    weights = {
        "lora_unet_x.lora_down.weight": np.full((1, 2), value, np.float32),
        "lora_unet_x.lora_up.weight": np.full((2, 1), value, np.float32),
    }
    if alpha:
        weights["lora_unet_x.alpha"] = np.ones((), np.float32)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, file)
    return file
