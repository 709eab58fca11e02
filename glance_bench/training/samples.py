"""What adapters are trained on: pairs of an image and its caption, or Gaussian noise."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import GlanceBenchError, UsageError

__all__ = ["Pair", "find_images", "noise_pair", "read_pair", "read_pairs"]

IMAGES = (".png", ".jpg", ".jpeg", ".webp")
NOISE = "noise"
LONGEST_CAPTION = 100_000  # characters; what an encoder cannot take is told by its tokenizer


@dataclass(frozen=True)
class Pair:
    """An image, uint8[H, W, 3] RGB, with its caption and where it came from."""

    image: np.ndarray
    caption: str
    source: str

    @property
    def digest(self) -> str:
        """sha256 of pixels and caption."""
        height, width, _ = self.image.shape
        return hashlib.sha256(
            f"{height} {width} {self.caption}\n".encode() + self.image.tobytes()
        ).hexdigest()


def read_pairs(sample: str, caption: str | None, resolution: tuple[int, int]) -> list[Pair]:
    """The pairs that ``--sample`` and ``--caption`` name, at ``resolution`` (height, width).

    ``sample`` is an image file, or a folder of images each with a caption beside it (fox.png, fox.txt), or ``noise``.
    ``caption`` is a text, or the path of a text file; a folder takes none. An image of another size is resized so
    that it covers the resolution (bicubic) and cut around its centre.
    Raises UsageError for an image without a caption and GlanceBenchError for one that cannot be read.
    """
    if sample == NOISE:
        return [noise_pair(resolution, _text(caption) if caption else "")]
    found = find_images(Path(sample), None if caption is None else _text(caption))
    return [read_pair(file, text, resolution) for file, text in found]


def find_images(sample: Path, caption: str | None) -> list[tuple[Path, str]]:
    """The image files that ``sample`` names, itself or all in that folder by name, each with its caption.

    Without a ``caption`` it is the .txt file beside the image. Raises UsageError where either is missing.
    """
    if sample.is_dir():
        if caption is not None:
            raise UsageError(
                f"sample {sample} is a folder: its captions are the .txt files beside the images"
            )
        files = sorted(file for file in sample.iterdir() if file.suffix.lower() in IMAGES)
        if not files:
            raise UsageError(f"sample {sample}: no images ({', '.join(IMAGES)}) in this folder")
        return [(file, _beside(file)) for file in files]
    if not sample.is_file():
        raise UsageError(f"sample {sample}: no such image or folder")
    return [(sample, _beside(sample) if caption is None else caption)]


def noise_pair(resolution: tuple[int, int], caption: str = "", seed: int = 0) -> Pair:
    """Gaussian noise as an image: mean 127.5, standard deviation 63.75, cut to 0..255."""
    pixels = np.random.default_rng(seed).normal(127.5, 63.75, (*resolution, 3))
    return Pair(np.clip(np.round(pixels), 0, 255).astype(np.uint8), caption, f"Gaussian noise, seed {seed}")


def _beside(image: Path) -> str:
    file = image.with_suffix(".txt")
    if not file.is_file():
        raise UsageError(f"image {image} has no caption: give --caption, or write {file.name} beside it")
    return _text(str(file))


def _text(caption: str) -> str:
    """The caption itself, or the contents of the file it names."""
    try:
        is_file = len(caption) < 4096 and Path(caption).is_file()
    except (OSError, ValueError):
        is_file = False
    if is_file:
        try:
            caption = Path(caption).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise UsageError(f"caption file {caption} is not UTF-8 text") from None
    caption = caption.strip()
    if not caption:
        raise UsageError("the caption is empty; an image needs a caption")
    if len(caption) > LONGEST_CAPTION:
        raise UsageError(f"the caption has {len(caption):,} characters, at most {LONGEST_CAPTION:,} are read")
    return caption


def read_pair(file: Path, caption: str, resolution: tuple[int, int], source: str = "") -> Pair:
    """One image file at ``resolution`` (height, width); ``source`` is the file's name unless given.

    Raises GlanceBenchError when it cannot be read.
    """
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise GlanceBenchError(
            f"image {file} cannot be read: {' '.join(str(error).split())[:200]}"
        ) from error
    return Pair(np.array(_covering(image, resolution)), caption, source or file.name)


def _covering(image: Image.Image, resolution: tuple[int, int]) -> Image.Image:
    height, width = resolution
    scale = max(width / image.width, height / image.height)
    if scale != 1:
        size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
