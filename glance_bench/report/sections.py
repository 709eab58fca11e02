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
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

__all__ = ["Section", "as_lines", "as_markdown", "as_renderable"]

GAP = 2  # spaces between columns
WRAPPED = 24  # characters of a column of words that wraps


@dataclass
class Section:
    """``rows`` are the table's, the first its heading; ``words`` are the columns that hold words, set left.

    ``notes`` are sentences below the table. ``narrow`` are rows that say less, for a terminal on which ``rows`` have no
    room. A section without rows is a heading and its notes.
    """

    heading: str
    rows: list[list[str]] = field(default_factory=list)
    words: Sequence[int] = (0,)
    notes: list[str] = field(default_factory=list)
    narrow: list[list[str]] = field(default_factory=list)


def as_lines(sections: Iterable[Section]) -> list[str]:
    """Aligned lines without colour."""
    made: list[str] = []
    for section in sections:
        made.append(visible(section.heading))
        made += _aligned(section.rows, section.words)
        made += [*map(visible, section.notes), ""]
    return made[:-1]


def _aligned(rows: list[list[str]], words: Sequence[int]) -> list[str]:
    shown = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = []
    for row in shown:
        cells = [
            cell.ljust(width) if i in words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((" " * GAP).join(cells).rstrip())
    return lines


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
    """For ``rich.console.Console().print``: where the terminal is narrow, a last column of words wraps."""
    return _Sections(list(sections))


class _Sections:
    def __init__(self, sections: list[Section]) -> None:
        self._sections = sections

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        for section in self._sections:
            yield Text(visible(section.heading), style="bold")
            if section.rows:
                fitting = [
                    r for r in (section.rows, section.narrow) if r and _width(r, section) <= options.max_width
                ]
                if fitting:
                    yield _table(fitting[0], section.words)
                else:  # cut cells would be wrong numbers: the terminal breaks the lines
                    for line in _aligned(section.narrow or section.rows, section.words):
                        yield Text(line, overflow="fold")
            yield from (Text(visible(note), style="dim") for note in section.notes)
            yield Text("")


def _width(rows: list[list[str]], section: Section) -> int:
    """What a table needs at least; a last column of words can do with WRAPPED."""
    widths = [max(len(visible(cell)) for cell in column) for column in zip(*rows, strict=True)]
    if len(widths) - 1 in section.words:
        widths[-1] = min(widths[-1], WRAPPED)
    return sum(widths) + GAP * (len(widths) - 1)


def _table(rows: list[list[str]], words: Sequence[int]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    last = len(rows[0]) - 1
    for i, title in enumerate(rows[0]):
        wraps = i == last and i in words
        table.add_column(
            Text(visible(title)),
            justify="left" if i in words else "right",
            no_wrap=not wraps,
            overflow="fold",
        )
    for row in rows[1:]:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table
