"""`speed`: how fast a model samples on this machine, with random weights if wished."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .shared import Json, Quiet, guarded, names, print_json

__all__ = ["speed"]


def speed(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model, or several separated by commas.")],
    samplers: Annotated[
        list[str] | None,
        typer.Argument(metavar="SAMPLER...", help="Names or cards; teacher-50 is measured with them."),
    ] = None,
    random_weights: Annotated[
        bool,
        typer.Option("--random-weights", help="The model's true shapes with random numbers; no download."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the record to this JSON file.")
    ] = None,
    blocks: Annotated[int, typer.Option(min=1, help="Each plays every sampler once.")] = 10,
    warmup: Annotated[int, typer.Option(min=1, help="Rounds that are not counted.")] = 2,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 1,
    resolution: Annotated[
        int | None, typer.Option(min=16, help="Pixels of a side; default: the model's.")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="float32, float16 or bfloat16; default: what suits the device.")
    ] = "",
    device: Annotated[str, typer.Option(help="cpu or cuda; default: cuda where there is one.")] = "",
    placement: Annotated[
        str,
        typer.Option(help="Where the model's parts lie: auto for the fastest that fits, or a plan's name."),
    ] = "auto",
    limit_memory: Annotated[
        float | None,
        typer.Option(
            min=0.1, metavar="GIB", help="Rehearse a V100 of so much memory: what fits, not how fast."
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time samplers on a model: by component, interleaved in blocks, with memory, energy and operations."""
    with guarded():
        from ..speed import table
        from ..speed.record import write_record
        from ..speed.request import Request
        from ..terminal import Progress

        request = Request.resolve(
            names(model),
            samplers or [],
            random_weights=random_weights,
            blocks=blocks,
            warmup=warmup,
            batch=batch,
            side=resolution,
            dtype=dtype,
            device=device,
            placement=placement,
            limit=limit_memory,
        )
        from ..speed.session import Unfinished, measure

        unfinished = None
        try:
            record = measure(request, Progress(quiet))
        except Unfinished as some:
            if not some.record.models:
                raise
            record, unfinished = some.record, some
        if output is not None:
            write_record(output, record)
        if as_json:
            print_json(record.model_dump(by_alias=True))
        else:
            print("\n".join(table.lines(record)))
        if unfinished is not None:
            raise unfinished
