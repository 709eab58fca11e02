"""What the doctor says, for people: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..terminal import printable

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["lines", "table"]

COLOURS = {"ok": "green", "note": "yellow", "bad": "red"}


def lines(document: dict[str, Any]) -> list[str]:
    """One fact a line, its cure on the next."""
    shown = []
    for subject, state, what, cures in _rows(document):
        shown.append(f"{subject:<26} {state:<5} {what}")
        shown += [f"{'':<32} cure: {cure}" for cure in cures]
    return shown


def table(document: dict[str, Any]) -> Table:
    """The same for a terminal."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, padding=(0, 1))
    for column in ("", "", "found", "cure"):
        drawn.add_column(column, overflow="fold")
    for subject, state, what, cures in _rows(document):
        drawn.add_row(Text(subject), Text(state, COLOURS[state]), Text(what), Text("\n".join(cures)))
    return drawn


def _rows(document: dict[str, Any]) -> Iterator[tuple[str, str, str, list[str]]]:
    """Subject, state, what, cures."""
    for one in document["findings"]:
        yield (
            one["subject"],
            one["state"],
            printable(one["what"]),
            [printable(one["cure"])] if one["cure"] else [],
        )
    for kind in ("models", "suites"):
        for one in document[kind]:
            waits = f"; metrics wait for {', '.join(one['waits'])}" if one["waits"] and one["runs"] else ""
            cures = [printable(cure) for cure in one["cures"]]
            state = "ok" if one["runs"] else "bad"
            yield f"{kind[:-1]} {printable(one['name'])}", state, printable(one["status"] + waits), cures
