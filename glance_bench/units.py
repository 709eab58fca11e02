"""A unit of work and its record: one slice of prompts under one sampler, ``unit.json`` beside its images. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .sealed import Damaged, digest_of

__all__ = [
    "PAIR_KEYS",
    "RECORD_COLUMNS",
    "UnitInfo",
    "content_key",
    "read_signed",
    "read_unit",
    "refuse_outside",
]

RECORD_COLUMNS = {
    "model": "string",
    "sampler": "string",
    "prompt_set": "string",
    "prompt_id": "string",
    "index": "int64",
    "seed": "int64",
    "image": "string",
    "image_sha256": "string",
    "width": "int64",
    "height": "int64",
    "finite": "bool",
    "black": "bool",
    "truncated": "bool",
    "evaluations": "float64",
    "batch_size": "int64",
}


ROOMS = ("units", "scores", "features", "timing", "strips")  # the folders of a run that a manifest names
PAIR_KEYS = ("image_sha256", "reference_sha256", "prompt_id")


@dataclass(frozen=True)
class UnitInfo:
    """One unit of generated work: ``slice`` counts the prompt set's slices from 0, ``folder`` is relative."""

    model: str
    sampler: str
    prompt_set: str
    slice: int
    key: str
    folder: str


def refuse_outside(path: Path, manifest: Mapping[str, Any]) -> None:
    """Raises Damaged where a run's manifest, which may be anybody's, names a folder outside the run's own rooms."""
    for entry in ("units", "metrics", "timing", "strips"):
        for listed in manifest.get(entry, ()):
            folder = listed.get("folder") if isinstance(listed, dict) else ""
            if folder is not None and not (isinstance(folder, str) and _is_inside(folder)):
                raise Damaged(path, f"names a folder outside the run: {str(folder)[:80]!r}")


def _is_inside(folder: str) -> bool:
    parts = PurePosixPath(folder).parts
    return len(parts) > 1 and parts[0] in ROOMS and ".." not in parts


def read_unit(folder: Path) -> dict[str, Any]:
    """A unit's ``unit.json``. Raises FileNotFoundError when it is absent, Damaged when it is not whole."""
    return read_signed(folder)[0]


def read_signed(folder: Path) -> tuple[dict[str, Any], str]:
    """As ``read_unit``, with the digest that the record carries of itself."""
    path = folder / "unit.json"
    try:
        document = json.loads(path.read_bytes())
        digest = document.pop("digest")
        names = [file["file"] for file in [*document["images"], document["records"]]]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise Damaged(path, f"is not a unit record ({error})") from error
    if digest != digest_of(document):
        raise Damaged(path, "was altered: its content does not match its own digest")
    for name in names:
        if not isinstance(name, str) or "/" in name or name in ("", ".", ".."):
            raise Damaged(path, f"names a file outside the unit: {name!r}")
    return dict(document), str(digest)


def content_key(unit: Mapping[str, Any]) -> str:
    """What a unit shows: its images and their prompts' texts, as 16 hex digits. See also ``Run.score_key``."""
    return digest_of([[i["sha256"], i["prompt_id"], i["text_sha256"]] for i in unit["images"]])[:16]
