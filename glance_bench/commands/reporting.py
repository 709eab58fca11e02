"""The command that makes a report people browse: `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .shared import Json, Quiet, guarded, print_json

__all__ = ["report"]


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Finished runs, saved baselines, unpacked bundles.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A folder; default: RUN/report, reports/browse for several."),
    ] = None,
    single_file: Annotated[
        bool, typer.Option("--single-file", help="One HTML file of at most 10 MB, with the images that fit.")
    ] = False,
    images: Annotated[
        Literal["failures", "sample", "all"],
        typer.Option(help="Which images are copied: a sample of 500 prompts, failures too, or all."),
    ] = "failures",
    gate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What `gate --format json` printed, shown on top.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that holds other files.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """A report that a browser opens from the disk: leaderboards, comparisons, failures, every image."""
    with guarded():
        from ..report.gate import read_gate
        from ..report.model import load
        from ..report.site import Options, write_report
        from ..terminal import Progress

        progress = Progress(quiet)
        out = output or (runs[0] / "report" if len(runs) == 1 else Path("reports/browse"))
        if single_file and output is None:
            out = out.parent / "report.html"
        found = load(runs, None if gate is None else read_gate(gate))
        written = write_report(
            found, out, Options(images=images, single_file=single_file, force=force), progress.say
        )
        for told in written.unreadable[:5]:
            progress.warn(told)
        if len(written.unreadable) > 5:
            progress.warn(f"and {len(written.unreadable) - 5} more images are missing or cannot be read")
        if written.left_out:
            progress.warn(f"{written.left_out} images had no room in the report")
        if as_json:
            print_json({"page": str(written.page), "files": len(written.files), "left_out": written.left_out})
        else:
            print(f"report: {written.page}")
