"""Training: what is known of the adapters in use, their losses, and what they cost; velocity errors where analysed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from glance_bench.report.charts.curves import Line, curves, thinned
from glance_bench.report.model import Board, Report, Source
from glance_bench.report.trainings import Adapter, adapters_of

__all__ = ["TITLE", "context"]

TITLE = "Training"
LAST = 10  # steps whose mean loss stands in the table
SEED = re.compile(r"\.s\d+$")  # how the folders of one training with several seeds end


def context(report: Report) -> dict[str, Any]:
    """Source by source: its ``train`` block, the adapters in use by model, and the run's analysis."""
    return {"sources": [_source(report, source) for source in report.sources]}


def _source(report: Report, source: Source) -> dict[str, Any]:
    models = {board.results["model"]: board for board in reversed(report.boards) if board.source is source}
    analysis = _analysis(source)
    return {
        "name": source.name,
        "train": [_entry(entry) for entry in source.evidence.suite.get("train") or []],
        "models": [_model(board, analysis.get(model, {})) for model, board in reversed(models.items())],
        "kept": source.run is None,
        "analysed": bool(analysis),
    }


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the suite's ``train`` block in words."""
    sample = entry.get("sample") or {}
    drawn = sample.get("teacher")
    return {
        "name": str(entry["name"]),
        "seeds": entry.get("seeds", [0]),
        "changes": ", ".join(f"{name} {value}" for name, value in (entry.get("changes") or {}).items()),
        "sample": f"what the teacher draws for: {'; '.join(drawn)}"
        if drawn
        else "Gaussian noise"
        if sample.get("noise")
        else "images of one's own",
    }


def _model(board: Board, analysed: Mapping[str, Any]) -> dict[str, Any]:
    adapters = adapters_of(board)
    losses = {curve["adapter"]: curve["losses"] for curve in analysed.get("losses", [])}
    shown = [_adapter(board, adapter, losses) for adapter in adapters]
    groups = [
        (title, list(group))
        for title, group in groupby(shown, key=lambda one: SEED.sub("", one["adapter"].folder))
    ]
    return {
        "board": board,
        "adapters": shown,
        "charts": [
            (title, _loss(group), lines, curves(lines, "training step", "loss"))
            for title, group in groups
            for lines in [_lines(group)]
        ],
        "errors": _errors(analysed),
    }


def _adapter(board: Board, adapter: Adapter, losses: Mapping[str, list[float]]) -> dict[str, Any]:
    """An adapter with its losses: those of its record, or those that an analysis kept."""
    own = adapter.record.get("losses") or losses.get(adapter.name) or []
    return {
        "adapter": adapter,
        "samplers": [(board.samplers.index(name), name) for name in adapter.samplers],
        "losses": own,
        "last": sum(own[-LAST:]) / len(own[-LAST:]) if own else None,
    }


def _loss(group: list[dict[str, Any]]) -> str:
    """What the curves of a chart are: distilled adapters have a teacher in their records."""
    if any("teacher" in one["adapter"].record for one in group):
        return "squared distance from where the teacher goes in many steps"
    return "flow-matching loss"


def _lines(group: list[dict[str, Any]]) -> list[Line]:
    """A line an adapter. That of the first seed's slow and fast expert has the mark that they have in Schedule."""
    folders = list(dict.fromkeys(one["adapter"].folder for one in group))
    lines = []
    for one in group:
        adapter = one["adapter"]
        number = 1 + 2 * folders.index(adapter.folder) + adapter.name.endswith("/fast")
        if one["losses"]:
            lines.append(Line(adapter.name, number, [thinned(one["losses"])]))
    return sorted(lines, key=lambda line: line.number)


def _analysis(source: Source) -> dict[str, Any]:
    """The models of the run's analysis.json; empty where there is none."""
    if source.run is None:
        return {}
    try:
        document = json.loads((source.run.folder / "analysis" / "analysis.json").read_bytes())
        return {model["model"]: model for model in document["models"]}
    except (OSError, ValueError, KeyError, TypeError):  # never analysed, or a file of something else
        return {}


def _errors(analysed: Mapping[str, Any]) -> dict[str, Any] | None:
    """Velocity errors along the teacher's trajectory, a line a sampler, broken where a phase hands over."""
    measured = [s for s in analysed.get("samplers", []) if s["error"]]
    if not measured:
        return None
    lines = []
    for number, sampler in enumerate(measured, 1):
        pieces = [
            [
                (step["sigma"], step["error"]["value"])
                for step in sampler["steps"][p["start"] : p["stop"]]
                if step["error"]
            ]
            for p in sampler["phases"]
        ]
        name = ", ".join([sampler["sampler"], *sampler["same"]])
        lines.append(Line(name, number, [piece for piece in pieces if piece]))
    return {
        "lines": list(zip(lines, measured, strict=True)),
        "prompts": len(analysed["prompts"]),
        "drawn": curves(lines, "noise level sigma at the start of the step", "velocity error", falling=True),
    }
