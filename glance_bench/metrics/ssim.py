"""SSIM: structural similarity to the reference's image from the same noise (Wang et al. 2004, eq. 13).

Means, variances and covariance under an 11 x 11 Gaussian of sigma 1.5, where it lies inside the image whole;
K1 = 0.01, K2 = 0.03, range 255; the mean over places and over the three channels. Computed by torchmetrics in float64.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from glance_bench.metrics.base import Column, Images, Row
from glance_bench.metrics.psnr import check_pairs

__all__ = ["Ssim"]

WINDOW = 11  # pixels


class Ssim:
    """``ssim`` in [-1, 1]; 1 for equal images. A ``PairMetric``."""

    name = "ssim"
    kind: Literal["pair"] = "pair"
    recipe = "ssim: RGB, 8 bit, range 255, Gaussian 11 x 11 sigma 1.5 inside the image, mean of channels"
    columns = (Column("ssim", "SSIM", "higher", "likeness to the reference's image from the same noise"),)

    def score_pairs(self, images: Images, references: Images) -> list[Row]:
        """See ``PairMetric.score_pairs``. Raises ValueError for images smaller than the window."""
        import torch
        from torchmetrics.functional.image import structural_similarity_index_measure

        check_pairs(images, references)
        if min(images.shape[1:3]) < WINDOW:
            raise ValueError(f"images of shape {images.shape} are smaller than the window of {WINDOW} pixels")
        rows: list[Row] = []
        for pair in zip(images, references, strict=True):
            own, other = (torch.from_numpy(x.transpose(2, 0, 1).astype(np.float64))[None] for x in pair)
            value = structural_similarity_index_measure(own, other, sigma=1.5, data_range=255.0)
            rows.append({"ssim": float(value)})
        return rows
