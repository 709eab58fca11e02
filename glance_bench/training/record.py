"""``training.json``: what is known of the adapters in a folder, and whether they are whole. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..digests import file_digests

__all__ = ["RECORD", "adapter_file", "is_whole", "read_record"]

RECORD = "training.json"


def adapter_file(folder: Path, phase: str) -> Path:
    """Where the adapter of a phase lies."""
    return folder / f"{phase}.safetensors"


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a folder; one without experts where it is absent or was not written by training."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if isinstance(record.get("experts"), dict):
            return dict(record)
    except (OSError, ValueError, AttributeError):
        pass
    return {"schema": "glance-bench/training/1", "experts": {}}


def is_whole(record: dict[str, Any], folder: Path, phase: str) -> bool:
    """Whether the adapter of ``phase`` is there with the content that the record states."""
    file = adapter_file(folder, phase)
    known = record["experts"].get(phase, {}).get("sha256")
    return known is not None and file.is_file() and file_digests([file])[0] == known
