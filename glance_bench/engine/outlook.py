"""What a run would do, as the command ``plan`` shows it: what is done, what is left, what that costs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import Any

from ..sealed import find_sealed
from ..store import Run
from ..terminal import printable
from ..units import read_unit
from .estimate import cost_of
from .plan import Plan, Work
from .strips import is_made, planned_strips

__all__ = ["lines", "outlook"]


def outlook(run: Run, plan: Plan) -> dict[str, Any]:
    """The plan as a JSON document. Reads the run folder, changes nothing in it."""
    done = [work for work in plan.works if _is_done(run, work)]
    made = {work.info.folder for work in done}
    strips = planned_strips(plan)
    left = [work for work in plan.works if work.info.folder not in made]
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for work in plan.works:
        count = counts[work.info.model, work.info.sampler]
        count[0] += len(work.items)
        count[1] += len(work.items) * (work.info.folder in made)
    return {
        "run": str(run.folder),
        "name": plan.suite.label,
        "units": {"all": len(plan.works), "done": len(done)},
        "images": {"all": plan.images, "done": sum(len(work.items) for work in done)},
        "strips": {"all": len(strips), "done": sum(is_made(run, strip) for strip in strips)},
        "evaluations": plan.evaluations,
        "left": asdict(cost_of(run, plan, left)),
        "placements": [
            {"model": model.name, **model.placement.document(), "outgrown": list(model.outgrown)}
            for model, _ in plan.by_model()
            if model.placement
        ],
        "adapters": [{**job.document(), "steps": job.recipe.steps, "done": job.done} for job in plan.jobs],
        "prompts": [{"set": name, "revision": rev, "prompts": len(ps)} for name, rev, ps in plan.prompt_sets],
        "samplers": [
            {
                "model": sampler.model.name,
                "sampler": sampler.name,
                "steps": len(sampler.trajectory),
                "nfe": sampler.trajectory.nfe,
                "speedup": round(sampler.speedup, 4),
                "images": counts[sampler.model.name, sampler.name][0],
                "done": counts[sampler.model.name, sampler.name][1],
            }
            for sampler in plan.samplers
        ],
        "metrics": [
            {
                "metric": metric.name,
                "files": len(done),
                "done": _scored(run, metric.folder, metric.suffix, done),
            }
            for metric in plan.metrics
            if metric.folder is not None and metric.metric.kind != "pair"
        ],
        "waiting": plan.waiting,
    }


def lines(document: dict[str, Any]) -> list[str]:
    """The document for people, one fact a line."""
    units, images, left = document["units"], document["images"], document["left"]
    strips = document["strips"]
    shown = [
        f"{document['name']} in {document['run']}",
        f"units       {units['all']}, {units['done']} done",
        f"images      {images['all']}, {images['done']} done",
        *([f"strips      {strips['all']}, {strips['done']} done"] if strips["all"] else []),
        f"evaluations {document['evaluations']:,}, {left['evaluations']:,} left",
        f"disk        {left['disk'] / 1e6:,.1f} MB left to write",
        f"time        about {duration(left['seconds'])} of generation left ({left['source']})",
        *(
            f"placement   {printable(row['model'])}: {row['plan']} in {row['dtype']}, needs "
            + (f"{row['gpu_gib']} GiB of GPU memory and " if row["gpu_gib"] else "")
            + f"{row['ram_gib']} GiB of RAM ({row['source']})"
            for row in document["placements"]
        ),
        "",
        f"{'model':<16}{'sampler':<24}{'steps':>6}{'NFE':>6}{'speed-up':>10}{'images':>9}{'done':>8}",
    ]
    for row in document["samplers"]:
        names = f"{printable(row['model']):<16}{printable(row['sampler']):<24}"
        shown.append(
            f"{names}{row['steps']:>6}{row['nfe']:>6}{row['speedup']:>10.2f}{row['images']:>9}{row['done']:>8}"
        )
    shown.append("")
    for row in document["adapters"]:
        if not row["done"]:
            what = f"{printable(row['adapters'])} for {printable(row['model'])}"
            shown.append(f"to train    {what}, {row['steps']} steps an expert")
    for row in document["prompts"]:
        shown.append(
            f"prompts     {printable(row['set'])}, {row['prompts']} at revision {row['revision'][:12]}"
        )
    for row in document["metrics"]:
        shown.append(f"scores      {row['metric']}, {row['done']} of {row['files']} units made so far")
    shown += [
        f"not here    {printable(metric)}: {printable(what)}" for metric, what in document["waiting"].items()
    ]
    return shown


def duration(seconds: float) -> str:
    """A time for people: 45 s, 12 min, 3.4 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _is_done(run: Run, work: Work) -> bool:
    damages = run.check_unit(work.info.folder, work.info.key, deep=False)
    return damages is not None and all(damage.foreign for damage in damages)


def _scored(run: Run, folder: str, suffix: str, done: list[Work]) -> int:
    parts = find_sealed(run.folder / folder, suffix)
    return sum(run.score_key(read_unit(run.folder / work.info.folder)) in parts for work in done)
