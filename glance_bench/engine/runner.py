"""A whole run: survey what is there, make what is missing, score, time, report. Safe to kill and repeat."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import UsageError
from ..evidence import TABLES
from ..exchange.pending import imported_works
from ..exchange.record import merged
from ..machine import environment
from ..sealed import digest_of, find_sealed, sha256_file
from ..store import Run
from ..suite import Suite
from ..terminal import Progress
from .adapt import train_missing
from .base import Team
from .local import LocalEngine
from .pairs import PendingPairs, pending_pairs, score_pairs
from .placements import Outgrown, moved_on
from .plan import Plan, PlannedSampler, Work
from .planning import make_plan
from .score import Pending, pending_scores
from .strips import Strip, make_strips, pending_strips, strip_entries
from .trace import trace

__all__ = ["Survey", "run_suite", "survey"]

PAGE = Path("report/index.html")
DOCUMENTS = ("suite.json", "prompts.json", "manifest.json")


@dataclass(frozen=True)
class Survey:
    """What of a plan is still to do."""

    works: list[Work]
    scores: Pending
    pairs: PendingPairs
    strips: list[Strip]
    timing: list[PlannedSampler]

    @property
    def done(self) -> bool:
        return not (self.works or self.scores or self.pairs or self.strips or self.timing)


def run_suite(
    suite: Suite, folder: Path, progress: Progress, *, time_again: bool = False, team: Team | None = None
) -> dict[str, Any]:
    """Bring ``folder`` up to date with ``suite`` and return its results; what is done is not done again.

    ``time_again`` times all samplers once more, in a session of its own beside the ones that are there. ``team`` makes
    and scores the images; by default this process does. Training and timing stay in this process, which then has the
    machine for itself: no worker outlives its pass.

    Raises UsageError and GlanceBenchError as the passes do; another process in the folder is one. What failed in
    workers is raised as Failures when everything else is made and scored.
    """
    team = team or Team(LocalEngine())
    try:
        return _run_suite(suite, folder, progress, time_again, team)
    finally:
        team.engine.close()


def _run_suite(
    suite: Suite, folder: Path, progress: Progress, time_again: bool, team: Team
) -> dict[str, Any]:
    if time_again and suite.timing.repeats == 0:
        raise UsageError(
            f"suite {suite.name!r} times nothing (timing: repeats: 0), so nothing can be timed again"
        )
    plan = make_plan(suite, folder)
    run = Run(folder)
    with run.lock():
        if team.mirror:
            progress.say(f"{team.mirror.pull()} files brought from {team.mirror.url}")
            plan = make_plan(suite, folder)  # which may say what this run settled before
        missing = [job for job in plan.jobs if not job.done]
        if missing:
            train_missing(missing, suite, progress)
            plan = make_plan(plan.suite)  # now the keys hash what was trained
        _write(run, plan, progress)
        team.publish(*DOCUMENTS)
        todo = survey(run, plan, progress)
        if time_again or not todo.done:
            run.write("env.json", environment(suite.device))
        if todo.works:
            plan = _generate(run, plan, todo.works, progress, team)
            todo = survey(run, plan, progress)
        if todo.scores:
            from .score import score

            metrics = ", ".join(metric.name for metric, _ in todo.scores)
            progress.say(f"score: {metrics}")
            score(run, todo.scores, suite.reference, progress, team)
        if todo.pairs:
            progress.say(f"compare: {', '.join(metric.name for metric, _ in todo.pairs)}")
            score_pairs(run, todo.pairs, progress, team)
        _tell_of(run, team)
        team.settle()
        if todo.strips:
            progress.say(f"strips: {len(todo.strips)} to make")
            make_strips(run, todo.strips, progress, team)
            _tell_of(run, team)
            team.settle()
        for pending in (todo.timing, plan.samplers if time_again else ()):
            if pending:
                from ..timing import time_samplers

                progress.say(f"time: {len(pending)} samplers, one image at a time, interleaved")
                time_samplers(run, plan, pending, progress)
        results = report(run, plan, progress)
        team.publish("")
        return results


def _tell_of(run: Run, team: Team) -> None:
    """Add to env.json who made what is new, and what had to be tried again."""
    about = team.about()
    if about and (run.folder / "env.json").is_file():
        run.write("env.json", {**json.loads((run.folder / "env.json").read_bytes()), **about})


def _generate(run: Run, plan: Plan, works: list[Work], progress: Progress, team: Team) -> Plan:
    """Make the images of ``works``. The plan as it is afterwards: a model may have moved to its next placement."""
    from .generate import generate

    while True:
        images = sum(len(work.items) for work in works)
        progress.say(f"generate: {len(works)} of {len(plan.works)} units, {images} images to make")
        try:
            generate(run, works, progress, team)
            return plan
        except Outgrown as outgrown:
            suite, same = moved_on(plan.suite, outgrown)
            following = suite.placements[outgrown.model][-1]
            told = f"{outgrown.model}: out of memory under {outgrown.plan.name}, going on with {following}"
        progress.warn(
            told if same else f"{told}; it gives other pixels, so this model's images are made anew"
        )
        plan = make_plan(suite)
        _write(run, plan, progress)
        works = survey(run, plan, progress).works


def _write(run: Run, plan: Plan, progress: Progress) -> None:
    for name, value in _with_imports(run, documents(plan), progress).items():
        run.write(name, value)


def documents(plan: Plan) -> dict[str, dict[str, Any]]:
    """The JSON files that say what a run consists of."""
    from ..timing import timing_entries

    return {
        "suite.json": plan.suite.model_dump(mode="json"),
        "prompts.json": plan.prompts_document(),
        "manifest.json": plan.manifest(timing_entries(plan), strip_entries(plan)),
    }


def _with_imports(
    run: Run, planned: dict[str, dict[str, Any]], progress: Progress
) -> dict[str, dict[str, Any]]:
    """The planned documents with what was imported into the run; says what no longer fits."""
    manifest, left_out = merged(run, planned["manifest.json"], planned["prompts.json"])
    for note in left_out:
        progress.warn(note)
    return {**planned, "manifest.json": manifest}


def survey(run: Run, plan: Plan, progress: Progress) -> Survey:
    """Look at everything the plan needs; name and quarantine what is damaged. No torch."""
    from ..timing import pending_timing

    missing = [work for work in plan.works if not _is_whole(run, work, False, progress)]
    absent = {work.info.folder for work in missing}
    made = [work for work in plan.works if work.info.folder not in absent]
    scores = pending_scores(run, plan, [*made, *imported_works(run)], progress)
    unread = {work.info.folder: work for _, works in scores for work in works if isinstance(work, Work)}
    missing += [work for work in unread.values() if not _is_whole(run, work, True, progress)]
    pairs = [] if missing else pending_pairs(run, plan, progress)
    strips = pending_strips(run, plan, progress)
    return Survey(missing, scores, pairs, strips, pending_timing(run, plan, progress))


def _is_whole(run: Run, work: Work, deep: bool, progress: Progress) -> bool:
    """Whether a unit is done. Images about to be read (``deep``) are hashed, others only measured."""
    damages = run.check_unit(work.info.folder, work.info.key, deep=deep)
    if damages is None:
        return False
    whole = True
    for damage in damages:
        progress.warn(f"{damage}; moved to quarantine" + ("" if damage.foreign else ", made again"))
        run.quarantine(damage)
        whole = whole and damage.foreign
    return whole


def report(run: Run, plan: Plan, progress: Progress) -> dict[str, Any]:
    """results.json and the page, unless both were made from exactly what lies in the folder now."""
    inputs = _inputs(run, plan)
    results = run.folder / "results.json"
    state = run.folder / "report" / "made-from.json"
    if _current(run.folder, state, inputs):
        return dict(json.loads(results.read_bytes()))
    from ..report import render
    from ..results import build
    from ..samples import write_tables

    progress.say("report")
    built = build(run, tables=write_tables(run))
    run.write("results.json", built)
    trace("report", "results.json")
    written = render([run.folder], (run.folder / PAGE).parent)
    trace("report", str(PAGE))
    files = [str(PAGE.parent / name) for name in written.files]
    made = {name: sha256_file(run.folder / name) for name in ("results.json", *TABLES, *files)}
    run.write(str(state.relative_to(run.folder)), {"inputs": inputs, "made": made})
    trace("report", "made-from.json")
    return built


def _current(folder: Path, state: Path, inputs: str) -> bool:
    """Whether what was made last is there unchanged, and was made from these inputs."""
    try:
        last = json.loads(state.read_bytes())
        made = last["made"].items()
        return last["inputs"] == inputs and all(sha256_file(folder / name) == sha for name, sha in made)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def _inputs(run: Run, plan: Plan) -> str:
    """A digest of everything the report is made from, by the digests that the files already carry."""
    sealed: dict[str, Sequence[str]] = {}
    for metric in plan.metrics:
        if metric.folder is not None:
            sealed[metric.folder] = [
                p.name for p in find_sealed(run.folder / metric.folder, metric.suffix).values()
            ]
    for entry in run.manifest["timing"]:
        files = run.timing_files(entry).values()
        sealed[f"{entry['folder']}/{entry['key']}"] = [path.name for path in files]
    for entry in run.manifest["strips"]:
        strips = find_sealed(run.folder / entry["folder"], "json")
        sealed[entry["folder"]] = [strips[key].name for key in entry["keys"]]
    units = [run.unit_marks(work.info.folder).digest for work in plan.works]
    return digest_of([__version__, run.manifest, units, sealed])
