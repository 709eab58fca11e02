"""Where each official scorer expects which image: file names, grids, companion files. Pure; no image is read.

Names follow the scorers' own code: GenEval djghosh13/geneval ``evaluation/evaluate_images.py``; DPG-Bench
TencentQQGYLab/ELLA ``dpg_bench/compute_dpg_bench.py``; OneIG-Bench/OneIG-Benchmark ``scripts/``; LongText-Bench
X-Omni-Team/X-Omni ``textbench/``; HPSv2 tgxs002/HPSv2 ``hpsv2/evaluation.py``; Karine-Huang/T2I-CompBench.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from glance_bench.errors import UsageError, near_misses
from glance_bench.sealed import sha256_bytes

if TYPE_CHECKING:
    from glance_bench.prompts import Prompt

__all__ = ["CATEGORIES", "FORMATS", "Layout", "Place", "folder_label", "is_chinese", "lay_out"]

FORMATS = ("geneval", "dpg", "oneig", "longtext", "hpsv2", "t2i-compbench")
OFFICIAL_COUNT = {"geneval": 4, "dpg": 4, "oneig": 4, "longtext": 4, "hpsv2": 1, "t2i-compbench": 10}
SETS = ("anime", "human", "object", "text", "reasoning", "multilingualism")
STYLES = ("anime", "concept-art", "paintings", "photo")
CATEGORIES = ("color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")
NAME_BYTES = 255  # of a file name, on every file system in common use


@dataclass(frozen=True)
class Place:
    """One image file. ``cells`` are the (prompt id, index) of the images in it: one, or a 2x2 grid by rows."""

    file: str
    cells: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Layout:
    """All files of an export, relative to the folder that the scorer is pointed at.

    ``stored`` is how the images are written: "png" as they are, "png-grid", "webp-grid" (lossless) or "jpeg".
    ``texts`` are companion files by name. ``deviations`` say in what the export differs from the official
    protocol, a sentence each.
    """

    format: str
    stored: Literal["png", "png-grid", "webp-grid", "jpeg"]
    places: tuple[Place, ...]
    texts: dict[str, str] = field(default_factory=dict)
    deviations: tuple[str, ...] = ()


def lay_out(format: str, prompts: Sequence[Prompt], count: int, label: str) -> Layout:
    """The layout of ``prompts`` with ``count`` images each; ``label`` is the folder OneIG keeps a model in.

    Raises UsageError for an unknown format, for prompts that are not the benchmark's own, for names that no
    file can have, and for a count that the scorer cannot read.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}; {near_misses(format, FORMATS)}")
    makers = {
        "geneval": _geneval,
        "dpg": _dpg,
        "oneig": _oneig,
        "longtext": _longtext,
        "hpsv2": _hpsv2,
        "t2i-compbench": _compbench,
    }
    return makers[format](prompts, count, label)


def folder_label(name: str) -> str:
    """``name`` as a folder that a shell, a glob pattern and an argument parser all leave alone.

    Itself when it has only letters, digits, dots, underscores and inner hyphens, at most 64; else cut and hashed.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:64]
    return safe if safe and safe == name else f"{safe or 'x'}-{sha256_bytes(name.encode())[:8]}"


def is_chinese(prompts: Sequence[Prompt]) -> bool:
    """Whether most of the prompts hold a Chinese character; the benchmarks keep EN and ZH apart."""
    return 2 * sum(bool(re.search("[\u4e00-\u9fa5]", prompt.text)) for prompt in prompts) > len(prompts)


def _geneval(prompts: Sequence[Prompt], count: int, label: str) -> Layout:
    places, texts = [], {}
    for prompt in prompts:
        if not re.fullmatch(r"\d{5}", prompt.id) or not {"tag", "include", "prompt"} <= set(prompt.meta):
            raise _foreign("geneval", prompt, "ids are five digits, and each prompt has its tag and include")
        texts[f"{prompt.id}/metadata.jsonl"] = json.dumps(dict(prompt.meta), ensure_ascii=False) + "\n"
        places += [Place(f"{prompt.id}/samples/{k:04d}.png", ((prompt.id, k),)) for k in range(count)]
    return Layout("geneval", "png", tuple(places), texts, _count_note("geneval", count))


def _dpg(prompts: Sequence[Prompt], count: int, label: str) -> Layout:
    _four("dpg", count, alone=False)
    places = []
    for prompt in prompts:
        if "." in prompt.id:
            raise UsageError(
                f"export dpg: its scorer cuts names at the first dot, and {_shown(prompt.id)} has one"
            )
        name = _file_name("dpg", prompt.id, ".png", prompt)
        places.append(Place(name, tuple((prompt.id, k) for k in range(4))))
    return Layout("dpg", "png-grid", tuple(places), deviations=_count_note("dpg", count))


def _oneig(prompts: Sequence[Prompt], count: int, label: str) -> Layout:
    _four("oneig", count, alone=True)
    cells = 1 if count == 1 else 4
    places = []
    for prompt in prompts:
        part, _, number = prompt.id.partition("/")
        if part not in SETS or not re.fullmatch(r"\d{3}", number):
            raise _foreign("oneig", prompt, f"ids are SET/000 with SET in {', '.join(SETS)}")
        places.append(Place(f"{part}/{label}/{number}.webp", tuple((prompt.id, k) for k in range(cells))))
    return Layout("oneig", "webp-grid", tuple(places), deviations=_count_note("oneig", count))


def _longtext(prompts: Sequence[Prompt], count: int, label: str) -> Layout:
    places = []
    for prompt in prompts:
        if not re.fullmatch(r"\d{4}", prompt.id):
            raise _foreign("longtext", prompt, "ids are four digits")
        places += [Place(f"{prompt.id}_{k + 1}.png", ((prompt.id, k),)) for k in range(count)]
    return Layout("longtext", "png", tuple(places), deviations=_count_note("longtext", count))


def _hpsv2(prompts: Sequence[Prompt], count: int, label: str) -> Layout:
    places = []
    for prompt in prompts:
        style, _, number = prompt.id.partition("/")
        if style not in STYLES or not re.fullmatch(r"\d{5}", number):
            raise _foreign("hpsv2", prompt, f"ids are STYLE/00000 with STYLE in {', '.join(STYLES)}")
        places.append(Place(f"{style}/{number}.jpg", ((prompt.id, 0),)))
    return Layout("hpsv2", "jpeg", tuple(places), deviations=_count_note("hpsv2", count))


def _compbench(prompts: Sequence[Prompt], count: int, label: str) -> Layout:
    places: list[Place] = []
    sizes: dict[str, int] = {}
    for prompt in prompts:
        category, _, number = prompt.id.partition("/")
        if category not in CATEGORIES or not re.fullmatch(r"\d{6}", number):
            what = f"ids are CATEGORY/000000 with CATEGORY in {', '.join(CATEGORIES)}"
            raise _foreign("t2i-compbench", prompt, what)
        if "_" in prompt.text:
            raise UsageError(
                "export t2i-compbench: its scorers read the prompt from the file name up to the first underscore, "
                f"and prompt {_shown(prompt.id)} has one: {_shown(prompt.text)}"
            )
        for k in range(count):
            name = _file_name("t2i-compbench", prompt.text, f"_{sizes.get(category, 0):06d}.png", prompt)
            places.append(Place(f"{category}/samples/{name}", ((prompt.id, k),)))
            sizes[category] = sizes.get(category, 0) + 1
    return Layout("t2i-compbench", "png", tuple(places), deviations=_count_note("t2i-compbench", count))


def _file_name(format: str, stem: str, ending: str, prompt: Prompt) -> str:
    """``stem + ending``. Raises UsageError when that is no plain, visible name of one file."""
    name = stem + ending
    wrong = "holds a slash" if "/" in stem else ""
    if not stem or stem.startswith("."):
        wrong = wrong or "would be empty or hidden"
    if any(ord(character) < 32 or ord(character) == 127 for character in stem):
        wrong = wrong or "holds a control character"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise UsageError(
            f"export {format}: the file name of prompt {_shown(prompt.id)} is not text"
        ) from None
    if size > NAME_BYTES:
        wrong = wrong or f"has {size} bytes, and {NAME_BYTES} are the most"
    if wrong:
        raise UsageError(
            f"export {format}: the file name of prompt {_shown(prompt.id)} {wrong}: {_shown(name)}"
        )
    return name


def _four(format: str, count: int, *, alone: bool) -> None:
    """Raises UsageError when ``count`` images do not fill a 2x2 grid."""
    if count >= 4 or (alone and count == 1):
        return
    wanted = "one image a prompt or four" if alone else "four images a prompt"
    raise UsageError(
        f"export {format} needs {wanted} and this run has {count}: "
        "set 'images_per_prompt: 4' in the suite and run it again"
    )


def _count_note(format: str, count: int) -> tuple[str, ...]:
    official = OFFICIAL_COUNT[format]
    if count == official:
        return ()
    note = f"the official protocol has {_images(official)} a prompt, this run has {count}"
    if count > official and format in ("dpg", "oneig", "hpsv2"):
        note += (
            ": the first of each is exported"
            if official == 1
            else f": the first {official} of each are exported"
        )
    return (note,)


def _images(count: int) -> str:
    return f"{count} image" if count == 1 else f"{count} images"


def _foreign(format: str, prompt: Prompt, what: str) -> UsageError:
    return UsageError(f"export {format}: prompt {_shown(prompt.id)} is none of the benchmark's ({what})")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")
