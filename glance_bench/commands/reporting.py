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
    serve: Annotated[
        bool, typer.Option("--serve", help="Then serve it on this machine alone, until Ctrl-C.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="For --serve; 0 takes any free one.")] = 8000,
    publish: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|hf:OWNER/NAME",
            help="Instead of -o: a folder for a web host, or a Space on the hub (needs HF_TOKEN). No links to the run.",
        ),
    ] = None,
    eval_results: Annotated[
        list[str] | None,
        typer.Option(
            "--eval-results",
            metavar="SET=OWNER/DATASET",
            help="With --publish: .eval_results files of this prompt set, a dataset of the hub. Not of the testbed.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """A report that a browser opens from the disk: leaderboards, comparisons, failures, every image."""
    with guarded():
        from ..errors import UsageError
        from ..report.gate import read_gate
        from ..report.model import load
        from ..report.publish import publish as publish_report
        from ..report.publish import read_datasets, space_of
        from ..report.serve import serve as serve_report
        from ..report.site import Options, write_report
        from ..terminal import Progress

        progress = Progress(quiet)
        datasets = read_datasets(eval_results or [])
        if publish is None and datasets:
            raise UsageError("--eval-results writes what goes with a published report: add --publish")
        if publish is not None and (output is not None or single_file):
            raise UsageError("--publish names the place and writes a folder: leave out -o and --single-file")
        if publish is not None and serve and space_of(publish):
            raise UsageError("--serve serves a folder of this machine: leave it out where --publish uploads")
        options = Options(images=images, single_file=single_file, force=force)
        found = load(runs, None if gate is None else read_gate(gate))
        if publish is not None:
            written, place = publish_report(found, publish, options, datasets, progress.say)
        else:
            out = output or (runs[0] / "report" if len(runs) == 1 else Path("reports/browse"))
            if single_file and output is None:
                out = out.parent / "report.html"
            written = write_report(found, out, options, progress.say)
            place = str(written.page)
        for told in written.unreadable[:5]:
            progress.warn(told)
        if len(written.unreadable) > 5:
            progress.warn(f"and {len(written.unreadable) - 5} more images are missing or cannot be read")
        if written.left_out:
            progress.warn(f"{written.left_out} images had no room in the report")
        if as_json:
            print_json({"page": place, "files": len(written.files), "left_out": written.left_out})
        else:
            print(f"report: {place}")
        if serve:
            folders = [] if publish is not None else [source.folder for source in found.sources]
            serve_report(
                written.page,
                folders,
                port,
                lambda told: print(f"serving: {told}  (Ctrl-C ends it)", flush=True),
            )
