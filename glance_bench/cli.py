"""The command line: which commands there are. Results on stdout, progress and errors on stderr.

Everything heavy is imported inside the commands. Exit codes: 0 done, 2 the request is wrong, 3 something is missing,
damaged or busy, 130 interrupted; a gate also 1 regression, 4 inconclusive or not comparable, 5 nothing measured.
"""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType

import typer
from typer.main import get_command

from .commands.comparing import compare, leaderboard
from .commands.data import convert, lock, prefetch
from .commands.diagnosing import doctor
from .commands.exchange import export, import_images, import_scores
from .commands.failing import failures
from .commands.gating import gate
from .commands.keeping import baseline_list, baseline_save, baseline_show, bundle, import_
from .commands.looking import analyze, list_, schema, trajectory, verify
from .commands.reporting import report
from .commands.running import plan, run
from .commands.shared import INCOMPLETE
from .commands.speeding import speed
from .commands.tabulating import tables
from .commands.training import train_glance

__all__ = ["app", "main"]

app = typer.Typer(
    help="Measures what a faster sampler for FLUX.1 or Qwen-Image costs in quality and gains in time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    *(
        doctor,
        run,
        plan,
        report,
        failures,
        compare,
        leaderboard,
        gate,
        tables,
        speed,
        prefetch,
        lock,
        convert,
        trajectory,
        list_,
        schema,
        verify,
        analyze,
    ),
    *(export, import_scores, import_images, bundle, import_),
):
    app.command(command.__name__.strip("_").replace("_", "-"))(command)

training = typer.Typer(help="Train the adapters of a sampler.", no_args_is_help=True)
training.command("glance")(train_glance)
app.add_typer(training, name="train")

baseline = typer.Typer(help="Keep runs to hold later ones against.", no_args_is_help=True)
baseline.command("save")(baseline_save)
baseline.command("list")(baseline_list)
baseline.command("show")(baseline_show)
app.add_typer(baseline, name="baseline")


def main() -> None:
    """The console script."""
    sys.excepthook = _crash
    get_command(app)()


def _crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An error nobody foresaw: the traceback, and the exit code of a run that is not complete."""
    traceback.print_exception(kind, error, trace)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INCOMPLETE)
