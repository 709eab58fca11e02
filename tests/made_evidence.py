"""Evidence made by hand, in memory: every value is known, and the cells follow from the values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glance_bench.evidence import Evidence

MADE_OF = {
    **{"checkpoint": "c" * 64, "card": "d" * 64, "trajectory": "e" * 64, "resolution": [64, 64]},
    **{"device": "cpu", "dtype": "float32", "generation_version": 1},
}
HARDWARE = "cpu, 2 threads"


def column(name: str, kind: str = "sample", better: str = "higher", **changes: Any) -> dict[str, Any]:
    made = {"name": name, "metric": name, "kind": kind, "title": name.capitalize(), "better": better}
    return made | {"description": "", "decimals": 3, "headline": True, "flag": False} | changes


def evidence(
    values: Mapping[str, Mapping[str, Any]],
    *,
    columns: Sequence[Mapping[str, Any]] | None = None,
    name: str = "made",
    model: str = "testbed-flux",
    ids: Sequence[str] | None = None,
    texts: Mapping[str, str] | None = None,
    facets: Mapping[str, Sequence[Any]] | None = None,
    seed: int = 100,
    corpus: Mapping[str, Mapping[str, tuple[float, Sequence[float]]]] | None = None,
    corpus_n: int = 3000,
    recipes: Mapping[str, str] | None = None,
    made_of: Mapping[str, Any] | None = MADE_OF,
    nfe: Mapping[str, float | None] | None = None,
    seconds: Mapping[str, Sequence[float]] | None = None,
    hardware: str = HARDWARE,
    session: str = "s1",
) -> Evidence:
    """``values`` is {sampler: {column: float[prompts] or float[prompts, images]}}, ``corpus`` {sampler: {column:
    (value, replicates)}}, said to be of ``corpus_n`` images; ``seconds`` one total a block; ``facets`` columns of
    samples by prompt. The first sampler is the reference.
    """
    grids = {
        s: {c: np.atleast_2d(np.asarray(v, float).T).T for c, v in own.items()} for s, own in values.items()
    }
    first = next(iter(next(iter(grids.values())).values()))
    count, images = first.shape
    ids = [f"p{i:03d}" for i in range(count)] if ids is None else list(ids)
    names = list(dict.fromkeys(c for own in grids.values() for c in own))
    known = [column(c) for c in names] if columns is None else list(columns)
    asked = {"category": ["all"] * count, "prompt_words": [5] * count, "wanted_words": [0] * count}
    asked |= {"objects": [np.nan] * count} | dict(facets or {})
    rows = [
        {
            **{"model": model, "sampler": s, "prompt_set": "set", "prompt_id": ids[i], "index": k},
            **{"seed": seed + 10 * i + k if seed >= 0 else -1, "image_sha256": f"{name}-{s}-{i}-{k}"},
            **{"text_sha256": f"sha of {(texts or {}).get(ids[i], ids[i])}", "evaluations": 1},
            **{facet: listed[i] for facet, listed in asked.items()},
            **{c: own[c][i, k] if c in own else np.nan for c in names},
        }
        for s, own in grids.items()
        for i in range(count)
        for k in range(images)
    ]
    timing = [
        {
            **{"model": model, "sampler": s, "session": session, "hardware": hardware, "prompt_id": ids[0]},
            **{"repeat": block, "batch_size": 1, "component": "total", "seconds": taken, "evaluations": 1},
        }
        for s, blocks in (seconds or {}).items()
        for block, taken in enumerate(blocks)
    ]
    board = {
        **{"model": model, "prompt_set": "set", "testbed": model.startswith("testbed-"), "prompts": count},
        **{"reference": next(iter(grids)), "with_text": 0},
        "samplers": [
            {
                **{
                    "sampler": s,
                    "title": s.title(),
                    "images": count * images,
                    "units": [],
                    "made_of": made_of,
                },
                "nfe": {"nominal": 10, "counted": (nfe or {}).get(s, 10.0)},
                "cells": _cells(own, known, recipes or {}, (corpus or {}).get(s, {}), count, corpus_n),
            }
            for s, own in grids.items()
        ],
    }
    results = {
        **{"schema": "glance-bench/results/2", "run": name, "suite": name, "digest": f"{name:0<64}"},
        "recipes": {r: f"recipe {r}" for r in ["r0", *(recipes or {}).values()]},
        **{"columns": known, "boards": [board], "timing": []},
    }
    return Evidence(
        name=name,
        path=Path(f"runs/{name}"),
        results=results,
        samples=pd.DataFrame(rows),
        prompts={"set": {i: (texts or {}).get(i, f"text of {i}") for i in ids}},
        timing=pd.DataFrame(timing),
        suite={"name": name},
        environment={},
    )


def _cells(
    own: Mapping[str, np.ndarray],
    known: Sequence[Mapping[str, Any]],
    recipes: Mapping[str, str],
    corpus: Mapping[str, tuple[float, Sequence[float]]],
    count: int,
    corpus_n: int,
) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for one in known:
        name = one["name"]
        shared = {"recipe": recipes.get(name, "r0"), "prompts": count}
        if name in corpus:
            value, replicates = corpus[name]
            cells[name] = {
                "value": value,
                "replicates": list(replicates),
                "n": corpus_n,
                "interval": "jackknife",
            }
        elif name in own and np.isfinite(own[name]).any():
            finite = own[name][np.isfinite(own[name])]
            cells[name] = {"value": float(finite.mean()), "n": len(finite), "interval": "bootstrap"}
        else:
            continue
        value = cells[name]["value"]
        cells[name] |= {"low": value - 0.1, "high": value + 0.1, **shared}
    return cells
