"""`failures`: the images at which a sampler loses most, why, and on which prompts, without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .shared import Json, Quiet, guarded, print_json

__all__ = ["failures"]


def failures(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder, or a folder of a run's evidence.")
    ],
    sampler: Annotated[
        str | None, typer.Option(help="Only images of this sampler; default: of all but the reference.")
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            metavar="METRIC|COLUMN", help="What to rank by; default: whatever an image loses most in."
        ),
    ] = "overall",
    top: Annotated[int, typer.Option(min=0, help="How many images a board.")] = 10,
    category: Annotated[str | None, typer.Option(help="Only prompts of this category.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Where samplers fail: what stands out on which prompts, and the images that lose most, with causes."""
    with guarded():
        from ..failures.listing import lines, listing
        from ..report.model import load

        document = listing(load([folder]), sampler=sampler, metric=metric, category=category, top=top)
        if as_json:
            print_json(document)
        else:
            print("\n".join(lines(document)))
