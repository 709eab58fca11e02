"""A transformer's linear layers in fewer bits: quanto's int8 and float8, bitsandbytes' nf4.

Only the weights are stored so; what they are multiplied with, and what comes out, stays in the dtype computed in.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..errors import GlanceBenchError
from .placement import PACKAGES

__all__ = ["quantise"]


def quantise(transformer: nn.Module, weights: str, dtype: torch.dtype, device: torch.device) -> None:
    """Quantise every linear layer in place, and move everything to ``device``, computing in ``dtype``.

    Layer by layer, each cast to ``dtype`` first, so that scales are as fine as what is computed in, and the
    host never holds the model in a wider dtype than it was loaded in.
    ``weights`` is "int8", "float8" or "nf4". Raises GlanceBenchError, with the cure, when its package is missing.
    """
    try:
        make = _nf4 if weights == "nf4" else _quanto(weights)
    except ImportError as error:
        raise GlanceBenchError(
            f"weights {weights} need {PACKAGES[weights]}: python -m pip install 'glance-bench[train]'"
        ) from error
    # By name: whoever holds the modules holds what each was cast to, until the last is done.
    for name in [name for name, module in transformer.named_modules() if isinstance(module, nn.Linear)]:
        parent, _, child = name.rpartition(".")
        owner = transformer.get_submodule(parent)
        setattr(owner, child, make(getattr(owner, child).to(dtype), dtype).to(device))
    for module in transformer.modules():
        if not isinstance(module, nn.Linear):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(device, dtype)
            for buffer in module.buffers(recurse=False):
                buffer.data = buffer.data.to(device, dtype if buffer.is_floating_point() else buffer.dtype)


def _quanto(weights: str) -> Any:
    from optimum.quanto import QLinear, qfloat8, qint8

    kind = {"float8": qfloat8, "int8": qint8}[weights]

    def make(layer: nn.Linear, dtype: torch.dtype) -> nn.Module:
        made: nn.Module = QLinear.from_module(layer, weights=kind)
        made.freeze()
        return made

    return make


def _nf4(layer: nn.Linear, dtype: torch.dtype) -> nn.Module:
    from bitsandbytes.nn import Linear4bit, Params4bit

    options: dict[str, Any] = {"compress_statistics": False, "quant_type": "nf4"}
    with torch.device("meta"):
        made: nn.Module = Linear4bit(layer.in_features, layer.out_features, compute_dtype=dtype, **options)
    made.weight = Params4bit(layer.weight.data, requires_grad=False, **options)
    made.bias = layer.bias
    return made
