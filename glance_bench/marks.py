"""What the records of a run's units prove, read once; and what is wrong with a unit's files. No torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .sealed import Damaged, sha256_file
from .units import read_signed, read_unit

__all__ = ["Marks", "UnitMarks", "damages_in"]


@dataclass(frozen=True)
class UnitMarks:
    """A unit's record in short: its own digest, the key of the unit's scores, and the sha256 of ``unit.parquet``."""

    digest: str
    score_key: str
    records: str


class Marks:
    """The marks of the units below ``folder``, in memory: a record is read once, and again when its file changes.

    Units are named by their folders, relative to it. Everything here raises as ``read_unit`` does.
    """

    def __init__(self, folder: Path, score_key: Callable[[Mapping[str, Any]], str]) -> None:
        self._folder = folder
        self._score_key = score_key
        self._held: dict[str, tuple[tuple[int, ...], UnitMarks]] = {}

    def of(self, unit: str) -> UnitMarks:
        if (marks := self._known(unit)) is None:
            self.read(unit)
            _, marks = self._held[unit]
        return marks

    def read(self, unit: str) -> dict[str, Any]:
        """The whole record, whose marks are held from now on."""
        state = self._state(unit)
        document, digest = read_signed(self._folder / unit)
        records = str(document["records"]["sha256"])
        self._held[unit] = state, UnitMarks(digest, self._score_key(document), records)
        return document

    def records(self, unit: str) -> str:
        """The sha256 of the unit's records. Nothing is held: whoever asks may come through a million images."""
        marks = self._known(unit)
        return marks.records if marks else str(read_unit(self._folder / unit)["records"]["sha256"])

    def _known(self, unit: str) -> UnitMarks | None:
        state, marks = self._held.get(unit, (None, None))
        return marks if state and state == self._state(unit) else None

    def _state(self, unit: str) -> tuple[int, ...]:
        found = (self._folder / unit / "unit.json").stat()
        return found.st_ino, found.st_size, found.st_mtime_ns


def damages_in(place: Path, document: Mapping[str, Any], *, deep: bool) -> list[Damaged]:
    """What is wrong with the files of the unit in ``place``, by its record; foreign files are listed too.

    ``deep`` hashes every image; otherwise the records are hashed and the images' sizes compared.
    """
    with os.scandir(place) as entries:
        present = {entry.name: entry for entry in entries if entry.name != "unit.json"}
    wrong = []
    for file in [*document["images"], document["records"]]:
        name = file["file"]
        entry = present.pop(name, None)
        if entry is None:
            wrong.append(Damaged(place / name, "is missing"))
        elif (size := entry.stat().st_size) != file["bytes"]:
            wrong.append(Damaged(place / name, f"has {size} bytes where {file['bytes']} were written"))
        elif (deep or file is document["records"]) and sha256_file(place / name) != file["sha256"]:
            wrong.append(Damaged(place / name, "was altered: its sha256 is not the recorded one"))
    return wrong + [
        Damaged(place / name, "is not part of this unit", foreign=True) for name in sorted(present)
    ]
