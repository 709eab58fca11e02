"""The image side of a CLIP checkpoint in transformers' layout, for encoders that are published that way."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.base import Images
from glance_bench.metrics.openclip import CLIP_MEAN, CLIP_STD, exact_inference, inference_device, unit_length
from glance_bench.metrics.pixels import PIL_CENTRE_CROP

__all__ = ["VisionTower"]

BATCH = 64


class VisionTower:
    """transformers' CLIPVisionModelWithProjection from a folder with config.json and safetensors.

    The folder may hold a whole CLIP, or one with another text side: only the image side is read, by transformers' own
    class and without any code of the repository. Images come as CLIPImageProcessor of transformers 4 prepares them.
    Runs in float32, on the GPU where there is one.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder

    @cached_property
    def recipe(self) -> str:
        from glance_bench.models.checkpoints import checkpoint_digest

        digest = checkpoint_digest(self.folder).removeprefix("sha256:")[:12]
        return f"{self.name} {digest}, {PIL_CENTRE_CROP.recipe}, float32"

    def encode_images(self, images: Images) -> npt.NDArray[np.float32]:
        """uint8[N >= 1, H, W, 3] to float32[N, D]: projected embeddings of unit length."""
        import torch

        model = self._loaded
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
        parts = []
        with exact_inference():
            for start in range(0, len(images), BATCH):
                pixels = PIL_CENTRE_CROP.apply(images[start : start + BATCH], model.config.image_size)
                made = model(pixel_values=((pixels - mean) / std).to(inference_device()))
                parts.append(made.image_embeds.float().cpu().numpy())
        return unit_length(np.concatenate(parts))

    @cached_property
    def _loaded(self) -> Any:
        """Raises GlanceBenchError when the folder does not hold the whole image side."""
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        try:
            whole = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
            vision = dict(whole.get("vision_config") or whole)  # of a whole CLIP, or of the image side alone
            vision["projection_dim"] = whole.get("projection_dim", vision.get("projection_dim", 512))
            model, info = CLIPVisionModelWithProjection.from_pretrained(
                self.folder,
                config=CLIPVisionConfig(
                    **{k: v for k, v in vision.items() if k not in ("model_type", "auto_map")}
                ),
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                dtype="float32",
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise GlanceBenchError(f"{self.name}: {self.folder} cannot be loaded: {error}") from error
        if info["missing_keys"]:  # transformers would leave them random
            missing = sorted(info["missing_keys"])[0]
            raise GlanceBenchError(f"{self.name}: {self.folder} lacks weights, such as {missing}")
        return model.eval().to(inference_device())
