"""FID's Inception features under five ways of getting an image to 299 x 299, and the crop of the patch FID.

Four packages give four numbers for the same images, because they resize differently. Each way has its own name:

| name in the brackets | to 299 x 299 | then | the same as |
|---|---|---|---|
| ``inception-2015-12-05,bicubic-aa`` | torch bicubic with antialias, clamped | truncated to uint8 | pi-Flow |
| ``inception-2015-12-05,clean-fid`` | Pillow bicubic, each channel as float32, clamped | - | clean-fid ``clean`` |
| ``inception-2015-12-05,torch-fidelity`` | TensorFlow 1 bilinear, no antialias | - | torch-fidelity 0.4 |
| ``inception-2015-12-05,torchmetrics`` | torch bilinear with antialias | - | torchmetrics 1.9 as it comes |
| ``inception-2015-12-05,pytorch-fid`` | torch bilinear, no antialias | / 255 * 2 - 1 | pytorch-fid |
| ``inception-2015-12-05,crop`` | centre crop of the full-resolution image | uint8 | pi-Flow's patch FID |

All but pytorch-fid's feed (pixel - 128) / 128. torchmetrics with ``antialias=False`` is torch-fidelity's, clean-fid's
``legacy_pytorch`` is pytorch-fid's. The weights are the port of the TensorFlow graph that pytorch-fid publishes; the
TorchScript file that clean-fid and pi-Flow use is another port of the same graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glance_bench.digests import file_digests
from glance_bench.errors import GlanceBenchError, UsageError, near_misses
from glance_bench.metrics.base import Features
from glance_bench.metrics.references import Picture
from glance_bench.weights import find_weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PREPARATIONS", "WEIGHTS_NAME", "Inception", "Preparation"]

WEIGHTS_NAME = "inception-2015-12-05"
SIDE = 299
BATCH = 16


@dataclass(frozen=True)
class Preparation:
    """One row of the table: ``of`` takes uint8[H, W, 3] and gives float32[3, 299, 299] as the network wants it."""

    statement: str
    of: Callable[[Picture], Tensor]


class Inception:
    """The pool3 features float32[N, 2048] of images in one of the preparations; an ``Extractor``.

    ``weights`` overrides the converted published file (tests, benchmarks). Nothing is loaded before the first image.
    Runs in float32 on the CPU, so that scores do not depend on the machine's accelerator. Raises MissingData where
    the weights are not on this machine, UsageError for an unknown preparation.
    """

    def __init__(self, preparation: str, weights: Path | None = None) -> None:
        if preparation not in PREPARATIONS:
            raise UsageError(
                f"unknown preparation {preparation!r} of {WEIGHTS_NAME}; {near_misses(preparation, PREPARATIONS)}"
            )
        self._weights = find_weights(WEIGHTS_NAME) if weights is None else weights
        self._preparation = PREPARATIONS[preparation]
        self.name = f"{WEIGHTS_NAME},{preparation}"

    @cached_property
    def recipe(self) -> str:
        (digest,) = file_digests([self._weights])
        return f"{self.name}: weights {digest[:12]}, {self._preparation.statement}, pool3 features, float32"

    def features(self, images: Sequence[Picture]) -> Features:
        """See ``Extractor.features``. Raises GlanceBenchError for an image smaller than the crop."""
        import torch

        network = _network(self._weights)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                batch = torch.stack([self._preparation.of(image) for image in images[start : start + BATCH]])
                parts.append(network(batch.contiguous(memory_format=torch.channels_last)).numpy())
        return np.concatenate(parts)


@cache
def _network(weights: Path) -> Any:
    from glance_bench.metrics.inception_network import load_network

    return load_network(weights)


def _bicubic_aa(image: Picture) -> Tensor:
    scaled = _resized(_planes(image) / 127.5 - 1, "bicubic", antialias=True).clamp_(-1, 1)
    return _centred(scaled.mul_(127.5).add_(128).clamp_(0, 255).trunc_())


def _clean_fid(image: Picture) -> Tensor:
    import torch
    from PIL import Image

    planes = [
        Image.fromarray(image[:, :, channel].astype(np.float32)).resize(
            (SIDE, SIDE), Image.Resampling.BICUBIC
        )
        for channel in range(3)
    ]
    return _centred(torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]).clip(0, 255)))


def _torch_fidelity(image: Picture) -> Tensor:
    """Samples at i * size / 299, the left edge of each cell and not its centre, as TensorFlow 1 did."""
    import torch

    rows, columns = (_positions(size) for size in image.shape[:2])
    low, high, part = columns
    wide = image[:, low].astype(np.float32)
    wide += (image[:, high] - wide) * part[None, :, None]
    low, high, part = rows
    tall = wide[low] + (wide[high] - wide[low]) * part[:, None, None]
    return _centred(torch.from_numpy(tall).permute(2, 0, 1))


def _positions(size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """For 299 samples of ``size`` cells: the cell at or before each, the next one, and how far between."""
    place = np.arange(SIDE, dtype=np.float32) * np.float32(size / SIDE)
    low = place.astype(np.int64)
    return low, np.minimum(low + 1, size - 1), place - low.astype(np.float32)


def _torchmetrics(image: Picture) -> Tensor:
    return _centred(_resized(_planes(image), "bilinear", antialias=True))


def _pytorch_fid(image: Picture) -> Tensor:
    return 2 * _resized(_planes(image) / 255, "bilinear", antialias=False) - 1


def _crop(image: Picture) -> Tensor:
    height, width, _ = image.shape
    if min(height, width) < SIDE:
        raise GlanceBenchError(f"an image of {height} x {width} pixels has no {SIDE} x {SIDE} crop")
    top, left = (height - SIDE) // 2, (width - SIDE) // 2
    return _centred(_planes(image[top : top + SIDE, left : left + SIDE]))


def _planes(image: Picture) -> Tensor:
    """float32[3, H, W], 0 to 255."""
    import torch

    return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)


def _resized(planes: Tensor, mode: str, *, antialias: bool) -> Tensor:
    from torch.nn.functional import interpolate

    return interpolate(planes[None], (SIDE, SIDE), mode=mode, align_corners=False, antialias=antialias)[0]


def _centred(planes: Tensor) -> Tensor:
    return (planes - 128) / 128


PREPARATIONS = {
    "bicubic-aa": Preparation("torch bicubic 299 with antialias, clamped, truncated to uint8", _bicubic_aa),
    "clean-fid": Preparation("Pillow bicubic 299 on float32 channels, clamped", _clean_fid),
    "torch-fidelity": Preparation("TensorFlow 1 bilinear 299 without antialias", _torch_fidelity),
    "torchmetrics": Preparation("torch bilinear 299 with antialias", _torchmetrics),
    "pytorch-fid": Preparation("torch bilinear 299 without antialias, scaled to [-1, 1]", _pytorch_fid),
    "crop": Preparation("299 x 299 centre crop of the full-resolution image", _crop),
}
