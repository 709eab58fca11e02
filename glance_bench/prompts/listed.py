"""Any list of prompts named by its path: ``file:PATH``, or ``file:PATH#column=NAME``.

Read by suffix: ``.txt`` one prompt a line; ``.csv`` and ``.tsv`` tables with a header; ``.jsonl`` one object a
line; ``.parquet``. The prompt's column is ``prompt``, else ``caption``, else ``text`` (in any case), unless named.
Ids come from a column ``id``, else they are line numbers; categories come from a column ``category``;
``wanted_text``, a list of strings, says which text must appear. Every other column goes to ``meta``, so that a
GenEval metadata file of your own is scored like the official one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from glance_bench.errors import UsageError, near_misses
from glance_bench.prompts import Prompt, PromptSet
from glance_bench.prompts.order import as_set
from glance_bench.prompts.reading import lines_of, objects_of, prompt_text, refuse, rows_of, unique

__all__ = ["COLUMNS", "SUFFIXES", "load", "parse", "records"]

COLUMNS = ("prompt", "caption", "text")
SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")


def load(where: str, limit: int | None = None) -> PromptSet:
    """The prompts of a file in its order. Raises UsageError that names file and line of what is wrong."""
    path, _, option = where.partition("#")
    key, _, column = option.partition("=")
    if option and (key != "column" or not column):
        raise UsageError(f"file:{where}: after # only column=NAME is understood")
    prompts = parse(Path(path), column or None)
    if not prompts:
        raise UsageError(f"{path}: has no prompts")
    return as_set(f"file:{where}", prompts, limit)


def parse(path: Path, column: str | None = None) -> list[Prompt]:
    """Every prompt of the file. ``column`` overrides the search for one."""
    prompts = []
    seen: dict[str, int] = {}
    for line, row in records(path):
        name = _column(path, line, tuple(row), column)
        text = prompt_text(row.pop(name), path, line)
        identity = unique(_identity(path, line, row.pop("id", line)), path, line, seen)
        category = str(row.pop("category", None) or "")
        wanted = _wanted(path, line, row.pop("wanted_text", None) or ())
        prompts.append(Prompt(identity, text, category, wanted, row))
    return prompts


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number (of Parquet: row number from 1) and values by column of every record."""
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return ((line, {"prompt": text}) for line, text in lines_of(path))
    if suffix == ".csv":
        return rows_of(path)
    if suffix == ".tsv":
        return rows_of(path, delimiter="\t")
    if suffix == ".jsonl":
        return objects_of(path)
    if suffix == ".parquet":
        return _parquet(path)
    raise UsageError(f"{path}: prompts are read from {', '.join(SUFFIXES)}")


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path}: not a Parquet file: {str(error).splitlines()[0]}") from error
    plain = [field.name for field in table.schema if _is_plain(field.type)]  # no embedded images
    yield from enumerate(table.select(plain).to_pylist(), 1)


def _is_plain(kind: Any) -> bool:
    import pyarrow.types as types

    tests = (types.is_string, types.is_large_string, types.is_integer, types.is_boolean, types.is_list)
    return any(test(kind) for test in tests)


def _column(path: Path, line: int, names: Sequence[str], column: str | None) -> str:
    if column is not None:
        if column not in names:
            refuse(path, line, f"has no column {column!r}; {near_misses(column, names)}")
        return column
    for wanted in COLUMNS:
        for name in names:
            if name.lower() == wanted:
                return name
    shown = ", ".join(repr(name) for name in list(names)[:12])
    refuse(path, line, f"has no column 'prompt', 'caption' or 'text' but {shown}; name one with #column=NAME")


def _identity(path: Path, line: int, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        refuse(path, line, f"id is {value!r}; expected text or a whole number")
    return str(value)


def _wanted(path: Path, line: int, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        refuse(path, line, "wanted_text must be a list of strings")
    return tuple(value)
