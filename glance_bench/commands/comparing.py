"""`compare` and `leaderboard`: finished runs put beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .shared import Json, Quiet, guarded, names, print_json, show

__all__ = ["compare", "leaderboard"]


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A sampler of --run; without it, a run folder.")],
    second: Annotated[
        str, typer.Argument(metavar="B", help="What is compared with A: differences are B - A.")
    ],
    run: Annotated[
        Path | None, typer.Option(help="The run of which A and B are samplers; without it, both are runs.")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="Of two runs, only this sampler; default: all that they share.")
    ] = None,
    metrics: Annotated[
        str,
        typer.Option(help="Only these metrics or columns, separated by commas; default: the headline ones."),
    ] = "",
    margin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="1%|COLUMN=VALUE",
            help="What difference does not matter, as a share of A or for one column; may be repeated.",
        ),
    ] = None,
    moved: Annotated[int, typer.Option(min=0, help="How many prompts to list each way.")] = 3,
    slices: Annotated[bool, typer.Option(help="By category, text length and number of objects.")] = True,
    form: Annotated[
        Literal["text", "json", "md"], typer.Option("--format", help="How to write it on stdout.")
    ] = "text",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Two samplers of a run (--run), or two runs: differences with intervals, by metric and by slice."""
    with guarded():
        from ..comparison import compare as compared
        from ..comparison import parse_margins, two_runs, two_samplers, unshared
        from ..errors import UsageError
        from ..evidence import read_evidence

        margins = parse_margins(margin or [])
        if run is not None:
            if sampler is not None:
                raise UsageError("--sampler chooses among the samplers of two runs; with --run, A and B do")
            alone: list[str] = []
            pairs = two_samplers(read_evidence(run), first, second)
        else:
            for given in (first, second):
                if not Path(given).is_dir():
                    raise UsageError(f"{given!r} is no run folder; two samplers of one run need --run RUN")
            if Path(first).resolve() == Path(second).resolve():
                raise UsageError(f"{first!r} is compared with itself: name two runs")
            both = read_evidence(Path(first)), read_evidence(Path(second))
            pairs = two_runs(*both, sampler)
            alone = [] if sampler else unshared(*both)
        document = compared(
            pairs,
            metrics=names(metrics),
            margins=margins,
            sliced=slices,
            most_moved=moved,
            not_shared=alone,
        )
        if as_json or form == "json":
            print_json(document)
            return
        from ..report import comparison

        if form == "md":
            print("\n".join(comparison.markdown(document)))
        else:
            show(comparison, document)


def leaderboard(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders of a run's evidence.")
    ],
    columns: Annotated[
        str,
        typer.Option(
            help="Columns or metrics, separated by commas; default: the first headline column of each metric."
        ),
    ] = "",
    quality: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Of the Pareto frontiers; default: the first shown.")
    ] = None,
    hardware: Annotated[
        str | None, typer.Option(help="Of the frontier of latency; default: where most rows were timed.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMN|nfe|latency|name", help="Default: the quality.")
    ] = None,
    form: Annotated[
        Literal["text", "md", "csv", "json", "latex"], typer.Option("--format", help="How to write it.")
    ] = "text",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it to this file instead of stdout.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """One leaderboard of several runs: tied groups, and the frontier of quality against cost."""
    with guarded():
        from ..evidence import read_evidence
        from ..leaderboard import leaderboard as merged
        from ..report import standings
        from ..sealed import json_bytes, write_atomic

        folders = list({folder.resolve(): folder for folder in runs}.values())
        document = merged(
            [read_evidence(folder) for folder in folders],
            columns=names(columns),
            quality=quality,
            hardware=hardware,
            sort=sort,
        )
        form = "json" if as_json else form
        if output is None and form == "json":
            print_json(document)
            return
        if output is None and form == "text":
            show(standings, document)
            return
        made = {
            "text": lambda: "\n".join(standings.lines(document)) + "\n",
            "md": lambda: "\n".join(standings.markdown(document)),
            "csv": lambda: standings.csv_table(document),
            "latex": lambda: standings.latex_tables(document),
            "json": lambda: json_bytes(document).decode(),
        }[form]()
        if output is None:
            print(made, end="")
        else:
            write_atomic(output, made.encode())
