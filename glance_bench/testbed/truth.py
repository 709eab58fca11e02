"""Says which attributes of a scene hold in an image, by chroma, connected components and outlines: no network.

Objects of the world are saturated and backgrounds are not, so a pixel belongs to an object when its chroma
(max - min of RGB) is high; its colour is the nearest hue of the world's palette. Components of one colour are
compared with the world's outlines by intersection over union, which gives shape and size.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from scipy import ndimage

from glance_bench.testbed.scenes import BACKGROUNDS, COLOURS, LANDSCAPES, PAPERS, SHAPES, SIZES, Scene, Thing
from glance_bench.testbed.world import BOARD, GRADIENT_ENDS, GROUND, PAPER, SIZE, SKY, outline

CHROMA = 70  # of 255; backgrounds stay below 66, objects reach 120 and more
MIN_AREA = 36  # pixels; the smallest object, a small cross, covers 110
MIN_OVERLAP = 0.6  # intersection over union with the best outline
HUES = {name: colorsys.rgb_to_hsv(*(channel / 255 for channel in rgb))[0] for name, rgb in COLOURS.items()}


@dataclass(frozen=True)
class Found:
    """An object found in an image: its colour, its shape ("" if it is like none), its size and its centre."""

    colour: str
    shape: str
    size: str
    x: float
    y: float


def _hue(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chroma float[H, W] in 0..255 and hue float[H, W] in 0..1 of uint8[H, W, 3]."""
    rgb = image.astype(float)
    high, low = rgb.max(-1), rgb.min(-1)
    chroma = high - low
    red, green, blue = np.moveaxis(rgb, -1, 0)
    safe = np.maximum(chroma, 1e-9)
    hue = np.where(
        high == red,
        (green - blue) / safe,
        np.where(high == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    return chroma, (hue / 6) % 1


@cache
def _template(shape: str, side: int) -> np.ndarray:
    """The outline of `shape`, about `side` pixels wide, as a mask cropped to its own extent."""
    template = outline(shape, side) > 0.5
    rows, columns = np.where(template)
    return template[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def _shape(mask: np.ndarray) -> str:
    """The outline most like the mask of one component (bool[h, w], cropped to it), or "" if none is."""
    best, name = MIN_OVERLAP, ""
    for shape in SHAPES:
        template = _template(shape, max(mask.shape))
        height, width = (max(a, b) for a, b in zip(template.shape, mask.shape, strict=True))
        padded = np.zeros((2, height, width), bool)
        for layer, part in zip(padded, (template, mask), strict=True):
            top, left = (height - part.shape[0]) // 2, (width - part.shape[1]) // 2
            layer[top : top + part.shape[0], left : left + part.shape[1]] = part
        overlap = (padded[0] & padded[1]).sum() / (padded[0] | padded[1]).sum()
        if overlap > best:
            best, name = overlap, shape
    return name


def find_objects(image: np.ndarray) -> list[Found]:
    """All coloured objects in uint8[64, 64, 3], in reading order of their colours."""
    chroma, hue = _hue(image)
    names = list(HUES)
    distance = np.abs(hue[..., None] - np.array([HUES[name] for name in names]))
    nearest = np.minimum(distance, 1 - distance).argmin(-1)
    found = []
    for index, colour in enumerate(names):
        labels, count = ndimage.label((chroma > CHROMA) & (nearest == index))
        for label, window in enumerate(ndimage.find_objects(labels), start=1):
            mask = labels[window] == label
            if mask.sum() < MIN_AREA:
                continue
            y, x = ndimage.center_of_mass(mask)
            extent = max(mask.shape)
            size = "small" if extent < (SIZES["small"][1] + SIZES["large"][0]) / 2 else "large"
            found.append(Found(colour, _shape(mask), size, x + window[1].start, y + window[0].start))
    return found


def find_background(image: np.ndarray) -> str:
    """The background (of BACKGROUNDS) whose top and bottom colours are nearest to the image's, seen at its sides."""
    sides = np.concatenate([image[:, :3], image[:, -3:]], axis=1).astype(float)
    top, bottom = (np.median(rows.reshape(-1, 3), 0) for rows in (sides[:6], sides[-6:]))

    def distance(name: str) -> float:
        ends = (SKY[0], GROUND[name]) if name in LANDSCAPES else GRADIENT_ENDS[name]
        return sum(
            float(np.abs(seen - np.asarray(end)).sum()) for seen, end in zip((top, bottom), ends, strict=True)
        )

    return min(BACKGROUNDS, key=distance)


def has_board(image: np.ndarray) -> bool:
    """Whether uint8[64, 64, 3] shows a sign: a pale region as large as a board that its frame keeps from the edges."""
    labels, _ = ndimage.label(np.abs(image.astype(float) - np.asarray(BOARD)).max(-1) < 40)
    for rows, columns in ndimage.find_objects(labels):
        inside = rows.start > 0 and columns.start > 0 and rows.stop < SIZE and columns.stop < SIZE
        if inside and rows.stop - rows.start >= 16 and columns.stop - columns.start >= 26:
            return True
    return False


def _holds(relation: str, first: Found, second: Found) -> bool:
    across, down = second.x - first.x, second.y - first.y
    value = {"left of": across, "right of": -across, "above": down, "below": -down}[relation]
    return value > SIZE / 8 and value >= max(abs(across), abs(down)) - 1e-9


def _matches(thing: Thing, found: Found | None) -> dict[str, bool]:
    asked = {"colour": thing.colour, "shape": thing.shape, "size": thing.size}
    return {key: found is not None and getattr(found, key) == value for key, value in asked.items() if value}


def _assign(things: tuple[Thing, ...], found: list[Found]) -> list[Found | None]:
    """The objects that match `things` best, each used once; None where the image has too few."""
    pool: list[Found | None] = [*found[:8], *[None] * len(things)]
    return list(
        max(
            permutations(pool, len(things)),
            key=lambda chosen: sum(
                sum(_matches(thing, one).values()) for thing, one in zip(things, chosen, strict=True)
            ),
        )
    )


def check(scene: Scene, image: np.ndarray) -> dict[str, bool]:
    """Which attributes of `scene` hold in `image` (uint8[64, 64, 3], RGB): attribute name -> holds.

    The names depend on the scene alone, so that every image of a scene is judged on the same attributes. Text is
    not judged here but read by OCR (metrics/ocr.py). Raises ValueError for an image of another size.
    """
    if image.shape != (SIZE, SIZE, 3):
        raise ValueError(f"the truth checker reads {SIZE}x{SIZE} RGB images, got {image.shape}")
    verdict: dict[str, bool] = {}
    found = find_objects(image)
    if scene.background in PAPERS:
        tone = np.median(image.reshape(-1, 3).astype(float), 0)
        verdict["paper"] = scene.background == min(
            PAPERS, key=lambda name: float(np.abs(tone - PAPER[name]).sum())
        )
    else:
        verdict["background"] = find_background(image) == scene.background
    if scene.kind.startswith("sign"):
        verdict["sign"] = has_board(image)
    if scene.kind == "count":
        thing = scene.things[0]
        alike = [one for one in found if one.colour == thing.colour and one.shape == thing.shape]
        verdict |= _matches(thing, _assign(scene.things, found)[0])
        verdict["count"] = len(alike) == scene.count
    elif scene.things:
        chosen = _assign(scene.things, found)
        for number, (thing, one) in enumerate(zip(scene.things, chosen, strict=True), start=1):
            suffix = f" {number}" if len(scene.things) > 1 else ""
            verdict |= {key + suffix: value for key, value in _matches(thing, one).items()}
        if scene.kind == "pair":
            first, second = chosen
            verdict["relation"] = bool(first and second and _holds(scene.relation, first, second))
    return verdict
