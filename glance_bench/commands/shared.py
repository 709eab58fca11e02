"""What the commands share: options, how results are printed, and what becomes of errors."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["INCOMPLETE", "Data", "Json", "Quiet", "guarded", "names", "print_json", "show", "use_data"]

INTERRUPTED = 130
INCOMPLETE = 3

Json = Annotated[bool, typer.Option("--json", help="Write JSON on stdout.")]
Data = Annotated[
    Path | None,
    typer.Option(help="A folder with prompt files and reference images; default: $GLANCE_BENCH_DATA."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


def use_data(folder: Path | None) -> None:
    """From here on, prompt files and reference images are looked for in this folder first."""
    if folder is not None:
        os.environ["GLANCE_BENCH_DATA"] = str(folder)


def names(listed: str) -> list[str]:
    """The names in a list separated by commas."""
    return [name.strip() for name in listed.split(",") if name.strip()]


def print_json(value: Any) -> None:
    """JSON on stdout, in ASCII, so that no terminal interprets a part of it."""
    print(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True))


def show(leaderboard: Any, results: dict[str, Any]) -> None:
    """The leaderboard, as a table on a terminal and as plain lines elsewhere."""
    if sys.stdout.isatty() and not os.environ.get("CI"):
        from rich.console import Console

        Console().print(leaderboard.table(results))
    else:
        print("\n".join(leaderboard.lines(results)))


@contextmanager
def guarded() -> Iterator[None]:
    """Turns the errors meant for the user into one line and an exit code."""
    from ..errors import Failures, GlanceBenchError, out_of_memory

    try:
        yield
    except GlanceBenchError as error:
        from ..terminal import printable

        for line in error.lines if isinstance(error, Failures) else (str(error),):
            print(f"error: {printable(line)}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (nothing more is written)
        raise typer.Exit(0) from None
    except OSError as error:
        told = f"{error.filename or 'input or output'}: {error.strerror}" if error.strerror else error
        print(f"error: {told}", file=sys.stderr)
        raise typer.Exit(INCOMPLETE) from None
    except (MemoryError, RuntimeError) as error:  # where nobody nearer knew how to go on
        if not out_of_memory(error):
            raise
        told = (str(error).splitlines() or [""])[0]
        print(f"error: out of memory; free some, or ask for less at once ({told})", file=sys.stderr)
        raise typer.Exit(INCOMPLETE) from None
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
