"""LPIPS: perceptual distance to the reference's image from the same noise (Zhang et al. 2018, arXiv:1801.03924).

Version 0.1 of richzhang/PerceptualSimilarity at the images' own size: torchvision's AlexNet or VGG16, unit-normalised
activations of five layers, squared differences weighted by the trained heads, mean over places, sum over layers.
torchmetrics carries the network and the heads. Its public class would download the backbone as a pickle, so its inner
class is filled with converted weights instead.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from glance_bench.digests import file_digests
from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.base import Column, Images, Row
from glance_bench.metrics.openclip import exact_inference, inference_device
from glance_bench.metrics.psnr import check_pairs
from glance_bench.weights import find_weights

__all__ = ["Lpips", "alex", "vgg"]

BATCH = 8


class Lpips:
    """``lpips[alex]`` or ``lpips[vgg]``, 0 or more; 0 for equal images. A ``PairMetric``.

    ``backbone`` is a safetensors file of torchvision's own names ("features.0.weight", ...).
    """

    kind: Literal["pair"] = "pair"

    def __init__(self, net: Literal["alex", "vgg"], backbone: Path) -> None:
        self._net = net
        self._backbone = backbone
        self.name = f"lpips[{net}]"
        what = f"perceptual distance to the reference's image from the same noise, {net}"
        self.columns = (Column(self.name, "LPIPS", "lower", what),)

    @cached_property
    def recipe(self) -> str:
        digest = file_digests([self._backbone])[0][:12]
        return f"{self.name}: version 0.1, torchmetrics heads, backbone {digest}, full size, float32"

    def score_pairs(self, images: Images, references: Images) -> list[Row]:
        """See ``PairMetric.score_pairs``."""
        import torch

        check_pairs(images, references)
        rows: list[Row] = []
        with exact_inference():
            for start in range(0, len(images), BATCH):
                pair = (x[start : start + BATCH].transpose(0, 3, 1, 2) for x in (images, references))
                own, other = (
                    torch.from_numpy(np.ascontiguousarray(x)).to(inference_device()).float() / 127.5 - 1
                    for x in pair
                )
                rows += [{self.name: value} for value in self._loaded(own, other).flatten().tolist()]
        return rows

    @cached_property
    def _loaded(self) -> Any:
        """Raises GlanceBenchError when the file does not hold the backbone."""
        from safetensors.torch import load_file
        from torchmetrics.functional.image.lpips import _LPIPS

        model = _LPIPS(net=self._net, pnet_rand=True)  # reads the heads, which lie in torchmetrics' wheel
        weights = load_file(self._backbone)
        try:
            state = {name: weights[f"features.{name.partition('.')[2]}"] for name in model.net.state_dict()}
            model.net.load_state_dict(state)
        except (KeyError, RuntimeError) as error:
            raise GlanceBenchError(
                f"{self._backbone} does not hold torchvision's {self._net}: {error}"
            ) from error
        return model.eval().to(inference_device())


def alex() -> Lpips:
    """``lpips[alex]``, the authors' default. Raises MissingData without the converted backbone."""
    return Lpips("alex", find_weights("torchvision-alexnet"))


def vgg() -> Lpips:
    """``lpips[vgg]``. Raises MissingData without the converted backbone."""
    return Lpips("vgg", find_weights("torchvision-vgg16"))
