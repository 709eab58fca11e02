"""sha256 of large files, remembered by path, size and modification time, so that weights are read once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import GlanceBenchError
from .resources import cache_dir
from .sealed import sha256_file, write_atomic

__all__ = ["file_digests"]


def file_digests(files: Sequence[Path]) -> list[str]:
    """The sha256 of each file, in order.

    The memory is ``digests.json`` in the user's cache folder (``GLANCE_BENCH_CACHE`` overrides); losing it,
    or not being able to write it, costs time only. Raises GlanceBenchError for a file that cannot be read.
    """
    place = cache_dir() / "digests.json"
    known = _read(place)
    found = {}
    for file in files:
        try:
            real = file.resolve(strict=True)
            state = real.stat()
            key = f"{real}|{state.st_size}|{state.st_mtime_ns}"
            found[file] = key, known.get(key) or sha256_file(real)
        except OSError as error:
            raise GlanceBenchError(f"cannot read {file}: {error.strerror}") from error
    fresh = {key: digest for key, digest in found.values() if known.get(key) != digest}
    if fresh:
        with suppress(OSError):  # read-only or full
            write_atomic(place, json.dumps(known | fresh, indent=0).encode())
    return [found[file][1] for file in files]


def _read(place: Path) -> dict[str, Any]:
    try:
        known = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
