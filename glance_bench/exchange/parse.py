"""The files that official scorers write, read into rows by (prompt id, index).

Every line must fit: one that does not is refused with its number and what was expected there. A line whose
image is in no export is kept as an *extra*; two lines that give one image two values are refused.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.metrics.base import Row
from glance_bench.metrics.text_match import has_chinese, matched, official_text
from glance_bench.sealed import sha256_file

__all__ = ["Finder", "Found", "parse"]

Cell = tuple[str, int]
JUDGES = {  # the folder that T2I-CompBench's scorer of each category writes vqa_result.json to
    **dict.fromkeys(("color", "shape", "texture"), "annotation_blip"),
    **dict.fromkeys(("spatial", "3d_spatial"), "annotation_obj_detection"),
    "numeracy": "annotation_num",
    "non_spatial": "annotation_clip",
    "complex": "annotation_3_in_1",
}


class Finder:
    """The images of an export by the names that a scorer gives them."""

    def __init__(self, export: Mapping[str, Any], wanted_text: Mapping[str, tuple[str, ...]]) -> None:
        self.export = export
        self.wanted_text = wanted_text
        self._files = {self._key(e["file"]): _cells(e) for e in export["files"]}
        alike = Counter(entry["sha256"] for entry in export["files"])
        self._shas = {e["sha256"]: _cells(e) for e in export["files"] if alike[e["sha256"]] == 1}
        self._depth = max(len(key) for key in self._files)
        self._numbers = {
            (entry["file"].split("/")[0], int(entry["file"].rpartition("_")[2].removesuffix(".png"))): _cells(
                entry
            )
            for entry in export["files"]
            if export["format"] == "t2i-compbench"
        }
        self._prompts: dict[str, list[Cell]] = {}
        for entry in export["files"]:
            for cell in _cells(entry):
                self._prompts.setdefault(cell[0], []).append(cell)

    def _key(self, path: str) -> tuple[str, ...]:
        parts = PurePosixPath(path.replace("\\", "/")).parts
        if parts and self.export["format"] == "geneval":  # README: 0000.png, its own generator: 00000.png
            stem = PurePosixPath(parts[-1]).stem
            return (*parts[:-1], str(int(stem)) if stem.isdecimal() else stem)
        return parts

    def by_path(self, path: str) -> list[Cell]:
        """The images in the file a scorer calls ``path``: by its name in the layout, else by its content."""
        key = self._key(path) if path else ()
        if tuple(key[-self._depth :]) in self._files:
            return self._files[tuple(key[-self._depth :])]
        try:
            there = Path(path)
            return self._shas.get(sha256_file(there), []) if there.is_file() else []
        except OSError:  # scored on another machine, or moved since
            return []

    def by_number(self, category: str, number: int) -> list[Cell]:
        """The image of T2I-CompBench with this number in its category."""
        return self._numbers.get((category, number), [])

    def by_prompt(self, prompt_id: str) -> list[Cell]:
        """All exported images of a prompt."""
        return self._prompts.get(prompt_id, [])

    @property
    def parts(self) -> list[str]:
        """The first folders of the layout: sets, styles or categories."""
        return list(dict.fromkeys(entry["file"].split("/")[0] for entry in self.export["files"]))


def _cells(entry: Mapping[str, Any]) -> list[Cell]:
    return [(prompt_id, index) for prompt_id, index, _ in entry["cells"]]


@dataclass
class Found:
    """What files held: for each metric the rows by (prompt id, index), and the lines that fit no image."""

    rows: dict[str, dict[Cell, Row]] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    _where: dict[tuple[str, Cell], str] = field(default_factory=dict)

    def add(self, metric: str, cells: list[Cell], row: Row, where: str, what: str) -> None:
        """``row`` for each of ``cells``; without any, ``what`` is an extra. Raises UsageError for a second value."""
        rows = self.rows.setdefault(metric, {})
        if not cells:
            self.extra.append(f"{where}: {what}")
        for cell in cells:
            if cell in rows and rows[cell] != row:
                first = self._where[metric, cell]
                raise UsageError(
                    f"{where}: {what} has another value here than in {first}; import one of them"
                )
            rows[cell] = row
            self._where[metric, cell] = where


def parse(format: str, files: list[Path], find: Finder) -> Found:
    """Every row of ``files``.

    Raises UsageError for a file that does not fit, GlanceBenchError for one that cannot be read.
    """
    readers: dict[str, Callable[[Path, Finder, Found], None]] = {
        "geneval": _geneval,
        "dpg": _dpg,
        "oneig": _oneig,
        "longtext": _longtext,
        "hpsv2": _hpsv2,
        "t2i-compbench": _compbench,
    }
    found = Found()
    for file in files:
        before = sum(map(len, found.rows.values())) + len(found.extra)
        readers[format](file, find, found)
        if sum(map(len, found.rows.values())) + len(found.extra) == before:
            raise UsageError(f"{file}: holds no scores, or only such as the other files hold")
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise GlanceBenchError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: is not UTF-8 text ({error.reason} at byte {error.start})") from error


def _misfit(where: str, expected: str) -> UsageError:
    return UsageError(f"{where}: expected {expected}")


def _json_lines(file: Path, keys: tuple[str, ...], what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, object) for each line that is not blank. Every object must have ``keys``."""
    for number, line in enumerate(_text(file).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{file} line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise _misfit(where, f"one JSON object a line, as {what} writes") from None
        if not isinstance(row, dict) or not set(keys) <= set(row):
            raise _misfit(where, f"the keys {', '.join(keys)}, as {what} writes")
        yield where, row


def _table(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(where, row) of a CSV file with a header; the nameless index column of pandas is called ""."""
    reader = csv.DictReader(io.StringIO(_text(file), newline=""))
    try:
        for row in reader:
            yield f"{file} line {reader.line_num}", {str(key): value or "" for key, value in row.items()}
    except csv.Error as error:
        raise _misfit(f"{file} line {reader.line_num}", f"CSV ({error})") from None


def _number(value: Any, where: str, low: float, high: float, what: str) -> float:
    """A number in [low, high]. Raises UsageError for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not low <= number <= high:
        raise _misfit(where, f"{what}, a number from {low:g} to {high:g}, got {str(value)[:40]!r}")
    return number


def _geneval(file: Path, find: Finder, found: Found) -> None:
    keys = ("filename", "tag", "prompt", "correct", "reason")
    for where, row in _json_lines(file, keys, "evaluate_images.py"):
        if not isinstance(row["correct"], bool):
            raise _misfit(where, f"correct to be true or false, got {row['correct']!r}")
        path = str(row["filename"])
        values: Row = {
            "geneval_image[official]": float(row["correct"]),
            "geneval_task[official]": str(row["tag"]),
            "geneval_reason[official]": str(row["reason"]),
        }
        found.add("geneval[official]", find.by_path(path), values, where, path)


def _dpg(file: Path, find: Finder, found: Found) -> None:
    """Lines "path, score of each crop ..., mean"; a summary follows them from "Model:" on."""
    for number, line in enumerate(_text(file).splitlines(), 1):
        where = f"{file} line {number}"
        if line.startswith("Model: "):
            return
        if not line.strip():
            continue
        match = re.fullmatch(r"(.+?)((?:, \d[\d.e-]*){2,})", line)
        if match is None:
            raise _misfit(
                where, "'path, score of each crop ..., mean' as compute_dpg_bench.py writes to --res-path"
            )
        path, numbers = match[1], match[2].split(", ")[1:]
        crops = [_number(value, where, 0, 1, "a score of a crop") for value in numbers]
        if not math.isclose(crops[-1], sum(crops[:-1]) / len(crops[:-1]), abs_tol=1e-6):
            raise _misfit(where, "the last number to be the mean of those before it")
        cells = find.by_path(path)
        for cell, score in zip(cells, crops[:-1], strict=False):
            found.add("dpg[official]", [cell], {"dpg[official]": 100 * score}, where, path)
        if not cells:
            found.extra.append(f"{where}: {path}")


def _oneig(file: Path, find: Finder, found: Found) -> None:
    """One line a prompt, named "set_000" or "000"; a column a model."""
    match = re.match(r"(alignment|text|diversity|style|reasoning)_prompt_score_(EN|ZH)", file.name)
    if match is None:
        raise UsageError(
            f"{file}: expected a file named DIMENSION_prompt_score_EN_... or ..._ZH_..., as OneIG's scripts write "
            "to results/; the files without 'prompt' hold one total a model and no prompts"
        )
    dimension, chinese = match[1], match[2] == "ZH"
    alone = {"text": "text", "reasoning": "reasoning", "style": "anime"}.get(dimension)
    label = find.export["label"]
    for where, row in _table(file):
        columns = [name for name in row if name]
        if "" not in row or label not in columns:
            raise _misfit(
                where, f"a first column of prompts and a column {label!r}, found {', '.join(columns)[:80]}"
            )
        name = row[""]
        prompt_id = f"{alone}/{name}" if alone else name.replace("_", "/", 1)
        if row[label] in ("", "None", "nan"):  # the scorer found no image, or black ones only
            continue
        if dimension == "text":
            metric = "oneig_text[official-zh]" if chinese else "oneig_text[official]"
            values = _oneig_text(row[label], find.wanted_text.get(prompt_id, ()), chinese, where)
        else:
            metric = f"oneig_{dimension}[official]"
            low = -1 if dimension == "reasoning" else 0
            values = {metric: _number(row[label], where, low, 2, f"the {dimension} score")}
        found.add(metric, find.by_prompt(prompt_id), values, where, name)


def _oneig_text(cell: str, wanted: tuple[str, ...], chinese: bool, where: str) -> Row:
    """Three numbers printed as a Python list, numpy's wrappers included: ED, CR and WAC."""
    plain = re.sub(r"np\.float\d+\(([^()]*)\)", r"\1", cell)
    try:
        parts = ast.literal_eval(plain)
        distance, complete, share = (float(part) for part in parts)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # the last two: nested too deep
        raise _misfit(where, f"a list of ED, CR and WAC, got {cell[:40]!r}") from None
    tag = "[official-zh]" if chinese else "[official]"
    values: Row = {
        f"oneig_text_ed{tag}": _number(distance, where, 0, math.inf, "ED"),
        f"oneig_text_cr{tag}": _number(complete, where, 0, 1, "CR"),
        f"oneig_text_wac{tag}": _number(share, where, 0, 1, "WAC"),
    }
    if wanted:
        values[f"oneig_text_words{tag}"] = str(len(_words(" ".join(wanted), chinese)))
    return values


def _longtext(file: Path, find: Finder, found: Found) -> None:
    keys = ("image", "prompt", "ocr_gt", "ocr_results")
    for where, row in _json_lines(file, keys, "evaluate_text_reward.py"):
        if not isinstance(row["ocr_gt"], list) or not isinstance(row["ocr_results"], str):
            raise _misfit(where, "ocr_gt to be a list of strings and ocr_results a string")
        truth = " ".join(map(str, row["ocr_gt"]))
        chinese = has_chinese(truth)
        wanted, read = (
            _words(text if chinese else text.lower(), chinese) for text in (truth, row["ocr_results"])
        )
        if not wanted:
            raise _misfit(where, "text in ocr_gt")
        agree = matched(wanted, read)
        tag = "[official-zh]" if chinese else "[official]"
        values: Row = {
            f"longtext_image{tag}": agree / len(wanted),
            f"longtext_counts{tag}": f"{agree}/{len(wanted)}",
            f"longtext_read{tag}": row["ocr_results"],
        }
        path = str(row["image"])
        found.add(f"longtext{tag}", find.by_path(path), values, where, path)


def _words(text: str, chinese: bool) -> list[str]:
    """The words (EN) or characters (ZH) that OneIG and LongText compare."""
    kept = official_text(text, chinese)
    return list(kept) if chinese else kept.split()


def _hpsv2(file: Path, find: Finder, found: Found) -> None:
    """``image`` and ``score``, as CSV or JSON lines: hpsv2 itself returns scores and writes no file."""
    if file.suffix == ".csv":
        rows: Iterator[tuple[str, dict[str, Any]]] = _table(file)
    else:
        rows = _json_lines(file, ("image", "score"), "a list of hpsv2.score's results")
    for where, row in rows:
        if not {"image", "score"} <= set(row):
            raise _misfit(where, "the columns image and score")
        score = _number(row["score"], where, -1, 1, "the cosine that hpsv2.score returns (not times 100)")
        path = str(row["image"])
        found.add("hpsv2.1[official]", find.by_path(path), {"hpsv2.1[official]": score}, where, path)


def _compbench(file: Path, find: Finder, found: Found) -> None:
    """A list of question_id and answer; the category is a folder above the file, or the only one exported."""
    folders = file.resolve().parent.parts
    parts = [part for part in folders[::-1] if part in find.parts][:1] or find.parts
    if len(parts) > 1:
        raise UsageError(f"{file}: which category? Keep it below a folder named one of {', '.join(parts)}")
    (category,) = parts
    judge = next((part for part in folders[::-1] if part.startswith("annotation")), None)
    if judge is not None and not judge.startswith(JUDGES[category]):
        raise UsageError(f"{file}: {category} is scored by {JUDGES[category]}, and this is from {judge}")
    try:
        rows = json.loads(_text(file))
        pairs = [(int(row["question_id"]), row["answer"]) for row in rows]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise _misfit(str(file), "a JSON list of {question_id, answer}, as vqa_result.json is") from None
    column = f"t2i_{category}[official]"
    for place, (number, answer) in enumerate(pairs, 1):
        where = f"{file} entry {place}"
        value = _number(answer, where, -1, 1 + 1e-6, "an answer")  # weights of a third add up to more than 1
        cells = find.by_number(category, number)
        found.add("t2i_compbench[official]", cells, {column: value}, where, f"question {number}")
