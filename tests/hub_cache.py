"""Published files in a hub cache of the test's own, as ``prefetch`` would leave them."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

COMMIT = "c" * 40


def hub_file(cache: Path, repo: str, file: str) -> Path:
    """Where the file of a repository lies in the cache; its branch main is there too."""
    room = cache / f"models--{repo.replace('/', '--')}"
    (room / "refs").mkdir(parents=True, exist_ok=True)
    (room / "refs" / "main").write_text(COMMIT)
    place = room / "snapshots" / COMMIT / file
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def use_cache(patch: pytest.MonkeyPatch, cache: Path) -> Path:
    """Make huggingface_hub look there."""
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache
