"""Commands that carry images and scores across the border: `export`, `import-scores`, `import-images`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .shared import Json, guarded, print_json

__all__ = ["export", "import_images", "import_scores"]

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Format = Annotated[
    str, typer.Option("--format", help="geneval, dpg, oneig, longtext, hpsv2 or t2i-compbench.")
]
Model = Annotated[str | None, typer.Option(help="Of the run's models; may be left out where there is one.")]
Sampler = Annotated[str | None, typer.Option(help="Of the run's samplers; as above.")]
PromptSet = Annotated[str | None, typer.Option(help="Of the run's prompt sets; as above.")]


def export(
    folder: RunFolder,
    format: Format,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: beside the run.")] = None,
    sampler: Sampler = None,
    model: Model = None,
    prompt_set: PromptSet = None,
    force: Annotated[bool, typer.Option("--force", help="Set aside what else lies there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a sampler's images in the layout that an official scorer reads, and say how to run it."""
    with guarded():
        from ..exchange.export import export as write_export
        from ..store import Run

        done = write_export(
            Run(folder), format, output, model=model, sampler=sampler, prompt_set=prompt_set, force=force
        )
        if as_json:
            print_json({key: value for key, value in done.document.items() if key not in ("files", "texts")})
            return
        print("\n".join(done.lines()))


def import_scores(
    folder: RunFolder,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What the official scorer wrote.")],
    format: Format,
    export: Annotated[Path | None, typer.Option(help="The export that was scored.")] = None,
    sampler: Sampler = None,
    model: Model = None,
) -> None:
    """Read an official scorer's files back into the run; the next run shows them."""
    with guarded():
        from ..exchange.scores import import_scores as read_scores
        from ..store import Run

        covered, extra = read_scores(Run(folder), format, files, export=export, model=model, sampler=sampler)
        for coverage in covered:
            print(coverage.line())
        for line in extra[:20]:
            print(f"of no exported image: {line}")
        if len(extra) > 20:
            print(f"and {len(extra) - 20} more")


def import_images(
    pictures: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of pictures.")],
    name: Annotated[str, typer.Option("--as", help="What the sampler is called.")],
    folder: Annotated[Path, typer.Option("--run", help="The run folder they are compared in.")],
    nfe: Annotated[int | None, typer.Option(min=1, help="Evaluations an image, as stated.")] = None,
    latency: Annotated[Path | None, typer.Option(help="Seconds an image, as stated.")] = None,
    listing: Annotated[
        Path | None, typer.Option("--list", help="CSV or JSON lines: file, prompt_id, index.")
    ] = None,
    tool: Annotated[str, typer.Option(help="What made them, in a few words.")] = "",
    title: Annotated[str, typer.Option(help="A longer name for the report.")] = "",
    model: Model = None,
    prompt_set: PromptSet = None,
) -> None:
    """Register images made elsewhere as a sampler; the next run scores and ranks them."""
    with guarded():
        from ..exchange.images import import_images as register
        from ..store import Run

        done = register(
            Run(folder),
            pictures,
            name,
            model=model,
            prompt_set=prompt_set,
            nfe=nfe,
            latency=latency,
            title=title,
            tool=tool,
            listing=listing,
        )
        print("\n".join(done.lines()))
