"""The command that puts a paper's tables beside measured runs: `tables`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .shared import Json, Quiet, guarded, print_json

__all__ = ["tables"]


def tables(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN]...", help="Finished runs; where two hold a cell, the later one is taken."
        ),
    ] = None,
    paper: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="A paper that ships with the package, or a YAML file.")
    ] = "glance",
    format: Annotated[
        Literal["md", "latex", "csv", "html"], typer.Option("--format", help="Of what is printed or written.")
    ] = "md",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this file.")] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.svg|pdf|png", help="Also draw the paper's figure.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """A paper's tables: what is printed, what was measured, and why a cell is empty."""
    with guarded():
        from ..evidence import read_evidence
        from ..sealed import json_bytes, write_atomic
        from ..tables.figure import draw, figure_format
        from ..tables.fill import fill
        from ..tables.flat import document
        from ..tables.published import load_paper
        from ..tables.render import text
        from ..terminal import Progress

        published = load_paper(paper)
        drawn = None if figure is None else figure_format(published, figure)
        progress = Progress(quiet)
        evidences = []
        for folder in runs or []:
            progress.say(f"reading {folder}")
            evidences.append(read_evidence(folder))
        filled = fill(published, evidences)
        if figure is not None and drawn is not None:
            write_atomic(figure, draw(filled, drawn))
        if output is not None:
            shown = json_bytes(document(filled)) if as_json else text(filled, format).encode()
            write_atomic(output, shown)
        elif as_json:
            print_json(document(filled))
        else:
            print(text(filled, format), end="")
