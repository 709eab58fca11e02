"""A CLIP model in a local folder, loaded by open_clip, for CLIP scores and Frechet features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.base import Images

__all__ = ["OpenClip", "testbed_clip_model", "unit_length"]

BATCH = 64


class OpenClip:
    """A folder with ``open_clip_config.json``, safetensors weights and, if the config names one, a tokenizer.

    Nothing is loaded until something is encoded; the folder's absence is noticed at once. Runs in float32 on
    the CPU, so that scores do not depend on the machine's accelerator. Raises GlanceBenchError when the
    folder is absent.
    """

    def __init__(self, name: str, folder: Path) -> None:
        if not (folder / "open_clip_config.json").is_file():
            raise GlanceBenchError(f"the weights of {name} are missing: no open_clip_config.json in {folder}")
        self.name = name
        self.folder = folder

    @cached_property
    def digest(self) -> str:
        """The first 12 hex digits of the checkpoint's digest. No torch."""
        from glance_bench.models.checkpoints import checkpoint_digest

        return checkpoint_digest(self.folder).removeprefix("sha256:")[:12]

    @property
    def image_recipe(self) -> str:
        """The recipe of ``encode_images``."""
        return f"{self.name}: open_clip weights {self.digest}, raw image embedding, float32"

    def encode_images(self, images: Images) -> npt.NDArray[np.float32]:
        """uint8[N >= 1, H, W, 3] to float32[N, D]: image embeddings as projected, not normalised."""
        import torch
        from PIL import Image

        model, transform, _ = self._loaded
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                batch = images[start : start + BATCH]
                pixels = torch.stack([transform(Image.fromarray(image)) for image in batch])
                parts.append(model.encode_image(pixels).float().numpy())
        return np.concatenate(parts)

    def encode_texts(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """float32[N, D] text embeddings, not normalised, and bool[N]: the text was longer than the context."""
        import torch

        model, _, tokenizer = self._loaded
        parts = []
        with torch.inference_mode():
            for start in range(0, len(texts), BATCH):
                tokens = tokenizer(list(texts[start : start + BATCH]))
                parts.append(model.encode_text(tokens).float().numpy())
        lengths = np.array([_length(tokenizer, text) for text in texts])
        return np.concatenate(parts), lengths > tokenizer.context_length

    @cached_property
    def _loaded(self) -> tuple[Any, Any, Any]:
        import open_clip

        source = f"local-dir:{self.folder}"
        model, transform = open_clip.create_model_from_pretrained(source)
        return model.eval(), transform, open_clip.get_tokenizer(source)


def unit_length(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32[N, D] with rows of length 1; a row of zeros stays."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _length(tokenizer: Any, text: str) -> int:
    """How many tokens ``text`` has with its start and end marks, before anything is cut off."""
    if hasattr(tokenizer, "encode"):  # open_clip's own byte-pair tokenizer adds the two marks when called
        return len(tokenizer.encode(text)) + 2
    return len(tokenizer.tokenizer(tokenizer.clean_fn(text), verbose=False)["input_ids"])


@cache
def testbed_clip_model() -> OpenClip:
    """The CLIP model trained on the testbed's world, shared by every metric of a process."""
    import glance_bench.testbed

    folder = Path(glance_bench.testbed.__file__).parent / "checkpoints" / "testbed-clip"
    return OpenClip("testbed-clip", folder)
