"""Sheets as Markdown tables. A row of several lines has its heads in the first alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from glance_bench.report.text import markdown_table, visible

from .sheets import Section, Sheet

__all__ = ["markdown"]

_MARKUP = re.compile(r"[\\`*_|~$#]|(?<=\])[(:]")


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The whole document."""
    lines = [f"# {escaped(title)}"]
    for section in sections:
        lines += ["", f"## {escaped(section.title)}", "", escaped(section.about)]
        for sheet in section.sheets:
            lines += ["", *_sheet(sheet)]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """``text`` on one line, shown by Markdown as it is: no markup, no HTML, no end of a cell, no link."""
    plain = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(lambda found: "\\" + found[0], plain)


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
