"""Filled tables in the format that is asked for."""

from __future__ import annotations

from typing import Literal

from .filled import Filled
from .flat import as_csv
from .latex import latex
from .markdown import markdown
from .sections import sections

__all__ = ["FORMATS", "TextFormat", "text"]

TextFormat = Literal["md", "latex", "csv", "html"]
FORMATS: tuple[TextFormat, ...] = ("md", "latex", "csv", "html")


def text(filled: Filled, format: TextFormat) -> str:
    """A whole file: every section, but for CSV, which has the cells alone."""
    if format == "csv":
        return as_csv(filled)
    title = f"Tables of {filled.paper.paper.title}"
    if format == "md":
        return markdown(title, sections(filled))
    if format == "latex":
        return latex(title, sections(filled))
    from .page import page

    return page(title, sections(filled))
