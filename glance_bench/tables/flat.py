"""Filled tables for programs: a CSV line a cell, and one JSON document."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from glance_bench.report.text import visible
from glance_bench.stats.ratios import Ratio

from .filled import Cell, Checked, Filled, TestbedTable
from .published import Row
from .scores import Score
from .sheets import TESTBED

__all__ = ["as_csv", "document"]

SCHEMA = "glance-bench/tables/1"
FIELDS = (
    *("section", "table", "row", "model", "sampler", "nfe", "column", "metric", "better"),
    *("printed", "suspect", "measured", "low", "high", "n", "prompts", "seeds", "failed", "run"),
    *("delta", "delta_low", "delta_high", "printed_kept", "kept", "kept_low", "kept_high", "reason", "why"),
)
PAPER = "paper"


def as_csv(filled: Filled) -> str:
    """A header and a line a cell, the paper's section first. A field that a spreadsheet would take for a formula has an
    apostrophe before it."""
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    for line in (
        *_paper_lines(filled),
        *(line for table in filled.testbed for line in _testbed_lines(table)),
    ):
        writer.writerow({key: _field(value) for key, value in line.items() if value is not None})
    return out.getvalue()


def document(filled: Filled) -> dict[str, Any]:
    """Everything as JSON values, schema ``glance-bench/tables/1``."""
    return {
        "schema": SCHEMA,
        "paper": filled.paper.paper.model_dump(),
        "runs": list(filled.runs),
        "unused_runs": list(filled.unused),
        "cells": list(_paper_lines(filled)),
        "claims": [_claim(checked) for checked in filled.claims],
        "suspect": [
            {"table": table.id, **suspect.model_dump()}
            for table in filled.paper.tables
            for suspect in table.suspect
        ],
        "contradictions": [asdict(finding) for finding in filled.findings],
        "testbed": {
            "note": TESTBED,
            "cells": [line for table in filled.testbed for line in _testbed_lines(table)],
        },
    }


def _paper_lines(filled: Filled) -> Iterator[dict[str, Any]]:
    for table in filled.tables:
        for row, cells in table.rows:
            for cell in cells:
                yield _paper_line(filled, table.table.id, row, cell)


def _paper_line(filled: Filled, table: str, row: Row, cell: Cell) -> dict[str, Any]:
    column = filled.paper.columns[cell.column]
    delta = cell.delta or (None, None, None)
    return {
        **{"section": PAPER, "table": table, "row": row.label, "sampler": row.card, "nfe": row.evaluations},
        "model": filled.paper.families[row.family].model,
        **{"column": cell.column, "better": column.better, "printed": cell.printed, "suspect": cell.suspect},
        **_score(cell.score),
        **{"delta": delta[0], "delta_low": delta[1], "delta_high": delta[2]},
        **{"printed_kept": cell.printed_kept, **_kept(cell.kept)},
        "reason": cell.reason.name if cell.reason else None,
        "why": "; ".join(cell.reason.why) if cell.reason else None,
    }


def _testbed_lines(table: TestbedTable) -> Iterator[dict[str, Any]]:
    for label, sampler, evaluations, cells in table.rows:
        for column, (score, kept) in zip(table.columns, cells, strict=True):
            if score is not None:
                yield {
                    **{"section": "testbed", "table": table.table, "row": label, "model": table.model},
                    **{"sampler": sampler, "nfe": evaluations},
                    **{"column": column["name"], "better": column["better"]},
                    **_score(score),
                    **_kept(kept),
                }


def _score(score: Score | None) -> Mapping[str, Any]:
    if score is None:
        return {}
    return {
        **{"measured": score.value, "low": score.low, "high": score.high, "metric": score.metric},
        **{
            "n": score.n,
            "prompts": score.prompts,
            "seeds": score.seeds,
            "failed": score.failed,
            "run": score.run,
        },
    }


def _kept(kept: Ratio | None) -> Mapping[str, Any]:
    if kept is None:
        return {}
    ends = (None if math.isnan(end) else end for end in (kept.value, kept.low, kept.high))
    return dict(zip(("kept", "kept_low", "kept_high"), ends, strict=True))


def _claim(checked: Checked) -> dict[str, Any]:
    value, low, high, run = checked.measured or (None, None, None, None)
    return {
        **checked.claim.model_dump(),
        "from_cells": [asdict(route) for route in checked.routes],
        "ratios": dict(zip(("steps", "evaluations"), checked.ratios, strict=True))
        if checked.ratios
        else None,
        **{"measured": value, "low": low, "high": high, "run": run},
        "reason": checked.reason.name if checked.reason else None,
    }


def _field(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    shown = visible(value)
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown
