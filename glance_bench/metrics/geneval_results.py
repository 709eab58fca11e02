"""Verdicts of GenEval's own scorer: the jsonl that ``evaluation/evaluate_images.py`` writes, one line an image.

A line's ``filename`` says where the scored image lies (absolute, or relative to the file's folder). The images are read
to recognise those of a run by their pixels; ``correct`` and ``reason`` are taken as they are.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.judges.pictures import pixel_key
from glance_bench.sealed import sha256_bytes

__all__ = ["ResultsFile"]


class ResultsFile:
    """Raises UsageError when ``file`` cannot be read."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)
        self.name = f"import:{self._file.name}"
        try:
            self._data = self._file.read_bytes()
        except OSError as error:
            raise UsageError(f"geneval import:{file}: cannot be read ({error.strerror})") from error

    @property
    def recipe(self) -> str:
        return f"verdicts of the official scorer in a file, sha256 {sha256_bytes(self._data)[:12]}"

    def faults(self, image: Any, metadata: Any) -> list[str] | None:
        """See ``geneval.Referee.faults``. Raises GlanceBenchError with the line for one of another form, and for
        verdicts on one image that contradict each other."""
        return self._verdicts.get((pixel_key(image), metadata.get("prompt")))

    @cached_property
    def _verdicts(self) -> dict[tuple[str, Any], list[str]]:
        import numpy as np
        from PIL import Image, UnidentifiedImageError

        verdicts: dict[tuple[str, Any], list[str]] = {}
        for number, line in enumerate(self._data.decode("utf-8-sig", "replace").split("\n"), start=1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                correct, place = entry["correct"], self._file.parent / entry["filename"]
                with Image.open(place) as opened:
                    key = pixel_key(np.asarray(opened.convert("RGB"))), entry["prompt"]
            except (ValueError, KeyError, TypeError, OSError, UnidentifiedImageError) as error:
                raise GlanceBenchError(f"{self._file}, line {number}: {error!r}") from error
            reason = str(entry.get("reason") or "").splitlines()
            faults = [] if correct else reason or ["not correct"]
            if bool(verdicts.setdefault(key, faults)) != bool(faults):
                raise GlanceBenchError(
                    f"{self._file}, line {number}: a second, different verdict on one image"
                )
        return verdicts
