"""Where the files of published prompt sets lie on this machine. No network. A file is looked for

1. in the folder that ``GLANCE_BENCH_DATA`` (or ``--data DIR``) names, at ``<DIR>/<benchmark>/<file>``;
2. where ``glance-bench prefetch`` put it: the hub's own cache for hub data sets, the user's cache folder for the
   rest. Both are pinned: a GitHub file by its commit, a hub data set by its commit or by the suite's lock file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from glance_bench.errors import MissingData, UsageError
from glance_bench.locks import locked_commit
from glance_bench.prompts.sources import SOURCES, Source
from glance_bench.resources import cache_dir
from glance_bench.sealed import sha256_bytes, sha256_file

__all__ = ["cached", "digest", "find", "is_here", "locate", "given", "manifest", "missing"]


def given(file: str) -> Path | None:
    """``file`` in the folder that ``GLANCE_BENCH_DATA`` names, when both exist.

    Raises UsageError when the folder does not exist: a mistyped one must not look like missing prompts.
    """
    named = os.environ.get("GLANCE_BENCH_DATA")
    if not named:
        return None
    folder = Path(named)
    if not folder.is_dir():
        raise UsageError(f"--data: no folder {folder}")
    place = folder / file
    return place if place.exists() else None


def cached(source: Source) -> Path:
    """Where prefetch keeps a file from GitHub; it may not exist. The commit is part of the place."""
    return cache_dir() / "prompts" / str(source.commit)[:12] / source.file


def _in_hub_cache(source: Source) -> Path | None:
    """The file, or the folder of the whole repository, in the hub's own cache."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    commit = source.commit or locked_commit(f"datasets/{source.repo}")
    try:
        if not source.path:
            return Path(
                snapshot_download(source.repo, repo_type="dataset", revision=commit, local_files_only=True)
            )
        return Path(
            hf_hub_download(
                source.repo, source.path, repo_type="dataset", revision=commit, local_files_only=True
            )
        )
    except LocalEntryNotFoundError:
        return None


def locate(source: Source) -> Path | None:
    """The file or folder of ``source`` on this machine, None when it is not here."""
    place = given(source.file)
    if place is not None:
        return place
    if source.host == "hub":
        return _in_hub_cache(source)
    return cached(source) if cached(source).exists() else None


def find(name: str, source: Source) -> Path:
    """The file or folder of ``source``, which prompt set ``name`` needs. Raises MissingData when it is not here."""
    place = locate(source)
    if place is None:
        raise missing(name)
    return place


def is_here(name: str) -> bool:
    """Whether every file that prompt set ``name`` cannot do without is on this machine."""
    return all(locate(source) for source in SOURCES[name] if source.needed)


def missing(name: str) -> MissingData:
    """The error that says what prompt set ``name`` waits for, how large it is, and what to do."""
    needed = [source for source in SOURCES[name] if source.needed]
    for source in needed:
        if source.host == "by hand":
            return MissingData(
                f"waits for prompts of {name} ({_readable(source.size)}): put {source.file} into the folder of "
                f"--data; {source.hint}"
            )
    total = sum(source.size for source in needed)
    return MissingData(f"waits for prompts of {name} ({_readable(total)}): glance-bench prefetch {name}")


def _readable(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1000))} kB"


def digest(source: Source, place: Path) -> str:
    """sha256 of the file, or of the folder's ``manifest``."""
    if source.pattern is None:
        return sha256_file(place)
    return manifest({file.name: sha256_file(file) for file in place.glob(source.pattern) if file.is_file()})


def manifest(digests: Mapping[str, str]) -> str:
    """sha256 over the lines ``<sha256>  <name>`` of a folder's files, sorted by name."""
    return sha256_bytes("".join(f"{one}  {name}\n" for name, one in sorted(digests.items())).encode())
