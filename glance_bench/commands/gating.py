"""`gate`: a run against a baseline, with an exit code for CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .shared import Quiet, guarded, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..gate.settings import GateSettings

__all__ = ["gate"]


def gate(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    baseline: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="What it is held against: a saved baseline, or a run.")
    ],
    on_inconclusive: Annotated[
        Literal["warn", "fail", "pass"] | None,
        typer.Option(
            help="What becomes of a gate that can neither pass nor fail; default: the suite's, or fail."
        ),
    ] = None,
    form: Annotated[
        Literal["text", "json", "md", "github"], typer.Option("--format", help="On stdout.")
    ] = "text",
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write JUnit XML to this file as well.")
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Append Markdown to this file as well: $GITHUB_STEP_SUMMARY."),
    ] = None,
    suite: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The suite file whose gate block counts; default: the run's own."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Hold a run against a baseline. Exits with 0 pass, 1 regression, 4 inconclusive or not comparable, 5 nothing
    measured."""
    with guarded():
        from ..baselines import find_baseline, read_baseline
        from ..gate.document import document
        from ..gate.judge import judge
        from ..gate.words import summary as told
        from ..terminal import Progress

        run, base = read_baseline(folder), read_baseline(find_baseline(baseline))
        file, tree = _suite_file(suite, run.results, needed=form == "github")
        settings = _settings(run.suite, suite, tree)
        decided = on_inconclusive or settings.on_inconclusive
        found = document(judge(base, run, settings), base, run, settings, decided)
        _print(found, form, file, tree)
        if junit is not None:
            from ..gate.junit import junit as as_junit
            from ..sealed import write_atomic

            write_atomic(junit, as_junit(found))
        if summary is not None:
            from ..gate.markdown import lines

            with summary.open("a", encoding="utf-8") as page:
                page.write("\n".join(lines(found)) + "\n")
        if decided == "warn" and (warning := told(found)) and form != "text":
            Progress(quiet).warn(warning)
        raise typer.Exit(found["exit_code"])


def _print(found: dict[str, Any], form: str, file: Path | None, tree: Any) -> None:
    if form == "json":
        print_json(found)
        return
    if form == "github":
        from ..gate.github import lines as annotations

        made = annotations(found, file, tree)
    elif form == "md":
        from ..gate.markdown import lines as markdown

        made = markdown(found)
    else:
        from ..gate.text import lines as text

        made = text(found)
    print("\n".join(made))


def _suite_file(given: Path | None, results: Mapping[str, Any], *, needed: bool) -> tuple[Path | None, Any]:
    """The suite file and its tree: the one given, else the shipped one of the run's suite where annotations need it."""
    from ..errors import UsageError
    from ..yamlfile import read_yaml

    if given is None:
        if not needed:
            return None, None
        from ..suite import list_suites

        file = list_suites().get(results["suite"])
        # A suite inside an installed package is no file of the repository that is annotated.
        if file is None or not file.resolve().is_relative_to(Path.cwd()):
            return None, None
        return file, read_yaml(file)
    tree = read_yaml(given)
    if tree.get("name") != results["suite"]:
        raise UsageError(f"{given} is the suite {tree.get('name')!r}, the run is of {results['suite']!r}")
    return given, tree


def _settings(resolved: Mapping[str, Any], given: Path | None, tree: Any) -> GateSettings:
    """The gate block of the suite file given, else of the run's resolved suite; the defaults without one."""
    from pydantic import ValidationError

    from ..errors import GlanceBenchError
    from ..gate.settings import GateBlock
    from ..yamlfile import validated

    if given is not None:
        return validated(GateBlock, given, tree).settings
    try:
        return GateBlock.model_validate(resolved).settings
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise GlanceBenchError(f"suite.json: {where}: {first['msg']}") from error
