"""Commands that look at something: a sampler's steps, what can be named, the suite's schema, a run's files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .shared import INCOMPLETE, Json, Quiet, guarded, print_json

__all__ = ["analyze", "list_", "schema", "trajectory", "verify"]


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
    with guarded():
        from dataclasses import replace

        from ..models.checkpoints import family_geometry, read_geometry
        from ..registry import FAMILIES, MODELS
        from ..samplers import conform, show
        from ..samplers.cards import load_card
        from ..samplers.lora_files import trained_adapters

        card = load_card(name)
        if model in FAMILIES:
            shape = family_geometry(model, resolution)
        else:
            entry = MODELS.get(model)
            known = trained_adapters(entry.adapters)
            shape = replace(read_geometry(entry.path, resolution, resolution), adapters=known)
        if as_json:
            beside = {} if against is None else {"conform": conform.document(card, shape, against)}
            print_json(show.document(card, shape) | beside)
        else:
            shown = show.text(card, shape)
            print(shown if against is None else f"{shown}\n\n{conform.text(card, shape, against)}")


def list_(
    kind: Annotated[str, typer.Argument(metavar="samplers|metrics|prompts|models|suites")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List what can be named in a suite or on the command line."""
    with guarded():
        from ..catalogue import entries

        found = entries(kind)
        if as_json:
            print_json([{"name": name, "about": about} for name, about in found])
            return
        from ..terminal import printable

        width = max((len(name) for name, _ in found), default=0)
        for name, about in found:
            print(f"{printable(name):{width}}  {printable(about)}".rstrip())


def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this file.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The JSON Schema of suite files."""
    with guarded():
        from ..sealed import write_atomic
        from ..suite import json_schema_text

        if output is None:
            print(json_schema_text(), end="")
        else:
            write_atomic(output, json_schema_text().encode())


def verify(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    repair: Annotated[
        bool, typer.Option(help="Quarantine what is damaged, so that `run` makes it again.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hash every file of a run again. Exits with 3 when something is missing or altered."""
    with guarded():
        from ..baselines import kept_as, read_baseline
        from ..engine.verify import verify as find_damage
        from ..store import Run
        from ..terminal import printable

        if kind := kept_as(folder):
            told = read_baseline(folder)
            if as_json:
                print_json({"run": str(folder), "kind": kind, "damaged": []})
            elif not quiet:
                print(printable(f"{folder}: a {kind} of the run {told.name}, every file as it was written"))
            return
        checked = Run(folder)
        units = checked.units()
        damages = find_damage(checked)
        if as_json:
            found = [{"file": str(d.path.relative_to(folder)), "what": d.what} for d in damages]
            print_json({"run": str(folder), "units": len(units), "damaged": found})
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


def analyze(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: RUN/analysis.")] = None,
    prompts: Annotated[int, typer.Option(min=1, help="The first so many prompts of the run.")] = 8,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Velocity error of every step against the teacher, SNR and loss curves: numbers and figures."""
    with guarded():
        from ..analysis import analyze as analysis
        from ..store import Run
        from ..terminal import Progress

        place = output or folder / "analysis"
        document = analysis.analyze(Run(folder), place, prompts, Progress(quiet))
        if as_json:
            print_json(document)
        else:
            print("\n".join(analysis.lines(document)))
            print(f"\nfigures and numbers: {place}")
