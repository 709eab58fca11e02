"""Sheets as Markdown tables. A row of several lines has its heads in the first alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from glance_bench.report.escaping import markdown as escaped
from glance_bench.report.text import markdown_table

from .sheets import Section, Sheet

__all__ = ["markdown"]


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The whole document."""
    lines = [f"# {escaped(title)}"]
    for section in sections:
        lines += ["", f"## {escaped(section.title)}", "", escaped(section.about)]
        for sheet in section.sheets:
            lines += ["", *_sheet(sheet)]
    return "\n".join(lines) + "\n"


def _sheet(sheet: Sheet) -> Iterator[str]:
    yield f"### {escaped(sheet.caption)}"
    yield ""
    rows = []
    for group in sheet.groups:
        for number, line in enumerate(group.lines):
            heads = group.heads if number == 0 else ("",) * len(group.heads)
            rows.append([escaped(text) for text in (*heads, *line)])
    yield from markdown_table([escaped(text) for text in sheet.head], rows)
    if sheet.notes:
        yield ""
        yield from (f"- {escaped(note)}" for note in sheet.notes)
