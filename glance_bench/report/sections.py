"""A heading, a table and sentences: what a report in the terminal or in Markdown is made of.

Texts in a section are plain and untrusted; whoever renders it escapes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from glance_bench.report.escaping import markdown as escaped
from glance_bench.report.text import markdown_table, visible

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Section", "as_lines", "as_markdown", "as_renderable"]


@dataclass
class Section:
    """``rows`` are the table's, the first its heading; ``words`` are the columns that hold words, set left.

    ``notes`` are sentences below the table. A section without rows is a heading and its notes.
    """

    heading: str
    rows: list[list[str]] = field(default_factory=list)
    words: Sequence[int] = (0,)
    notes: list[str] = field(default_factory=list)


def as_lines(sections: Iterable[Section]) -> list[str]:
    """Aligned lines without colour."""
    made: list[str] = []
    for section in sections:
        made.append(visible(section.heading))
        rows = [[visible(cell) for cell in row] for row in section.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
        for row in rows:
            cells = [
                cell.ljust(width) if i in section.words else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            made.append("  ".join(cells).rstrip())
        made += [*map(visible, section.notes), ""]
    return made[:-1]


def as_markdown(sections: Iterable[Section]) -> Iterator[str]:
    """The lines of a Markdown document, a second-order heading a section."""
    for section in sections:
        yield f"## {escaped(section.heading)}"
        yield ""
        if section.rows:
            head, *rows = ([escaped(cell) or " " for cell in row] for row in section.rows)
            yield from markdown_table(head, rows)
            yield ""
        for note in section.notes:
            yield f"- {escaped(note.strip())}"
        if section.notes:
            yield ""


def as_renderable(sections: Iterable[Section]) -> RenderableType:
    """For ``rich.console.Console().print``: tables that wrap where the terminal is narrow."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    for section in sections:
        parts.append(Text(visible(section.heading), style="bold"))
        if section.rows:
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
            for i, title in enumerate(section.rows[0]):
                words = i in section.words
                table.add_column(
                    Text(visible(title)), justify="left" if words else "right", no_wrap=not words
                )
            for row in section.rows[1:]:
                table.add_row(*(Text(visible(cell)) for cell in row))
            parts.append(table)
        parts += [Text(visible(note), style="dim") for note in section.notes]
        parts.append(Text(""))
    return Group(*parts)
