"""From the records of a run to ``results.json``: every number with its interval, its n and its recipe. No
torch.

A *board* is one model on one prompt set: only inside it are numbers put beside each other. Its *reference* is
the teacher, or else the first sampler of the suite; the others are compared with it prompt by prompt.

The document (schema ``glance-bench/results/2``)::

    schema, run, suite, profile, digest, seal
    tables     file -> sha256, of the tables of ``samples``
    recipes    id -> text; equal ids mean comparable numbers
    columns    [{name, metric, kind, title, better, description, decimals, headline, flag}] in the order to show
    boards     [{model, prompt_set, testbed, reference, prompts, with_text, samplers: [{
                   sampler, title, images, units, nfe: {nominal, counted}, speedup_nominal, made_of,
                   cells: {column: {value, low, high, n, prompts, interval, recipe, note?, replicates?, pairs?,
                           rank?, against_reference?: {difference, low, high, n}}}}]}]
    waiting    {metric: what it waits for}, absent when nothing does
    sources    {sampler: {licence?, citation?}} as its card states them, absent when none does
    timing     [{model, sampler, hardware, batch_size, n, components: {name: {median, q25, q75}}, speedup}]

``rank`` is "best" for the best value among the samplers other than the reference, "tied" where the paired
interval against that best one holds zero. Intervals are at 95 %, see ``stats``: bootstrap over prompts for
means, Wilson for rates of failure, group jackknife (with what it left out, for later pairing) for corpus
metrics. ``made_of`` holds the checkpoint, the card and the trajectory as digests, and resolution, device,
dtype and, where it changes pixels, placement; null for images made elsewhere. Everything but ``timing``,
``tables``, ``sources`` and ``waiting`` is a function of images, prompts and recipes, and enters the ``digest``; the
``seal`` is a digest of the whole document.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glance_bench.cells import add_cells, columns_of, recipe_id, refuse_unscored
from glance_bench.evidence import SCHEMA, results_seal
from glance_bench.exchange.official import official_metric, with_official
from glance_bench.metrics.base import UnitMetric
from glance_bench.sealed import digest_of
from glance_bench.units import PAIR_KEYS, read_unit

if TYPE_CHECKING:
    import pandas as pd

    from glance_bench.metrics.base import Metric
    from glance_bench.store import Run

__all__ = ["build", "load_metrics", "results_digest", "scored_records"]

DIGITS = 10  # significant digits kept, so that the last bits of a library do not change the digest
OUTSIDE = ("timing", "waiting", "sources", "tables", "digest", "seal")
MADE_OF = ("checkpoint", "card", "resolution", "device", "dtype", "generation_version")
COMPONENTS = ("encode", "denoise", "decode", "total")


def build(
    run: Run, metrics: Sequence[Metric] | None = None, tables: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The results of a scored run as a JSON document. Deterministic.

    ``metrics`` replaces those that the run's manifest names; ``tables`` are the digests of the tables beside the
    document. Raises GlanceBenchError when images have no scores yet.
    """
    metrics = load_metrics(run) if metrics is None else metrics
    suite, manifest = run.suite(), run.manifest
    records = scored_records(run)
    for metric in metrics:
        if isinstance(metric, UnitMetric):
            records = records.assign(**metric.flags(records).astype(float))
    boards = [
        _board(run, str(model), str(prompt_set), part, metrics)
        for (model, prompt_set), part in records.groupby(["model", "prompt_set"], sort=False)
    ]
    document = {
        "schema": SCHEMA,
        "run": manifest["name"],
        "suite": suite["name"],
        "profile": suite.get("profile"),
        "recipes": {recipe_id(metric): metric.recipe for metric in metrics},
        "columns": [
            {
                "name": column.name,
                "metric": metric.name,
                "kind": metric.kind,
                "title": column.title,
                "better": column.better,
                "description": column.description,
                "decimals": column.decimals,
                "headline": column.headline,
                "flag": column.flag,
            }
            for metric in metrics
            for column in columns_of(metric)
        ],
        "boards": boards,
    }
    if manifest.get("waiting"):
        document["waiting"] = manifest["waiting"]
    if sources := _sources(manifest):
        document["sources"] = sources
    document = _rounded(document)
    document["timing"] = _rounded(_timing(run.timing(), {b["model"]: b["reference"] for b in boards}))
    document["tables"] = dict(tables or {})
    document["digest"] = results_digest(document)
    document["seal"] = results_seal(document)
    return document


def results_digest(document: Mapping[str, Any]) -> str:
    """sha256 over the canonical JSON of everything but OUTSIDE: what depends on the machine, and the digests."""
    return digest_of({key: value for key, value in document.items() if key not in OUTSIDE})


def load_metrics(run: Run) -> list[Metric]:
    """The metrics that the manifest names, and ``health``, which every run has."""
    from glance_bench.metrics.choose import make_metric

    reference = run.suite().get("reference")
    metrics: dict[str, Metric] = {}
    for entry in [*run.manifest["metrics"], {"name": "health"}]:
        name = entry["name"]
        metrics[name] = official_metric(name) if "imported" in entry else make_metric(name, reference)
    return list(metrics.values())


def scored_records(run: Run) -> pd.DataFrame:
    """``run.records()`` with a column for each output of its sample metrics, notes included.

    Null where a metric does not apply. Raises GlanceBenchError when an image was never scored.
    """
    from glance_bench.metrics.choose import make_metric

    records = run.records()
    for entry in run.manifest["metrics"]:
        if "imported" in entry:
            records = with_official(run, entry, records)
        elif entry["kind"] == "sample":
            scores = run.scores(entry["name"]).assign(_scored=True)
            records = records.merge(scores, how="left", on=["image_sha256", "prompt_id"], validate="m:1")
            refuse_unscored(entry["name"], int(records.pop("_scored").isna().sum()))
        elif entry["kind"] == "pair":
            if "reference_sha256" not in records:
                records = run.with_references(records)
            scores = run.pairs(entry["name"])
            if scores.empty:  # a sampler that stands alone has nothing to be compared with
                own = [column.name for column in make_metric(entry["name"]).columns]
                scores = scores.reindex(columns=[*PAIR_KEYS, *own])
            scores = scores.assign(_scored=True)
            records = records.merge(scores, how="left", on=list(PAIR_KEYS), validate="m:1")
            unscored = records.pop("_scored").isna() & records["reference_sha256"].notna()
            refuse_unscored(entry["name"], int(unscored.sum()))
    return records.drop(columns=["reference_image", "reference_sha256"], errors="ignore")


def _board(
    run: Run, model: str, prompt_set: str, part: pd.DataFrame, metrics: Sequence[Metric]
) -> dict[str, Any]:
    facts = {e["sampler"]: e for e in run.manifest["samplers"] if e["model"] == model}
    units = [unit for unit in run.units() if (unit.model, unit.prompt_set) == (model, prompt_set)]
    groups = {str(name): own for name, own in part.groupby("sampler", sort=False)}
    cells: dict[str, dict[str, Any]] = {name: {} for name in groups}
    reference = run.reference_of(model, list(groups))
    for metric in metrics:
        add_cells(run, metric, groups, reference, cells)
    prompts = {prompt.id: prompt for prompt in run.prompts(prompt_set)}
    used = [prompts[prompt_id] for prompt_id in part["prompt_id"].unique()]
    return {
        "model": model,
        "prompt_set": prompt_set,
        "testbed": model.startswith("testbed-"),
        "reference": reference,
        "prompts": len(used),
        "with_text": sum(bool(prompt.wanted_text) for prompt in used),
        "samplers": [
            {
                "sampler": name,
                "title": facts[name]["title"],
                "images": len(own),
                "units": [unit.folder for unit in units if unit.sampler == name],
                "nfe": {"nominal": facts[name]["nfe"], "counted": float(own["evaluations"].mean())},
                "speedup_nominal": facts[name]["speedup"],
                "made_of": _made_of(run, next(unit.folder for unit in units if unit.sampler == name)),
                **({"stated": facts[name]["stated"]} if facts[name].get("stated") else {}),
                "cells": cells[name],
            }
            for name, own in groups.items()
        ],
    }


def _sources(manifest: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What the cards state about whose each sampler is."""
    stated = {
        entry["sampler"]: {key: entry[key] for key in ("licence", "citation") if entry.get(key)}
        for entry in manifest["samplers"]
    }
    return {name: source for name, source in stated.items() if source}


def _made_of(run: Run, unit: str) -> dict[str, Any] | None:
    """What a sampler of a board is made of, from one of its units; its steps as a digest."""
    made = read_unit(run.folder / unit).get("sampler_made_of")
    if not made:
        return None
    placed = {"placement": made["placement"]} if "placement" in made else {}
    return {name: made[name] for name in MADE_OF} | placed | {"trajectory": digest_of(made["trajectory"])}


def _timing(frame: pd.DataFrame, references: Mapping[str, str]) -> list[dict[str, Any]]:
    """Medians and quartiles by component, in seconds for one image, and the speed-up against the reference.

    The speed-up is the median ratio of totals over measurements of the same session, prompt and repeat.
    """
    if frame.empty:
        return []
    rows = []
    for (model, sampler, hardware, batch), own in frame.groupby(
        ["model", "sampler", "hardware", "batch_size"], sort=False
    ):
        components = {}
        for name in COMPONENTS:
            seconds = own.loc[own["component"] == name, "seconds"]
            if len(seconds):
                q25, median, q75 = np.quantile(seconds, [0.25, 0.5, 0.75])
                components[name] = {"median": float(median), "q25": float(q25), "q75": float(q75)}
        keys = ["session", "prompt_id", "repeat"]
        total = frame[(frame["component"] == "total") & (frame["model"] == model)]
        totals = total[(total["hardware"] == hardware) & (total["batch_size"] == batch)].set_index(keys)
        own_total = totals.loc[totals["sampler"] == sampler, "seconds"]
        ratio = (totals.loc[totals["sampler"] == references.get(str(model)), "seconds"] / own_total).dropna()
        rows.append(
            {
                "model": str(model),
                "sampler": str(sampler),
                "hardware": str(hardware),
                "batch_size": int(batch),
                "n": len(own_total),
                "components": components,
                "speedup": float(ratio.median()) if len(ratio) else None,
            }
        )
    return rows


def _rounded(value: Any) -> Any:
    """Floats to DIGITS significant digits; NaN and infinities, which JSON has not, to null."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value
