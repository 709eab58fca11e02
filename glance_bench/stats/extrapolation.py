"""A statistic whose bias falls as 1/N, read at an infinite N."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .intervals import checked

__all__ = ["infinity"]


def infinity(sizes: npt.ArrayLike, values: npt.ArrayLike) -> float:
    """The value at 1/N = 0 of the least-squares line through ``values`` (float[K]) over 1 / ``sizes``.

    ``sizes`` are numbers of images, > 0, ``values`` the statistic on as many: v(N) = v_inf + c / N. For Frechet
    distances it is FID-infinity (Chong and Forsyth 2020, arXiv 1911.07023). The result may be slightly
    negative though no distance is. Raises ValueError unless both are finite, of one length, and at least two
    sizes differ.
    """
    n, v = checked(sizes, "sizes"), checked(values, "values")
    if len(n) != len(v):
        raise ValueError(f"a value for each size is needed: {len(n)} sizes, {len(v)} values")
    if n.min() <= 0 or n.min() == n.max():
        raise ValueError("sizes must be above zero, at least two of them different")
    return float(np.polyfit(1 / n, v, 1)[1])
