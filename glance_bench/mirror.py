"""A copy of a run folder behind a URL (s3://, gs://, file://, ...): read before a run, written as units are done.

The passes work on an ordinary folder, since only there a rename publishes a unit whole. Files that are named by their
content, or listed with it, are copied once, and again when they were made again, since that was for damage; the
documents and the report are copied again whenever a run ends. Of a unit's files its record goes last, and a unit
without its record is not read back: a copy cut short is made again.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import GlanceBenchError, UsageError
from .resources import cache_dir
from .sealed import slug, write_atomic

__all__ = ["Mirror", "folder_of", "is_url"]

ONCE = {
    "units",
    "scores",
    "features",
    "timing",
    "strips",
}  # what lies there has its content in its name or record
NOT_COPIED = {"embeddings", "quarantine"}
RECORD = "unit.json"


def is_url(output: str) -> bool:
    """Whether this names a place behind a protocol, and not a path."""
    return "://" in output


def folder_of(url: str) -> Path:
    """Where the run is worked on that is kept at ``url``: a folder of its own in the cache folder."""
    return cache_dir() / "mirrors" / slug(url)


class Mirror:
    """The copy of ``folder`` at ``url``.

    Raises UsageError for a protocol that fsspec does not know or that lacks its package here, and GlanceBenchError in
    every method when the place cannot be read or written.
    """

    def __init__(self, url: str, folder: Path) -> None:
        from fsspec.core import url_to_fs

        self.url = url
        self._folder = folder
        try:
            fs, root = url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise UsageError(f"output {url}: {error}") from error
        self._fs: Any = fs
        self._root = str(root).rstrip("/")
        self._same: dict[str, tuple[int, ...]] = {}  # by name, the file here when last it was there too

    def pull(self) -> int:
        """Bring here what is only there. What is here already stays as it is. Returns how many files came."""
        try:
            found = self._fs.find(self._root, detail=True) if self._fs.exists(self._root) else {}
            there = {self._below(path): int(info["size"]) for path, info in found.items()}
            wanted = [name for name in there if self._is_wanted(name, there)]
            for name in sorted(wanted, key=_record_last):
                write_atomic(self._folder / name, self._fs.cat_file(f"{self._root}/{name}"), flush=False)
        except Exception as error:  # every protocol's package has its own
            raise self._failed("read", error) from error
        here = {name: _identity(self._folder / name) for name in there if (self._folder / name).is_file()}
        self._same = {name: identity for name, identity in here.items() if identity[0] == there[name]}
        return len(wanted)

    def push(self, path: str = "") -> None:
        """Copy what lies at ``path`` below the folder: all of a folder, or sealed files whose names begin so."""
        names = [str(file.relative_to(self._folder)) for file in self._files(self._folder / path)]
        try:
            for name in sorted(filter(self._is_due, names), key=_record_last):
                identity, data = _identity(self._folder / name), (self._folder / name).read_bytes()
                self._fs.makedirs(str(PurePosixPath(self._root, name).parent), exist_ok=True)
                self._fs.pipe_file(f"{self._root}/{name}", data)
                self._same[name] = identity
        except Exception as error:  # see pull
            raise self._failed("written", error) from error

    @staticmethod
    def _files(place: Path) -> Iterator[Path]:
        """Every file below a folder, or those that begin with the name of ``place``."""
        if place.is_dir():
            return (path for path in place.rglob("*") if path.is_file())
        return (path for path in place.parent.iterdir() if path.name.startswith(place.name))

    def _is_wanted(self, name: str, there: Container[str]) -> bool:
        parts = PurePosixPath(name).parts
        harmless = ".." not in parts and not any(part.startswith(".") for part in parts)
        whole = parts[0] != "units" or str(PurePosixPath(name).with_name(RECORD)) in there
        return harmless and whole and parts[0] not in NOT_COPIED and not (self._folder / name).exists()

    def _is_due(self, name: str) -> bool:
        parts = PurePosixPath(name).parts
        if parts[0] in NOT_COPIED or any(part.startswith(".") for part in parts):
            return False
        return parts[0] not in ONCE or self._same.get(name) != _identity(self._folder / name)

    def _below(self, path: str) -> str:
        return path.lstrip("/").removeprefix(self._root.lstrip("/")).lstrip("/")

    def _failed(self, what: str, error: Exception) -> GlanceBenchError:
        return GlanceBenchError(f"{self.url} cannot be {what}: {' '.join(str(error).split())[:300]}")


def _identity(file: Path) -> tuple[int, ...]:
    """Its size, and what changes when another file takes its place."""
    about = file.stat()
    return about.st_size, about.st_ino, about.st_mtime_ns


def _record_last(name: str) -> tuple[bool, str]:
    return PurePosixPath(name).name == RECORD, name
