"""`run` and `plan`: a suite as it will run on this machine."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..engine.base import RETRIES
from .shared import Data, Json, Quiet, guarded, names, print_json, show, use_data

if TYPE_CHECKING:
    from ..suite import Suite

__all__ = ["plan", "run"]


@dataclass(frozen=True)
class Request:
    """What `run` and `plan` are asked for: a suite, what of it, and where. The fields are their options."""

    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name, or the path of its file.")]
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH|URL",
            help="The run folder, default runs/<suite>[-<profile>]; or a URL (s3://, gs://, ...) where the run is "
            "kept, worked on in a folder of the cache.",
        ),
    ] = None
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many prompts of each set.")] = (
        None
    )
    models: Annotated[str, typer.Option(help="Only these, separated by commas.")] = ""
    samplers: Annotated[str, typer.Option(help="Only these, separated by commas.")] = ""
    metrics: Annotated[str, typer.Option(help="Only these, separated by commas.")] = ""
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", help="Use this text instead of the suite's.")
    ] = None
    profile: Annotated[
        str | None, typer.Option(help="A profile of the suite; default: the first that fits.")
    ] = None
    placement: Annotated[
        str | None, typer.Option(help="Where the model's parts lie: auto, or a plan's name.")
    ] = None
    lora: Annotated[
        Path | None, typer.Option(help="Add a sampler: this LoRA file on the schedule of --like.")
    ] = None
    scale: Annotated[
        float | None,
        typer.Option(help="The weight of --lora; default: 1, for a file that carries its alpha."),
    ] = None
    like: Annotated[str | None, typer.Option(help="The sampler whose schedule --lora is played on.")] = None
    data: Data = None

    def resolve(self, *, elsewhere: bool = False) -> tuple[Suite, str]:
        """The suite as it will run here, with what its lock file pins, and the line that says why this profile.

        ``elsewhere``: under the profile that is asked for, whether this machine can run it or not. From here on the
        data folder and the lock file are those of this request.
        """
        use_data(self.data)
        from ..errors import UsageError
        from ..locks import lock_beside
        from ..profiles import choose
        from ..suite import LoraSampler, find_suite, load_suite

        lock = lock_beside(find_suite(self.suite))
        if lock.is_file():
            os.environ["GLANCE_BENCH_LOCK"] = str(lock)

        if (self.lora is None) != (self.like is None):
            raise UsageError(
                "--lora FILE and --like NAME go together: the file, and the sampler it is played like"
            )
        added = None
        if self.lora is not None and self.like is not None:
            added = LoraSampler(lora=str(self.lora), scale=self.scale, like=self.like)
        chosen, why = choose(load_suite(self.suite), self.profile, elsewhere=elsewhere)
        resolved = chosen.with_overrides(
            limit=self.limit,
            models=names(self.models),
            samplers=names(self.samplers),
            metrics=names(self.metrics),
            prompts=self.prompt or (),
            lora=added,
            placement=self.placement,
        )
        return resolved, why

    def folder(self, suite: Suite) -> Path:
        """Where the run of the resolved suite is."""
        from ..mirror import folder_of, is_url

        if self.output is None:
            return Path("runs") / suite.label
        return folder_of(self.output) if is_url(self.output) else Path(self.output)


def _requested(command: Callable[..., None]) -> Callable[..., None]:
    """``command(request, ...)`` as typer reads it: the request's fields stand in its place as parameters of their own.

    typer knows no group of options that several commands share.
    """
    fields = inspect.signature(Request, eval_str=True).parameters
    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    parameters = [*fields.values(), *own]

    @wraps(command)
    def flat(**given: Any) -> None:
        request = Request(**{name: given.pop(name) for name in fields})
        command(request, **given)

    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {one.name: one.annotation for one in parameters}
    return flat


@_requested
def run(
    request: Request,
    time_again: Annotated[
        bool, typer.Option("--time-again", help="Time every sampler once more, beside what was timed.")
    ] = False,
    engine: Annotated[
        str, typer.Option(metavar="local|ray", help="Who makes and scores: this process, or Ray workers.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster (auto, HOST:PORT); default: one on this machine.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="At most so many Ray workers; default: all there is room for.")
    ] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option(help="GPUs of a Ray worker, also a fraction; default: 1.")
    ] = None,
    retries: Annotated[
        int, typer.Option(min=0, help="How often Ray tries a unit again that failed.")
    ] = RETRIES,
    unit_timeout: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Seconds after which a Ray worker is taken to hang; default: four times what `plan` expects of the "
            "longest unit, at least two hours.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Generate, score, time and report; what is done is not done again."""
    with guarded():
        from ..engine.base import Team
        from ..engine.choose import make_engine
        from ..engine.patience import patience
        from ..engine.runner import PAGE, run_suite
        from ..mirror import Mirror, is_url
        from ..terminal import Progress

        progress = Progress(quiet)
        suite, why = request.resolve()
        progress.say(why)
        folder = request.folder(suite)
        mirror = Mirror(request.output, folder) if request.output and is_url(request.output) else None
        hands = make_engine(
            engine,
            folder,
            suite.device,
            address=address,
            workers=workers,
            gpus_per_worker=gpus_per_worker,
        )
        timeout = patience(suite) if unit_timeout is None and engine == "ray" else unit_timeout
        team = Team(hands, retries, timeout or math.inf, mirror)
        results = run_suite(suite, folder, progress, time_again=time_again, team=team)
        if as_json:
            print_json(results)
            return
        from ..report import leaderboard

        show(leaderboard, results)
        print(f"\nreport: {folder / PAGE}")
        if mirror:
            print(f"kept at: {mirror.url}")


@_requested
def plan(request: Request, as_json: Json = False, quiet: Quiet = False) -> None:
    """Say what a run would do and cost: units, hours, memory, disk, downloads, and what is done. Writes nothing.

    With --profile also for a machine that is not this one.
    """
    with guarded():
        from ..engine.outlook import lines, outlook
        from ..profiles import target_of
        from ..store import Run
        from ..suite import load_suite
        from ..terminal import Progress

        suite, why = request.resolve(elsewhere=True)
        Progress(quiet).say(why)
        target = target_of(load_suite(request.suite), suite)
        document = outlook(Run(request.folder(suite)), suite, target)
        if as_json:
            print_json(document)
        else:
            print("\n".join(lines(document)))
