"""The HTML page of a run: one file beside the images, which it links and neither copies nor embeds.

It opens from a disk without a network: styles and the script are inside, and a content security policy allows
nothing else to run or load. Prompts, OCR output and names are untrusted; templates escape them and the script
only ever sets them as text. The same run gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from glance_bench.report.flags import flagged
from glance_bench.report.gallery import gallery
from glance_bench.report.plot import mark, quality_plot, whisker
from glance_bench.report.text import evaluations, interval, latencies, number, times, visible
from glance_bench.sealed import write_atomic

if TYPE_CHECKING:
    from glance_bench.store import Run

__all__ = ["render"]


def render(run: Run, results: Mapping[str, Any], out: Path) -> Path:
    """Write ``out/index.html`` for a scored run, with what ``results.build`` gave, and return its path."""
    style, script = _asset("static/report.css"), _asset("static/report.js")
    environment = Environment(
        loader=FunctionLoader(lambda name: _asset(f"templates/{name}")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(
        evaluations=evaluations, number=number, interval=interval, times=times, visible=visible
    )
    images = gallery(run, results, out)
    page = environment.get_template("index.html").render(
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        data=_json(images),
        results=results,
        suite=run.suite(),
        boards=[_board(results, board) for board in results["boards"]],
        summary=_summary(run, results),
        warnings=[
            f"{board['model']} on {board['prompt_set']}, {line}."
            for board in results["boards"]
            for line in flagged(results, board)
        ],
        categories=sorted({p["category"] for listed in images["prompts"].values() for p in listed}),
        mark=mark,
    )
    path = out / "index.html"
    write_atomic(path, page.encode())
    return path


def _asset(name: str) -> str:
    return files("glance_bench.report").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Only this very style sheet and script, and images from the disk or the server the page came from."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "img-src 'self' file:; base-uri 'none'; form-action 'none'"
    )


def _json(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _board(results: Mapping[str, Any], board: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows of one board: columns with scale and n, rows of cells, plots, latencies."""
    columns = []
    for column in results["columns"]:
        cells = [row["cells"][column["name"]] for row in board["samplers"] if column["name"] in row["cells"]]
        failures = column["name"] == "failed" and any(cell["value"] for cell in cells)
        if not cells or not (column["headline"] or failures):
            continue
        ends = [e for cell in cells for e in (cell["low"], cell["value"], cell["high"]) if e is not None]
        counts = sorted({cell["n"] for cell in cells})
        columns.append(
            {
                **column,
                "scale": (min(ends), max(ends)),
                "n": counts[0] if len(counts) == 1 else None,
                "notes": sorted({cell["note"] for cell in cells if "note" in cell}),
            }
        )
    first = {column["metric"]: column for column in reversed(columns) if column["headline"]}
    plotted = [column for column in columns if first.get(column["metric"]) is column]
    timing = latencies(results)
    rows = []
    for index, row in enumerate(board["samplers"]):
        timed = timing.get((board["model"], row["sampler"]))
        rows.append(
            {
                **row,
                "is_reference": row["sampler"] == board["reference"],
                "timed": timed,
                "shown": [_cell(row["cells"].get(column["name"]), column, index) for column in columns],
            }
        )
    hardware = sorted({row["timed"]["hardware"] for row in rows if row["timed"]})
    return {
        **board,
        "columns": columns,
        "rows": rows,
        "plots": [(column, quality_plot(board, column)) for column in plotted],
        "hardware": hardware[0] if hardware else None,
        "repeats": max((row["timed"]["n"] for row in rows if row["timed"]), default=0),
    }


def _cell(cell: Mapping[str, Any] | None, column: Mapping[str, Any], index: int) -> tuple[Any, ...]:
    """(column, cell, its drawing, its verdict), the last three None for a sampler without a value."""
    if cell is None:
        return column, None, None, None
    return column, cell, whisker(cell, column["scale"], index), _verdict(cell, column)


def _verdict(cell: Mapping[str, Any], column: Mapping[str, Any]) -> tuple[str, str] | None:
    """(symbol, sentence) for the paired difference from the reference; None without one."""
    against = cell.get("against_reference")
    if not against or against["low"] is None:
        return None
    ends = f"{number(against['low'], column['decimals'])} to {number(against['high'], column['decimals'])}"
    shift = f"{against['difference']:+.{column['decimals']}f} ({ends}) over {against['n']} pairs"
    if against["low"] <= 0 <= against["high"]:
        return "\u2248", f"no difference from the reference shown: {shift}"
    if (against["difference"] > 0) == (column["better"] == "higher"):
        return "\u25b2", f"better than the reference: {shift}"
    return "\u25bc", f"worse than the reference: {shift}"


def _summary(run: Run, results: Mapping[str, Any]) -> dict[str, Any]:
    """What was run, for the sentence at the top."""
    boards = results["boards"]
    records = run.records()
    sizes = set(zip(records["width"], records["height"], strict=True))
    return {
        "title": run.suite().get("title") or "",
        "models": list(dict.fromkeys(board["model"] for board in boards)),
        "samplers": list(dict.fromkeys(row["sampler"] for board in boards for row in board["samplers"])),
        "references": list(dict.fromkeys(board["reference"] for board in boards)),
        "sets": list(dict.fromkeys(board["prompt_set"] for board in boards)),
        "prompts": sorted({board["prompts"] for board in boards}),
        "with_text": sorted({board["with_text"] for board in boards}),
        "images": len(records),
        "failed": int((~records["finite"] | records["black"]).sum()),
        "sizes": [f"{w} \u00d7 {h}" for w, h in sorted(sizes)],
        "testbed": [board["model"] for board in boards if board["testbed"]],
    }
