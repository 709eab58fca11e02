"""A comparison as text: tables of differences with their verdicts, and what is needed to read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from glance_bench.report.sections import Section, as_lines, as_markdown, as_renderable
from glance_bench.report.text import interval, number

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["lines", "markdown", "noise", "table", "values", "verdict"]

PROMPT_SHOWN = 100  # characters of a prompt's text


def lines(document: Mapping[str, Any]) -> list[str]:
    """Aligned lines without colour."""
    return as_lines(_sections(document))


def table(document: Mapping[str, Any]) -> RenderableType:
    """For ``rich.console.Console().print``."""
    return as_renderable(_sections(document))


def markdown(document: Mapping[str, Any]) -> list[str]:
    """The lines of a Markdown document."""
    return ["# Comparison", "", *as_markdown(_sections(document))]


def _sections(document: Mapping[str, Any]) -> Iterator[Section]:
    for one in document["comparisons"]:
        yield _facts(one)
        rows = [[row["title"], *values(row), verdict(row)] for row in one["metrics"]]
        head = ["metric", *VALUES, "verdict"]
        if rows:
            yield Section("All common prompts", [head, *rows], (0, len(head) - 1), _notes(one["metrics"]))
        if one["slices"]:
            yield _slices(one["slices"])
        if one["latency"]:
            yield _latency(one["latency"])
        yield from (
            _moved(moved, one["metrics"]) for moved in one["moved"] if moved["better"] or moved["worse"]
        )
        if one["not_compared"]:
            told = [f"{entry['column']}: {entry['why']}" for entry in one["not_compared"]]
            yield Section("Not compared", notes=told)
    if document["not_shared"]:
        yield Section("In one run only", notes=list(document["not_shared"]))
    yield _legend(document)


VALUES = ("A", "B", "B - A", "95 % interval", "n", "p", "p adj.", "W/T/L")


def _facts(one: Mapping[str, Any]) -> Section:
    a, b, pairing = one["a"], one["b"], one["pairing"]
    label = " (TESTBED)" if one["testbed"] else ""
    runs = a["run"] if a["run"] == b["run"] else f"{a['run']} and {b['run']}"
    samplers = a["sampler"] if a["sampler"] == b["sampler"] else f"{b['sampler']} against {a['sampler']}"
    said = [f"{pairing['prompts']} prompts in common, {pairing['images']} pairs of images, {noise(pairing)}"]
    said += [f"differs: {difference}" for difference in one["differences"]]
    rows = [["", "sampler", "run", "images", "NFE"]]
    for side, facts in (("A", a), ("B", b)):
        nfe = "\u2013" if facts["nfe"] is None else f"{facts['nfe']:g}"
        rows.append([side, facts["sampler"], facts["run"], str(facts["images"]), nfe])
    heading = f"{samplers}: {one['model']} on {one['prompt_set']}{label}, {runs}"
    return Section(heading, rows, (0, 1, 2), said)


def noise(pairing: Mapping[str, Any]) -> str:
    """``the same noise``, or in how many pairs it is."""
    said: str = pairing["noise"]
    return f"{said} noise" if said != "partly the same" else f"the same noise in {pairing['same_noise']}"


def values(row: Mapping[str, Any]) -> list[str]:
    """An effect's cells below VALUES."""
    decimals = row["decimals"]
    fine = decimals + 1  # differences are smaller than what they are differences of
    counts = "\u2013" if row["wins"] is None else f"{row['wins']}/{row['ties']}/{row['losses']}"
    return [
        number(row["a"], decimals),
        number(row["b"], decimals),
        _signed(row["delta"], fine),
        _ends(row, fine),
        str(row["n"]),
        _p(row["p"]),
        _p(row["p_adjusted"]),
        counts,
    ]


def _signed(value: float, decimals: int) -> str:
    return f"{value:+.{decimals}f}"


def _ends(row: Mapping[str, Any], decimals: int) -> str:
    """Both ends with their signs; a range with a dash could not be read where an end is negative."""
    if row["low"] is None or row["high"] is None:
        return "\u2013"
    return f"{_signed(row['low'], decimals)} to {_signed(row['high'], decimals)}"


def _p(value: float | None) -> str:
    if value is None:
        return "\u2013"
    return f"{value:.3f}" if value >= 0.001 else "<0.001"


def verdict(row: Mapping[str, Any]) -> str:
    """The word, and for an open one what would have been seen."""
    if row["verdict"] != "not told apart" or row["detectable"] is None:
        return str(row["verdict"])
    said = f"{row['verdict']}: an effect of {row['detectable']:.2g} would have been seen with 80 % power"
    return said + (f"; {row['needed']:,} prompts would show 1 %" if row["needed"] else "")


def _notes(rows: list[Mapping[str, Any]]) -> list[str]:
    said = [f"{row['title']}: {note}" for row in rows for note in row["notes"]]
    return said + [
        f"{row['title']}: {row['lacking']} pairs have a value on one side only and are left out"
        for row in rows
        if row["lacking"]
    ]


def _slices(rows: list[Mapping[str, Any]]) -> Section:
    """The long form of an open verdict is left to the table of all prompts."""
    head = ["slice", "metric", *VALUES, "verdict"]
    body = [[f"{row['slicing']}: {row['slice']}", row["title"], *values(row), row["verdict"]] for row in rows]
    return Section("Slices", [head, *body], (0, 1, len(head) - 1))


def _latency(rows: list[Mapping[str, Any]]) -> Section:
    head = ["hardware", "batch", "A s/image", "B s/image", "B / A", "95 % interval", "blocks", "verdict"]
    body = [
        [
            *(row["hardware"], str(row["batch_size"]), number(row["a"], 3), number(row["b"], 3)),
            *(number(row["ratio"], 3), interval(row, 4) or "\u2013", str(row["n"]), row["verdict"]),
        ]
        for row in rows
    ]
    notes = list(dict.fromkeys(f"ratio of {row['basis']}" for row in rows))
    return Section("Latency", [head, *body], (0, len(head) - 1), notes)


def _moved(moved: Mapping[str, Any], metrics: list[Mapping[str, Any]]) -> Section:
    known = next(row for row in metrics if row["column"] == moved["column"])
    rows = [["", "prompt", "A", "B", "text"]]
    notes = []
    for direction in ("better", "worse"):
        for entry in moved[direction]:
            text = entry["text"]
            cut = text if len(text) <= PROMPT_SHOWN else text[:PROMPT_SHOWN] + "..."
            values = [number(entry[side], known["decimals"]) for side in "ab"]
            rows.append([direction, entry["prompt"], *values, cut])
            if entry["images_a"] or entry["images_b"]:
                notes.append(f"{entry['prompt']}: {' '.join([*entry['images_a'], *entry['images_b']])}")
    return Section(f"Prompts that moved most in {known['title']}", rows, (0, 1, 4), notes)


def _legend(document: Mapping[str, Any]) -> Section:
    used = {
        row["verdict"]
        for one in document["comparisons"]
        for key in ("metrics", "slices", "latency")
        for row in one[key]
    }
    said = [f"{word}: {meaning}" for word, meaning in document["verdicts"].items() if word in used]
    families = [
        f"{family['tests']} tests of {'all common prompts' if family['name'] == 'overall' else 'slices'}"
        for family in document["families"]
    ]
    corrected = "adjusted by Holm over " + " and, apart from them, over ".join(families)
    said.append(f"p adj.: {corrected}; latency is judged by its interval alone.")
    said.append("80 % power is that of one test at 5 %, before any adjustment.")
    said.append("W/T/L: prompts at which B is better, equal, worse. Prompts are what is resampled.")
    sides = {name: document[name] for name in ("a", "b")}
    for name, run in sides.items() if sides["a"] != sides["b"] else [("a", sides["a"])]:
        which = f"{name.upper()}: " if sides["a"] != sides["b"] else ""
        said.append(f"{which}{run['run']} in {run['path']}, results digest {run['digest'][:12]}")
    return Section("How to read this", notes=said)
