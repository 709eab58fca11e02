"""What is said about filled tables: claims, suspect cells, contradictions, and why cells are empty, as sheets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .contradictions import RULES
from .filled import Checked, Filled
from .published import Difference, Retention, SpeedUp
from .reasons import REASONS
from .sheets import Group, Measured, Sheet, number, span

__all__ = ["claims", "empty", "findings", "suspects"]


def claims(filled: Filled) -> Sheet:
    """What is claimed, recomputed and measured."""
    groups = [Group((checked.claim.text,), (_claim(filled, checked),)) for checked in filled.claims]
    return Sheet(
        "Claims and their numbers",
        ("claim", "of", "claimed", "from the printed cells", "measured"),
        tuple(groups),
    )


def _claim(filled: Filled, checked: Checked) -> tuple[str, ...]:
    claim = checked.claim
    if isinstance(claim, SpeedUp):
        steps, evaluations = checked.ratios or (None, None)
        told = "" if steps is None else f"{steps:g}x in steps, {evaluations:g}x in model evaluations"
        measured = checked.reason.name if checked.reason else ""
        if checked.measured is not None:
            value, low, high, run = checked.measured
            measured = f"{value:.2f}x{span(low, high, 2)} ({run})"
        return claim.student, f"{claim.times:g}x", told, measured
    if not isinstance(claim, Retention | Difference):
        return "", "", "a sentence that no rule computes", ""
    retained = isinstance(claim, Retention)
    decimals = 2 if retained else filled.paper.columns[claim.column].decimals
    unit = " %" if retained else ""
    claimed = claim.percent if isinstance(claim, Retention) else claim.less
    again = [
        f"{r.table}: {r.value:.{decimals}f}{unit} ({r.low:.{decimals}f} to {r.high:.{decimals}f}), "
        f"{r.verdict(claimed, decimals)}"
        for r in checked.routes
    ]
    measured = checked.reason.name if checked.reason else ""
    if checked.measured is not None:
        value, low, high, run = checked.measured
        text = f"{number(value, decimals)}{unit}{span(low, high, decimals)} ({run})"
        measured = Measured(text, checked.images)
    return (
        claim.student,
        f"{claimed:.{decimals}f}{unit}",
        "; ".join(again) or "no table prints both",
        measured,
    )


def suspects(filled: Filled) -> Sheet:
    """The cells that the file calls suspect, and whether a rule names them too."""
    found = {cell for finding in filled.findings for cell in finding.cells}
    groups = []
    for table in filled.paper.tables:
        for s in table.suspect:
            title = filled.paper.columns[s.column].title if s.column else "all"
            named = any(
                t == table.id and s.row in (None, row) and (s.column is None or column in (None, s.column))
                for t, row, column in found
            )
            by = "yes" if named else "no"
            groups.append(Group((table.id,), ((s.row or "all", title, s.why, by),)))
    head = ("table", "row", "column", "why", "a rule names it too")
    return Sheet("Suspect cells by name", head, tuple(groups))


def findings(filled: Filled) -> Sheet:
    """What the rules found."""
    groups = _merged((RULES[finding.rule], (finding.message,)) for finding in filled.findings)
    return Sheet("Contradictions found by program", ("rule", "found"), groups)


def _merged(rows: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[Group, ...]:
    """A group for each head, its lines in their order."""
    lines: dict[str, list[tuple[str, ...]]] = {}
    for head, line in rows:
        lines.setdefault(head, []).append(line)
    return tuple(Group((head,), tuple(own)) for head, own in lines.items())


def empty(filled: Filled) -> Iterator[Sheet]:
    """Which reasons are shown how often, and everything that stands in the way."""
    names: dict[str, int] = {}
    whys: dict[tuple[str, str], int] = {}
    for table in filled.tables:
        for _, cells in table.rows:
            for cell in cells:
                if cell.reason is not None:
                    names[cell.reason.name] = names.get(cell.reason.name, 0) + 1
                    for why in cell.reason.why:
                        whys[cell.reason.name, why] = whys.get((cell.reason.name, why), 0) + 1
    if not names:
        return
    counted = [Group((name,), ((str(names[name]), REASONS[name]),)) for name in REASONS if name in names]
    yield Sheet("Reasons", ("shown", "cells", "meaning"), tuple(counted))
    listed = sorted(whys.items(), key=lambda item: (list(REASONS).index(item[0][0]), -item[1]))
    groups = _merged((name, (str(count), why)) for (name, why), count in listed)
    yield Sheet("What stands in the way", ("shown", "cells", "what"), groups)
