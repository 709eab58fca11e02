"""Evidence of runs that were never made: seeded scores of two samplers, with every knob that a gate looks at."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from typer.testing import CliRunner

from glance_bench.cli import app
from glance_bench.evidence import SCHEMA, Evidence, results_seal
from glance_bench.sealed import sha256_bytes
from glance_bench.stats import group_labels

ROOT = Path(__file__).parent.parent
MODEL, SET = "testbed-flux", "testbed"
SAMPLERS = ("teacher-50", "slowfast-10")
HARDWARE = "cpu-2cores"
COLUMNS = {  # name -> kind, better, flag, description
    "truth": ("sample", "higher", False, "share of the attributes that hold"),
    "clip": ("sample", "higher", False, "cosine"),
    "ocr": ("sample", "higher", False, "share of the wanted words"),
    "lpips": ("pair", "lower", False, "distance to the reference's image"),
    "failed": ("unit", "lower", True, "share of images non-finite or black"),
}
SUITE = {"name": "ci", "seed": 0, "metrics": list(COLUMNS)[:-1]}


def scores(
    n: int = 60, seed: int = 0, samplers: Sequence[str] = SAMPLERS, per_prompt: int = 1
) -> pd.DataFrame:
    """A row an image. Prompts differ, images of a prompt differ less; every third prompt asks for text."""
    difficulty = np.random.default_rng(7).uniform(0.6, 0.95, n).repeat(per_prompt)
    rng = np.random.default_rng(seed)
    i, index = np.arange(n).repeat(per_prompt), np.tile(np.arange(per_prompt), n)
    frames = []
    for sampler in samplers:
        teacher = sampler == "teacher-50"
        frames.append(
            pd.DataFrame(
                {
                    **{"model": MODEL, "sampler": sampler, "prompt_set": SET},
                    "prompt_id": [f"p{k:03d}" for k in i],
                    "index": index,
                    "seed": 1000 * seed + i + 7 * index,
                    "image_sha256": [f"{sampler} {k} {j} {seed}" for k, j in zip(i, index, strict=True)],
                    "text_sha256": [f"sha256 of {text(k)}" for k in i],
                    **{"category": "object", "prompt_words": 5, "wanted_words": (i % 3 == 0).astype(int)},
                    **{"objects": 1.0, "evaluations": 50 if teacher else 10},
                    "truth": np.clip(difficulty + rng.normal(0, 0.03, len(i)), 0, 1),
                    "clip": 0.3 + rng.normal(0, 0.003, len(i)),
                    "ocr": np.where(i % 3 == 0, rng.random(len(i)) < 0.8, np.nan),
                    "lpips": np.full(len(i), np.nan) if teacher else rng.uniform(0.18, 0.22, len(i)),
                    "failed": 0.0,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def text(i: int | np.integer) -> str:
    return f"a drawing of thing {i}"


def times(
    seed: int = 0,
    sessions: Sequence[str] = ("2026-01-01T00:00:00",),
    blocks: int = 12,
    speedup: float = 5.0,
    hardware: str = HARDWARE,
) -> pd.DataFrame:
    """Total seconds, 1 % noise: a block's common slowness, and each measurement's own."""
    rng = np.random.default_rng([3, seed])
    rows = []
    for session in sessions:
        for repeat in range(blocks):
            slow = 1 + 0.2 * rng.random()
            for sampler in SAMPLERS:
                seconds = (
                    slow * (2.0 if sampler == "teacher-50" else 2.0 / speedup) * np.exp(rng.normal(0, 0.01))
                )
                rows.append(
                    (MODEL, sampler, session, hardware, "p000", repeat, 1, "total", float(seconds), 10)
                )
    names = ["model", "sampler", "session", "hardware", "prompt_id", "repeat", "batch_size", "component"]
    return pd.DataFrame(rows, columns=[*names, "seconds", "evaluations"])


def evidence(
    samples: pd.DataFrame | None = None,
    timing: pd.DataFrame | None = None,
    *,
    gate: Mapping[str, Any] | None = None,
    distance: float = 10.0,
    distance_images: int | None = None,
    name: str = "ci",
) -> Evidence:
    """Evidence in memory, with a Frechet-type column ``fd`` of ``distance``."""
    samples = scores() if samples is None else samples
    timing = times() if timing is None else timing
    columns = [
        {
            **{"name": one, "metric": "health" if flag else one, "kind": kind, "title": one.capitalize()},
            **{"better": better, "flag": flag, "headline": not flag, "decimals": 3, "description": about},
        }
        for one, (kind, better, flag, about) in COLUMNS.items()
    ]
    columns.append(
        {
            **{"name": "fd", "metric": "fd", "kind": "corpus", "title": "FD", "better": "lower"},
            **{"flag": False, "headline": True, "decimals": 3, "description": "Frechet distance"},
        }
    )
    rows = []
    for sampler, own in samples.groupby("sampler", sort=False):
        cells = {
            one: {"value": float(own[one].mean()), "low": 0.0, "high": 1.0, "n": len(own), "recipe": one}
            for one in COLUMNS
            if own[one].notna().any()
        }
        groups = len(set(group_labels(own["prompt_id"].tolist())))
        wiggle = np.random.default_rng(5).normal(0, 0.02, groups)
        cells["fd"] = {
            **{
                "value": distance,
                "low": distance - 1,
                "high": distance + 1,
                "recipe": "fd",
                "interval": "jackknife",
            },
            **{"n": distance_images or len(own), "replicates": (distance + wiggle).tolist()},
        }
        made_of = {
            "checkpoint": "c" * 64,
            "card": "d" * 64,
            "trajectory": f"steps of {sampler}",
            "resolution": 64,
        }
        rows.append(
            {
                **{
                    "sampler": sampler,
                    "title": str(sampler),
                    "images": len(own),
                    "units": [],
                    "cells": cells,
                },
                "nfe": {"nominal": 50 if sampler == "teacher-50" else 10, "counted": 10.0},
                "made_of": {**made_of, "device": "cpu", "dtype": "float32", "generation_version": 1},
                "speedup_nominal": 1.0,
            }
        )
    board = {
        **{"model": MODEL, "prompt_set": SET, "testbed": True, "reference": str(samples["sampler"].iloc[0])},
        **{"prompts": samples["prompt_id"].nunique(), "with_text": 0, "samplers": rows},
    }
    results = {
        **{"schema": SCHEMA, "run": name, "suite": "ci", "profile": None, "digest": "0"},
        "recipes": {one: f"{one}: version 1" for one in [*COLUMNS, "fd"]},
        **{"columns": columns, "boards": [board], "timing": []},
    }
    ids = sorted(samples["prompt_id"].unique())
    return Evidence(
        name=name,
        path=Path("nowhere"),
        results=results,
        samples=samples,
        prompts={SET: {one: text(int(one[1:])) for one in ids}},
        timing=timing,
        suite=SUITE | ({"gate": dict(gate)} if gate is not None else {}),
        environment={},
    )


def edited(found: Evidence, change: Callable[[dict[str, Any]], None]) -> Evidence:
    """The same evidence with its results changed before they are sealed."""
    results = json.loads(json.dumps(found.results))
    change(results)
    return replace(found, results=results)


def put(found: Evidence, folder: Path) -> Path:
    """Write evidence as a finished run leaves it; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, frame in (("samples.parquet", found.samples), ("timing.parquet", found.timing)):
        frame.to_parquet(folder / name, index=False)
        digests[name] = sha256_bytes((folder / name).read_bytes())
    results: dict[str, Any] = {**found.results, "tables": digests}
    results["seal"] = results_seal(results)
    (folder / "results.json").write_text(json.dumps(results))
    sets = [
        {"name": one, "revision": "r1", "prompts": [{"id": i, "text": t} for i, t in texts.items()]}
        for one, texts in found.prompts.items()
    ]
    (folder / "prompts.json").write_text(json.dumps({"sets": sets}))
    (folder / "suite.json").write_text(json.dumps(dict(found.suite)))
    return folder


def command(*arguments: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """``glance-bench gate``, in this process: its exit code and its two streams. What nobody foresaw is raised."""
    line = ["gate", *map(str, arguments)]
    with chdir(folder):
        shown = CliRunner().invoke(app, line, catch_exceptions=False)
    return subprocess.CompletedProcess(line, shown.exit_code, shown.stdout, shown.stderr)
