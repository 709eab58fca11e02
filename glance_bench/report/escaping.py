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
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after a row's end it would begin an optional argument, and a star would be read as one
    "*": "{*}",
    "-": "{-}",  # never a ligature: two of them stay two
    "\u2013": r"\textendash{}",
    "\u2020": r"\textdagger{}",
    "\u2191": r"$\uparrow$",
    "\u2193": r"$\downarrow$",
    "\u00d7": r"$\times$",
    **{c: f"\\{c}" for c in "{}$&#_%"},
}
HTML = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
JOINER = "\u2060"  # nobody sees it; GitHub then makes no link of a name, a number or an address


def markdown(text: str) -> str:
    """``text`` on one line of GitHub's Markdown, in a table cell too: no markup, no HTML, no link, no mention."""
    plain = "".join(HTML.get(c, c) for c in visible(text))
    plain = re.sub(r"[\\`*_|~$]|(?<=\])[(:]|^[-+=](?=[-+=\s]|$)", r"\\\g<0>", plain)
    return re.sub(r"@|#|:(?=//)|www(?=\.)", rf"\g<0>{JOINER}", plain)


def latex(text: str) -> str:
    """``text`` on one line of LaTeX. Characters that pdfLaTeX has no glyph for become their code point, ``U+4E2D``."""
    return "".join(map(_latex_character, visible(text)))


def _latex_character(character: str) -> str:
    if character in LATEX:
        return LATEX[character]
    if " " <= character <= "~" or "\u00c0" <= character <= "\u00ff":
        return character
    return f"U+{ord(character):04X}"


def csv_text(text: str) -> str:
    """``text`` for a cell that a spreadsheet opens: what it would take for a formula begins with an apostrophe.

    Quoting is the writer's task.
    """
    shown = visible(text)
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown
