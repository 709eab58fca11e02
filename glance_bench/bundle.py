"""Bundles: a run in one small archive, for somebody who has not the GPU it was made on. No torch.

A zip file with the files of ``packing`` and ``bundle.json`` (schema "glance-bench/bundle/1")::

    schema, from: {run, digest, seal}, suite, profile, testbed, files: {path: {bytes, sha256}}, digest
    images: {of, kept, failed, shown: [{image_sha256, model, sampler, prompt_set, prompt_id, index, failed}]}

Members are stored, not compressed (tables and images are already), sorted, and dated 1980: the same run gives the
same bytes. It follows that an honest archive is as large as what is in it, which is what ``import_bundle`` asks of one
before it writes anything.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glance_bench.baselines import safe_name
from glance_bench.errors import UsageError
from glance_bench.evidence import Evidence
from glance_bench.exchange.folders import files_below
from glance_bench.packing import (
    BUNDLE,
    checked_listing,
    list_file,
    listed,
    origin,
    pack,
    read_packed,
    write_listing,
)
from glance_bench.report import leaderboard
from glance_bench.sealed import Damaged, room_beside, sha256_bytes
from glance_bench.store import Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DOCUMENT_LIMIT", "IMAGES", "choose_images", "import_bundle", "write_bundle"]

IMAGES = 200  # in a bundle, unless more or fewer are asked for
SHOWN = ("image_sha256", "model", "sampler", "prompt_set", "prompt_id", "index")
STRATUM = ["model", "prompt_set", "sampler", "category"]
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file can hold
MODE = stat.S_IFREG | 0o644
MEMBERS = 1_000_000
DOCUMENT_LIMIT = 256_000_000  # bytes of bundle.json
PNG = b"\x89PNG\r\n\x1a\n"
CHUNK = 1 << 20
UNREADABLE = (  # what the readers of zip and JSON raise for content that nobody's program wrote
    *(zipfile.BadZipFile, struct.error, NotImplementedError, EOFError, ValueError),
    *(KeyError, TypeError, AttributeError, RecursionError),
)


def write_bundle(
    folder: Path,
    out: Path | None = None,
    *,
    images: int | None = IMAGES,
    features: bool = True,
    replace: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """Pack the run in ``folder`` into ``out``, by default ``<run folder>.zip`` here. Returns place and bundle.json.

    ``images`` is how many images go along, None for all (see ``choose_images``). An unpacked bundle can be packed
    again, with the images that it has. Raises UsageError when ``out`` is there (without ``replace``),
    GlanceBenchError for a run that is not finished, Damaged for one that was altered.
    """
    out = Path(f"{folder.resolve().name}.zip") if out is None else out
    if out.is_dir() or (out.exists() and not replace):
        raise UsageError(f"{out} is there already: --replace takes its place, -o FILE writes another")
    with room_beside(out) as room:
        inside = room / "inside"
        inside.mkdir()
        evidence = pack(folder, inside, features=features)
        there = _images_of(folder)
        chosen = choose_images(evidence, images, set(there))
        kept = {row["image_sha256"]: there[row["image_sha256"]] for row in chosen}
        images_listed = {f"images/{sha}.png": _listed_image(path, sha) for sha, path in kept.items()}
        results = evidence.results
        document = write_listing(
            inside / BUNDLE,
            "bundle",
            {
                "from": origin(evidence),
                "suite": results["suite"],
                "profile": results["profile"],
                "testbed": any(board["testbed"] for board in results["boards"]),
                "files": listed(inside) | images_listed,
                "images": {
                    "of": int(evidence.samples["image_sha256"].nunique()),
                    "kept": len(kept),
                    "failed": len({row["image_sha256"] for row in chosen if row["failed"]}),
                    "shown": chosen,
                },
            },
        )
        sources = {name: inside / name for name in files_below(inside)}
        sources |= {f"images/{sha}.png": path for sha, path in kept.items()}
        _zip(sources, room / "bundle.zip")
        (room / "bundle.zip").replace(out)
    return out, document


def choose_images(evidence: Evidence, count: int | None, there: set[str]) -> list[dict[str, Any]]:
    """Which images go along: rows of SHOWN and ``failed``, sorted; at most ``count`` different images of ``there``.

    Images that failed (black, non-finite) come first, then a sample that takes an image in turn of each board, sampler
    and category. Which prompts are taken is decided by a hash of their ids, so that samplers show the same prompts.
    """
    samples = evidence.samples
    flags = [c["name"] for c in evidence.results["columns"] if c["kind"] == "unit" and c["name"] in samples]
    rows = samples[[*SHOWN, "category"]].assign(
        category=samples["category"].fillna(""),
        failed=(samples[flags] > 0).any(axis=1),
        order=[
            sha256_bytes("\0".join(map(str, names)).encode())
            for names in samples[["prompt_set", "prompt_id", "index"]].itertuples(index=False)
        ],
    )
    rows = rows[rows["image_sha256"].isin(there)].sort_values(["order", "model", "sampler"])
    rows["turn"] = rows.groupby(["failed", *STRATUM]).cumcount()
    rows = rows.sort_values(["failed", "turn", "order", "model", "sampler"], ascending=[False, *[True] * 4])
    chosen = rows["image_sha256"].drop_duplicates().head(len(rows) if count is None else count)
    shown = rows[rows["image_sha256"].isin(set(chosen))].sort_values(list(SHOWN[1:]))
    return _plain(shown[[*SHOWN, "failed"]])


def _plain(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as JSON."""
    return [
        {**row, "index": int(row["index"]), "failed": bool(row["failed"])} for row in rows.to_dict("records")
    ]


def _images_of(folder: Path) -> dict[str, Path]:
    """Where the images of a run or of an unpacked bundle lie, by sha256."""
    if (folder / BUNDLE).is_file():
        return {path.stem: path for path in sorted((folder / "images").glob("*.png"))}
    records = Run(folder).records()
    return {sha: folder / image for sha, image in zip(records["image_sha256"], records["image"], strict=True)}


def _listed_image(path: Path, sha: str) -> dict[str, Any]:
    listing = list_file(path)
    if listing["sha256"] != sha:
        raise Damaged(path, "was altered: its sha256 is not the recorded one")
    return listing


def _zip(sources: Mapping[str, Path], path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(sources):
            member = zipfile.ZipInfo(name, EPOCH)
            member.create_system, member.external_attr = 3, MODE << 16  # as on Unix, wherever it is made
            member.file_size = sources[name].stat().st_size
            with sources[name].open("rb") as source, archive.open(member, "w") as target:
                shutil.copyfileobj(source, target, CHUNK)


def import_bundle(
    path: Path, name: str | None = None, folder: Path | None = None
) -> tuple[Path, Evidence, dict[str, Any]]:
    """Unpack a bundle into ``runs/<name>`` or ``folder``, where nothing may be yet.

    ``name`` is by default the run's. All is checked in a folder beside it, which is renamed at the end. Returns place,
    evidence and bundle.json. Raises UsageError for a place that is taken and for a name that hides that the numbers
    are the testbed's, GlanceBenchError for a bundle of another version, Damaged for what is no bundle, or one that is
    truncated, altered, or larger than it says.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            document = _document(archive, path)
            place = _place(document, name, folder)
            with room_beside(place) as room:
                _unpack(archive, document, room, path)
                evidence = read_packed(room, document)
                leaderboard.lines(evidence.results)  # fails where the results are not built as they should be
                _refuse_taken(place)
                room.rename(place)
    except UNREADABLE as error:
        raise Damaged(path, f"is truncated, or no bundle ({type(error).__name__}: {error})") from error
    return place, dataclasses.replace(evidence, path=place), document


def _place(document: Mapping[str, Any], name: str | None, folder: Path | None) -> Path:
    run = str(document["from"]["run"])
    if name is not None and folder is not None:
        raise UsageError("--as names a folder in runs/, -o any folder: give one of them")
    if folder is None:
        folder = Path("runs") / safe_name(name if name is not None else run, "a run")
    if run.endswith("-testbed") and not folder.name.endswith("-testbed"):
        raise UsageError(f"the numbers are the testbed's: call it {folder.name}-testbed")
    _refuse_taken(folder)
    return folder


def _refuse_taken(place: Path) -> None:
    if place.exists() or place.is_symlink():
        raise UsageError(
            f"{place} is there already: --as NAME imports under another name, -o FOLDER elsewhere"
        )


def _names(archive: zipfile.ZipFile, path: Path) -> set[str]:
    """The names in an archive. Raises Damaged for anything but plain, stored files that it has the bytes for."""
    members = archive.infolist()
    names = {member.filename for member in members}
    if len(members) > MEMBERS:
        raise Damaged(path, f"has {len(members)} members, more than any bundle")
    if len(names) != len(members):
        raise Damaged(path, "holds a file twice")
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or member.is_dir():
            raise Damaged(path, f"holds something that is not a plain file: {member.filename!r}")
        if member.flag_bits & 1 or member.compress_type != zipfile.ZIP_STORED:
            what = "holds a compressed or encrypted file, which no bundle does"
            raise Damaged(path, f"{what}: {member.filename!r}")
        if member.file_size != member.compress_size:
            raise Damaged(path, f"states two sizes for {member.filename!r}")
    size = path.stat().st_size
    if sum(member.file_size for member in members) > size:
        raise Damaged(path, "states more content than it has bytes")
    if not all(0 <= member.header_offset < size for member in members):
        raise Damaged(path, "is truncated, or no bundle: places outside it are listed")
    return names


def _document(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """bundle.json of an archive whose members are exactly the files that it lists, with the sizes that it says."""
    names = _names(archive, path)
    if BUNDLE not in names:
        # The features are archives too: where only the end is cut off, zipfile finds the end of those.
        raise Damaged(path, f"is truncated, or no bundle: it has no {BUNDLE}")
    if archive.getinfo(BUNDLE).file_size > DOCUMENT_LIMIT:
        raise Damaged(path, f"has a {BUNDLE} of {archive.getinfo(BUNDLE).file_size} bytes")
    document = checked_listing(archive.read(BUNDLE), path / BUNDLE, "bundle")
    if any(type(document["images"][count]) is not int for count in ("of", "kept", "failed")):
        raise Damaged(path / BUNDLE, "does not say which images it holds")
    if strange := sorted(names - {BUNDLE} - set(document["files"])):
        raise Damaged(path, f"holds a file that its {BUNDLE} does not list: {strange[0]!r}")
    for name, file in document["files"].items():
        if name not in names:
            raise Damaged(path, f"lacks {name}")
        size = archive.getinfo(name).file_size
        if size != file["bytes"]:
            raise Damaged(path, f"{name} has {size} bytes, not {file['bytes']} as stated")
    return document


def _unpack(archive: zipfile.ZipFile, document: Mapping[str, Any], room: Path, path: Path) -> None:
    """Write the listed members into ``room``, hashing them on the way."""
    for name, file in [(BUNDLE, None), *document["files"].items()]:
        place = room / name
        place.parent.mkdir(exist_ok=True)
        digest, head = hashlib.sha256(), b""
        with archive.open(name) as source, place.open("xb") as target:
            while chunk := source.read(CHUNK):
                head = head or chunk[: len(PNG)]
                digest.update(chunk)
                target.write(chunk)
        if file and digest.hexdigest() != file["sha256"]:
            raise Damaged(path, f"{name} was altered: its sha256 is not the recorded one")
        if name.startswith("images/") and head != PNG:
            raise Damaged(path, f"{name} is not a PNG file")
