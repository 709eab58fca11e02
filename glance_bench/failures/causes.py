"""Why an image scores less than the reference's, in words, as far as the metrics' notes and values say it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..report.text import number
from .drops import FAILED, Column, spread_of
from .grid import Floats, Grid
from .words import diff

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Causes"]

FALLS = 3  # metrics whose fall is told
SLIGHT = 0.5  # standard deviations; a smaller fall is told only where there is no larger one
SHOWN = 200  # characters of a text
LISTED = 8  # things that are missing
BROKEN = {"non_finite": "has non-finite numbers", "black": "is black all over"}
FAULTS = {
    "missing": "missing",
    "faults": "wrong",
    "reason": "wrong",
}  # what notes list, by how their names end


class Causes:
    """The causes for images of one board.

    ``dropped`` is what ``drops`` gave. ``records`` are the board's rows of ``results.scored_records``, whose notes say
    what was read and what is missing; None where there are none, as for a baseline. ``wanted`` is the wanted text by
    prompt id, one line.
    """

    def __init__(
        self,
        grid: Grid,
        columns: Sequence[Column],
        dropped: Mapping[str, Floats],
        records: pd.DataFrame | None = None,
        wanted: Mapping[str, str] | None = None,
    ) -> None:
        self._grid, self._dropped, self._wanted = grid, dropped, wanted or {}
        self._columns = {c["name"]: c for c in columns if c["name"] in dropped and c["name"] != FAILED}
        self._values = {name: grid.values(name) for name in self._columns}
        self._spread = {name: spread_of(dropped[name]) for name in self._columns}
        self._usual = {
            name: float(np.nanmean(values[grid.reference])) for name, values in self._values.items()
        }
        self._broken = {name: grid.values(name) for name in BROKEN if name in grid.samples}
        self._teacher = grid.samplers[grid.reference]
        notes = [] if records is None else [name for name in records if _ending(name) in ("read", *FAULTS)]
        self._notes = {name: records[name].tolist() for name in notes} if records is not None else {}
        self._places = None if records is None else grid.positions(records)

    def of(self, sampler: int, row: int) -> list[str]:
        """Plain sentences for the image of sampler S at row R, the plainest cause first; [] where nothing is known."""
        return [
            *self._of_breaking(sampler, row),
            *self._of_texts(sampler, row),
            *self._of_missing(sampler, row),
            *self._of_values(sampler, row),
        ]

    def texts(self, sampler: int, row: int) -> list[tuple[str, str, str]]:
        """What should be read in an image and what was: (note, wanted text, read text), one for each reader."""
        wanted = self._wanted.get(self._grid.rows[row][0], "")
        found = []
        for name in self._notes if wanted else ():
            read = self._note(name, sampler, row)
            if _ending(name) == "read" and read is not None:
                found.append((name, wanted, " ".join(read.replace(" / ", " ").split())))
        return found

    def _of_texts(self, sampler: int, row: int) -> list[str]:
        """Of the texts in which something differs; what several readers read alike is told once."""
        differing = {
            read: (name, wanted)
            for name, wanted, read in self.texts(sampler, row)
            if any(op != "=" for op, _ in diff(wanted, read))
        }
        said = []
        for read, (name, wanted) in differing.items():
            label = f"{_label(name)}: " if len(differing) > 1 else ""
            what = f"read {_quoted(read)}" if read else "no text was read"
            said.append(f"{label}wanted {_quoted(wanted)}, {what}")
        return said

    def _of_breaking(self, sampler: int, row: int) -> list[str]:
        said = []
        for name, values in self._broken.items():
            if values[sampler, row] > 0:
                too = f", {self._teacher}'s too" if values[self._grid.reference, row] > 0 else ""
                said.append(f"the image {BROKEN[name]}{too}")
        return said

    def _of_missing(self, sampler: int, row: int) -> list[str]:
        said = []
        for name in self._notes:
            if (ending := _ending(name)) not in FAULTS:
                continue
            note, beside = self._note(name, sampler, row) or "", self._note(name, self._grid.reference, row)
            own, theirs = _entries(note), _entries(beside or "")
            new, old = [one for one in own if one not in theirs], [one for one in own if one in theirs]
            what = f"{_label(name)}: {'answered no:' if _numbered(note) else FAULTS[ending]}"
            if new:
                right = "" if beside is None else f" (right in {self._teacher}'s image)"
                said.append(f"{what} {_listed(new)}{right}")
            if old:
                said.append(f"{what} {_listed(old)} (so in {self._teacher}'s image too)")
        return said

    def _of_values(self, sampler: int, row: int) -> list[str]:
        """Falls, the largest in standard deviations first, then where the reference itself is far below its mean.

        Of each metric the column is told that fell furthest.
        """
        furthest: dict[str, tuple[float, str]] = {}
        for name, column in self._columns.items():
            fall = float(self._dropped[name][sampler, row]) / self._spread[name]
            if np.isfinite(fall) and fall > furthest.get(column["metric"], (-np.inf, ""))[0]:
                furthest[column["metric"]] = fall, name
        falls: list[str] = []
        failed: list[str] = []
        for fall, name in sorted(furthest.values(), key=lambda one: -one[0]):
            column = self._columns[name]
            own, theirs = self._values[name][[sampler, self._grid.reference], row]
            before, after = (number(value, column["decimals"]) for value in (theirs, own))
            verb = "fell" if column["better"] == "higher" else "rose"
            if fall > (SLIGHT if falls else 0) and before != after:
                falls.append(
                    f"{column['title']} {verb} from {before} to {after} ({self._beside(sampler, row)})"
                )
            if self._low(name, own) and self._low(name, theirs):
                usual = number(self._usual[name], column["decimals"])
                failed.append(f"{self._teacher} failed too: {column['title']} {before}, its mean is {usual}")
        return falls[:FALLS] + failed

    def _low(self, name: str, value: float) -> bool:
        """Whether a value is below half of the reference's mean, or above its double where less is better."""
        usual = self._usual[name]
        if usual <= 0:  # no share of it means anything
            return False
        return bool(value < usual / 2 if self._columns[name]["better"] == "higher" else value > 2 * usual)

    def _beside(self, sampler: int, row: int) -> str:
        same = self._grid.same_noise[sampler, row]
        return f"{self._teacher} at the same noise" if same else f"{self._teacher} on the same prompt"

    def _note(self, name: str, sampler: int, row: int) -> str | None:
        place = -1 if self._places is None else int(self._places[sampler, row])
        note: Any = self._notes[name][place] if place >= 0 else None
        return note if isinstance(note, str) else None


def _entries(note: str) -> list[str]:
    """What a note lists: questions by number, faults, lines of a reason, or attributes."""
    separator = r", (?=\d+ )" if _numbered(note) else r"; |\n" if re.search(r"[;:\n]", note) else ", "
    return [one for part in re.split(separator, note) if (one := re.sub(r"^\d+ ", "", part).strip())]


def _numbered(note: str) -> bool:
    """Whether a note lists questions, each behind its number."""
    return re.match(r"\d+ ", note) is not None


def _ending(name: str) -> str:
    return name.partition("[")[0].rpartition("_")[2]


def _label(name: str) -> str:
    """ "dsg[judge]" of "dsg_missing[judge]"."""
    stem, bracket, rest = name.partition("[")
    return stem.rpartition("_")[0] + bracket + rest


def _quoted(text: str) -> str:
    return f'"{text if len(text) <= SHOWN else text[:SHOWN] + "..."}"'


def _listed(things: Sequence[str]) -> str:
    more = f" and {len(things) - LISTED} more" if len(things) > LISTED else ""
    parted = "; " if any("," in one for one in things) else ", "
    return parted.join(one if len(one) <= SHOWN else one[:SHOWN] + "..." for one in things[:LISTED]) + more
