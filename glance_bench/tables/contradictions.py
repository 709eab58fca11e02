"""Contradictions inside one paper, found by rules that read nothing but its printed cells and claims.

What the authors of the file suspect is not looked at. A rule allows for rounding: a printed value stands for anything
that rounds to it. Each finding names its rule and its cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from .published import Column, Difference, PaperTables, Retention, Row, SpeedUp, Table

__all__ = ["RULES", "Finding", "Route", "contradictions", "routes", "speed_ratios"]

RULES = {
    "same configuration": "one configuration is printed with different numbers",
    "same numbers": "different configurations are printed with the same numbers",
    "above its teacher": "a student is above its teacher in one score while all its others fall",
    "passes": "a speed-up counted in steps differs from the one counted in model evaluations",
    "claim": "a claimed number does not follow from the printed cells",
    "parts": "a score printed as a mean of others is not their mean",
}
ALIKE = 3  # so many equal values at least, before two rows are said to have the same numbers


@dataclass(frozen=True)
class Finding:
    """One contradiction: the rule that found it, the cells as (table, row, column or None), and a sentence."""

    rule: str
    cells: tuple[tuple[str, str, str | None], ...]
    message: str


@dataclass(frozen=True)
class Route:
    """A claimed number computed again from one table: its value, and the ends that rounding allows."""

    table: str
    value: float
    low: float
    high: float

    def verdict(self, claimed: float, decimals: int) -> str:
        """ "equal" when it rounds to what is claimed, "within rounding" when the cells allow it, else "not equal"."""
        if math.isclose(round(self.value, decimals), claimed, abs_tol=10.0**-decimals / 10):
            return "equal"
        return "within rounding" if self.low <= claimed <= self.high else "not equal"


def contradictions(paper: PaperTables) -> list[Finding]:
    """Everything that the RULES find, in their order."""
    return [
        *_same_configuration(paper),
        *_same_numbers(paper),
        *_above_teacher(paper),
        *_passes(paper),
        *_claims(paper),
        *_parts(paper),
    ]


def speed_ratios(student: Row, teacher: Row) -> tuple[float, float] | None:
    """The teacher's cost over the student's in steps, and in model evaluations; None where steps are not printed."""
    if not (student.steps and teacher.steps and student.evaluations and teacher.evaluations):
        return None
    return teacher.steps / student.steps, teacher.evaluations / student.evaluations


def routes(paper: PaperTables, claim: Retention | Difference) -> list[Route]:
    """The claim's number from every table that prints both rows with its column, or with all the column's parts.

    Retention in percent. With half a unit of the last printed digit up and down, a retention lies between the least
    student over the greatest teacher and the reverse.
    """
    found = []
    for table in paper.tables:
        student, teacher = table.row(claim.student), table.row(claim.teacher)
        if student is None or teacher is None:
            continue
        for parts in ([claim.column], paper.columns[claim.column].mean_of):
            above, below = (_span(paper, table, row, parts) for row in (student, teacher))
            if above is None or below is None:
                continue
            if isinstance(claim, Difference):
                ends = below[0] - above[2], below[1] - above[1], below[2] - above[0]
            elif below[0] > 0:
                ends = 100 * above[0] / below[2], 100 * above[1] / below[1], 100 * above[2] / below[0]
            else:
                continue
            found.append(Route(table.id, ends[1], ends[0], ends[2]))
    return found


def _span(
    paper: PaperTables, table: Table, row: Row, parts: Sequence[str]
) -> tuple[float, float, float] | None:
    """Least, printed and greatest mean of some of a row's cells; None when one of them is not printed."""
    if not parts or any(name not in table.columns for name in parts):
        return None
    values = [table.value(row, name) for name in parts]
    printed = [value for value in values if value is not None]
    if len(printed) < len(parts):
        return None
    half = sum(_half(paper.columns[name]) for name in parts) / len(parts)
    mean = sum(printed) / len(parts)
    return mean - half, mean, mean + half


def _half(column: Column) -> float:
    return 0.5 * 10.0**-column.decimals


def _rows(paper: PaperTables) -> list[tuple[Table, Row]]:
    return [(table, row) for table in paper.tables for row in table.rows]


def _shared(first: tuple[Table, Row], second: tuple[Table, Row]) -> dict[str, tuple[float, float]]:
    """The columns for which both rows print a value, with the two values."""
    both = {}
    for name in first[0].columns:
        if name in second[0].columns:
            a, b = first[0].value(first[1], name), second[0].value(second[1], name)
            if a is not None and b is not None:
                both[name] = (a, b)
    return both


def _differ(paper: PaperTables, name: str, a: float, b: float) -> bool:
    return not math.isclose(a, b, abs_tol=_half(paper.columns[name]) / 10)


def _same_configuration(paper: PaperTables) -> Iterator[Finding]:
    for first, second in combinations(_rows(paper), 2):
        if first[1].identity != second[1].identity:
            continue
        apart = {n: ab for n, ab in _shared(first, second).items() if _differ(paper, n, *ab)}
        if apart:
            (table, row), (other, twin) = first, second
            numbers = [" / ".join(_told(paper, n, ab[i]) for n, ab in apart.items()) for i in (0, 1)]
            yield Finding(
                "same configuration",
                tuple((t.id, r.label, n) for t, r in (first, second) for n in apart),
                f"{row.configuration or row.label}: {table.id} prints {numbers[0]} ({row.label}), "
                f"{other.id} prints {numbers[1]} ({twin.label}) for {_titles(paper, apart)}",
            )


def _same_numbers(paper: PaperTables) -> Iterator[Finding]:
    for first, second in combinations(_rows(paper), 2):
        both = _shared(first, second)
        if first[1].identity == second[1].identity or len(both) < ALIKE:
            continue
        if any(_differ(paper, name, *ab) for name, ab in both.items()):
            continue
        told = [f"{t.id} calls {r.label} ({r.nfe or 'no'} evaluations)" for t, r in (first, second)]
        yield Finding(
            "same numbers",
            ((first[0].id, first[1].label, None), (second[0].id, second[1].label, None)),
            f"{len(both)} equal numbers stand for what {told[0]} and what {told[1]}",
        )


def _above_teacher(paper: PaperTables) -> Iterator[Finding]:
    """The gain must also exceed the median of the losses (each relative to the teacher), and the student's own longer
    variant where the table has one: a lead in the last digit is no contradiction."""
    for table in paper.tables:
        for row in table.rows:
            teacher = table.teacher(row.family)
            if teacher is None or row is teacher:
                continue
            gains = _gains(paper, table, row, teacher)
            up = [name for name, gain in gains.items() if gain > 0]
            if len(gains) < ALIKE or len(up) != 1 or any(gain == 0 for gain in gains.values()):
                continue
            name = up[0]
            losses = [-gain for other, gain in gains.items() if other != name]
            longer = [other for other in table.rows if _longer(other, row)]
            beaten = [other for other in longer if _gains(paper, table, row, other).get(name, -1.0) > 0]
            if gains[name] <= median(losses) or (longer and not beaten):
                continue
            others = [f"{r.label} ({_told(paper, name, table.value(r, name))})" for r in (teacher, *beaten)]
            yield Finding(
                "above its teacher",
                ((table.id, row.label, name),),
                f"{table.id}: {row.label} has {_told(paper, name, table.value(row, name))} in "
                f"{_titles(paper, [name])}, above {' and '.join(others)}, while its {len(losses)} other scores fall",
            )


def _gains(paper: PaperTables, table: Table, row: Row, other: Row) -> dict[str, float]:
    """By how much a row is better than another, relative to the other, for each column that both print."""
    gains = {}
    for name, (own, theirs) in _shared((table, row), (table, other)).items():
        sign = 1 if paper.columns[name].better == "higher" else -1
        gains[name] = sign * (own - theirs) / abs(theirs) if theirs else float(sign * (own - theirs))
    return gains


def _longer(other: Row, row: Row) -> bool:
    """Whether ``other`` is the same method on the same model with more steps."""
    alike = (other.family, other.method) == (row.family, row.method) and other.method is not None
    return alike and bool(other.steps and row.steps and other.steps > row.steps)


def _passes(paper: PaperTables) -> Iterator[Finding]:
    """Rows whose two ratios differ, once each, and claims that hold in steps alone."""
    seen: dict[tuple[str, str], tuple[Table, Row, Row]] = {}
    for table in paper.tables:
        for row in table.rows:
            if (teacher := table.teacher(row.family)) is not None and row is not teacher:
                seen.setdefault((row.family, row.label), (table, row, teacher))
    for table, row, teacher in seen.values():
        ratios = speed_ratios(row, teacher)
        if ratios is None or math.isclose(*ratios):
            continue
        claimed = [
            f"{claim.student} is claimed at {claim.times:g}x"
            for claim in paper.claims
            if isinstance(claim, SpeedUp) and claim.teacher == teacher.label
        ]
        beside = f"; beside it {', '.join(claimed)}" if claimed else ""
        yield Finding(
            "passes",
            ((table.id, row.label, None),),
            f"{row.label} ({row.nfe}) against {teacher.label} ({teacher.nfe}) is {ratios[0]:g}x in steps and "
            f"{ratios[1]:g}x in model evaluations{beside}",
        )
    for claim in paper.claims:
        if not isinstance(claim, SpeedUp):
            continue
        for table in paper.tables:
            student, against = table.row(claim.student), table.row(claim.teacher)
            ratios = speed_ratios(student, against) if student and against else None
            if ratios is None:
                continue
            if not _near(claim.times, ratios[1]):
                how = "steps alone" if _near(claim.times, ratios[0]) else "neither steps nor evaluations"
                yield Finding(
                    "passes",
                    ((table.id, claim.student, None),),
                    f"{claim.text}: {claim.times:g}x holds in {how}; evaluations give {ratios[1]:g}x, "
                    f"steps {ratios[0]:g}x",
                )
            break


def _near(claimed: float, ratio: float) -> bool:
    return math.isclose(claimed, ratio, rel_tol=0.02)


def _claims(paper: PaperTables) -> Iterator[Finding]:
    for claim in paper.claims:
        if not isinstance(claim, Retention | Difference):
            continue
        claimed, unit = (claim.percent, " %") if isinstance(claim, Retention) else (claim.less, "")
        decimals = 2 if isinstance(claim, Retention) else paper.columns[claim.column].decimals
        for route in routes(paper, claim):
            if route.verdict(claimed, decimals) == "not equal":
                yield Finding(
                    "claim",
                    tuple((route.table, label, None) for label in (claim.student, claim.teacher)),
                    f"{claim.text}: {route.table} gives {route.value:.{decimals}f}{unit}, with rounding "
                    f"{route.low:.{decimals}f} to {route.high:.{decimals}f}{unit}, not "
                    f"{claimed:.{decimals}f}{unit}",
                )


def _parts(paper: PaperTables) -> Iterator[Finding]:
    for table, row in _rows(paper):
        for name in table.columns:
            printed, parts = table.value(row, name), paper.columns[name].mean_of
            if printed is None or not parts:
                continue
            for other, twin in _rows(paper):
                if twin.identity != row.identity:
                    continue
                span = _span(paper, other, twin, parts)
                half = _half(paper.columns[name])
                if span is not None and not (span[0] - half <= printed <= span[2] + half):
                    yield Finding(
                        "parts",
                        ((table.id, row.label, name), (other.id, twin.label, None)),
                        f"{row.label}: {table.id} prints {_told(paper, name, printed)} for {_titles(paper, [name])}, "
                        f"the mean of its parts in {other.id} is {span[1]:.{paper.columns[name].decimals + 2}f}",
                    )


def _told(paper: PaperTables, name: str, value: float | None) -> str:
    return "" if value is None else f"{value:.{paper.columns[name].decimals}f}"


def _titles(paper: PaperTables, names: Mapping[str, object] | Sequence[str]) -> str:
    columns = [paper.columns[name] for name in names]
    benchmarks = dict.fromkeys(column.benchmark for column in columns)
    return f"{', '.join(benchmarks)} {' / '.join(column.title for column in columns)}"
