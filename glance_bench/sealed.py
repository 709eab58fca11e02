"""Files that are whole or absent, and that prove it.

Every write goes to a temporary name and is renamed, so a killed process leaves no half file under a real name.
A *sealed* file carries its digest in its name, ``<key>.<12 hex of sha256>.<suffix>``: one rename publishes
content and proof together, and a truncated or edited file is recognised when it is read. Only what nothing else
proves is flushed to the disk (a flush costs as much as several denoising steps of a small model): after a power
cut a sealed file or an image may be short, is recognised as such, and is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import GlanceBenchError

__all__ = [
    "Damaged",
    "clear_leftovers",
    "digest_of",
    "find_sealed",
    "json_bytes",
    "parquet_bytes",
    "put_folder",
    "read_sealed",
    "room_beside",
    "seal",
    "sha256_bytes",
    "sha256_file",
    "slug",
    "write_atomic",
    "write_folder",
    "write_json",
]

SEAL = 12


class Damaged(GlanceBenchError):
    """A file of the run folder that is not what its record says: truncated, altered, missing or foreign."""

    def __init__(self, path: Path, what: str, *, foreign: bool = False) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path
        self.what = what
        self.foreign = foreign


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(value: Any) -> str:
    """sha256 over the canonical JSON of ``value`` (sorted keys, no spaces, UTF-8)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return sha256_bytes(text.encode())


def slug(name: str) -> str:
    """``name`` as one safe path component: itself when harmless, else a harmless part of it and a hash.

    Never empty, never hidden, never ``..``, at most 80 characters; different names give different slugs.
    """
    safe = re.sub(r"[^A-Za-z0-9._,=+@\[\]-]+", "-", name).strip(".-")[:64]
    return safe if safe and safe == name else f"{safe or 'x'}-{sha256_bytes(name.encode())[:8]}"


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename in it outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _own() -> str:
    """A name that no other writer has: on a shared file system two machines may have processes of one number."""
    return f"{os.getpid()}-{uuid.uuid4().hex[:8]}"


def write_atomic(path: Path, data: bytes, *, flush: bool = True) -> None:
    """Write ``data`` under a temporary name beside ``path``, flush it to the disk, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{_own()}-{path.name[-64:]}")
    with _naming(path), temporary.open("wb") as file:
        file.write(data)
        if flush:
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(path)
    if flush:
        sync_folder(path.parent)


def write_folder(place: Path, files: Mapping[str, bytes]) -> None:
    """Write a whole new folder under a temporary name and rename it. ``place`` must not exist.

    The files are not flushed: the folder's own record must hold their sizes and digests.
    """
    temporary = place.with_name(f".tmp-{_own()}-{place.name}")
    temporary.mkdir(parents=True)
    for name, data in files.items():
        with _naming(place / name):
            (temporary / name).write_bytes(data)
    temporary.rename(place)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """A full disk is told by the system without the name of the file: here it gets one."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def room_beside(place: Path) -> Iterator[Path]:
    """A new folder beside ``place``, to be renamed there when it is whole; it is gone afterwards in any case.

    What killed processes left for the same place is cleared first.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(place)
    room = place.with_name(f".tmp-{os.getpid()}-{slug(place.name)}")
    room.mkdir()
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)  # only there when something was raised


def put_folder(room: Path, place: Path) -> None:
    """Rename ``room`` to ``place``, where an older folder may lie. Between its two renames nothing lies there."""
    if not place.exists():
        room.rename(place)
        return
    old = place.with_name(f".tmp-{os.getpid()}-old-{slug(place.name)}")
    place.rename(old)
    room.rename(place)
    shutil.rmtree(old)


def clear_leftovers(place: Path) -> None:
    """Remove what killed processes that wrote to ``place`` left beside it; those still at work are left alone.

    A folder that was being replaced comes back when the kill fell between the two renames of ``put_folder``.
    """
    for path in list(place.parent.glob(".tmp-*")):
        match = re.fullmatch(r"\.tmp-(\d+)-(old-)?(.+)", path.name)
        if not match or match[3] != slug(place.name) or _alive(int(match[1])):
            continue
        if match[2] and not place.exists():
            path.rename(place)
        else:
            shutil.rmtree(path)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return process != os.getpid()


def write_json(path: Path, value: Any) -> None:
    write_atomic(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Readable JSON with sorted keys; the same value gives the same bytes."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode()


def seal(folder: Path, key: str, suffix: str, data: bytes) -> Path:
    """Publish ``data`` as the sealed file of ``key`` in ``folder``."""
    path = folder / f"{key}.{sha256_bytes(data)[:SEAL]}.{suffix}"
    write_atomic(path, data, flush=False)
    return path


def find_sealed(folder: Path, suffix: str) -> dict[str, Path]:
    """The sealed files of a folder by key (names only; contents are not read)."""
    if not folder.is_dir():
        return {}
    found = {}
    for name in sorted(os.listdir(folder)):
        key, _, rest = name.rpartition(f".{suffix}")[0].rpartition(".")
        if key and len(rest) == SEAL and name.endswith(f".{suffix}") and not name.startswith("."):
            found[key] = folder / name
    return found


def read_sealed(path: Path) -> bytes:
    """The content of a sealed file. Raises Damaged when it does not match the digest in its name."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Damaged(path, f"cannot be read ({error.strerror})") from error
    if sha256_bytes(data)[:SEAL] != path.name.split(".")[-2]:
        raise Damaged(path, "is truncated or altered: its content does not match the digest in its name")
    return data


def parquet_bytes(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> bytes:
    """``rows`` as one Parquet file. ``columns`` maps a column to an Arrow type name ("string", "int64").

    The same rows give the same bytes under the same pyarrow version. A missing value is a null.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])
    table = pa.Table.from_pylist([{name: row.get(name) for name in columns} for row in rows], schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())
