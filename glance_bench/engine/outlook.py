"""What a run would do, as the command ``plan`` shows it: what is done, what is left, what all of it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..errors import MissingData
from ..profiles import Target
from ..sealed import find_sealed
from ..store import Run
from ..suite import Suite
from ..terminal import printable
from .estimate import cost_of
from .forecast import Forecast, forecast
from .forecast import document as forecast_document
from .pace import timed_here
from .plan import Plan, Work
from .planning import make_plan
from .strips import is_made, planned_strips

__all__ = ["lines", "outlook"]


def outlook(run: Run, suite: Suite, target: Target) -> dict[str, Any]:
    """The plan of a resolved suite on ``target`` as a JSON document. Reads the run folder, changes nothing in it.

    When models or prompts are not here the document has what can be said without them, and ``missing`` says what is.
    """
    try:
        plan = make_plan(suite, run.folder, target)
    except MissingData as error:
        expected = forecast(suite, target, {})
        about = {"run": str(run.folder), "name": suite.label, "missing": str(error)}
        return {**about, **forecast_document(expected, suite), "samplers": _rows(expected, {})}
    expected = forecast(plan.suite, target, timed_here(run, plan) if target.here else {})
    return {**_planned(run, plan, expected), **forecast_document(expected, suite)}


def _planned(run: Run, plan: Plan, expected: Forecast) -> dict[str, Any]:
    """What is there and what is left."""
    done = [work for work in plan.works if _is_done(run, work)]
    made = {work.info.folder for work in done}
    strips = planned_strips(plan)
    left = [work for work in plan.works if work.info.folder not in made]
    counts: Counter[tuple[str, str]] = Counter()
    for work in done:
        counts[work.info.model, work.info.sampler] += len(work.items)
    paces = {(row.model, row.sampler): row.pace for row in expected.rows}
    return {
        "run": str(run.folder),
        "name": plan.suite.label,
        "units": {"all": len(plan.works), "done": len(done)},
        "images": {"all": plan.images, "done": sum(len(work.items) for work in done)},
        "strips": {"all": len(strips), "done": sum(is_made(run, strip) for strip in strips)},
        "evaluations": plan.evaluations,
        "left": asdict(cost_of(left, paces)),
        "adapters": [{**job.document(), "steps": job.recipe.steps, "done": job.done} for job in plan.jobs],
        "prompts": [{"set": name, "revision": rev, "prompts": len(ps)} for name, rev, ps in plan.prompt_sets],
        "samplers": _rows(expected, counts),
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


def _rows(expected: Forecast, done: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    """Each sampler on each model: what it takes, and how many of its images are there."""
    return [{**row.document(), "done": done.get((row.model, row.sampler), 0)} for row in expected.rows]


def lines(document: dict[str, Any]) -> list[str]:
    """The document for people, one fact a line."""
    here = "" if document["here"] else ", which is not here: planned for another machine"
    hours, sources = "GPU-hours" if document["gpu"] else "hours", " and ".join(document["sources"])
    shown = [
        f"{document['name']} in {document['run']}",
        *_progress(document),
        f"device      {printable(document['device'])}{here}",
        f"{hours:<12}{_figure(document['hours'])} for the whole suite ({sources})",
        *_needs(document),
        "",
        f"{'model':<16}{'sampler':<24}{'steps':>6}{'NFE':>6}{'speed-up':>10}{'images':>9}{'done':>8}"
        f"{'s/image':>10}{'hours':>10}  from",
    ]
    for row in document["samplers"]:
        names = f"{printable(row['model']):<16}{printable(row['sampler']):<24}"
        counts = f"{row['steps']:>6}{row['nfe']:>6}{row['speedup']:>10.2f}{row['images']:>9}{row['done']:>8}"
        cost = f"{_figure(row['seconds']):>10}{_figure(row['hours']):>10}  {row['source']}"
        shown.append(names + counts + cost)
    shown += [
        "",
        *dict.fromkeys(f"{row['source']}: {printable(row['basis'])}" for row in document["samplers"]),
    ]
    shown.append("hours count making the images alone: training adapters, timing and scoring come on top;")
    shown.append("arithmetic knows neither what a cache saves nor what quantised or offloaded weights add")
    shown.append("")
    if "missing" in document:
        return [*shown, f"missing     {printable(document['missing'])}"]
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


def _progress(document: dict[str, Any]) -> list[str]:
    """What is done and what is left, as far as the suite's models and prompts are here."""
    if "missing" in document:
        return []
    units, images, left, strips = (document[key] for key in ("units", "images", "left", "strips"))
    return [
        f"units       {units['all']}, {units['done']} done",
        f"images      {images['all']}, {images['done']} done",
        *([f"strips      {strips['all']}, {strips['done']} done"] if strips["all"] else []),
        f"evaluations {document['evaluations']:,}, {left['evaluations']:,} left",
        f"to write    {_size(left['disk'])} of images left",
        f"time        about {duration(left['seconds'])} of generation left ({left['source']})",
    ]


def _needs(document: dict[str, Any]) -> list[str]:
    """Memory, disk and downloads."""
    shown = []
    for one in document["memory"]:
        what = f"no placement: {one['why']}"
        if one["plan"]:
            on_gpu = f"{one['gpu_gib']} GiB of GPU memory and " if one["gpu_gib"] else ""
            what = f"{one['plan']} in {one['dtype']}, {on_gpu}{one['ram_gib']} GiB of RAM ({one['source']})"
        shown.append(f"memory      {printable(one['model'])}: {printable(what)}")
    shown.append(f"disk        {_size(document['disk'])} for all images (half their pixels' bytes)")
    for one in document["downloads"]:
        size = "size not stated" if one["gb"] is None else f"{one['gb']:.3g} GB"
        shown.append(f"download    {printable(one['name'])}, {size}{', here already' if one['here'] else ''}")
    if document["download_gb"]:
        shown.append(f"download    {document['download_gb']:.3g} GB in all are not here")
    return shown


def _figure(number: float) -> str:
    """Three digits, and every one before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _size(number: float) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.1f} MB"


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
    return sum(run.unit_marks(work.info.folder).score_key in parts for work in done)
