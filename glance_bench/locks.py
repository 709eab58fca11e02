"""Lock files: which commit of every hub repository, and which content of every file, a suite was fetched with.

``glance-bench prefetch SUITE --lock`` writes ``<suite>.lock.yaml``; so does ``lock SUITE``, of what is here already.
The file that ``GLANCE_BENCH_LOCK`` names binds what is read afterwards: a repository whose revision is otherwise left
open is read at the locked commit.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from .digests import file_digests
from .errors import GlanceBenchError
from .sealed import write_atomic
from .yamlfile import read_yaml, validated

__all__ = ["Lock", "LockedRepo", "Pins", "lock_beside", "locked_commit", "read_lock", "write_lock"]

_HEADER = (
    "# What a suite was fetched with (`glance-bench prefetch --lock`). Delete this file to take newer ones.\n"
)


class LockedRepo(BaseModel):
    """One hub repository: its full commit, and the sha256 of each of its files that was fetched."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    commit: str = Field(pattern="^[0-9a-f]{40}$")
    files: dict[str, str] = {}


class Lock(BaseModel):
    """``hub``: repositories, models by their id and data sets as ``datasets/<id>``, as in the hub's own addresses.

    ``urls``: the sha256 of what each address gave.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    hub: dict[str, LockedRepo] = {}
    urls: dict[str, str] = {}


def lock_beside(suite: Path) -> Path:
    """The place of a suite file's lock: ``coco.yaml`` -> ``coco.lock.yaml``."""
    return suite.with_name(f"{suite.stem}.lock.yaml")


def read_lock(path: Path) -> Lock:
    """The lock file, or an empty lock where there is none. Raises UsageError with file and line."""
    return validated(Lock, path, read_yaml(path)) if path.is_file() else Lock()


def write_lock(path: Path, hub: Mapping[str, LockedRepo], urls: Mapping[str, str]) -> None:
    """Write the lock file whole, sorted, so that the same state gives the same bytes."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.width = 200
    out = io.StringIO()
    repos = {
        repo: {"commit": one.commit, "files": dict(sorted(one.files.items()))}
        for repo, one in sorted(hub.items())
    }
    yaml.dump({"hub": repos, "urls": dict(sorted(urls.items()))}, out)
    write_atomic(path, (_HEADER + out.getvalue()).encode())


def locked_commit(repo: str) -> str | None:
    """The commit that the lock file of ``GLANCE_BENCH_LOCK`` holds for ``Lock.hub``'s entry; None without one."""
    named = os.environ.get("GLANCE_BENCH_LOCK")
    if not named:
        return None
    held = read_lock(Path(named)).hub.get(repo)
    return held.commit if held else None


@dataclass
class Pins:
    """What is pinned while things are fetched: the lock file's entries, and those that are new.

    Each method that notes something raises GlanceBenchError when the lock file says otherwise.
    """

    wanted: bool  # whether digests are needed at all; hashing a large model takes minutes
    hub: dict[str, LockedRepo] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)

    def commit(self, repo: str, revision: str | None) -> str | None:
        """Which commit to take: the one that the code names, else the pinned one; None is the newest."""
        held = self.hub.get(repo)
        return revision or (held.commit if held else locked_commit(repo))

    def url(self, address: str, found: str) -> None:
        """Note the sha256 of what an address gave."""
        held = self.urls.setdefault(address, found)
        if held != found:
            raise GlanceBenchError(f"{address}: sha256 {found[:12]}, but the lock file has {held[:12]}")

    def snapshot(self, repo: str, folder: Path, patterns: Sequence[str]) -> None:
        """Note what a folder of the hub's cache holds, whose name is the commit. ``patterns``: () means all files."""
        from huggingface_hub.utils import filter_repo_objects

        names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
        names = list(filter_repo_objects(names, allow_patterns=list(patterns) or None))
        digests = file_digests([folder / name for name in names])
        self.repo(repo, folder.name, dict(zip(names, digests, strict=True)))

    def repo(self, repo: str, commit: str, files: Mapping[str, str]) -> None:
        """Note a repository's commit, and the sha256 of files of it."""
        held = self.hub.get(repo)
        if held is not None and held.commit != commit:
            raise GlanceBenchError(f"{repo}: commit {commit[:12]}, but the lock file has {held.commit[:12]}")
        for name, found in files.items():
            if held is not None and held.files.get(name, found) != found:
                raise GlanceBenchError(
                    f"{repo}: {name} has sha256 {found[:12]}, but the lock file has {held.files[name][:12]}"
                )
        self.hub[repo] = LockedRepo(commit=commit, files={**(held.files if held else {}), **files})
