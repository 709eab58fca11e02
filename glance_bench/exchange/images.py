"""Images made elsewhere become a sampler of a run, so that they are scored and ranked beside the run's own.

They are stored as units like any other: 8-bit RGB PNG files with a record each. What nobody here knows is said to
be unknown: the seed is -1, the batch size 0, and the number of evaluations is missing unless it was stated.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.exchange import pictures
from glance_bench.exchange.board import pick, prompts_of
from glance_bench.exchange.matching import Matched, match
from glance_bench.exchange.record import add_sampler
from glance_bench.exchange.stated import read_latency
from glance_bench.sealed import digest_of, sha256_bytes, sha256_file, slug
from glance_bench.terminal import printable
from glance_bench.units import UnitInfo

if TYPE_CHECKING:
    from glance_bench.prompts import Prompt
    from glance_bench.store import Run

__all__ = ["ImportedImages", "import_images"]

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
UNKNOWN_SEED = -1
UNKNOWN_BATCH = 0
LISTED = 20


@dataclass(frozen=True)
class ImportedImages:
    """What an import brought in.

    ``missing`` names the first images of the board that the folder lacks, ``unmatched`` its first pictures that fit
    no prompt; ``converted`` is how many files were not stored as they were.
    """

    sampler: str
    matched_by: str
    images: int
    expected: int
    converted: int
    black: int
    missing: tuple[str, ...]
    unmatched: tuple[str, ...]

    def lines(self) -> list[str]:
        """What a reader should know, a line each."""
        said = [f"{self.sampler}: {self.images} of {self.expected} images, matched by {self.matched_by}"]
        if self.missing:
            said.append(f"missing {self.expected - self.images}: {', '.join(self.missing)}")
        if self.unmatched:
            said.append(f"pictures that fit no prompt: {', '.join(self.unmatched)}")
        if self.converted:
            said.append(f"{self.converted} files were decoded and stored as 8-bit RGB PNG")
        if self.black:
            said.append(f"{self.black} images are black all over; they stay and are counted")
        return list(map(printable, said))


@dataclass(frozen=True)
class _Board:
    model: str
    prompt_set: str
    prompts: tuple[Prompt, ...]
    count: int
    size: tuple[int, int]
    example: str


@dataclass(frozen=True)
class _Source:
    """A file to be read, and the indices of the images in it: one, or four of a grid."""

    path: Path
    name: str
    indices: tuple[int, ...]


def import_images(
    run: Run,
    folder: Path,
    name: str,
    *,
    model: str | None = None,
    prompt_set: str | None = None,
    nfe: int | None = None,
    latency: Path | None = None,
    title: str = "",
    tool: str = "",
    listing: Path | None = None,
) -> ImportedImages:
    """Store the pictures below ``folder`` as the images of sampler ``name`` on one board of ``run``.

    Which picture is which image: see ``matching.match``. ``nfe`` (evaluations an image) and ``latency`` (a file,
    see ``stated.read_latency``) are kept as stated. ``tool`` says in a few words what made them. A second import
    under the same name takes the place of the first. Afterwards the run has to be scored again.

    Raises UsageError for a name that a sampler of the suite has or that is no plain word, for pictures of another
    size than the board's, and for lists that do not fit; GlanceBenchError for files that cannot be used.
    """
    if not re.fullmatch(NAME, name):
        raise UsageError(
            f"{name[:70]!r} cannot name a sampler: letters, digits, '.', '_' and '-', at most 64"
        )
    if nfe is not None and nfe < 1:
        raise UsageError(f"nfe is the number of evaluations an image, at least 1; got {nfe}")
    stated: dict[str, Any] = {} if nfe is None else {"nfe": nfe}
    if latency is not None:
        stated["seconds"] = read_latency(latency)
    run.units()  # what is no run is said to be none before the lock makes a folder
    with run.lock():
        board = _board(run, name, model, prompt_set)
        matched = match(folder, board.prompts, board.count, listing)
        sources = _sources(folder, matched, board)
        files = sorted(
            (source.name, sha256_file(source.path)) for part in sources.values() for source in part
        )
        source = {"tool": tool, "matched_by": matched.by, "digest": digest_of(files), "files": len(files)}
        key = digest_of([name, board.model, board.prompt_set, source, stated])[:12]
        room = f"units/{slug(board.model)}/{slug(name)}-{key}/{slug(board.prompt_set)}"
        fresh = not (run.folder / room).exists()
        try:
            units, converted, black = _publish(run, board, name, sources, room, source, nfe)
        except BaseException:  # whatever stops it, a half import is of no use to anyone
            if fresh:
                shutil.rmtree(run.folder / room, ignore_errors=True)
            raise
        facts = {
            **{"model": board.model, "sampler": name, "group": name, "title": title or name, "nfe": nfe},
            **{"steps": None, "speedup": None, "teacher": False, "imported": source, "stated": stated},
        }
        there = {
            (prompt_id, index) for prompt_id, part in sources.items() for s in part for index in s.indices
        }
        texts = {p.id: sha256_bytes(p.text.encode()) for p in board.prompts if p.id in sources}
        entry = {"model": board.model, "sampler": name, "prompt_set": board.prompt_set}
        add_sampler(run, {**entry, "facts": facts, "units": units, "prompts": texts})
    wanted = [(prompt.id, index) for prompt in board.prompts for index in range(board.count)]
    missing = [f"{prompt_id} [{index}]" for prompt_id, index in wanted if (prompt_id, index) not in there]
    return ImportedImages(
        name,
        matched.by,
        len(there),
        len(wanted),
        converted,
        black,
        tuple(missing[:LISTED]),
        matched.unmatched[:LISTED],
    )


def _board(run: Run, name: str, model: str | None, prompt_set: str | None) -> _Board:
    """What the run's own samplers have on this board. Raises UsageError where the name is one of theirs."""
    own = {(e["model"], e["sampler"]) for e in run.manifest["samplers"] if "imported" not in e}
    units = [unit for unit in run.units() if (unit.model, unit.sampler) in own]
    model = pick("model", model, (unit.model for unit in units))
    prompt_set = pick("prompt set", prompt_set, (unit.prompt_set for unit in units if unit.model == model))
    if (model, name) in own:
        raise UsageError(f"the suite has a sampler {name!r} already; give the images another name")
    records = run.records()
    names = [sampler for its, sampler in own if its == model]
    on_board = (records["model"] == model) & (records["prompt_set"] == prompt_set)
    here = records[on_board & records["sampler"].isin(names)]
    used = set(here["prompt_id"])
    prompts = tuple(prompt for prompt in prompts_of(run, prompt_set).values() if prompt.id in used)
    size = (int(here["width"].iloc[0]), int(here["height"].iloc[0]))
    return _Board(model, prompt_set, prompts, int(here["index"].max()) + 1, size, str(here["image"].iloc[0]))


def _sources(folder: Path, matched: Matched, board: _Board) -> dict[str, list[_Source]]:
    """The files by prompt id, in the order of the prompts. Raises UsageError for a picture of another size."""
    found: dict[str, list[_Source]] = {}
    width, height = board.size
    fits = ""
    for name, (prompt_id, index) in matched.files.items():
        size = pictures.size_of(folder / name)
        indices: tuple[int, ...]
        if size == board.size:
            fits, indices = name, (index or 0,)
        elif index is None and size == (2 * width, 2 * height) and board.count >= 4:
            indices = (0, 1, 2, 3)
        else:
            other = (
                f"{fits} is {width}x{height}" if fits else f"the board's {board.example} is {width}x{height}"
            )
            raise UsageError(
                f"{folder / name} is {size[0]}x{size[1]} and {other}: images that are compared have one size"
            )
        found.setdefault(prompt_id, []).append(_Source(folder / name, name, indices))
    for part in found.values():
        part.sort(key=lambda source: source.indices)
    return {prompt.id: found[prompt.id] for prompt in board.prompts if prompt.id in found}


def _publish(
    run: Run,
    board: _Board,
    name: str,
    sources: dict[str, list[_Source]],
    room: str,
    source: dict[str, Any],
    nfe: int | None,
) -> tuple[list[dict[str, Any]], int, int]:
    """Write the units; their manifest entries, and how many files were converted and how many images are black."""
    step = int(run.suite().get("slice_size", 16))
    converted = black = 0
    units: list[dict[str, Any]] = []
    prompts = [prompt for prompt in board.prompts if prompt.id in sources]
    for number, start in enumerate(range(0, len(prompts), step)):
        images: list[bytes] = []
        rows: list[dict[str, Any]] = []
        texts: list[str] = []
        files: list[dict[str, Any]] = []
        for prompt in prompts[start : start + step]:
            for one in sources[prompt.id]:
                made, dark, file = _read(one)
                converted += "stored" in file
                files.append(file)
                for index, image, is_dark in zip(one.indices, made, dark, strict=True):
                    images.append(image)
                    texts.append(prompt.text)
                    rows.append(_row(board, name, prompt.id, index, is_dark, nfe))
        black += sum(row["black"] for row in rows)
        made_of = {
            "imported": source["digest"],
            "images": [
                [row["prompt_id"], row["index"], sha256_bytes(i)] for row, i in zip(rows, images, strict=True)
            ],
        }
        key = digest_of([room, made_of])
        unit = UnitInfo(board.model, name, board.prompt_set, number, key, f"{room}/{number:05d}-{key[:12]}")
        run.publish_unit(
            unit, images, rows, texts, {"made_of": made_of, "imported": {**source, "from": files}}
        )
        units.append(vars(unit))
    return units, converted, black


def _read(source: _Source) -> tuple[Sequence[bytes], list[bool], dict[str, Any]]:
    """A file's images as PNG bytes, whether each is black, and what the unit's record says of the file."""
    try:
        data = source.path.read_bytes()
    except OSError as error:
        raise GlanceBenchError(f"cannot read {source.path}: {error.strerror}") from error
    picture, done = pictures.decode(source.path, data)
    file = {"file": source.name, "sha256": sha256_bytes(data)}
    if len(source.indices) == 1 and pictures.is_rgb_png(data) and not done:
        return [data], [_is_black(picture)], file
    cells = [picture] if len(source.indices) == 1 else pictures.split(picture)
    how = [part for part in (done, "cut from a 2x2 grid" if len(cells) > 1 else "") if part]
    stored = ", ".join([*how, "stored as 8-bit RGB PNG"])
    return (
        [pictures.png(cell) for cell in cells],
        [_is_black(cell) for cell in cells],
        {**file, "stored": stored},
    )


def _is_black(picture: Image.Image) -> bool:
    return picture.getbbox() is None


def _row(
    board: _Board, name: str, prompt_id: str, index: int, black: bool, nfe: int | None
) -> dict[str, Any]:
    return {
        **{"model": board.model, "sampler": name, "prompt_set": board.prompt_set, "prompt_id": prompt_id},
        **{"index": index, "seed": UNKNOWN_SEED, "width": board.size[0], "height": board.size[1]},
        **{
            "finite": True,
            "black": black,
            "truncated": False,
            "evaluations": nfe,
            "batch_size": UNKNOWN_BATCH,
        },
    }
