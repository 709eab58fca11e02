"""OneIG-Bench's style score: how near an image comes to reference images of the style that its prompt asks for.

Two encoders: CSD ViT-L (Somepalli et al. 2024, arXiv:2404.01292) and OneIG's own style encoder. For each, the largest
product with the style's reference embeddings, at least 0; the score is the mean of the two (repository
OneIG-Bench/OneIG-Benchmark, scripts/style/style_score.py and scripts/utils/inference.py). Only prompts with a
``meta["class"]`` have a style.
The official code runs the second encoder in bfloat16; here both run in float32.

Reference embeddings are used as published, whatever their length. They and CSD are pickles, so they are converted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from glance_bench.digests import file_digests
from glance_bench.errors import GlanceBenchError
from glance_bench.judges.pictures import JPEG_QUALITY
from glance_bench.metrics.base import Column, Images, Row
from glance_bench.metrics.oneig_cells import official_cells
from glance_bench.metrics.openclip import CLIP_MEAN, CLIP_STD, exact_inference, inference_device, unit_length
from glance_bench.metrics.pixels import PIL_CENTRE_CROP
from glance_bench.metrics.visiontower import VisionTower
from glance_bench.weights import find_weights, needs

if TYPE_CHECKING:
    from glance_bench.prompts import Prompt

__all__ = ["Csd", "OneigStyle", "style_key"]

BATCH = 64
NO_STYLE = ("", "nan", "none")  # how tables spell an empty cell


class Csd:
    """The style head of CSD: CLIP ViT-L/14's image tower (quickgelu) with a projection of its own.

    ``weights`` is the converted checkpoint: "model_state_dict/" and, where it was trained on several GPUs, "module."
    precede the names of the official class CSD_CLIP. Its content head is not read.
    """

    def __init__(self, weights: Path, architecture: str = "ViT-L-14-quickgelu") -> None:
        self.weights = weights
        self.architecture = architecture

    @cached_property
    def recipe(self) -> str:
        return f"csd-vit-l {file_digests([self.weights])[0][:12]}, {PIL_CENTRE_CROP.recipe}, float32"

    def encode_images(self, images: Images) -> npt.NDArray[np.float32]:
        """uint8[N >= 1, H, W, 3] to float32[N, D]: style embeddings of unit length."""
        import torch

        tower = self._loaded
        side = tower.image_size[0] if isinstance(tower.image_size, tuple) else tower.image_size
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
        parts = []
        with exact_inference():
            for start in range(0, len(images), BATCH):
                pixels = PIL_CENTRE_CROP.apply(images[start : start + BATCH], side)
                parts.append(tower(((pixels - mean) / std).to(inference_device())).float().cpu().numpy())
        return unit_length(np.concatenate(parts))

    @cached_property
    def _loaded(self) -> Any:
        """Raises GlanceBenchError when the file holds another network."""
        import open_clip
        from safetensors.torch import load_file

        tower = open_clip.CLIP(**open_clip.get_model_config(self.architecture)).visual
        state = {}
        for name, tensor in load_file(self.weights).items():
            name = name.removeprefix("model_state_dict/").removeprefix("module.")
            if name.startswith("backbone."):
                state[name.removeprefix("backbone.")] = tensor
            elif name == "last_layer_style":
                state["proj"] = tensor
        try:
            tower.load_state_dict(state)
        except RuntimeError as error:
            raise GlanceBenchError(f"{self.weights} does not hold CSD's weights: {error}") from error
        return tower.eval().to(inference_device())


class OneigStyle:
    """``oneig_style`` in [0, 1], and its parts ``oneig_style_csd`` and ``oneig_style_se``. A ``SampleMetric``.

    ``csd_references`` and ``se_references`` are npz files: float[K, D] by style ("line_art").
    """

    name = "oneig_style"
    kind: Literal["sample"] = "sample"
    notes: tuple[str, ...] = ()
    columns = (
        Column(
            "oneig_style",
            "Style",
            "higher",
            "nearness to reference images of the style, mean of two encoders",
        ),
        Column("oneig_style_csd", "Style CSD", "higher", "the same in CSD alone", headline=False),
        Column("oneig_style_se", "Style SE", "higher", "the same in OneIG's encoder alone", headline=False),
    )

    def __init__(self, csd: Csd, encoder: VisionTower, csd_references: Path, se_references: Path) -> None:
        self._encoders: tuple[Csd | VisionTower, ...] = (csd, encoder)
        self._files = (csd_references, se_references)

    @cached_property
    def recipe(self) -> str:
        parts = [
            f"{encoder.recipe} against {digest[:12]}"
            for encoder, digest in zip(self._encoders, file_digests(self._files), strict=True)
        ]
        return f"oneig_style: JPEG {JPEG_QUALITY}; {'; '.join(parts)}; largest product, floor 0, mean of both"

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Row]:
        """See ``SampleMetric.score``. Rows without a style, and of black images, are empty.

        Raises GlanceBenchError for a style without references.
        """
        if len(images) != len(prompts):
            raise ValueError(f"{len(images)} images for {len(prompts)} prompts")
        rows: list[Row] = [{} for _ in prompts]
        asked = [i for i, prompt in enumerate(prompts) if style_key(prompt.meta)]
        cells, kept = official_cells(images[asked])
        if not kept:
            return rows
        first, second = (encoder.encode_images(cells) for encoder in self._encoders)
        for place, i in enumerate(asked[k] for k in kept):
            style = style_key(prompts[i].meta)
            csd = self._nearest(0, style, first[place])
            own = self._nearest(1, style, second[place])
            rows[i] = {"oneig_style": (csd + own) / 2, "oneig_style_csd": csd, "oneig_style_se": own}
        return rows

    def _nearest(self, which: int, style: str, embedding: npt.NDArray[np.float32]) -> float:
        references = self._references[which]
        if style not in references:
            raise GlanceBenchError(
                f"{self._files[which]} has no reference embeddings for the style {style!r}"
            )
        return max(0.0, float(np.max(references[style] @ embedding)))

    @cached_property
    def _references(self) -> tuple[dict[str, npt.NDArray[np.float32]], ...]:
        return tuple(_read(file) for file in self._files)


def style_key(meta: Mapping[str, Any]) -> str:
    """The style of a prompt as the references spell it ("Line Art" is "line_art"); "" where it has none."""
    style = str(meta.get("class") or "").strip().lower()
    return "" if style in NO_STYLE else style.replace(" ", "_")


def _read(file: Path) -> dict[str, npt.NDArray[np.float32]]:
    with np.load(file, allow_pickle=False) as stored:
        return {style: np.atleast_2d(stored[style]).astype(np.float32) for style in stored.files}


def oneig_style() -> OneigStyle:
    """``oneig_style``. Raises MissingData for the first of its four weights that is not there."""
    needs("csd-vit-l", "oneig-style-encoder", "oneig-style-csd-references", "oneig-style-se-references")
    return OneigStyle(
        Csd(find_weights("csd-vit-l")),
        VisionTower("oneig-style-encoder", find_weights("oneig-style-encoder")),
        find_weights("oneig-style-csd-references"),
        find_weights("oneig-style-se-references"),
    )
