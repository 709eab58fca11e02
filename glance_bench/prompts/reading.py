"""Reading lists of prompts strictly: every complaint is one line that names the file and the line.

Files are UTF-8, with or without a byte order mark; lines end in LF, CRLF or CR, and the last one may lack its
end. A blank line is no record and is skipped; line numbers keep counting. A record with an empty prompt is an
error. Texts are kept as they are written: nothing is stripped, joined or corrected.
"""

from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from glance_bench.errors import UsageError, near_misses

__all__ = [
    "LONGEST",
    "array_of",
    "json_of",
    "lines_of",
    "objects_of",
    "prompt_text",
    "refuse",
    "rows_of",
    "strings_in",
    "text_of",
    "unique",
]

LONGEST = 100_000  # characters of one prompt; the suite file accepts as many


def refuse(path: Path, line: int, what: str) -> NoReturn:
    """Raise UsageError "PATH:LINE: what"."""
    raise UsageError(f"{path}:{line}: {what}")


def text_of(path: Path) -> str:
    """The whole file without its byte order mark. Raises UsageError when it cannot be read as UTF-8."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        refuse(path, 1, "is not UTF-8 text (it begins like UTF-16); save it as UTF-8")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        refuse(path, line, f"is not UTF-8 text (byte 0x{data[error.start]:02x}); save it as UTF-8")


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of every line that is not blank."""
    # str.splitlines would also split at form feeds and at Unicode's line separators, which prompts may contain.
    text = text_of(path).replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line


def rows_of(
    path: Path, needed: Sequence[str] = (), delimiter: str = ",", *, quoted: bool = True
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column name of every row of a table with a header.

    ``quoted``: cells may be quoted as csv does it; otherwise a quotation mark is a character like any other.
    Raises UsageError for a missing or repeated column, a row with too few or too many cells, bad quoting.
    """
    text = io.StringIO(text_of(path), newline="")
    reader = csv.reader(
        text, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=True
    )
    header: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            refuse(path, line, f"not a table of cells: {error}")
        if not any(cell.strip() for cell in cells):
            continue
        if not header:
            header = cells
            _check_header(path, line, header, needed)
        elif len(cells) != len(header):
            refuse(path, line, f"has {len(cells)} cells where the header has {len(header)}")
        else:
            yield line, dict(zip(header, cells, strict=True))
    if not header:
        refuse(path, 1, "is empty; a table begins with the names of its columns")


def _check_header(path: Path, line: int, header: Sequence[str], needed: Sequence[str]) -> None:
    for name in header:
        if header.count(name) > 1:
            refuse(path, line, f"has column {name!r} twice")
    for name in needed:
        if name not in header:
            refuse(path, line, f"has no column {name!r}; {near_misses(name, header)}")


def objects_of(path: Path, needed: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of every line of a JSON-lines file. Raises UsageError for a line that is none."""
    for number, line in lines_of(path):
        value = _json(path, number, line)
        if not isinstance(value, dict):
            refuse(path, number, f"is a JSON {_kind(value)}; each line must be an object")
        for name in needed:
            if name not in value:
                refuse(path, number, f"has no key {name!r}; {near_misses(name, value)}")
        yield number, value


def json_of(path: Path) -> Any:
    """The value of a JSON file. Raises UsageError when it is not JSON."""
    return _json(path, 1, text_of(path))


def array_of(path: Path) -> list[Any]:
    """The items of a JSON file that is one array. Raises UsageError for anything else."""
    value = json_of(path)
    if not isinstance(value, list):
        refuse(path, 1, f"is a JSON {_kind(value)}; expected one array")
    return value


def _json(path: Path, line: int, text: str) -> Any:
    def constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(text, parse_constant=constant)
    except json.JSONDecodeError as error:
        refuse(path, line + error.lineno - 1, f"not JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        refuse(path, line, f"not JSON: {error}")


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")


def prompt_text(value: Any, path: Path, line: int) -> str:
    """``value`` when it can be a prompt. Raises UsageError when it is empty, too long, or no text."""
    if not isinstance(value, str):
        refuse(path, line, f"the prompt is a JSON {_kind(value)}, not text")
    if not value.strip():
        refuse(path, line, "the prompt is empty")
    if len(value) > LONGEST:
        refuse(path, line, f"the prompt has {len(value):,} characters; at most {LONGEST:,} are accepted")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        refuse(path, line, "the prompt has half of a surrogate pair, which no text can hold")
    listed = _literal(value)
    if listed is not None:
        refuse(
            path,
            line,
            f"the prompt is the printed form of a Python list of {len(listed)}; write one prompt a record",
        )
    return value


def strings_in(value: str, path: Path, line: int) -> tuple[str, ...]:
    """The strings of a cell that is the printed form of a Python list. Raises UsageError when it is not."""
    listed = _literal(value)
    if listed is None or not all(isinstance(item, str) for item in listed):
        refuse(path, line, f"expected the printed form of a Python list of strings, not {value[:40]!r}")
    return tuple(listed)


def _literal(value: str) -> list[Any] | None:
    """The list that ``value`` is the printed form of, or None. ``literal_eval`` runs no code."""
    if not (value.lstrip().startswith("[") and value.rstrip().endswith("]")):
        return None
    try:
        found = ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # what it is documented to raise
        return None
    return found if isinstance(found, list) else None


def unique(identity: str, path: Path, line: int, seen: dict[str, int]) -> str:
    """``identity``, noted in ``seen`` with its line. Raises UsageError when it is there already."""
    if identity in seen:
        refuse(path, line, f"id {identity!r} is taken by line {seen[identity]}")
    seen[identity] = line
    return identity
