"""How OneIG-Bench's scorers see images: cut from a grid, black ones dropped, the rest through a JPEG file.

A black cell stands for a generation that failed. Every other cell is saved as JPEG at Pillow's default quality before
any network sees it (OneIG-Bench/OneIG-Benchmark, scripts/utils/utils.py).
"""

from __future__ import annotations

import numpy as np

from glance_bench.judges.pictures import as_jpeg, is_black
from glance_bench.metrics.base import Images

__all__ = ["official_cells"]


def official_cells(images: Images) -> tuple[Images, list[int]]:
    """uint8[N, H, W, 3] to uint8[M, H, W, 3], M <= N, as they come back from JPEG, and which of the N they are."""
    kept = [i for i, image in enumerate(images) if not is_black(image)]
    made = np.empty((len(kept), *images.shape[1:]), np.uint8)
    for place, i in zip(made, kept, strict=True):
        place[:] = as_jpeg(images[i])
    return made, kept
