"""PSNR: how near an image is, pixel by pixel, to the reference's from the same noise.

    10 log10(255^2 / mean squared difference)

over all pixels and the three channels of 8-bit images, each image by itself. Equal images would be infinitely near,
and one such image would hide all others in the mean: values stop at 100 dB.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from glance_bench.metrics.base import Column, Images, Row

__all__ = ["Psnr", "check_pairs"]

CAP = 100.0  # dB


class Psnr:
    """``psnr`` in dB, in [0, 100]. A ``PairMetric``."""

    name = "psnr"
    kind: Literal["pair"] = "pair"
    recipe = "psnr: RGB, 8 bit, range 255, each image by itself, at most 100 dB"
    columns = (
        Column("psnr", "PSNR", "higher", "dB to the reference's image from the same noise", decimals=2),
    )

    def score_pairs(self, images: Images, references: Images) -> list[Row]:
        """See ``PairMetric.score_pairs``."""
        check_pairs(images, references)
        rows: list[Row] = []
        for image, reference in zip(images, references, strict=True):
            error = float(np.mean(np.square(image.astype(np.float64) - reference)))
            rows.append({"psnr": min(CAP, 10 * float(np.log10(255**2 / error))) if error else CAP})
        return rows


def check_pairs(images: Images, references: Images) -> None:
    """Raises ValueError when two sets of images are not of one shape."""
    if images.shape != references.shape:
        raise ValueError(
            f"images of shape {images.shape} cannot be paired with references of {references.shape}"
        )
