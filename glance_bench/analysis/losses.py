"""The losses with which the adapters of a run were trained, from the records that lie beside their files. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..digests import file_digests

__all__ = ["loss_curves"]

RECORD = "training.json"  # as training writes it


def loss_curves(adapters: Iterable[str]) -> list[dict[str, Any]]:
    """``adapter`` (its folder and name), ``phase`` and ``losses`` (one a training step) of each adapter file.

    Files without a record are left out, and so are those whose content is not what the record describes.
    Raises GlanceBenchError for a file that cannot be read.
    """
    curves = []
    for file in map(Path, dict.fromkeys(adapters)):
        for phase, expert in _experts(file.parent / RECORD):
            if expert.get("file") == file.name and expert.get("sha256") == file_digests([file])[0]:
                losses = [float(loss) for loss in expert.get("losses", [])]
                if losses and all(map(math.isfinite, losses)):
                    name = f"{file.parent.name}/{file.stem}"
                    curves.append({"adapter": name, "phase": phase, "losses": losses})
    return curves


def _experts(record: Path) -> list[tuple[str, dict[str, Any]]]:
    """What a record says of each expert; nothing when it is absent or was not written by training."""
    try:
        experts = json.loads(record.read_bytes())["experts"]
        return [(str(phase), dict(expert)) for phase, expert in experts.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
