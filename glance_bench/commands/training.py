"""`train glance`: adapters from one image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .shared import Json, Quiet, guarded, names, print_json

__all__ = ["train_glance"]


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
    with guarded():
        from ..terminal import Progress
        from ..training.request import Request

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
            document = request.plan(names(phases))
            if as_json:
                print_json(document)
            else:
                print("\n".join(request.plan_lines(document)))
            return
        experts = request.train(sample, caption, names(phases), output, Progress(quiet))
        if as_json:
            print_json([{"phase": e.phase, "file": str(e.file), "reused": e.reused} for e in experts])
        else:
            for expert in experts:
                print(f"{expert.phase}: {expert.file}{' (was there)' if expert.reused else ''}")
