"""Draws scenes of the testbed's world as 64 px images, with Pillow and the DejaVu fonts that matplotlib ships.

What a caption leaves open (exact places, the horizon, the light) is drawn from the generator that `render` is
given, so one scene has many images and a diffusion model has a distribution to learn.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from glance_bench.testbed.scenes import COLOURS, GRADIENTS, SIZES, Scene, Thing

SIZE = 64
COUNT_EXTENT = 15  # pixels, for objects whose size the caption does not state
INK = (26, 26, 34)
BOARD = (252, 250, 244)
FRAME = (96, 84, 76)
SIGN_FONT, POSTER_FONT = 18, 13  # pixels; the advance of the bold mono face is 0.602 of it
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
        horizon = 42 + rng.uniform(-3, 3) + waves * np.sin(x / 64 * 2 * math.pi + rng.uniform(0, 2 * math.pi))
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


def _paint(canvas: np.ndarray, thing: Thing, x: float, y: float) -> None:
    """Draw `thing` centred at about (x, y), kept inside the image."""
    extent = SIZES.get(thing.size, COUNT_EXTENT)
    cover = outline(thing.shape, extent)
    side = cover.shape[0]
    left = int(np.clip(round(x - side / 2), 0, SIZE - side))
    top = int(np.clip(round(y - side / 2), 0, SIZE - side))
    window = canvas[top : top + side, left : left + side]
    window += cover[..., None] * (np.asarray(COLOURS[thing.colour], float) - window)


def _lines(
    canvas: np.ndarray, words: tuple[str, ...], font: int, left: int, top: int, pitch: int
) -> np.ndarray:
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for row, word in enumerate(words):
        draw.text((left, top + row * pitch), word, font=_font(font), fill=INK, anchor="lt")
    return np.asarray(image, float)


def _sign(canvas: np.ndarray, word: str, top: int, post: bool, rng: np.random.Generator) -> np.ndarray:
    """A framed board with one word, centred up to a jitter of one pixel."""
    width = round(_font(SIGN_FONT).getlength(word))
    left = (SIZE - width) // 2 + int(rng.integers(-1, 2))
    box = (max(left - 4, 0), top, min(left + width + 4, SIZE), top + 22)
    if post:
        canvas[box[3] :, 29:35] = FRAME
    canvas[box[1] : box[3], box[0] : box[2]] = FRAME
    canvas[box[1] + 1 : box[3] - 1, box[0] + 1 : box[2] - 1] = BOARD
    return _lines(canvas, (word,), SIGN_FONT, left, top + 4, 0)


def render(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Draw `scene` as uint8[64, 64, 3], RGB. The same scene and generator state give the same bytes."""
    canvas = _background(scene.background, rng)

    def near(centre: float, spread: float) -> float:
        return centre + rng.uniform(-spread, spread)

    if scene.kind == "object":
        _paint(canvas, scene.things[0], near(32, 8), near(32, 8))
    elif scene.kind == "pair":
        ahead, behind = near(16, 3), near(48, 3)
        if scene.relation in ("right of", "below"):
            ahead, behind = behind, ahead
        for thing, along in zip(scene.things, (ahead, behind), strict=True):
            across = near(32, 5)
            flat = scene.relation in ("left of", "right of")
            _paint(canvas, thing, *((along, across) if flat else (across, along)))
    elif scene.kind == "count":
        columns = (18, 46) if scene.count == 2 else (11, 32, 53)
        for column in columns:
            _paint(canvas, scene.things[0], near(column, 1.5), near(32, 8))
    elif scene.kind == "sign":
        canvas = _sign(canvas, scene.words[0], 16 + int(rng.integers(-1, 2)), True, rng)
    elif scene.kind == "sign+object":
        canvas = _sign(canvas, scene.words[0], 4 + int(rng.integers(-1, 2)), False, rng)
        _paint(canvas, scene.things[0], near(32, 8), near(47, 3))
    elif scene.kind == "poster":
        pitch = 18 if len(scene.words) == 3 else 14
        left, top = 4 + int(rng.integers(0, 3)), 6 if len(scene.words) == 3 else 5
        canvas = _lines(canvas, scene.words, POSTER_FONT, left, top, pitch)
    return np.clip(np.round(canvas), 0, 255).astype(np.uint8)
