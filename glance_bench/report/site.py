"""A report written as a folder that any browser opens from a disk, or as one file.

::

    index.html  assets/report.css  assets/report.js
    data/...                       pieces of data, loaded when they are needed (see ``chunks``)
    thumbs/b0/<sampler>/<row>.webp small copies of images
    report.json                    what was written: schema, files, digests of the images behind the thumbnails
    README.md  .nojekyll  .eval_results/   where it is published, see ``publish``

The same runs in the same places give the same bytes. Files of an earlier report that are no longer part of it are
removed; a folder with anything else in it is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from glance_bench.errors import UsageError
from glance_bench.report.chunks import bits, board_chunks, floats, script_json
from glance_bench.report.page import Pictures, index_of, page, script, style
from glance_bench.report.thumbs import SIDE, Kept, choose_rows, data_uri, thumbnails
from glance_bench.report.views import compare, papers
from glance_bench.sealed import json_bytes, write_atomic

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from glance_bench.report.model import Board, Report

__all__ = ["FOLDERS", "MARKER", "Options", "Written", "write_report"]

SCHEMA = "glance-bench/report/1"
MARKER = "report.json"
MADE_FROM = "made-from.json"  # lies beside the report that a run writes
FOLDERS = ("data", "assets", "thumbs", ".eval_results")
PARTS = (*FOLDERS, "index.html", "README.md", ".nojekyll")
THUMBS_AT_MOST = 100 * 2**20
SINGLE_AT_MOST = 10 * 2**20
Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How a report is written.

    ``originals``: whether it may point at the images in the run's folder; ``beside``: more files for its folder, by
    names out of PARTS; ``room``: bytes that thumbnails may take.
    """

    images: Kept = "failures"
    single_file: bool = False
    originals: bool = True
    force: bool = False
    beside: Mapping[str, bytes] = field(default_factory=dict)
    room: int = THUMBS_AT_MOST


@dataclass
class Written:
    """What was written. ``files`` are relative to ``folder``; ``unreadable`` are sentences about images."""

    page: Path
    files: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    left_out: int = 0  # images that had no room


def write_report(
    report: Report, out: Path, options: Options = Options(), say: Say = lambda _: None
) -> Written:  # noqa: B008
    """Write the report into the folder ``out``; as one file, ``out`` may be a name that ends in ``.html``.

    Raises UsageError for a folder that holds something else, OSError where it cannot be written.
    """
    if options.single_file:
        return _single(report, out if out.suffix == ".html" else out / "index.html", options, say)
    before = _claimed(out, options.force)
    if not before:  # from here on the folder is ours, also when this is cut short
        write_atomic(out / MARKER, json_bytes({"schema": SCHEMA, "files": [], "thumbs": {}}))
    written = Written(out / "index.html")
    kept = before.get("thumbs", {})
    listing: dict[str, str] = {}
    room = options.room
    pictures = {}
    for place, board in enumerate(report.boards):
        originals = _originals(board, out) if options.originals and board.records is not None else None
        flags = None
        if originals is not None and _beside(board, out):
            written.unreadable += _missing(board)
        elif board.records is not None:
            share = room // (len(report.boards) - place)
            flags, used = _write_thumbs(board, out, options, kept, listing, share, written)
            room -= used
        pictures[board.number] = Pictures("" if flags is None or not flags.any() else bits(flags), originals)
    say(f"{len(listing)} thumbnails" if listing else "no thumbnails")
    for key, value in _pieces(report):
        text = f"GB.put({json.dumps(key)},{script_json(value)});\n"
        _write(out, f"data/{key}.js", text.encode(), written)
    _write(out, "assets/report.css", style().encode(), written)
    _write(out, "assets/report.js", script().encode(), written)
    _write(out, "index.html", page(report, index_of(report, pictures)).encode(), written)
    for name, data in options.beside.items():
        if name in before.get("files", ()) or not (out / name).exists():  # what others put there stays
            _write(out, name, data, written)
    marker = {"schema": SCHEMA, "files": sorted(written.files), "thumbs": listing}
    for stale in set(before.get("files", ())) | set(kept):
        if stale not in listing and stale not in written.files:
            (out / stale).unlink(missing_ok=True)
    write_atomic(out / MARKER, json_bytes(marker))
    return written


def _claimed(out: Path, force: bool) -> dict[str, Any]:
    """What an earlier report left in ``out``; refuses a folder that holds anything else."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; -o names a folder")
    held = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    marker = _document(out / MARKER)
    if str(marker.get("schema", "")).startswith("glance-bench/report/"):
        try:
            files = [name for name in marker["files"] if _inside(name)]
            return {"files": files, "thumbs": {k: v for k, v in marker["thumbs"].items() if _inside(k)}}
        except (KeyError, TypeError, AttributeError):  # of another version: nothing in it is relied on
            return {}
    if held and "inputs" not in _document(out / MADE_FROM) and not force:
        raise UsageError(
            f"{out} is not empty and holds no report ({', '.join(held[:3])}): name another folder, or add --force"
        )
    return {}


def _document(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty for anything else."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _inside(name: str) -> bool:
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts and path.parts[:1] in [(part,) for part in PARTS]


def _write(out: Path, name: str, data: bytes, written: Written) -> None:
    """A file, unless it has these bytes already."""
    path = out / name
    if not path.is_file() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data, flush=False)
    written.files.append(name)


def _originals(board: Board, out: Path) -> str:
    """The run's folder, as a page in ``out`` addresses it."""
    return quote(Path(os.path.relpath(board.source.folder.resolve(), out.resolve())).as_posix())


def _beside(board: Board, out: Path) -> bool:
    """Whether the report lies in the run's folder and its images are small: they need no copies then."""
    assert board.records is not None
    small = "width" in board.records and int(board.records[["width", "height"]].to_numpy().max()) <= SIDE
    return small and out.resolve().is_relative_to(board.source.folder.resolve())


def _missing(board: Board) -> list[str]:
    """A sentence for every image of the run that is not where it was made."""
    assert board.records is not None
    paths = (os.path.join(board.source.folder, image) for image in board.records["image"])
    return [f"{path}: is not there" for path in paths if not os.path.isfile(path)]


def _pieces(report: Report) -> Iterator[tuple[str, Any]]:
    """Every piece of data of the report with its key."""
    for board in report.boards:
        yield from board_chunks(board)
        yield f"b{board.number}/values/overall", floats(board.overall)
        yield f"b{board.number}/failures", board.failures
    yield from compare.pairs(report)
    yield from papers.pieces(report)


def _images_of(board: Board, kept: Kept) -> Iterator[tuple[int, int, Path, str]]:
    """(sampler, row, path, sha256) of the images to copy, rows in the order in which they are wanted."""
    assert board.records is not None
    samplers, rows = board.places_of(board.records)
    by_row: dict[int, list[tuple[int, str, str]]] = {}
    for sampler, row, image, sha in zip(
        samplers, rows, board.records["image"], board.records["image_sha256"], strict=True
    ):
        by_row.setdefault(int(row), []).append((int(sampler), image, sha))
    for row in choose_rows(board, kept):
        for sampler, image, sha in sorted(by_row.get(int(row), [])):
            yield sampler, int(row), board.source.folder / image, sha


def _write_thumbs(
    board: Board,
    out: Path,
    options: Options,
    kept: dict[str, str],
    listing: dict[str, str],
    room: int,
    written: Written,
) -> tuple[npt.NDArray[np.bool_], int]:
    """Write thumbnails while there is room; which there are, as bool[samplers, rows], and their bytes."""
    import numpy as np

    flags = np.zeros((len(board.samplers), len(board.rows)), dtype=bool)
    wanted = list(_images_of(board, options.images))
    names = [f"thumbs/b{board.number}/{sampler}/{row}.webp" for sampler, row, *_ in wanted]
    new = [i for i, name in enumerate(names) if kept.get(name) != wanted[i][3] or not (out / name).is_file()]
    missing, fresh = set(new), thumbnails([wanted[i][2] for i in new], board.source.folder)
    used = 0
    for i, (sampler, row, path, sha) in enumerate(wanted):
        found = next(fresh) if i in missing else None
        if isinstance(found, str):
            written.unreadable.append(f"{path}: {found}")
            continue
        size = (out / names[i]).stat().st_size if found is None else len(found)
        if options.images != "all" and used + size > room:
            written.left_out += len(wanted) - i
            break
        if found is not None:
            (out / names[i]).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(out / names[i], found, flush=False)
        used += size
        listing[names[i]] = sha
        flags[sampler, row] = True
    return flags, used


def _single(report: Report, path: Path, options: Options, say: Say) -> Written:
    """One file with everything in it, and as many images as SINGLE_AT_MOST has room for."""
    import numpy as np

    if path.is_file() and not options.force and b"glance-bench</title>" not in path.read_bytes():
        raise UsageError(f"{path} is there and is no report: name another file, or add --force")
    written = Written(path, [path.name])
    pieces = dict(_pieces(report))
    pictures = {board.number: Pictures("", None) for board in report.boards}
    used = len(page(report, index_of(report, pictures), pieces).encode())
    share = max(0, SINGLE_AT_MOST - used) // max(1, len(report.boards))
    for board in report.boards:
        if board.records is None:
            continue
        flags = np.zeros((len(board.samplers), len(board.rows)), dtype=bool)
        inside: dict[str, str] = {}
        left = share - flags.size // 4
        for sampler, row, data in _encoded(board, options.images, written):
            if len(data) + 16 > left:
                written.left_out += 1
                continue
            left -= len(data) + 16
            flags[sampler, row], inside[f"{sampler}/{row}"] = True, data
        pieces[f"b{board.number}/thumbs"] = inside
        pictures[board.number] = Pictures(bits(flags) if flags.any() else "", None)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, page(report, index_of(report, pictures), pieces).encode())
    say(f"{path.stat().st_size / 2**20:.1f} MiB")
    return written


def _encoded(board: Board, kept: Kept, written: Written) -> Iterator[tuple[int, int, str]]:
    """Images as data URIs."""
    wanted: Sequence[tuple[int, int, Path, str]] = list(_images_of(board, kept))
    made = thumbnails([one[2] for one in wanted], board.source.folder)
    for (sampler, row, path, _), found in zip(wanted, made, strict=True):
        if isinstance(found, str):
            written.unreadable.append(f"{path}: {found}")
        else:
            yield sampler, row, data_uri(found)
