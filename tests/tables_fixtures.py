"""Finished runs and papers made up for the tests of `tables`: a few prompts, numbers chosen by the test."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from glance_bench.evidence import SCHEMA, Evidence, read_evidence, results_seal
from glance_bench.sealed import sha256_bytes
from glance_bench.stats import bootstrap_mean, group_jackknife, group_labels
from glance_bench.tables.published import PaperTables
from glance_bench.tables.reasons import Machine, Reason

HARDWARE = "gpu-0123abcd"
Values = Mapping[str, Mapping[str, Sequence[float]]]  # by sampler and column, a value a prompt


class Lacking(Machine):
    """A machine that says the same of every cell, so that a test asks nothing of the real one."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__()
        self.found = Reason(name, (why,))

    def reason(self, paper: Any, table: Any, row: Any, column: Any) -> Reason:
        return self.found

    def untimed(self, paper: Any, row: Any, column: Any) -> Reason:
        return Reason("no GPU", ("untimed",))


def make_evidence(
    folder: Path,
    values: Values,
    *,
    name: str = "coco",
    model: str = "flux.1-dev",
    prompt_set: str = "coco-10k",
    testbed: bool = False,
    nfe: Mapping[str, int] | None = None,
    resolution: int | None = 1024,
    totals: Sequence[str] = (),
    lower: Sequence[str] = (),
    corpus: Sequence[str] = (),
    waiting: Mapping[str, str] | None = None,
    seconds: Mapping[str, Sequence[float]] | None = None,
    trained: Sequence[str] = (),
) -> Evidence:
    """Write an evidence folder and read it back. Columns in ``totals`` are kept as replicates, without samples."""
    columns = list(dict.fromkeys(column for own in values.values() for column in own))
    rows = []
    for sampler, own in values.items():
        cells = {}
        for column, listed in own.items():
            ids = [f"p{i:03d}" for i in range(len(listed))]
            interval = bootstrap_mean(listed)
            cell = {"value": sum(listed) / len(listed), "low": interval.low, "high": interval.high}
            cells[column] = cell | {
                "n": len(ids),
                "prompts": len(ids),
                "interval": "bootstrap",
                "recipe": "r",
            }
            if column in totals:
                series = pd.Series(listed)
                made = group_jackknife(lambda keep, s=series: float(s[keep].mean()), group_labels(ids))
                cells[column] |= {"interval": "jackknife", "replicates": made.replicates.tolist()}
                cells[column] |= {"pairs": made.pairs.tolist()}
        made_of = None if resolution is None else {"resolution": [resolution, resolution]}
        steps = (nfe or {}).get(sampler)
        counted = {"nominal": steps, "counted": steps}
        rows.append(
            {"sampler": sampler, "title": sampler, "nfe": counted, "made_of": made_of, "cells": cells}
        )
    samples = [
        {"model": model, "sampler": sampler, "prompt_set": prompt_set, "prompt_id": f"p{i:03d}", "index": 0}
        | {column: listed[i] for column, listed in own.items() if column not in totals and i < len(listed)}
        for sampler, own in values.items()
        for i in range(max(map(len, own.values())))
    ]
    timing = [
        {"model": model, "sampler": sampler, "session": "s", "hardware": HARDWARE, "prompt_id": "p000"}
        | {"repeat": i, "batch_size": 1, "component": "total", "seconds": value, "evaluations": 1}
        for sampler, listed in (seconds or {}).items()
        for i, value in enumerate(listed)
    ]
    keys = [
        "model",
        "sampler",
        "session",
        "hardware",
        "prompt_id",
        "repeat",
        "batch_size",
        "component",
        "seconds",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "samples.parquet": _parquet(pd.DataFrame(samples)),
        "timing.parquet": _parquet(pd.DataFrame(timing, columns=keys)),
    }
    for file, data in tables.items():
        (folder / file).write_bytes(data)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "run": name,
        "suite": name,
        "profile": None,
        "digest": "d",
        "tables": {file: sha256_bytes(data) for file, data in tables.items()},
        "recipes": {"r": "made up"},
        "columns": [
            {
                "name": column,
                "metric": column,
                "kind": "corpus" if column in corpus else "sample",
                "title": column,
                "headline": True,
                "flag": False,
            }
            | {"better": "lower" if column in lower else "higher", "description": "", "decimals": 3}
            for column in columns
        ],
        "boards": [
            {"model": model, "prompt_set": prompt_set, "testbed": testbed, "reference": next(iter(values))}
            | {"prompts": len(samples), "with_text": 0, "samplers": rows}
        ],
        "timing": [],
    }
    if waiting:
        document["waiting"] = dict(waiting)
    document["seal"] = results_seal(document)
    (folder / "results.json").write_text(json.dumps(document))
    (folder / "prompts.json").write_text(json.dumps({"sets": []}))
    suite = {
        "name": name,
        "samplers": [{"like": "glance-10", "adapters": "a", "name": one} for one in trained],
    }
    (folder / "suite.json").write_text(json.dumps(suite))
    return read_evidence(folder)


def _parquet(frame: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    frame.to_parquet(sink)
    return sink.getvalue()


def make_paper(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ("a",), **more: Any) -> PaperTables:
    """A paper of one table; columns are scores of coco-10k of which more is better, one decimal."""
    return PaperTables.model_validate(
        {
            "paper": {"id": "x", "title": "A paper"},
            "families": {"flux": {"model": "flux.1-dev", "testbed": "testbed-flux"}},
            "columns": {name: column() for name in names},
            "tables": [table("table 1", rows, names)],
        }
        | more
    )


def column(**more: Any) -> dict[str, Any]:
    made = {
        "title": "Score",
        "benchmark": "COCO",
        "better": "higher",
        "decimals": 3,
        "prompt_set": "coco-10k",
    }
    return {**made, "metrics": ["clip"], "protocol": "as made up", **more}


def table(
    name: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], **more: Any
) -> dict[str, Any]:
    return {
        "id": name,
        "caption": "made up",
        "columns": list(columns),
        "rows": [dict(r) for r in rows],
        **more,
    }


def row(label: str, values: Sequence[float | None] | None, **more: Any) -> dict[str, Any]:
    return {"label": label, "family": "flux", "values": None if values is None else list(values), **more}
