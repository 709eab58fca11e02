"""Baselines: what is kept of a run to hold later ones against, small enough to be committed. No torch.

``reports/baselines/<name>/`` holds the files of ``packing`` but for manifest and images, and ``baseline.json`` (schema
"glance-bench/baseline/1")::

    schema, name, from: {run, digest, seal}, bytes, files: {path: {bytes, sha256}}, digest

Every file is what the run wrote, byte for byte, and nothing says when it was saved: the same run gives the same bytes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glance_bench.errors import UsageError, near_misses
from glance_bench.evidence import Evidence, read_evidence
from glance_bench.exchange.folders import files_below
from glance_bench.packing import (
    BUNDLE,
    MANIFEST,
    listed,
    origin,
    pack,
    read_listing,
    read_packed,
    write_listing,
)
from glance_bench.sealed import put_folder, room_beside

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "LIMIT_MB",
    "ROOM",
    "baseline_names",
    "find_baseline",
    "kept_as",
    "read_baseline",
    "safe_name",
    "save_baseline",
    "summary",
]

DOCUMENT = "baseline.json"
ROOM = Path("reports/baselines")  # of the project folder one is in
LIMIT_MB = 5.0
MB = 1_000_000
LABEL = r"[a-z0-9][a-z0-9._-]{0,63}"  # what suites may be called


def safe_name(name: str, what: str) -> str:
    """``name`` if it can be a folder's name. Raises UsageError, which says that it cannot name a ``what``."""
    if not re.fullmatch(LABEL, name):
        raise UsageError(
            f"{name[:70]!r} cannot name {what}: lower-case letters, digits, '.', '_' and '-', at most 64, "
            "a letter or digit first"
        )
    return name


def save_baseline(
    folder: Path,
    name: str | None = None,
    *,
    room: Path = ROOM,
    features: bool = True,
    limit_mb: float = LIMIT_MB,
    replace: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """Save the run in ``folder`` as ``room/<name>``, by default under the run's name. Returns place and document.

    Raises UsageError for a name that is not plain, one that is taken (without ``replace``), and a baseline larger than
    ``limit_mb`` (1e6 bytes); GlanceBenchError for a run that is not finished or was altered. Nothing is written then.
    """
    name = safe_name(name if name is not None else read_evidence(folder).name, "a baseline")
    place = room / name
    with room_beside(place) as temporary:
        _refuse_taken(place, replace)
        evidence = pack(folder, temporary, features=features)
        (temporary / MANIFEST).unlink()
        files = listed(temporary)
        size = sum(file["bytes"] for file in files.values())
        if size > limit_mb * MB:
            raise UsageError(_too_large(size, files, limit_mb))
        document = write_listing(
            temporary / DOCUMENT,
            "baseline",
            {"name": name, "from": origin(evidence), "bytes": size, "files": files},
        )
        _refuse_taken(place, replace)  # once more: packing took a while
        if replace:
            put_folder(temporary, place)
        else:
            temporary.rename(place)
    return place, document


def _refuse_taken(place: Path, replace: bool) -> None:
    if not place.exists() and not place.is_symlink():
        return
    if not replace:
        raise UsageError(
            f"{place} is there already: --replace takes its place, --as NAME saves under another name"
        )
    if place.is_symlink() or not (place / DOCUMENT).is_file():
        raise UsageError(f"{place} is there and is no baseline: move it away, or save with --as NAME")
    known = {DOCUMENT, *read_listing(place / DOCUMENT, "baseline")["files"]}
    if foreign := [file for file in files_below(place) if file not in known]:
        raise UsageError(
            f"{place} holds files that no baseline has ({', '.join(foreign[:5])}): move them away first"
        )


def _too_large(size: int, files: dict[str, dict[str, Any]], limit_mb: float) -> str:
    large = sorted(files, key=lambda name: -files[name]["bytes"])[:3]
    said = ", ".join(f"{name} {files[name]['bytes'] / MB:.2f} MB" for name in large)
    cure = (
        "--no-features leaves the features out, "
        if any(name.startswith("features/") for name in files)
        else ""
    )
    return (
        f"the baseline would be {size / MB:.2f} MB, more than {limit_mb:g} MB: {said}; "
        f"{cure}--limit-mb raises the limit"
    )


def baseline_names(room: Path = ROOM) -> list[str]:
    """The names of the baselines in ``room``, sorted."""
    return sorted(path.parent.name for path in room.glob(f"[!.]*/{DOCUMENT}"))


def find_baseline(name_or_path: str | Path, room: Path = ROOM) -> Path:
    """The folder of a baseline: by its name in ``room``, or by its path, which may be a run or an unpacked bundle.

    Raises UsageError, with the nearest names, when there is neither.
    """
    named = str(name_or_path)
    if re.fullmatch(LABEL, named) and (room / named / DOCUMENT).is_file():
        return room / named
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    hint = (
        near_misses(named, baseline_names(room))
        or f"{room} has none; `glance-bench baseline save RUN` makes one"
    )
    raise UsageError(f"no baseline {named!r} in {room}, and no folder of that name; {hint}")


def read_baseline(path: Path) -> Evidence:
    """The evidence of a baseline, every digest verified; of a run or an unpacked bundle as well.

    Raises Damaged for a file that is missing or altered, GlanceBenchError for another schema version.
    """
    kind = kept_as(path)
    return read_packed(path, read_listing(path / f"{kind}.json", kind)) if kind else read_evidence(path)


def kept_as(folder: Path) -> Literal["baseline", "bundle"] | None:
    """What a folder holds whose files are listed; None for a run, and for anything else."""
    if (folder / DOCUMENT).is_file():
        return "baseline"
    return "bundle" if (folder / BUNDLE).is_file() else None


def summary(evidence: Evidence) -> dict[str, Any]:
    """What a list shows of a run, as JSON: suite, profile, boards, samplers, prompts, version, hardware and date.

    ``date`` is the day of the last latency measurement, None where there is none.
    """
    boards = evidence.results["boards"]
    return {
        "run": evidence.name,
        "suite": evidence.results["suite"],
        "profile": evidence.results["profile"],
        "testbed": any(board["testbed"] for board in boards),
        "boards": [
            {
                "model": board["model"],
                "prompt_set": board["prompt_set"],
                "prompts": board["prompts"],
                "samplers": [row["sampler"] for row in board["samplers"]],
            }
            for board in boards
        ],
        "version": evidence.environment.get("glance_bench"),
        "hardware": evidence.environment.get("hardware"),
        "date": max(_days(evidence.timing), default=None),
    }


def _days(timing: pd.DataFrame) -> list[str]:
    """The days on which latencies were measured; a session's name is the time at which it began."""
    sessions = timing["session"].unique() if len(timing) else []
    return [str(session)[:10] for session in sessions if re.match(r"\d{4}-\d\d-\d\d", str(session))]
