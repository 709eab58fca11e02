"""``glance-bench analyze``: from a run folder to ``analysis.json``, its figures, and the table in the terminal.

The document (schema ``glance-bench/analysis/1``)::

    schema, run, teacher
    models    [{model, family, prompts: [id], figures: {velocity?, snr, losses?: file name},
               samplers: [{sampler, same: [other samplers with exactly these steps], nfe, error,
                   phases: [{name, start, stop, adapter, adapter_scale, nfe, error}],
                   steps: [{step, phase, sigma, sigma_next, snr, error}]}],
               losses: [{adapter, phase, losses}]}]

``error`` is {value, low, high, n} of the relative velocity error (see ``velocity``): its mean over ``n`` prompts with
the 95 % bootstrap interval, null for the teacher and where there is none. That of a sampler or a phase is first
averaged over its steps, a step counting by its length in sigma: else many short steps would hide a long one. ``step``
counts from 0, ``stop`` is exclusive, ``snr`` is at sigma and null at sigma 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ..engine.plan import TEACHER, Item, Plan, PlannedModel, PlannedSampler
from ..engine.planning import make_plan
from ..errors import GlanceBenchError
from ..models.checkpoints import read_geometry
from ..report.text import interval, number
from ..samplers.cards import load_card
from ..sealed import Damaged, slug, write_atomic, write_json
from ..stats import bootstrap_mean
from ..store import Run
from ..suite import Suite
from ..terminal import Progress, printable
from ..trajectory import FloatArray, Trajectory, snr
from .losses import loss_curves

__all__ = ["DOCUMENT", "SCHEMA", "analyze", "lines"]

SCHEMA = "glance-bench/analysis/1"
DOCUMENT = "analysis.json"


def analyze(run: Run, folder: Path, prompts: int, progress: Progress) -> dict[str, Any]:
    """Measure over the first ``prompts`` prompts of each model, write ``folder``, and return the document.

    Raises GlanceBenchError for a folder that is no run, is in use, or whose weights, cards or adapters are not those
    that its images were made with.
    """
    plan = _plan(run)
    with run.lock():
        work = [(model, samplers, _items(plan, model, prompts)) for model, samplers in plan.by_model()]
        with progress.task("analyze", sum(len(items) for *_, items in work), "prompts") as advance:
            models = [_model(run, plan, *one, advance) for one in work if one[-1]]
    document = {"schema": SCHEMA, "run": run.manifest["name"], "teacher": TEACHER, "models": models}
    for model in models:
        _draw(folder, model)
    write_json(folder / DOCUMENT, document)
    return document


def lines(document: dict[str, Any]) -> list[str]:
    """The errors as aligned lines: a row a sampler, and below it one for each of its phases if it has several."""
    shown = []
    for model in document["models"]:
        rows: list[tuple[str, ...]] = [("sampler", "steps", "NFE", "error", "95 %", "worst step")]
        for sampler in model["samplers"]:
            if sampler["sampler"] == document["teacher"]:
                continue
            steps = sampler["steps"]
            rows.append(_row(" = ".join([sampler["sampler"], *sampler["same"]]), sampler, steps))
            for phase in sampler["phases"] if len(sampler["phases"]) > 1 else []:
                rows.append(_row(f"  {phase['name']}", phase, steps[phase["start"] : phase["stop"]]))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        shown.append(
            f"{printable(model['model'])}: relative velocity error against {document['teacher']}, "
            f"{len(model['prompts'])} prompts"
        )
        for name, *cells in rows:
            aligned = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
            shown.append("  ".join([name.ljust(widths[0]), *aligned]).rstrip())
        shown.append("")
    return [*shown, "error: mean over the steps, each counting by its length in sigma, and over prompts"]


def _row(name: str, part: dict[str, Any], steps: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """One row of the table: a sampler or a phase, and its steps."""
    error = part["error"]
    worst = max((step for step in steps if step["error"]), key=lambda s: s["error"]["value"], default=None)
    return (
        printable(name),
        str(len(steps)),
        str(part["nfe"]),
        number(error and error["value"]),
        interval(error) if error else "",
        f"{number(worst['error']['value'])} at sigma {worst['sigma']:.4f}" if worst else "",
    )


def _plan(run: Run) -> Plan:
    """The plan of the run as it was made. Raises GlanceBenchError when it would come out differently now."""
    try:
        suite = Suite.model_validate(run.suite())
    except ValidationError as error:
        raise Damaged(run.folder / "suite.json", "is not the suite of a run of this version") from error
    units = {unit.key for unit in run.units()}
    plan = make_plan(suite)
    if units != {work.info.key for work in plan.works}:
        raise GlanceBenchError(
            f"{run.folder}: weights, cards, adapters or prompts have changed since; run the suite again"
        )
    return plan


def _items(plan: Plan, model: PlannedModel, prompts: int) -> list[Item]:
    """The first image of each of the model's first prompts; every sampler of the model has the same."""
    own = [work for work in plan.works if work.sampler.model == model]
    items = [item for work in own if work.sampler is own[0].sampler for item in work.items]
    return [item for item in items if item.index == 0][:prompts]


def _model(
    run: Run,
    plan: Plan,
    model: PlannedModel,
    samplers: Sequence[PlannedSampler],
    items: Sequence[Item],
    advance: Callable[[int, str], None],
) -> dict[str, Any]:
    """The document's entry of one model. Samplers with equal steps are measured once, under the first's name.

    A cache makes no difference here: every step is played by itself. Samplers with weights of their own are left out,
    because the model's velocities are none of theirs.
    """
    names: dict[Trajectory, list[str]] = {}
    for sampler in samplers:
        if sampler.name != TEACHER and sampler.weights == model:
            names.setdefault(replace(sampler.trajectory, cache=None), []).append(sampler.name)
    errors = _errors(run, plan, model, list(names), items, advance) if names else []
    entries = [_sampler([s.name], s.trajectory, None) for s in samplers if s.name == TEACHER]
    for (trajectory, same), measured in zip(names.items(), errors, strict=True):
        entries.append(_sampler(same, trajectory, measured))
    adapters = [step.adapter for trajectory in names for step in trajectory.steps if step.adapter]
    losses = loss_curves(adapters)
    drawn = {"velocity": bool(names), "snr": True, "losses": bool(losses)}
    return {
        "model": model.name,
        "family": model.family,
        "prompts": [item.prompt.id for item in items],
        "figures": {kind: f"{kind}-{slug(model.name)}.svg" for kind, wanted in drawn.items() if wanted},
        "samplers": entries,
        "losses": losses,
    }


def _errors(
    run: Run,
    plan: Plan,
    model: PlannedModel,
    students: Sequence[Trajectory],
    items: Sequence[Item],
    advance: Callable[[int, str], None],
) -> list[FloatArray]:
    """float64[prompts, steps] for each student. One image at a time: what fits memory for a run fits here."""
    from ..engine.generate import prepare
    from .velocity import velocity_errors

    size = model.resolution
    teacher = load_card(TEACHER).compile(read_geometry(model.path, *size))
    texts = [(item.prompt.text, None) for item in items]
    loaded, embeddings = prepare(run, model, plan.suite.device, plan.suite.dtype, texts)
    rows = []
    for item in items:
        embed = embeddings.get(loaded, item.prompt.text)
        noise = loaded.noise([item.seed], resolution=size)
        rows.append(velocity_errors(loaded, embed, noise, teacher, students, size))
        advance(1, model.name)
    return [np.stack(found) for found in zip(*rows, strict=True)]


def _sampler(names: Sequence[str], trajectory: Trajectory, errors: FloatArray | None) -> dict[str, Any]:
    """The document's entry of one sampler; ``errors`` is float64[prompts, steps], None for the teacher."""
    lengths = np.array([abs(step.sigma - step.sigma_next) for step in trajectory.steps])

    def error(start: int, stop: int) -> dict[str, Any] | None:
        return None if errors is None else _mean(errors[:, start:stop], lengths[start:stop])

    return {
        "sampler": names[0],
        "same": list(names[1:]),
        "nfe": trajectory.nfe,
        "error": error(0, len(trajectory)),
        "phases": [
            {
                "name": phase.name,
                "start": phase.start,
                "stop": phase.stop,
                "adapter": phase.adapter,
                "adapter_scale": phase.adapter_scale if phase.adapter else None,
                "nfe": sum(trajectory.costs[phase.start : phase.stop]),
                "error": error(phase.start, phase.stop),
            }
            for phase in trajectory.phases
        ],
        "steps": [
            {
                "step": number,
                "phase": step.phase,
                "sigma": step.sigma,
                "sigma_next": step.sigma_next,
                "snr": snr(step.sigma) if step.sigma else None,
                "error": error(number, number + 1),
            }
            for number, step in enumerate(trajectory.steps)
        ],
    }


def _mean(errors: FloatArray, lengths: FloatArray) -> dict[str, Any] | None:
    """Over float64[prompts, steps], steps weighted by ``lengths``; prompts without a finite error are left out.

    None when no prompt, or no length, is left.
    """
    moving = lengths > 0
    if not moving.any():
        return None
    values = np.average(errors[:, moving], axis=1, weights=lengths[moving])
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    ends = bootstrap_mean(values)
    low, high = (None if np.isnan(end) else end for end in (ends.low, ends.high))
    return {"value": float(values.mean()), "low": low, "high": high, "n": len(values)}


def _draw(folder: Path, model: dict[str, Any]) -> None:
    from . import figures

    for kind, name in model["figures"].items():
        write_atomic(folder / name, figures.DRAWN[kind](model))
