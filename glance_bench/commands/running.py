"""`run` and `plan`: a suite as it will run on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .shared import Data, Json, Quiet, guarded, names, print_json, show, use_data

if TYPE_CHECKING:
    from ..suite import Suite

__all__ = ["plan", "run"]

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name, or the path of its file.")]
Folder = Annotated[
    Path | None, typer.Option("--output", "-o", help="The run folder; default runs/<suite>[-<profile>].")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many prompts of each set.")]
Samplers = Annotated[str, typer.Option(help="Only these, separated by commas.")]
Metrics = Annotated[str, typer.Option(help="Only these, separated by commas.")]
Prompts = Annotated[list[str] | None, typer.Option("--prompt", help="Use this text instead of the suite's.")]
Profile = Annotated[str | None, typer.Option(help="A profile of the suite; default: the first that fits.")]
Lora = Annotated[Path | None, typer.Option(help="Add a sampler: this LoRA file on the schedule of --like.")]
Scale = Annotated[
    float | None, typer.Option(help="The weight of --lora; default: 1, for a file that carries its alpha.")
]
Like = Annotated[str | None, typer.Option(help="The sampler whose schedule --lora is played on.")]


def run(
    suite: SuiteName,
    output: Folder = None,
    limit: Limit = None,
    samplers: Samplers = "",
    metrics: Metrics = "",
    prompt: Prompts = None,
    profile: Profile = None,
    lora: Lora = None,
    scale: Scale = None,
    like: Like = None,
    data: Data = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Generate, score, time and report; what is done is not done again."""
    with guarded():
        use_data(data)
        from ..engine.runner import PAGE, run_suite
        from ..terminal import Progress

        progress = Progress(quiet)
        resolved, why = _resolve(suite, limit, samplers, metrics, prompt, profile, lora, scale, like)
        progress.say(why)
        folder = output or Path("runs") / resolved.label
        results = run_suite(resolved, folder, progress)
        if as_json:
            print_json(results)
            return
        from ..report import leaderboard

        show(leaderboard, results)
        print(f"\nreport: {folder / PAGE}")


def plan(
    suite: SuiteName,
    output: Folder = None,
    limit: Limit = None,
    samplers: Samplers = "",
    metrics: Metrics = "",
    prompt: Prompts = None,
    profile: Profile = None,
    lora: Lora = None,
    scale: Scale = None,
    like: Like = None,
    data: Data = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what a run would do: units, evaluations, disk, time, and what is done. Writes nothing."""
    with guarded():
        use_data(data)
        from ..engine.outlook import lines, outlook
        from ..engine.plan import make_plan
        from ..store import Run
        from ..terminal import Progress

        resolved, why = _resolve(suite, limit, samplers, metrics, prompt, profile, lora, scale, like)
        Progress(quiet).say(why)
        folder = output or Path("runs") / resolved.label
        document = outlook(Run(folder), make_plan(resolved))
        if as_json:
            print_json(document)
        else:
            print("\n".join(lines(document)))


def _resolve(
    suite: str,
    limit: int | None,
    samplers: str,
    metrics: str,
    prompts: list[str] | None,
    profile: str | None,
    lora: Path | None,
    scale: float | None,
    like: str | None,
) -> tuple[Suite, str]:
    """The suite as it will run here, with what its lock file pins, and the line that says why this profile."""
    from ..errors import UsageError
    from ..locks import lock_beside
    from ..profiles import choose
    from ..suite import LoraSampler, find_suite, load_suite

    lock = lock_beside(find_suite(suite))
    if lock.is_file():
        os.environ["GLANCE_BENCH_LOCK"] = str(lock)

    if (lora is None) != (like is None):
        raise UsageError(
            "--lora FILE and --like NAME go together: the file, and the sampler it is played like"
        )
    added = None
    if lora is not None and like is not None:
        added = LoraSampler(lora=str(lora), scale=scale, like=like)
    chosen, why = choose(load_suite(suite), profile)
    resolved = chosen.with_overrides(
        limit=limit,
        samplers=names(samplers),
        metrics=names(metrics),
        prompts=prompts or (),
        lora=added,
    )
    return resolved, why
