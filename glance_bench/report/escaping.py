"""Untrusted text as it may stand in Markdown, LaTeX and CSV. Control characters are spelt out in each."""

from __future__ import annotations

import re

from glance_bench.report.text import visible

__all__ = ["csv_text", "latex", "markdown"]

LATEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after a row's end it would begin an optional argument, and a star would be read as one
    "*": "{*}",
    "\u2013": "--",
    "\u00d7": r"$\times$",
    **{c: f"\\{c}" for c in "{}$&#_%"},
}
HTML = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def markdown(text: str) -> str:
    """``text`` on one line of GitHub's Markdown, in a table cell too: nothing in it is markup."""
    escaped = re.sub(r"[\\`*_\[\]{}()#+!|~$@-]", r"\\\g<0>", visible(text))
    return "".join(HTML.get(c, c) for c in escaped)


def latex(text: str) -> str:
    """``text`` as LaTeX text. Scripts other than the Latin ones need XeLaTeX or LuaLaTeX."""
    return "".join(LATEX.get(c, c) for c in visible(text))


def csv_text(text: str) -> str:
    """``text`` for a cell that a spreadsheet opens: what it would take for a formula begins with an apostrophe.

    Quoting is the writer's task.
    """
    shown = visible(text)
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown
