"""A paper's printed tables as a YAML file: what stands in each cell, how it was measured, what is claimed. No torch.

The shipped ones lie in ``baselines/published/tables/``; any other is named by its path. They hold facts as printed:
cells that look wrong are kept, and named under ``suspect``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..errors import UsageError, near_misses
from ..resources import data_dir
from ..yamlfile import line_of, read_yaml, validated

__all__ = ["Claim", "Column", "Family", "PaperTables", "Row", "Suspect", "Table", "load_paper"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Text = Annotated[str, Field(min_length=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Source(_Strict):
    """The paper: its identifier, its title, and where its code is."""

    id: Text
    title: Text
    code: str | None = None


class Family(_Strict):
    """The model that a family's rows are about, and the testbed's model of the same family."""

    model: Text
    testbed: Text | None = None


class Column(_Strict):
    """One score of the paper: its benchmark, and the columns of ours that hold it by the same recipe.

    ``metrics`` are names as in results.json, the first that was measured is taken; a printed value is ours times
    ``scale``. ``mean_of`` is for a score that is the mean of other columns instead. ``prompts`` is how many the
    benchmark has, ``decimals`` how many are printed, ``suite`` the one that measures it, ``reference`` as in a suite.
    """

    title: Text
    benchmark: Text
    better: Literal["higher", "lower"]
    decimals: Annotated[int, Field(ge=0, le=6)]
    prompt_set: Text
    prompts: Count | None = None
    suite: str | None = None
    reference: str | None = None
    metrics: list[Text] = []
    mean_of: list[Text] = []
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    protocol: Text


class Row(_Strict):
    """One sampler of a table, and what is printed for it: a value or null a column, or null where nothing is.

    ``configuration`` is what it is where rows with other labels are the same thing; ``card`` the sampler card of
    ours; ``sampler`` its name in runs of the table's ablation suite, or of images made elsewhere. ``data`` and
    ``gpu_hours`` are its training's.
    """

    label: Text
    family: Text
    method: str | None = None
    teacher: bool = False
    configuration: str | None = None
    steps: Count | None = None
    passes: Annotated[int, Field(ge=1, le=2)] = 1
    data: str | None = None
    gpu_hours: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    card: str | None = None
    sampler: str | None = None
    values: list[Number | None] | None

    @property
    def evaluations(self) -> int | None:
        """Model evaluations an image: steps times passes."""
        return None if self.steps is None else self.steps * self.passes

    @property
    def nfe(self) -> str:
        """As such papers print it: ``50x2`` for two passes a step; "" where nothing is known."""
        return (
            ""
            if self.steps is None
            else f"{self.steps}x{self.passes}"
            if self.passes > 1
            else f"{self.steps}"
        )

    @property
    def identity(self) -> tuple[str, str, int | None, int]:
        """Equal for rows that are the same sampler of the same model."""
        return self.family, self.configuration or self.label, self.steps, self.passes


class Suspect(_Strict):
    """A cell (a whole row, column or table where the others are left out) that looks wrong, and why."""

    row: str | None = None
    column: str | None = None
    why: Text


class Table(_Strict):
    """One table, or the numbers of a figure. ``ablation`` is the suite of ours that asks the same on the testbed."""

    id: Text
    caption: Text
    columns: Annotated[list[Text], Field(min_length=1)]
    figure: bool = False
    ablation: str | None = None
    rows: Annotated[list[Row], Field(min_length=1)]
    suspect: list[Suspect] = []

    def value(self, row: Row, column: str) -> float | None:
        """What is printed in a cell."""
        return None if row.values is None else row.values[self.columns.index(column)]

    def row(self, label: str) -> Row | None:
        """The row of this label."""
        return next((row for row in self.rows if row.label == label), None)

    def teacher(self, family: str) -> Row | None:
        """The row that the others of a family are compared with."""
        return next((row for row in self.rows if row.teacher and row.family == family), None)

    def suspicion(self, row: Row, column: str) -> str | None:
        """Why a cell is suspect: its own reason, else its row's; those of a column or table stand beside the table."""
        named = [s for s in self.suspect if s.row == row.label and s.column in (None, column)]
        return "; ".join(s.why for s in named) or None


class _Compared(_Strict):
    text: Text
    student: Text
    teacher: Text


class Retention(_Compared):
    """The student has so many percent of the teacher's score."""

    kind: Literal["retention"]
    column: Text
    percent: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SpeedUp(_Compared):
    """The student is so many times as fast as the teacher."""

    kind: Literal["speed-up"]
    times: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Difference(_Compared):
    """The teacher's score minus the student's."""

    kind: Literal["difference"]
    column: Text
    less: Number


class Statement(_Strict):
    """A sentence with numbers that no table can be held against."""

    kind: Literal["statement"]
    text: Text


Claim = Annotated[Retention | SpeedUp | Difference | Statement, Field(discriminator="kind")]


class PaperTables(_Strict):
    """The whole file. ``resolution`` is the side of the images in pixels; numbers of another size do not compare."""

    paper: Source
    resolution: Count | None = None
    families: Annotated[dict[str, Family], Field(min_length=1)]
    columns: Annotated[dict[str, Column], Field(min_length=1)]
    tables: Annotated[list[Table], Field(min_length=1)]
    claims: list[Claim] = []


def load_paper(name: str) -> PaperTables:
    """A shipped paper by its name, or a YAML file by its path.

    Raises UsageError with file and line for a wrong one (values that are not one a column, a row or table twice, a name
    that is declared nowhere, NaN), and with the nearest name for an unknown one.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        folder = data_dir("baselines") / "published" / "tables"
        known = {file.stem: file for file in folder.glob("*.yaml")}
        if name not in known:
            raise UsageError(
                f"unknown paper {name!r}; {near_misses(name, known)} (or the path of a .yaml file)"
            )
        path = known[name]
    tree = read_yaml(path)
    paper = validated(PaperTables, path, tree)
    for place, complaint in _complaints(paper):
        raise UsageError(f"{path}:{line_of(tree, place)}: {complaint}")
    return paper


Complaints = Iterator[tuple[Sequence[str | int], str]]


def _complaints(paper: PaperTables) -> Complaints:
    """What is wrong between the parts of a file, each with its place."""
    for name, column in paper.columns.items():
        place = ("columns", name, "mean_of")
        if bool(column.mean_of) and bool(column.metrics):
            yield place, f"column {name!r} has both metrics and mean_of; one of them says where it comes from"
        for number, part in enumerate(column.mean_of):
            yield from _unknown((*place, number), "column", part, paper.columns)
            if paper.columns.get(part, column).mean_of:
                yield (*place, number), f"mean_of names {part!r}, which must be a column with metrics"
    yield from _twice(("tables",), "table", [table.id for table in paper.tables])
    for number, table in enumerate(paper.tables):
        yield from _of_table(paper, table, ("tables", number))
    labels = {row.label for table in paper.tables for row in table.rows}
    for number, claim in enumerate(paper.claims):
        here = ("claims", number)
        if isinstance(claim, Statement):
            continue
        yield from _unknown((*here, "student"), "row", claim.student, labels)
        yield from _unknown((*here, "teacher"), "row", claim.teacher, labels)
        if not isinstance(claim, SpeedUp):
            yield from _unknown((*here, "column"), "column", claim.column, paper.columns)


def _of_table(paper: PaperTables, table: Table, place: tuple[str | int, ...]) -> Complaints:
    yield from _twice((*place, "columns"), "column", table.columns)
    for number, name in enumerate(table.columns):
        yield from _unknown((*place, "columns", number), "column", name, paper.columns)
    labels = [row.label for row in table.rows]
    yield from _twice((*place, "rows"), f"{table.id}: row", labels)
    teachers: set[str] = set()
    for number, row in enumerate(table.rows):
        here = (*place, "rows", number)
        yield from _unknown((*here, "family"), "family", row.family, paper.families)
        if row.values is not None and len(row.values) != len(table.columns):
            found, wanted = len(row.values), len(table.columns)
            yield (*here, "values"), f"{table.id}, {row.label}: {found} values for {wanted} columns"
        if row.teacher and row.family in teachers:
            yield (*here, "teacher"), f"{table.id}: a second teacher of family {row.family!r}"
        teachers |= {row.family} if row.teacher else set()
    for number, suspect in enumerate(table.suspect):
        here = (*place, "suspect", number)
        if suspect.row is not None:
            yield from _unknown((*here, "row"), "row", suspect.row, labels)
        if suspect.column is not None:
            yield from _unknown((*here, "column"), "column", suspect.column, table.columns)


def _unknown(place: Sequence[str | int], kind: str, name: str, known: Any) -> Complaints:
    if name not in known:
        yield place, f"unknown {kind} {name!r}; {near_misses(name, known)}"


def _twice(place: tuple[str | int, ...], kind: str, names: Sequence[str]) -> Complaints:
    for number, name in enumerate(names):
        if name in names[:number]:
            yield (*place, number), f"{kind} {name!r} is listed twice"
