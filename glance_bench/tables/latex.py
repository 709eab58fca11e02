"""Sheets as a LaTeX document with booktabs tables: it compiles as it is, and each table can be pasted elsewhere.

Everything is escaped. Characters that pdfLaTeX has no glyph for become their code point, ``U+4E2D``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from glance_bench.report.escaping import latex as escaped

from .sheets import Section, Sheet

__all__ = ["latex"]

LONG = 45  # a column with a longer text is a paragraph, which wraps
_PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[a4paper,landscape,margin=15mm]{geometry}
\usepackage{booktabs,graphicx,longtable,textcomp}
\begin{document}"""


def latex(title: str, sections: Sequence[Section]) -> str:
    """The whole document."""
    lines = [_PREAMBLE, rf"\section*{{{escaped(title)}}}"]
    for section in sections:
        lines += [rf"\subsection*{{{escaped(section.title)}}}", escaped(section.about)]
        for sheet in section.sheets:
            lines += _sheet(sheet)
    return "\n".join([*lines, r"\end{document}"]) + "\n"


def _sheet(sheet: Sheet) -> Iterator[str]:
    """Numbers are a float, made smaller where the page is too narrow; sentences are a table that may break."""
    caption = rf"\textbf{{{escaped(sheet.caption)}}}"  # the paper numbers its tables, not LaTeX
    texts = [(*group.heads, *line) for group in sheet.groups for line in group.lines]
    wide = [max(map(len, column)) > LONG for column in zip(*texts, strict=True)]
    if any(wide):
        share = (0.9 if all(wide) else 0.6) / sum(wide)
        columns = "".join(rf"p{{{share:.2f}\linewidth}}" if long else "l" for long in wide)
        yield r"{\footnotesize\noindent " + caption
        yield rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}"
        yield from _rows(sheet)
        yield r"\end{longtable}"
        yield from _notes(sheet)
        yield "}"
    else:
        yield r"\begin{table}[p]\centering\footnotesize"
        yield caption + r"\par\smallskip"
        yield r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
        yield rf"\begin{{tabular}}{{@{{}}{'l' * len(wide)}@{{}}}}"
        yield from _rows(sheet)
        yield r"\end{tabular}}"
        yield from _notes(sheet)
        yield r"\end{table}\clearpage"  # LaTeX holds few waiting floats


def _rows(sheet: Sheet) -> Iterator[str]:
    yield r"\toprule"
    yield _row(sheet.head)
    for number, group in enumerate(sheet.groups):
        if number == 0 or len(group.lines) > 1:
            yield r"\midrule"
        for position, line in enumerate(group.lines):
            yield _row((*(group.heads if position == 0 else [""] * len(group.heads)), *line))
    yield r"\bottomrule"


def _notes(sheet: Sheet) -> Iterator[str]:
    yield from (rf"\par\smallskip {escaped(note)}" for note in sheet.notes)


def _row(cells: Sequence[str]) -> str:
    """The empty group keeps a cell that starts with a bracket from being read as an argument of the line above."""
    return "{}" + " & ".join(map(escaped, cells)) + r" \\"
