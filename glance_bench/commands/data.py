"""Commands that bring weights and prompt files onto this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .shared import Data, Json, Quiet, guarded, print_json, use_data

if TYPE_CHECKING:
    from ..prefetch import Fetched
    from ..terminal import Progress

__all__ = ["convert", "lock", "prefetch"]


def prefetch(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="Prompt sets, weights, hub models as owner/name[@revision][:file], or suites, best by path.",
        ),
    ],
    lock: Annotated[
        bool, typer.Option("--lock", help="Pin a suite's commits and digests in SUITE.lock.yaml beside it.")
    ] = False,
    profile: Annotated[
        str | None, typer.Option(help="Of a suite: only what this profile needs; default: all of them.")
    ] = None,
    data: Data = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download what a suite needs: prompt files, models, weights of metrics. Nothing else downloads anything."""
    with guarded():
        use_data(data)
        from ..errors import Failures
        from ..terminal import Progress, printable

        progress = Progress(quiet)
        fetched: list[Fetched] = []
        failures: list[str] = []
        for target in targets:
            try:
                fetched += _fetch(target, lock, profile, progress)
            except Failures as several:  # the other targets are still fetched
                failures += several.lines
        if as_json:
            keys = ("target", "new", "licence", "note")
            print_json(
                [{key: getattr(one, key) for key in keys} | {"place": str(one.place)} for one in fetched]
            )
        for one in fetched if not as_json else ():
            print(printable(f"{one.target}: {one.place}" + (f" ({one.note})" if one.note else "")))
        if failures:
            raise Failures(failures)


def _fetch(target: str, lock: bool, profile: str | None, progress: Progress) -> list[Fetched]:
    from ..locks import lock_beside
    from ..prefetch import fetch, fetch_suite
    from ..prompts.sources import SOURCES
    from ..suite import find_suite, list_suites, load_suite

    if target in SOURCES or (target not in list_suites() and not Path(target).is_file()):
        return fetch([target], None, progress)
    pins = lock_beside(find_suite(target))
    suite = load_suite(target)
    suite = suite.with_profile(profile) if profile else suite
    return fetch_suite(suite, pins if lock or pins.is_file() else None, progress)


def lock(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite, best by path.")],
    check: Annotated[
        bool,
        typer.Option("--check", help="Only compare: exits with 3 when a pin is missing or a file differs."),
    ] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Pin commits and digests of what a suite needs and is on this machine, in SUITE.lock.yaml. Downloads nothing."""
    with guarded():
        os.environ["HF_HUB_OFFLINE"] = "1"  # before the hub's library is imported
        use_data(data)
        from ..locks import lock_beside
        from ..relock import check_lock, refresh_lock
        from ..suite import find_suite, load_suite

        path = lock_beside(find_suite(suite))
        pinned = (check_lock if check else refresh_lock)(load_suite(suite), path)
        if as_json:
            print_json({"lock": str(path), **pinned.model_dump()})
        elif pinned.hub or pinned.urls:
            print(
                f"{path}: {len(pinned.hub)} repositories, {len(pinned.urls)} addresses{', as pinned' * check}"
            )
        else:
            print(f"{suite} needs nothing that is published: nothing to pin")


def convert(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the weights are called.")],
    original: Annotated[Path, typer.Argument(metavar="FILE", help="The published pickle.")],
    sha256: Annotated[
        str | None,
        typer.Option(help="Its digest, where the project does not know it: you vouch for the file."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make plain arrays of weights published as a pickle, in a child process that can do nothing else."""
    with guarded():
        from ..convert import convert as make_plain

        made = make_plain(name, original, sha256=sha256)
        if as_json:
            print_json({"name": name, "file": str(made)})
        else:
            print(made)
