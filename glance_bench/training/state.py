"""The state of a training under way as one safetensors file: its tensors, and everything else as JSON in the header."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import GlanceBenchError

__all__ = ["read_state", "write_state"]


def write_state(file: Path, state: dict[str, Any]) -> None:
    """Write nested dicts, lists and tuples of tensors, numbers, strings, booleans and None; ``file`` appears whole.

    Raises GlanceBenchError when it cannot be written.
    """
    tensors: dict[str, torch.Tensor] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            name = str(len(tensors))
            tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
            return ["tensor", name]
        if isinstance(value, dict):  # as pairs: an optimizer counts its parameters in integers
            return ["dict", [[key, plain(one)] for key, one in value.items()]]
        if isinstance(value, list | tuple):
            return [type(value).__name__, [plain(one) for one in value]]
        return ["value", value]

    temporary = file.with_name(f"{file.name}.tmp")
    try:
        save_file(tensors, temporary, {"state": json.dumps(plain(state))})
        os.replace(temporary, file)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise GlanceBenchError(f"{file} cannot be written: {' '.join(str(error).split())[:200]}") from error


def read_state(file: Path) -> dict[str, Any]:
    """What ``write_state`` wrote, tensors on the CPU; empty when the file is absent, cut short, or of another kind."""
    try:
        with safe_open(file, framework="pt") as opened:
            return dict(_restored(json.loads(opened.metadata()["state"]), opened))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _restored(part: Any, opened: Any) -> Any:
    kind, value = part
    if kind == "tensor":
        return opened.get_tensor(value)
    if kind == "dict":
        return {key: _restored(one, opened) for key, one in value}
    if kind in ("list", "tuple"):
        return (tuple if kind == "tuple" else list)(_restored(one, opened) for one in value)
    return value
