"""Pixels at the border: the run's 8-bit RGB PNG files, grids of them, and pictures that others made."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from glance_bench.errors import GlanceBenchError, UsageError

__all__ = ["decode", "grid", "is_rgb_png", "jpeg", "png", "size_of", "split", "webp"]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def png(picture: Image.Image) -> bytes:
    """PNG bytes, lightly compressed as the run's own images are."""
    return _encoded(picture, "PNG", compress_level=1)


def webp(picture: Image.Image) -> bytes:
    """Lossless WebP bytes, so that the scorer's own JPEG step is the only loss.

    Raises UsageError when a side is over 16383 pixels, the most that the format can hold.
    """
    if max(picture.size) > 16383:
        raise UsageError(f"a WebP file holds at most 16383 pixels a side, this grid has {max(picture.size)}")
    return _encoded(picture, "WEBP", lossless=True, method=0)


def jpeg(picture: Image.Image) -> bytes:
    """JPEG bytes at Pillow's defaults (quality 75, 4:2:0), which is what ``Image.save("00000.jpg")`` writes."""
    return _encoded(picture, "JPEG")


def _encoded(picture: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def grid(pictures: Sequence[Image.Image]) -> Image.Image:
    """One picture, or four of one size as a 2x2 grid: top left, top right, bottom left, bottom right."""
    if len(pictures) == 1:
        return pictures[0]
    width, height = pictures[0].size
    whole = Image.new("RGB", (2 * width, 2 * height))
    for place, picture in enumerate(pictures):
        whole.paste(picture, (place % 2 * width, place // 2 * height))
    return whole


def split(picture: Image.Image) -> list[Image.Image]:
    """The four quarters of a 2x2 grid, in the order of ``grid``."""
    width, height = picture.width // 2, picture.height // 2
    corners = [(x, y) for y in (0, height) for x in (0, width)]
    return [picture.crop((x, y, x + width, y + height)) for x, y in corners]


def is_rgb_png(data: bytes) -> bool:
    """Whether ``data`` is a PNG with 8 bits a channel, three channels and no palette (its header says so)."""
    return data.startswith(PNG_MAGIC) and data[24:26] == b"\x08\x02"


def size_of(path: Path) -> tuple[int, int]:
    """(width, height) from a picture's header. Raises GlanceBenchError naming a file that is no picture."""
    try:
        with _quiet(), Image.open(path) as opened:
            return opened.size
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
        raise GlanceBenchError(f"{path}: is not a picture that can be read ({error})") from error


def decode(path: Path, data: bytes) -> tuple[Image.Image, str]:
    """The pixels of a picture as 8-bit RGB, and in words what had to be done to get them ("" for nothing).

    Grayscale and palettes are spread over three channels and an alpha channel that is opaque all over is
    left out, both without loss. Raises GlanceBenchError naming the file when it is truncated, animated, has
    more than 8 bits a channel, is transparent somewhere, is turned by its EXIF orientation, or has other
    channels than these.
    """
    try:
        with _quiet(), Image.open(io.BytesIO(data)) as opened:
            _refuse(path, opened, data)
            opened.load()
            kind = str(opened.format)
            alpha = opened.mode in ("RGBA", "LA", "PA") or "transparency" in opened.info
            if alpha and opened.convert("RGBA").getchannel("A").getextrema() != (255, 255):
                raise GlanceBenchError(f"{path}: has transparent pixels; put it on a background first")
            picture = opened.convert("RGB")
            mode = opened.mode
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise GlanceBenchError(f"{path}: cannot be decoded, it is truncated or damaged ({error})") from error
    done = [] if kind == "PNG" else [f"{kind} decoded"]
    if alpha:
        done.append("opaque alpha channel left out")
    elif mode in ("L", "1"):
        done.append("grayscale spread over three channels")
    elif mode == "P":
        done.append("palette applied")
    return picture, ", ".join(done)


def _refuse(path: Path, opened: Image.Image, data: bytes) -> None:
    if getattr(opened, "n_frames", 1) > 1:
        raise GlanceBenchError(f"{path}: is animated; one picture a file is needed")
    if (opened.format == "PNG" and data[24] == 16) or opened.mode.startswith(("I", "F")):
        raise GlanceBenchError(f"{path}: has more than 8 bits a channel; save it with 8")
    if opened.mode not in ("RGB", "RGBA", "L", "LA", "P", "PA", "1"):
        raise GlanceBenchError(f"{path}: has channels {opened.mode}; RGB or grayscale is needed")
    if opened.getexif().get(0x0112, 1) != 1:
        raise GlanceBenchError(f"{path}: is turned by its EXIF orientation; save it upright")


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow warns of large pictures and odd chunks; what is wrong is raised, the rest needs no reader."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
