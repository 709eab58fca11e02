"""DINOv2 features for the Frechet distance that dgm-eval proposes: ``fd[dinov2-vitl14]``.

Stein et al. 2023 (arXiv 2306.04675), official code layer6ai-labs/dgm-eval: ViT-L/14, the class token after the last
normalisation (1024 numbers), images resized straight to 224 x 224 by Pillow's bicubic without keeping their shape,
then ImageNet's mean and deviation. The network is transformers' port, which interpolates position embeddings to 224
pixels in its own way; values have not been compared with the original code's on the published weights.
torch-fidelity's DINOv2 resizes as TensorFlow 1 did: not comparable.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from glance_bench.digests import file_digests
from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.base import Features
from glance_bench.metrics.references import Picture
from glance_bench.weights import find_weights

__all__ = ["WEIGHTS_NAME", "DinoV2"]

WEIGHTS_NAME = "dinov2-large"
SIDE = 224
BATCH = 16
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)


class DinoV2:
    """Class tokens float32[N, D] of a Dinov2Model in a folder of transformers; an ``Extractor``.

    Nothing is loaded before the first image; float32 on the CPU. Raises MissingData where the published weights are
    not on this machine, and GlanceBenchError for a folder without safetensors.
    """

    name = "dinov2-vitl14"

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = find_weights(WEIGHTS_NAME) if folder is None else folder
        self._weights = self._folder / "model.safetensors"
        if not self._weights.is_file():
            raise GlanceBenchError(f"the weights of {self.name} are missing: no {self._weights}")

    @cached_property
    def recipe(self) -> str:
        (digest,) = file_digests([self._weights])
        return f"{self.name}: weights {digest[:12]}, Pillow bicubic {SIDE} x {SIDE}, class token, float32"

    @cached_property
    def _model(self) -> Any:
        from transformers import Dinov2Model

        return Dinov2Model.from_pretrained(self._folder, local_files_only=True, use_safetensors=True).eval()

    def features(self, images: Sequence[Picture]) -> Features:
        """See ``Extractor.features``."""
        import torch

        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                pixels = np.stack([_prepared(image) for image in images[start : start + BATCH]])
                parts.append(self._model(torch.from_numpy(pixels)).last_hidden_state[:, 0].float().numpy())
        return np.concatenate(parts)


def _prepared(image: Picture) -> Features:
    """uint8[H, W, 3] to float32[3, 224, 224]."""
    from PIL import Image

    small = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
    scaled: Features = (small / np.float32(255) - MEAN) / DEVIATION
    return scaled.transpose(2, 0, 1)
