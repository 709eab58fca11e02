"""A sampler's steps for the reader: what ``glance-bench trajectory`` prints, and the same as data."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ..terminal import printable
from ..trajectory import snr
from .cards import Geometry, OnGrid, SamplerCard, load_card

BAR = 40  # characters from sigma 1 to sigma 0
MARKS = "#=o*+x"  # one a phase


def document(card: SamplerCard, geometry: Geometry) -> dict[str, Any]:
    """Everything that ``text`` shows, as JSON data.

    ``steps`` has one entry a step: ``step`` (from 0), ``index`` on the schedule's own grid, ``sigma``,
    ``sigma_next``, ``t_cond``, ``snr`` (at sigma), ``phase``, ``adapter``, ``adapter_scale``, ``guidance``,
    ``passes``; with another solver than euler also ``solver`` and ``cost``, the step's evaluations. ``index`` and
    ``grid_steps`` are null for a schedule that is no part of one grid. ``speedup`` is nominal: evaluations of
    teacher-50 on this model over the card's. Raises as ``card.compile`` does.
    """
    trajectory = card.compile(geometry)
    grid_steps: int | None = None
    indices: Sequence[int | None] = [None] * len(trajectory)
    if isinstance(card.schedule, OnGrid):
        grid, indices = card.schedule.levels(geometry)
        grid_steps = len(grid) - 1
    return {
        "name": card.name,
        "title": card.title,
        "description": card.description,
        "family": geometry.family,
        "tokens": geometry.tokens,
        "grid_steps": grid_steps,
        "derived": card.derived,
        "guidance": trajectory.steps[0].guidance,
        "solver": card.solver,
        "cache": None if card.cache is None else card.cache.model_dump(exclude_none=True),
        "base": card.base,
        "max_sequence_length": card.max_sequence_length,
        "licence": card.licence,
        "citation": card.citation,
        "nfe": trajectory.nfe,
        "speedup": trajectory.speedup(load_card("teacher-50").compile(geometry)),
        "phases": [
            {
                "name": phase.name,
                "steps": [phase.start, phase.stop - 1],
                "sigma": trajectory.steps[phase.start].sigma,
                "snr": snr(trajectory.steps[phase.start].sigma),
                "adapter": phase.adapter,
                "adapter_scale": phase.adapter_scale if phase.adapter else None,
            }
            for phase in trajectory.phases
        ],
        "steps": [
            {"step": number, "index": index, "snr": snr(step.sigma), "phase": step.phase, **row}
            for number, (index, step, row) in enumerate(
                zip(indices, trajectory.steps, trajectory.to_rows(), strict=True)
            )
        ],
    }


def text(card: SamplerCard, geometry: Geometry) -> str:
    """The same as plain lines, at most 110 columns: a heading, and a row a step with the span it covers."""
    data = document(card, geometry)
    grid = f"of the {data['grid_steps']}-step grid of" if data["grid_steps"] else "from a published list, on"
    names = [phase["name"] for phase in data["phases"]]
    mark = {name: MARKS[number % len(MARKS)] for number, name in enumerate(dict.fromkeys(names))}
    width = max(5, *(len(printable(name)) for name in names))
    cost = " evals" if data["solver"] == "heun" else "passes"
    lines = [
        f"{data['name']}: {printable(data['title'])}",
        *textwrap.wrap(printable(data["description"]), 108),
        f"{len(data['steps'])} steps {grid} {data['family']} at {data['tokens']} tokens; "
        f"guidance {data['guidance']:g}; NFE {data['nfe']}, "
        f"{data['speedup']:.3g}x fewer than teacher-50",
        *_told(data),
        *(["derived: the index list of this set is not published"] if data["derived"] else []),
    ]
    for phase in data["phases"]:
        first, last = phase["steps"]
        who = (
            f"{printable(phase['adapter'])} at {phase['adapter_scale']:g}"
            if phase["adapter"]
            else "base model"
        )
        lines.append(
            f"  {mark[phase['name']]} {printable(phase['name'])}: steps {first}-{last}, "
            f"from sigma {phase['sigma']:.4f} (SNR {phase['snr']:.3g}), {who}"
        )
    lines += [
        "",
        f"step index  {'phase':{width}}  {cost}  sigma -> next   1000 * t       SNR  1{'sigma':^{BAR - 2}}0",
    ]
    lines += [
        f"{row['step']:4d} {'-' if row['index'] is None else row['index']:>5}  "
        f"{printable(row['phase']):{width}}  {row.get('cost', row['passes']):6d}  "
        f"{row['sigma']:.4f} -> {row['sigma_next']:.4f}  {row['t_cond'] * 1000:8.3f}  {row['snr']:8.3g}  "
        f"{_bar(row['sigma'], row['sigma_next'], mark[row['phase']])}"
        for row in data["steps"]
    ]
    return "\n".join(line.rstrip() for line in lines)


def _told(data: Mapping[str, Any]) -> list[str]:
    """A line for each thing of a card that is not in its steps."""
    told = []
    if data["solver"] != "euler":
        told.append(f"solver {data['solver']}")
    if data["cache"]:
        cache = dict(data["cache"])
        kind = cache.pop("kind")
        cache.pop("ratios", None)
        told.append(
            f"cache {kind} ({', '.join(f'{key} {value}' for key, value in cache.items())}): evaluates less than the NFE"
        )
    if data["base"]:
        told.append(f"weights of {data['base']} instead of the model's")
    if data["max_sequence_length"]:
        told.append(f"at most {data['max_sequence_length']} tokens of a prompt")
    return told + [f"{name} {printable(data[name])}" for name in ("licence", "citation") if data[name]]


def _bar(sigma: float, sigma_next: float, mark: str) -> str:
    """The stretch of the way from 1 (left) to 0 (right) that a step covers; at least one mark."""
    start = min(round((1 - sigma) * BAR), BAR - 1)
    stop = max(start + 1, round((1 - sigma_next) * BAR))
    return "." * start + mark * (stop - start) + "." * (BAR - stop)
