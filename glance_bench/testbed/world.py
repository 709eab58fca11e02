"""Draws scenes of the testbed's world as 64 px images, with Pillow and the DejaVu fonts that matplotlib ships.

What a caption leaves open (places, exact sizes, shades, the horizon, the light) is drawn from the generator that
`render` is given, so one scene has many images. This freedom is what makes few-step sampling err here as it does on
large models: where a caption determines the image, even one step finds it.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from glance_bench.testbed.scenes import COLOURS, GRADIENTS, SIZES, UNSTATED_SIZES, Scene, Thing

SIZE = 64
GAP = 2  # pixels that objects keep between them
INKS = ((26, 26, 34), (70, 24, 26), (24, 30, 80), (20, 56, 34))
BOARD = (252, 250, 244)
FRAME = (96, 84, 76)
SIGN_FONTS, POSTER_FONT = (16, 17, 18), 13  # pixels; the advance of the bold mono face is 0.602 of it
BOARD_HEIGHT = 22
GRADIENT_ENDS = {  # top and bottom; all of low chroma, so that objects stand out by chroma alone
    "grey": ((150, 150, 152), (208, 208, 210)),
    "cream": ((236, 224, 190), (250, 244, 226)),
    "mint": ((178, 218, 196), (224, 244, 232)),
    "rose": ((228, 188, 192), (248, 226, 228)),
    "sky": ((178, 204, 232), (226, 238, 250)),
}
SKY = ((206, 220, 236), (232, 238, 244))
GROUND = {
    "hills": (132, 160, 118),
    "sea": (108, 138, 158),
    "desert": (206, 184, 140),
    "snow": (250, 252, 254),
}
PAPER = {"white": (250, 250, 250), "yellowish": (246, 236, 200), "bluish": (212, 226, 246)}


@cache
def _font(pixels: int) -> ImageFont.FreeTypeFont:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / "DejaVuSansMono-Bold.ttf"), pixels)


def _vertical(top: tuple[int, ...], bottom: tuple[int, ...], rows: int) -> np.ndarray:
    ramp = np.linspace(0.0, 1.0, rows)[:, None, None]
    return np.asarray(top) * (1 - ramp) + np.asarray(bottom) * ramp


def _background(name: str, rng: np.random.Generator) -> np.ndarray:
    """float64[SIZE, SIZE, 3] in 0..255."""
    if name in PAPER:
        canvas = np.broadcast_to(np.asarray(PAPER[name], float), (SIZE, SIZE, 3)).copy()
    elif name in GRADIENTS:
        canvas = np.broadcast_to(_vertical(*GRADIENT_ENDS[name], SIZE), (SIZE, SIZE, 3)).copy()
    else:
        canvas = np.broadcast_to(_vertical(*SKY, SIZE), (SIZE, SIZE, 3)).copy()
        x = np.arange(SIZE)
        waves = {"hills": 4.0, "desert": 2.5, "snow": 5.0, "sea": 0.0}[name]
        horizon = 42 + rng.uniform(-8, 8) + waves * np.sin(x / 64 * 2 * math.pi + rng.uniform(0, 2 * math.pi))
        cover = np.clip(np.arange(SIZE)[:, None] + 0.5 - horizon[None, :], 0, 1)[..., None]
        canvas = canvas * (1 - cover) + np.asarray(GROUND[name], float) * cover
    return canvas * rng.uniform(0.97, 1.0)


def _outline(shape: str, extent: float) -> Image.Image:
    """The shape's coverage as an "L" image of ceil(extent)+1 pixels, drawn at 4x and averaged down."""
    side, scale = math.ceil(extent) + 1, 4
    mask = Image.new("L", (side * scale, side * scale))
    draw = ImageDraw.Draw(mask)
    low, high = 0.5 * scale, (extent + 0.5) * scale
    mid, third = (low + high) / 2, (high - low) / 3
    if shape == "circle":
        draw.ellipse((low, low, high, high), fill=255)
    elif shape == "square":
        draw.rectangle((low, low, high, high), fill=255)
    elif shape == "triangle":
        draw.polygon([(mid, low), (high, high), (low, high)], fill=255)
    elif shape == "cross":
        draw.rectangle((low + third, low, high - third, high), fill=255)
        draw.rectangle((low, low + third, high, high - third), fill=255)
    elif shape == "ring":
        draw.ellipse((low, low, high, high), fill=255)
        hole = (high - low) * 0.27
        draw.ellipse((low + hole, low + hole, high - hole, high - hole), fill=0)
    return mask.resize((side, side), Image.Resampling.BOX)


@cache
def outline(shape: str, extent: int) -> np.ndarray:
    """float32[side, side] in 0..1: coverage of `shape` (one of SHAPES) drawn `extent` pixels wide."""
    return np.asarray(_outline(shape, extent), np.float32) / 255


def _paint(canvas: np.ndarray, thing: Thing, extent: int, place: tuple[int, int], shade: float) -> None:
    """Draw `thing`, `extent` pixels wide and `shade` times as bright, with its top left corner at `place` (x, y)."""
    cover = outline(thing.shape, extent)
    side = cover.shape[0]
    window = canvas[place[1] : place[1] + side, place[0] : place[0] + side]
    window += cover[..., None] * (np.asarray(COLOURS[thing.colour], float) * shade - window)


def _apart(relation: str, first: np.ndarray, second: np.ndarray) -> bool:
    """Whether boxes (left, top, right, bottom) neither touch nor leave the relation in doubt."""
    free = np.maximum(first[:2] - second[2:], second[:2] - first[2:])
    if free.max() < GAP:
        return False
    if not relation:
        return True
    across, down = (second[:2] + second[2:] - first[:2] - first[2:]) / 2
    along = {"left of": across, "right of": -across, "above": down, "below": -down}[relation]
    return bool(along >= min(abs(across), abs(down)) + 4)


def _places(extents: list[int], relation: str, top: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Top left corners anywhere below row `top` such that the objects stand apart and in `relation`, by rejection."""
    sides = np.array([math.ceil(extent) + 1 for extent in extents])
    while True:
        corners = np.stack([rng.integers(0, SIZE - sides + 1), rng.integers(top, SIZE - sides + 1)], 1)
        boxes = np.concatenate([corners, corners + sides[:, None]], 1)
        if all(_apart(relation, boxes[i], boxes[j]) for j in range(len(boxes)) for i in range(j)):
            return [(int(x), int(y)) for x, y in corners]


def _objects(
    canvas: np.ndarray, things: list[Thing], relation: str, top: int, rng: np.random.Generator
) -> None:
    """Draw `things` apart from each other and below row `top`. Equal things get equal extents and shades."""
    kinds = list(dict.fromkeys(things))
    extents = {
        thing: int(rng.integers(*SIZES.get(thing.size, UNSTATED_SIZES), endpoint=True)) for thing in kinds
    }
    shades = {thing: rng.uniform(0.85, 1.0) for thing in kinds}
    places = _places([extents[thing] for thing in things], relation, top, rng)
    for thing, place in zip(things, places, strict=True):
        _paint(canvas, thing, extents[thing], place, shades[thing])


def _lines(
    canvas: np.ndarray,
    words: tuple[str, ...],
    font: int,
    left: int,
    top: int,
    pitch: int,
    rng: np.random.Generator,
) -> np.ndarray:
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    ink = INKS[int(rng.integers(len(INKS)))]
    for row, word in enumerate(words):
        draw.text((left, top + row * pitch), word, font=_font(font), fill=ink, anchor="lt")
    return np.asarray(image, float)


def _sign(canvas: np.ndarray, word: str, top: int, post: bool, rng: np.random.Generator) -> np.ndarray:
    """A framed board with one word, anywhere across the image, on a post or hanging."""
    font = int(rng.choice(SIGN_FONTS))
    width = round(_font(font).getlength(word))
    left = int(rng.integers(4, max(SIZE - 4 - width, 4), endpoint=True))
    box = (left - 4, top, min(left + width + 4, SIZE), top + BOARD_HEIGHT)
    if post:
        middle = (box[0] + box[2]) // 2
        canvas[box[3] :, middle - 3 : middle + 3] = FRAME
    canvas[box[1] : box[3], box[0] : box[2]] = FRAME
    canvas[box[1] + 1 : box[3] - 1, box[0] + 1 : box[2] - 1] = BOARD
    return _lines(canvas, (word,), font, left, top + 4, 0, rng)


def render(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Draw `scene` as uint8[64, 64, 3], RGB. The same scene and generator state give the same bytes."""
    canvas = _background(scene.background, rng)
    if scene.kind == "sign":
        row = 4 + 8 * int(rng.integers(5)) + int(rng.integers(-1, 2))
        canvas = _sign(canvas, scene.words[0], row, True, rng)
    elif scene.kind == "sign+object":
        row = 2 + int(rng.integers(-1, 6))
        canvas = _sign(canvas, scene.words[0], row, False, rng)
        _objects(canvas, list(scene.things), "", row + BOARD_HEIGHT + 1, rng)
    elif scene.kind == "poster":
        pitch = 18 if len(scene.words) == 3 else 14
        left, top = 3 + int(rng.integers(0, 7)), 4 + int(rng.integers(0, 4))
        canvas = _lines(canvas, scene.words, POSTER_FONT, left, top, pitch, rng)
    else:
        _objects(canvas, list(scene.things) * scene.count, scene.relation, 0, rng)
    return np.clip(np.round(canvas), 0, 255).astype(np.uint8)
