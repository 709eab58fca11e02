"""From the records of a run to ``results.json``: every number with its interval, its n and its recipe. No
torch.

A *board* is one model on one prompt set: only inside it are numbers put beside each other. Its *reference* is
the teacher, or else the first sampler of the suite; the others are compared with it prompt by prompt.

The document (schema ``glance-bench/results/1``)::

    schema, run, suite, profile, digest
    recipes    id -> text; equal ids mean comparable numbers
    columns    [{name, metric, kind, title, better, description, decimals, headline}] in the order to show
    boards     [{model, prompt_set, testbed, reference, prompts, with_text, samplers: [{
                   sampler, title, images, units, nfe: {nominal, counted}, speedup_nominal,
                   cells: {column: {value, low, high, n, prompts, interval, recipe, note?, replicates?,
                           rank?, against_reference?: {difference, low, high, n}}}}]}]
    timing     [{model, sampler, hardware, batch_size, n, components: {name: {median, q25, q75}}, speedup}]

``rank`` is "best" for the best value among the samplers other than the reference, "tied" where the paired
interval against that best one holds zero. Intervals are at 95 %, see ``stats``: bootstrap over prompts for
means, Wilson for rates of failure, group jackknife (with its replicates, for later pairing) for corpus
metrics. Everything but ``timing`` is a function of images, prompts and recipes, and enters the ``digest``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glance_bench import stats
from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.base import CorpusMetric, UnitMetric
from glance_bench.sealed import digest_of, sha256_bytes

if TYPE_CHECKING:
    import pandas as pd

    from glance_bench.metrics.base import Metric
    from glance_bench.store import Run

__all__ = ["SCHEMA", "build", "load_metrics", "results_digest", "scored_records"]

SCHEMA = "glance-bench/results/1"
DIGITS = 10  # significant digits kept, so that the last bits of a library do not change the digest
COMPONENTS = ("encode", "denoise", "decode", "total")


def build(run: Run, metrics: Sequence[Metric] | None = None) -> dict[str, Any]:
    """The results of a scored run as a JSON document. Deterministic.

    ``metrics`` replaces those that the run's manifest names. Raises GlanceBenchError when images have no
    scores yet.
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
        "recipes": {_recipe_id(metric): metric.recipe for metric in metrics},
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
            }
            for metric in metrics
            for column in metric.columns
        ],
        "boards": boards,
    }
    document = _rounded(document)
    document["timing"] = _rounded(_timing(run.timing(), {b["model"]: b["reference"] for b in boards}))
    document["digest"] = results_digest(document)
    return document


def results_digest(document: Mapping[str, Any]) -> str:
    """sha256 over the canonical JSON of everything but ``timing`` and the digest itself."""
    return digest_of({key: value for key, value in document.items() if key not in ("timing", "digest")})


def load_metrics(run: Run) -> list[Metric]:
    """The metrics that the manifest names, and ``health``, which every run has."""
    from glance_bench.registry import METRICS

    names = [entry["name"] for entry in run.manifest["metrics"]]
    return [METRICS.get(name)() for name in dict.fromkeys([*names, "health"])]


def scored_records(run: Run) -> pd.DataFrame:
    """``run.records()`` with a column for each output of its sample metrics, notes included.

    Null where a metric does not apply. Raises GlanceBenchError when an image was never scored.
    """
    records = run.records()
    for entry in run.manifest["metrics"]:
        if entry["kind"] == "sample":
            scores = run.scores(entry["name"]).assign(_scored=True)
            records = records.merge(scores, how="left", on=["image_sha256", "prompt_id"], validate="m:1")
            _refuse_unscored(entry["name"], int(records.pop("_scored").isna().sum()))
    return records


def _refuse_unscored(metric: str, missing: int) -> None:
    if missing:
        raise GlanceBenchError(f"{missing} images have no score by {metric!r} yet: run the suite again")


def _board(
    run: Run, model: str, prompt_set: str, part: pd.DataFrame, metrics: Sequence[Metric]
) -> dict[str, Any]:
    facts = {e["sampler"]: e for e in run.manifest["samplers"] if e["model"] == model}
    units = [unit for unit in run.units() if (unit.model, unit.prompt_set) == (model, prompt_set)]
    groups = {str(name): own for name, own in part.groupby("sampler", sort=False)}
    cells: dict[str, dict[str, Any]] = {name: {} for name in groups}
    reference = next((name for name in groups if facts[name]["teacher"]), next(iter(groups)))
    for metric in metrics:
        if isinstance(metric, CorpusMetric):
            _corpus_cells(run, metric, groups, reference, cells)
        else:
            _mean_cells(metric, groups, reference, cells)
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
                "cells": cells[name],
            }
            for name, own in groups.items()
        ],
    }


def _mean_cells(
    metric: Metric, groups: Mapping[str, pd.DataFrame], reference: str, cells: dict[str, dict[str, Any]]
) -> None:
    """Cells of a metric with a value an image. The images of a prompt are averaged before prompts are
    resampled.
    """
    for column in metric.columns:
        by_prompt = {
            name: own.groupby("prompt_id")[column.name].mean().dropna() for name, own in groups.items()
        }
        made: dict[str, dict[str, Any]] = {}
        for name, values in by_prompt.items():
            if not len(values):
                continue
            n = int(groups[name][column.name].notna().sum())
            cell = made[name] = {"value": float(values.mean()), "n": n, "prompts": len(values)}
            if metric.kind == "unit":
                interval, cell["interval"] = stats.wilson(int(groups[name][column.name].sum()), n), "wilson"
            else:
                interval, cell["interval"] = stats.bootstrap_mean(values.to_numpy()), "bootstrap"
            cell |= {"low": interval.low, "high": interval.high, "recipe": _recipe_id(metric)}

        def difference(
            a: str, b: str, by_prompt: Mapping[str, pd.Series] = by_prompt
        ) -> stats.PairedDifference | None:
            both = by_prompt[a].index.intersection(by_prompt[b].index)
            if not len(both):
                return None
            return stats.paired_bootstrap(by_prompt[a][both].to_numpy(), by_prompt[b][both].to_numpy())

        if metric.kind != "unit":
            _compare(made, reference, column.better, difference)
        for name, cell in made.items():
            cells[name][column.name] = cell


def _corpus_cells(
    run: Run,
    metric: CorpusMetric,
    groups: Mapping[str, pd.DataFrame],
    reference: str,
    cells: dict[str, dict[str, Any]],
) -> None:
    """Cells of a metric over all images of a sampler, with a jackknife that leaves out the same prompts for
    all.
    """
    shas, features = run.features(metric.name)
    place = {sha: row for row, sha in enumerate(shas)}
    (folder,) = (entry["folder"] for entry in run.manifest["metrics"] if entry["name"] == metric.name)
    compared = metric.reference(run.folder / folder)
    made: dict[str, dict[str, Any]] = {}
    for name, own in groups.items():
        _refuse_unscored(metric.name, sum(sha not in place for sha in own["image_sha256"]))
        if len(own) < 2:
            continue
        rows = features[[place[sha] for sha in own["image_sha256"]]]
        labels = stats.group_labels(own["prompt_id"].tolist())

        def value(keep: npt.NDArray[np.bool_], rows: npt.NDArray[np.float32] = rows) -> float:
            return metric.reduce(rows[keep], compared) if keep.sum() > 1 else math.nan

        jackknife = stats.group_jackknife(value, labels, floor=0.0)
        cell = made[name] = {"value": jackknife.value, "low": jackknife.low, "high": jackknife.high}
        cell |= {"n": len(own), "prompts": own["prompt_id"].nunique(), "interval": "jackknife"}
        cell |= {"recipe": _recipe_id(metric), "replicates": jackknife.replicates.tolist()}
        if note := metric.note(len(own), compared):
            cell["note"] = note

    def difference(a: str, b: str) -> stats.PairedDifference | None:
        first, second = made[a], made[b]
        if len(first["replicates"]) != len(second["replicates"]):
            return None
        apart = first["value"] - second["value"]
        replicates = np.subtract(first["replicates"], second["replicates"])
        interval = stats.jackknife_interval(apart, replicates)
        return stats.PairedDifference(apart, interval.low, interval.high, min(first["n"], second["n"]))

    (column,) = metric.columns
    _compare(made, reference, column.better, difference)
    for name, cell in made.items():
        cells[name][column.name] = cell


def _compare(
    made: dict[str, dict[str, Any]],
    reference: str,
    better: str,
    difference: Callable[[str, str], stats.PairedDifference | None],
) -> None:
    """Add ``against_reference`` and ``rank`` to the cells of one column."""
    others = [name for name in made if name != reference]
    sign = 1 if better == "higher" else -1
    for name in others if reference in made else []:
        if (paired := difference(name, reference)) is not None:
            made[name]["against_reference"] = asdict(paired)
    if len(others) < 2:
        return
    best = max(others, key=lambda name: sign * made[name]["value"])
    if all(made[name]["value"] == made[best]["value"] for name in others):
        return
    for name in others:
        paired = None if name == best else difference(name, best)
        if name == best:
            made[name]["rank"] = "best"
        elif paired is not None and paired.low <= 0 <= paired.high:
            made[name]["rank"] = "tied"


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


def _recipe_id(metric: Metric) -> str:
    return sha256_bytes(metric.recipe.encode())[:12]


def _rounded(value: Any) -> Any:
    """Floats to DIGITS significant digits; NaN and infinities, which JSON has not, to null."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value
