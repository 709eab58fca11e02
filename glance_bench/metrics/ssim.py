"""SSIM: structural similarity to the reference's image from the same noise (Wang et al. 2004, eq. 13).

Means, variances and covariance under an 11 x 11 Gaussian of sigma 1.5, at every place where it lies inside the image
whole, as the authors' code has it; K1 = 0.01, K2 = 0.03, range 255; the mean over places and over the three channels.
torchmetrics also counts places at the border, on mirrored pixels, which moves values by about 0.01: so not used.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from glance_bench.metrics.base import Column, Images, Row
from glance_bench.metrics.psnr import check_pairs

__all__ = ["Ssim"]

Floats = npt.NDArray[np.float64]

WINDOW = 11  # pixels
SIGMA = 1.5
LUMINANCE, CONTRAST = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class Ssim:
    """``ssim`` in [-1, 1]; 1 for equal images. A ``PairMetric``."""

    name = "ssim"
    kind: Literal["pair"] = "pair"
    recipe = "ssim: RGB, 8 bit, range 255, Gaussian 11 x 11 sigma 1.5 inside the image, mean of channels"
    columns = (Column("ssim", "SSIM", "higher", "likeness to the reference's image from the same noise"),)

    def score_pairs(self, images: Images, references: Images) -> list[Row]:
        """See ``PairMetric.score_pairs``. Raises ValueError for images smaller than the window."""
        check_pairs(images, references)
        if min(images.shape[1:3]) < WINDOW:
            raise ValueError(f"images of shape {images.shape} are smaller than the window of {WINDOW} pixels")
        return [{"ssim": _ssim(own, other)} for own, other in zip(images, references, strict=True)]


def _ssim(image: Images, reference: Images) -> float:
    """Of two uint8[H, W, 3]."""
    a, b = image.astype(np.float64), reference.astype(np.float64)
    mean_a, mean_b = _local_mean(a), _local_mean(b)
    variances = _local_mean(a * a + b * b) - mean_a**2 - mean_b**2
    covariance = _local_mean(a * b) - mean_a * mean_b
    upper = (2 * mean_a * mean_b + LUMINANCE) * (2 * covariance + CONTRAST)
    lower = (mean_a**2 + mean_b**2 + LUMINANCE) * (variances + CONTRAST)
    return float((upper / lower).mean())


def _local_mean(x: Floats) -> Floats:
    """float64[H, W, 3] to float64[H - 10, W - 10, 3]; the Gaussian is applied along one side, then the other."""
    from scipy.ndimage import correlate1d

    half = WINDOW // 2
    window = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * SIGMA**2))
    window /= window.sum()
    down: Floats = correlate1d(x, window, axis=0)[half:-half]
    return correlate1d(down, window, axis=1)[:, half:-half]
