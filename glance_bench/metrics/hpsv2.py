"""HPSv2.1: the preference score of Wu et al. 2023 (arXiv:2306.09341), the raw cosine of image and prompt.

The checkpoint ``HPS_v2.1_compressed.pt`` (hub xswu/HPSv2) in open_clip's ViT-H-14; the prompt as it is, cut at 77
tokens. The longest side is resized to 224, the rest is black, then comes CLIP's normalisation. Values are about
0.25 to 0.33: the official benchmark prints them times 100, this column never does.

Two activations are in use for the same weights, and their numbers differ:

* ``hpsv2.1[vit-h-14]``: plain GELU, as the official package (tgxs002/HPSv2, hpsv2/img_score.py). It resizes floats by
  torchvision without clamping what bicubic overshoots; torchvision before 0.17 did so without antialias, here it is on.
* ``hpsv2.1[vit-h-14-quickgelu]``: as pi-Flow (Lakonik/piFlow, lakonlab/evaluation/metrics.py, class HPSv2), which
  clamps.

Both run in float32, where the official code uses mixed precision and pi-Flow float16.
"""

from __future__ import annotations

from glance_bench.metrics.clip import ClipScore
from glance_bench.metrics.openclip import PublishedClip
from glance_bench.metrics.pixels import PAD, PAD_CLAMPED
from glance_bench.weights import find_weights

__all__ = ["vit_h_14", "vit_h_14_quickgelu"]


def vit_h_14() -> ClipScore:
    """``hpsv2.1[vit-h-14]``, a cosine. Raises MissingData without the converted weights."""
    file = find_weights("hpsv2.1")
    return _score(PublishedClip("vit-h-14", "ViT-H-14", file, PAD, prefix="state_dict/"))


def vit_h_14_quickgelu() -> ClipScore:
    """``hpsv2.1[vit-h-14-quickgelu]``, a cosine. Raises MissingData without the converted weights."""
    file = find_weights("hpsv2.1")
    model = PublishedClip("vit-h-14-quickgelu", "ViT-H-14-quickgelu", file, PAD_CLAMPED, prefix="state_dict/")
    return _score(model)


def _score(model: PublishedClip) -> ClipScore:
    return ClipScore(model, label="hpsv2.1", title="HPSv2.1")
