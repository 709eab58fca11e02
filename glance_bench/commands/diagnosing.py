"""`doctor`: what this machine, or a recorded one, can run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .shared import INCOMPLETE, Data, Json, Quiet, guarded, print_json, show, use_data

__all__ = ["doctor"]


def doctor(
    suites: Annotated[
        list[str] | None, typer.Argument(metavar="[SUITE]...", help="Suites, by name or path; default: all.")
    ] = None,
    network: Annotated[
        bool, typer.Option("--network", help="Also ask whether the hub can be reached.")
    ] = False,
    machine: Annotated[
        Path | None,
        typer.Option(help="Judge the machine of this file instead: what doctor --json printed there."),
    ] = None,
    data: Data = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what this machine can run and what mends the rest. Exits with 3 when nothing of what is asked runs."""
    with guarded():
        use_data(data)
        from ..doctor import text
        from ..doctor.diagnosis import diagnose
        from ..doctor.probe import probe
        from ..doctor.record import read_machine

        record = probe(suites or (), network=network) if machine is None else read_machine(machine)
        document = diagnose(record, suites or ())
        if as_json:
            print_json(document)
        else:
            show(text, document)
        if not document["runs"]:
            raise typer.Exit(INCOMPLETE)
