"""The frozen transformer in the weights that a recipe asks for; quantised by quanto or bitsandbytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from ..errors import GlanceBenchError
from ..models.checkpoints import check_weights

__all__ = ["load_transformer"]

PLAIN = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PACKAGES = {"float8": "optimum-quanto", "int8": "optimum-quanto", "nf4": "bitsandbytes"}


def load_transformer(family: Any, checkpoint: Path, weights: str, device: str) -> nn.Module:
    """The transformer of a checkpoint folder on ``device``, frozen, its base weights as named.

    ``float32``, ``bfloat16`` and ``float16`` are plain; ``float8`` and ``int8`` are quanto's weight types (activations
    stay in bfloat16, or float16 on a GPU without it), ``nf4`` is bitsandbytes'.
    Raises GlanceBenchError when weights or the quantising package are missing.
    """
    check_weights(checkpoint)
    if weights == "nf4" and device == "cpu":
        raise GlanceBenchError(
            "base weights nf4 need a GPU, where diffusers makes them; a CPU takes float8 or int8"
        )
    kind = family.transformer_class
    options: dict[str, Any] = {"dtype": PLAIN.get(weights) or _compute_dtype(device)}
    try:
        if weights == "nf4":
            options["quantization_config"] = _nf4(options["dtype"])
        made: nn.Module = kind.from_pretrained(
            checkpoint, subfolder="transformer", use_safetensors=True, local_files_only=True, **options
        )
        if weights in ("float8", "int8"):
            _quanto(made, weights)
    except ImportError as error:
        raise GlanceBenchError(
            f"base weights {weights} need {PACKAGES.get(weights)}: python -m pip install 'glance-bench[train]'"
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        what = " ".join(str(error).split())[:300]
        raise GlanceBenchError(f"checkpoint {checkpoint} cannot be loaded: {what}") from error
    return made.requires_grad_(False) if weights == "nf4" else made.to(device).requires_grad_(False)


def _compute_dtype(device: str) -> torch.dtype:
    """bfloat16 where the hardware has it. torch's own question says yes on a V100, where it is emulated."""
    if device == "cuda" and torch.cuda.get_device_capability() < (8, 0):
        return torch.float16
    return torch.bfloat16


def _nf4(compute: torch.dtype) -> Any:
    from diffusers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute)


def _quanto(transformer: nn.Module, weights: str) -> None:
    from optimum.quanto import freeze, qfloat8, qint8, quantize

    quantize(transformer, weights={"float8": qfloat8, "int8": qint8}[weights])
    freeze(transformer)
