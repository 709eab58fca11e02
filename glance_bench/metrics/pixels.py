"""How images become what a network sees: resized, cropped or padded to a square, as numbers in [0, 1].

Resizing decides the second digit of many scores, so each way has a name that recipes carry. All take
uint8[N, H, W, 3] and a side S and give torch float32[N, 3, S, S]; the network's own mean and deviation come after.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from glance_bench.metrics.base import Images

__all__ = [
    "CENTRE_CROP",
    "CROP_THEN_PIL",
    "PAD",
    "PAD_CLAMPED",
    "PIL_CENTRE_CROP",
    "PIL_SQUASH",
    "Preparation",
]

CHUNK = 8  # images resized at once: float32 copies of 1024 px images are 12 MB each


@dataclass(frozen=True)
class Preparation:
    """``recipe`` says what ``apply`` does to uint8[N, H, W, 3] on the way to float32[N, 3, S, S]."""

    recipe: str
    each: Callable[[Any, int], Any]

    def apply(self, images: Images, side: int) -> Any:
        import torch

        return torch.cat(
            [self.each(images[start : start + CHUNK], side) for start in range(0, len(images), CHUNK)]
        )


def _floats(images: Images) -> Any:
    """torch float32[N, 3, H, W] in [0, 1]."""
    import numpy as np
    import torch

    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 255


def _bicubic(pixels: Any, height: int, width: int, clamp: bool) -> Any:
    import torch

    if tuple(pixels.shape[2:]) == (height, width):
        return pixels
    made = torch.nn.functional.interpolate(
        pixels, size=(height, width), mode="bicubic", align_corners=False, antialias=True
    )
    return made.clamp(0, 1) if clamp else made


def _centre_crop(images: Images, side: int) -> Any:
    height, width = images.shape[1:3]
    scale = side / min(height, width)
    height, width = (max(1, round(edge * scale)) for edge in (height, width))
    pixels = _bicubic(_floats(images), height, width, clamp=True)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[:, :, top : top + side, left : left + side]


def _pad(images: Images, side: int, clamp: bool) -> Any:
    import torch

    height, width = images.shape[1:3]
    scale = side / max(height, width)
    height, width = (max(1, round(edge * scale)) for edge in (height, width))
    pixels = _bicubic(_floats(images), height, width, clamp)
    down, right = side - height, side - width
    return torch.nn.functional.pad(pixels, (right // 2, right - right // 2, down // 2, down - down // 2))


def _crop_then_pil(images: Images, side: int) -> Any:
    import numpy as np
    from PIL import Image

    height, width = images.shape[1:3]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    squares = images[:, top : top + edge, left : left + edge]
    made = [Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC) for square in squares]
    return _floats(np.stack([np.asarray(image) for image in made]))


def _pil_centre_crop(images: Images, side: int) -> Any:
    import numpy as np
    from PIL import Image
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    transform = Compose([Resize(side, interpolation=InterpolationMode.BICUBIC), CenterCrop(side)])
    return _floats(np.stack([np.asarray(transform(Image.fromarray(image))) for image in images]))


def _pil_squash(images: Images, side: int) -> Any:
    import numpy as np
    from PIL import Image

    bicubic = Image.Resampling.BICUBIC
    return _floats(
        np.stack([np.asarray(Image.fromarray(image).resize((side, side), bicubic)) for image in images])
    )


CENTRE_CROP = Preparation(
    "shorter side resized on floats, bicubic with antialias, clamped, centre crop", _centre_crop
)
PAD = Preparation(
    "longest side resized on floats, bicubic with antialias, not clamped, padded with black",
    lambda images, side: _pad(images, side, clamp=False),
)
PAD_CLAMPED = Preparation(
    "longest side resized on floats, bicubic with antialias, clamped, padded with black",
    lambda images, side: _pad(images, side, clamp=True),
)
CROP_THEN_PIL = Preparation("largest centre square, then resized by PIL, bicubic, 8 bit", _crop_then_pil)
PIL_CENTRE_CROP = Preparation("shorter side resized by PIL, bicubic, 8 bit, centre crop", _pil_centre_crop)
PIL_SQUASH = Preparation("resized to a square by PIL whatever its shape, bicubic, 8 bit", _pil_squash)
