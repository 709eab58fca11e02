"""Commands that keep a run or hand it on: `baseline save|list|show`, `bundle`, `import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .shared import INCOMPLETE, Json, Quiet, guarded, print_json, show

if TYPE_CHECKING:
    from ..evidence import Evidence

__all__ = ["baseline_list", "baseline_save", "baseline_show", "bundle", "import_"]

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or an unpacked bundle.")]
Room = Annotated[Path, typer.Option("--folder", help="Where baselines lie.")]
NoFeatures = Annotated[bool, typer.Option("--no-features", help="Leave the features out.")]
Replace = Annotated[bool, typer.Option("--replace", help="Take the place of what is there.")]
DEFAULT_ROOM = Path("reports/baselines")


def baseline_save(
    folder: RunFolder,
    name: Annotated[str | None, typer.Option("--as", help="Its name; default: the run's.")] = None,
    room: Room = DEFAULT_ROOM,
    no_features: NoFeatures = False,
    limit_mb: Annotated[float, typer.Option(min=0, help="Refuse a larger one.")] = 5.0,
    replace: Replace = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Keep a run's scores and features, without images, to hold later runs against."""
    with guarded():
        from ..baselines import save_baseline

        place, document = save_baseline(
            folder, name, room=room, features=not no_features, limit_mb=limit_mb, replace=replace
        )
        if as_json:
            print_json({"path": str(place), **document})
        elif not quiet:
            print(f"{place}: {_megabytes(document['bytes'])} in {len(document['files'])} files")


def baseline_list(room: Room = DEFAULT_ROOM, as_json: Json = False, quiet: Quiet = False) -> None:
    """List the baselines. Exits with 3 when one is damaged."""
    with guarded():
        from ..baselines import baseline_names, read_baseline, summary
        from ..errors import GlanceBenchError
        from ..packing import read_listing
        from ..terminal import printable

        found: list[dict[str, Any]] = []
        for name in baseline_names(room):
            try:
                told = summary(read_baseline(room / name))
                size = read_listing(room / name / "baseline.json", "baseline")["bytes"]
                found.append({"name": name, "bytes": size, **told})
            except GlanceBenchError as error:
                found.append({"name": name, "damaged": str(error)})
        if as_json:
            print_json(found)
        elif not found and not quiet:
            print(f"{room} has no baselines; `glance-bench baseline save RUN` makes one")
        else:
            for entry in found:
                print("\n".join(printable(line) for line in _described(entry)))
        if any("damaged" in entry for entry in found):
            raise typer.Exit(INCOMPLETE)


def baseline_show(
    name: Annotated[str, typer.Argument(metavar="NAME|PATH", help="A baseline, or the path of one.")],
    room: Room = DEFAULT_ROOM,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what a baseline holds, and its leaderboard. Every file is hashed."""
    with guarded():
        from ..baselines import find_baseline, read_baseline, summary
        from ..packing import listed, read_features

        place = find_baseline(name, room)
        evidence = read_baseline(place)
        files = {file: entry["bytes"] for file, entry in listed(place).items()}
        features = {key: list(values.shape) for key, (_, values) in read_features(place).items()}
        entry = {"name": place.name, "bytes": sum(files.values()), **summary(evidence)}
        if as_json:
            print_json({**entry, "files": files, "features": features, "results": evidence.results})
            return
        _show(evidence, entry, [f"features {key}: {n} images x {d}" for key, (n, d) in features.items()])


def bundle(
    folder: RunFolder,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The archive; default: <run>.zip.")
    ] = None,
    images: Annotated[
        str, typer.Option(metavar="N|all|none", help="How many images go along; failures first.")
    ] = "200",
    no_features: NoFeatures = False,
    replace: Replace = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Pack a run's results, scores, features and some images into one archive."""
    with guarded():
        from ..bundle import write_bundle

        place, document = write_bundle(
            folder, output, images=_count(images), features=not no_features, replace=replace
        )
        size = place.stat().st_size
        if as_json:
            print_json({"path": str(place), "bytes": size, **document})
        elif not quiet:
            told = document["images"]
            label = "TESTBED, " if document["testbed"] else ""
            print(
                f"{place}: {label}{_megabytes(size)}, {told['kept']} of {told['of']} images "
                f"({told['failed']} failed ones)"
            )


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `glance-bench bundle` wrote.")],
    name: Annotated[str | None, typer.Option("--as", help="The name in runs/; default: the run's.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Another folder.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a bundle and unpack it into runs/, where it can be compared, gated and tabulated like a run."""
    with guarded():
        from ..baselines import summary
        from ..bundle import import_bundle

        place, evidence, document = import_bundle(file, name, output)
        told = document["images"]
        size = sum(entry["bytes"] for entry in document["files"].values())
        entry = {"name": place.name, "bytes": size, **summary(evidence)}
        if as_json:
            print_json({"path": str(place), **entry, "images": {"kept": told["kept"], "of": told["of"]}})
        elif not quiet:
            _show(evidence, entry, [f"{told['kept']} of {told['of']} images", f"unpacked into {place}"])


def _show(evidence: Evidence, entry: dict[str, Any], more: list[str]) -> None:
    from ..report import leaderboard
    from ..terminal import printable

    print("\n".join(printable(line) for line in [*_described(entry), *more]), end="\n\n")
    show(leaderboard, dict(evidence.results))


def _count(images: str) -> int | None:
    """How many images are meant: None is all of them. Raises UsageError for what is no number."""
    from ..errors import UsageError

    if images in ("all", "none"):
        return None if images == "all" else 0
    if not (images.isascii() and images.isdigit()):
        raise UsageError(f"--images takes a number, 'all' or 'none'; got {images!r}")
    return int(images)


def _described(entry: dict[str, Any]) -> list[str]:
    """A baseline in a list: what it is of, then a line a board."""
    if "damaged" in entry:
        return [f"{entry['name']}  damaged: {entry['damaged']}"]
    facts = [
        f"suite {entry['suite']}" + (f", profile {entry['profile']}" if entry["profile"] else ""),
        *(["TESTBED"] if entry["testbed"] else []),
        *(f"{value}" for value in (entry["date"], entry["version"], entry["hardware"]) if value),
        _megabytes(entry["bytes"]),
    ]
    return [
        f"{entry['name']}  {', '.join(facts)}",
        *(
            f"  {board['model']} on {board['prompt_set']}, {board['prompts']} prompts: "
            f"{', '.join(board['samplers'])}"
            for board in entry["boards"]
        ),
    ]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB"
