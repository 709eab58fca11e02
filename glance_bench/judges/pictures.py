"""Images on their way to a judge: their key, and the forms in which they are sent."""

from __future__ import annotations

import base64
import hashlib
import io

import numpy as np
import numpy.typing as npt

__all__ = ["JPEG_QUALITY", "as_jpeg", "data_url", "is_black", "pixel_key"]

JPEG_QUALITY = 75  # Pillow's default, which OneIG's scripts use

Image = npt.NDArray[np.uint8]  # [H, W, 3], RGB


def pixel_key(image: Image) -> str:
    """sha256 over "<height>x<width>x3" and the RGB bytes of uint8[H, W, 3], as hex: the same for every file format."""
    digest = hashlib.sha256("x".join(str(side) for side in image.shape).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def as_jpeg(image: Image) -> Image:
    """uint8[H, W, 3] as it comes back from a JPEG file of Pillow's default quality, same shape."""
    from PIL import Image as pillow

    buffer = io.BytesIO()
    pillow.fromarray(image).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    with pillow.open(buffer) as opened:
        return np.asarray(opened.convert("RGB"))


def is_black(image: Image) -> bool:
    """Whether every value is 0, which in OneIG's grids stands for a generation that failed."""
    return not image.any()


def data_url(image: Image) -> str:
    """uint8[H, W, 3] as a PNG in a ``data:`` URL."""
    from PIL import Image as pillow

    buffer = io.BytesIO()
    pillow.fromarray(image).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
