"""The command line. Results on stdout, progress and errors on stderr; everything heavy is imported inside.

Exit codes: 0 done, 2 the request is wrong, 3 something is missing, damaged or busy, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.main import get_command

if TYPE_CHECKING:
    from .suite import Suite

__all__ = ["app", "main"]

INTERRUPTED = 130
INCOMPLETE = 3

app = typer.Typer(
    help="Measures what a faster sampler for FLUX.1 or Qwen-Image costs in quality and gains in time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

training = typer.Typer(help="Train the adapters of a sampler.", no_args_is_help=True)
app.add_typer(training, name="train")

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
Json = Annotated[bool, typer.Option("--json", help="Write JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


@app.command()
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
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Generate, score, time and report; what is done is not done again."""
    with _guarded():
        from .engine.runner import PAGE, run_suite
        from .terminal import Progress

        progress = Progress(quiet)
        resolved, why = _resolve(suite, limit, samplers, metrics, prompt, profile, lora, scale, like)
        progress.say(why)
        folder = output or Path("runs") / resolved.label
        results = run_suite(resolved, folder, progress)
        if as_json:
            _print_json(results)
            return
        from .report import leaderboard

        _show(leaderboard, results)
        print(f"\nreport: {folder / PAGE}")


@app.command()
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
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what a run would do: units, evaluations, disk, time, and what is done. Writes nothing."""
    with _guarded():
        from .engine.outlook import lines, outlook
        from .engine.plan import make_plan
        from .store import Run
        from .terminal import Progress

        resolved, why = _resolve(suite, limit, samplers, metrics, prompt, profile, lora, scale, like)
        Progress(quiet).say(why)
        folder = output or Path("runs") / resolved.label
        document = outlook(Run(folder), make_plan(resolved))
        if as_json:
            _print_json(document)
        else:
            print("\n".join(lines(document)))


@app.command()
def trajectory(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A sampler's name, or the path of its card.")],
    model: Annotated[str, typer.Option(help="A model, or a family: flux or qwen_image.")] = "flux",
    resolution: Annotated[
        int | None, typer.Option(min=16, help="Pixels of a side; default: the model's, 1024 for a family.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--conform", metavar="PUBLISHED", help="Beside a published schedule, such as glance-10."
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the steps of a sampler: noise level, what the model is told, adapter, cost."""
    with _guarded():
        from dataclasses import replace

        from .models.checkpoints import family_geometry, read_geometry
        from .registry import FAMILIES, MODELS
        from .samplers import conform, show
        from .samplers.cards import load_card
        from .samplers.lora_files import trained_adapters

        card = load_card(name)
        if model in FAMILIES:
            shape = family_geometry(model, resolution)
        else:
            entry = MODELS.get(model)
            known = trained_adapters(entry.adapters)
            shape = replace(read_geometry(entry.path, resolution, resolution), adapters=known)
        if as_json:
            beside = {} if against is None else {"conform": conform.document(card, shape, against)}
            _print_json(show.document(card, shape) | beside)
        else:
            shown = show.text(card, shape)
            print(shown if against is None else f"{shown}\n\n{conform.text(card, shape, against)}")


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(metavar="samplers|metrics|prompts|models|suites")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List what can be named in a suite or on the command line."""
    with _guarded():
        from .catalogue import entries

        found = entries(kind)
        if as_json:
            _print_json([{"name": name, "about": about} for name, about in found])
            return
        from .terminal import printable

        width = max((len(name) for name, _ in found), default=0)
        for name, about in found:
            print(f"{printable(name):{width}}  {printable(about)}".rstrip())


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this file.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The JSON Schema of suite files."""
    with _guarded():
        from .sealed import write_atomic
        from .suite import json_schema_text

        if output is None:
            print(json_schema_text(), end="")
        else:
            write_atomic(output, json_schema_text().encode())


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    repair: Annotated[
        bool, typer.Option(help="Quarantine what is damaged, so that `run` makes it again.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hash every file of a run again. Exits with 3 when something is missing or altered."""
    with _guarded():
        from .engine.verify import verify as find_damage
        from .store import Run
        from .terminal import printable

        checked = Run(folder)
        units = checked.units()
        damages = find_damage(checked)
        if as_json:
            found = [{"file": str(d.path.relative_to(folder)), "what": d.what} for d in damages]
            _print_json({"run": str(folder), "units": len(units), "damaged": found})
        else:
            for damage in damages:
                print(printable(str(damage)))
            if not quiet:
                print(f"{folder}: {len(units)} units, {len(damages)} files missing or damaged")
        if repair and damages:
            with checked.lock():
                for damage in damages:
                    checked.quarantine(damage)
        if damages:
            raise typer.Exit(INCOMPLETE)


@app.command()
def analyze(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: RUN/analysis.")] = None,
    prompts: Annotated[int, typer.Option(min=1, help="The first so many prompts of the run.")] = 8,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Velocity error of every step against the teacher, SNR and loss curves: numbers and figures."""
    with _guarded():
        from .analysis import analyze as analysis
        from .store import Run
        from .terminal import Progress

        place = output or folder / "analysis"
        document = analysis.analyze(Run(folder), place, prompts, Progress(quiet))
        if as_json:
            _print_json(document)
        else:
            print("\n".join(analysis.lines(document)))
            print(f"\nfigures and numbers: {place}")


@training.command("glance")
def train_glance(
    model: Annotated[
        str,
        typer.Option(
            help="A registered model, the folder of a diffusers checkpoint, or a family to --plan for."
        ),
    ],
    sample: Annotated[
        str | None,
        typer.Option(help="An image, a folder of images with a .txt caption beside each, or 'noise'."),
    ] = None,
    caption: Annotated[str | None, typer.Option(help="The image's caption, or a text file with it.")] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="A recipe's name or file; default: the published one of the model's family."),
    ] = None,
    phases: Annotated[str, typer.Option(help="Only these experts, separated by commas.")] = "",
    slow: Annotated[int | None, typer.Option(min=1, max=10, help="Steps of the slow phase.")] = None,
    fast: Annotated[int | None, typer.Option(min=2, max=20, help="Steps of the fast phase.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's.")] = None,
    base_weights: Annotated[
        str | None, typer.Option(help="Instead of the recipe's: float32, ..., nf4.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="Instead of the recipe's: float16 on a V100.")] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="Instead of the recipe's: adamw or adamw-8bit.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(min=16, help="Pixels of a side; default: the model's.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda; default: cuda where there is one.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: adapters/<model>/glance-<steps>.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what it needs, and train nothing.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a LoRA for each phase of a slow-fast schedule from one image and its caption."""
    with _guarded():
        from .terminal import Progress
        from .training.request import Request

        changes = {
            "slow": slow,
            "fast": fast,
            "seed": seed,
            "base_weights": base_weights,
            "precision": precision,
            "optimizer": optimizer,
        }
        request = Request.resolve(model, recipe, changes, resolution, device)
        if plan:
            document = request.plan(_names(phases))
            if as_json:
                _print_json(document)
            else:
                print("\n".join(request.plan_lines(document)))
            return
        experts = request.train(sample, caption, _names(phases), output, Progress(quiet))
        if as_json:
            _print_json([{"phase": e.phase, "file": str(e.file), "reused": e.reused} for e in experts])
        else:
            for expert in experts:
                print(f"{expert.phase}: {expert.file}{' (was there)' if expert.reused else ''}")


def main() -> None:
    """The console script."""
    sys.excepthook = _crash
    get_command(app)()


# -- shared by the commands ----------------------------------------------------------------------------------


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
    """The suite as it will run here, and the line that says why this profile."""
    from .errors import UsageError
    from .profiles import choose
    from .suite import LoraSampler, load_suite

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
        samplers=_names(samplers),
        metrics=_names(metrics),
        prompts=prompts or (),
        lora=added,
    )
    return resolved, why


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True))


def _show(leaderboard: Any, results: dict[str, Any]) -> None:
    """The leaderboard, as a table on a terminal and as plain lines elsewhere."""
    if sys.stdout.isatty() and not os.environ.get("CI"):
        from rich.console import Console

        Console().print(leaderboard.table(results))
    else:
        print("\n".join(leaderboard.lines(results)))


@contextmanager
def _guarded() -> Iterator[None]:
    """Turns the errors meant for the user into one line and an exit code."""
    from .errors import GlanceBenchError

    try:
        yield
    except GlanceBenchError as error:
        from .terminal import printable

        print(f"error: {printable(str(error))}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        told = f"{error.filename or 'input or output'}: {error.strerror}" if error.strerror else error
        print(f"error: {told}", file=sys.stderr)
        raise typer.Exit(INCOMPLETE) from None
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An error nobody foresaw: the traceback, and the exit code of a run that is not complete."""
    traceback.print_exception(kind, error, trace)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INCOMPLETE)
