"""DreamSim: perceptual distance tuned on human judgements (Fu et al. 2023, arXiv:2306.09344), its ensemble.

Three ViT-B/16: DINO's class token before the last norm, and the projected embeddings of OpenAI's CLIP and of
open_clip's (trained on LAION-400M), each with low-rank updates of its attention, side by side: 768 + 512 + 512 numbers.
The distance of two images is 1 - cosine after each embedding's own mean was taken off (ssundaram21/dreamsim 0.2.1,
dreamsim/model.py). Images are resized to 224 x 224 by PIL, whatever their shape.

The published archive holds pickles, and lacks DINO's backbone, which the package takes from Facebook's own file: both
are converted, and the updates are added to the weights when they are read. timm's ViT is the same network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from glance_bench.digests import file_digests
from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.base import Column, Features, Images
from glance_bench.metrics.openclip import CLIP_MEAN, CLIP_STD, exact_inference, inference_device, unit_length
from glance_bench.metrics.pixels import PIL_SQUASH
from glance_bench.weights import find_weights, needs

__all__ = ["DreamSim", "DreamSimDistance", "dreamsim_distance", "published_dreamsim"]

BATCH = 32
HEAD = 64  # dimensions of an attention head in every ViT-B
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ADAPTER = re.compile(r"(?P<folder>.*?)ensemble_lora/adapter_model\.(?:bin|safetensors)/(?P<name>.*)")


class DreamSim:
    """Embeddings whose cosine distance is DreamSim's. ``dino`` and ``archive`` are converted safetensors files."""

    name = "dreamsim"

    def __init__(self, dino: Path, archive: Path) -> None:
        self._files = (dino, archive)

    @cached_property
    def image_recipe(self) -> str:
        first, second = (digest[:12] for digest in file_digests(self._files))
        return f"dreamsim: ensemble {second}, dino {first}, {PIL_SQUASH.recipe}, mean taken off, unit length, float32"

    def encode_images(self, images: Images) -> npt.NDArray[np.float32]:
        """uint8[N >= 1, H, W, 3] to float32[N, D]: of mean 0 and unit length."""
        import torch

        parts = []
        with exact_inference():
            for start in range(0, len(images), BATCH):
                batch = images[start : start + BATCH]
                embeddings = []
                for tower, projection, mean, std in self._loaded:
                    side = tower.patch_embed.img_size[0]
                    values = (torch.tensor(x).view(3, 1, 1) for x in (mean, std))
                    pixels = (PIL_SQUASH.apply(batch, side) - next(values)) / next(values)
                    token = tower.forward_features(pixels.to(inference_device()))[:, 0]
                    embeddings.append(token if projection is None else token @ projection)
                parts.append(torch.cat(embeddings, dim=1).float().cpu().numpy())
        whole = np.concatenate(parts)
        return unit_length(whole - whole.mean(axis=1, keepdims=True))

    @cached_property
    def _loaded(self) -> list[tuple[Any, Any, tuple[float, ...], tuple[float, ...]]]:
        """Towers in the order of the package, with their projections and the mean and deviation of their pixels.

        Raises GlanceBenchError when the files hold something else.
        """
        from safetensors import safe_open
        from safetensors.torch import load_file

        dino, archive = self._files
        weights = load_file(archive)
        with safe_open(archive, "pt") as file:
            scalars = json.loads(file.metadata()["scalars"])
        try:
            clip, open_clip = (
                _below(weights, f"{name}_vitb16_pretrain.pth.tar/state_dict/")
                for name in ("clip", "open_clip")
            )
            towers: list[tuple[Any, Any, tuple[float, ...], tuple[float, ...]]] = []
            for i, state in enumerate((load_file(dino), clip, open_clip)):
                projection = state.pop("proj", None)
                _add_updates(state, weights, scalars, i)
                tower = _tower(state, prenorm=i > 0, quick=i == 1)
                mean, std = (IMAGENET_MEAN, IMAGENET_STD) if i == 0 else (CLIP_MEAN, CLIP_STD)
                device = inference_device()
                towers.append((tower, projection if projection is None else projection.to(device), mean, std))
        except (KeyError, RuntimeError) as error:
            raise GlanceBenchError(f"{dino} and {archive} do not hold DreamSim's weights: {error}") from error
        return towers


def _below(weights: Mapping[str, Any], end: str) -> dict[str, Any]:
    """The entries whose names contain ``end`` at the start or after a folder, named by what follows it."""
    found = {}
    for name, tensor in weights.items():
        before, there, after = name.partition(end)
        if there and (not before or before.endswith("/")):
            found[after] = tensor
    if not found:
        raise KeyError(end)
    return found


def _add_updates(
    state: dict[str, Any], weights: Mapping[str, Any], scalars: Mapping[str, Any], tower: int
) -> None:
    """W += alpha / r * B A for every matrix of the tower that the archive's adapter has an update for."""
    updates, folder = {}, ""
    for name, tensor in weights.items():
        if match := ADAPTER.fullmatch(name):
            updates[match["name"]], folder = tensor, match["folder"]
    config = f"{folder}ensemble_lora/adapter_config.json"
    scale = float(scalars[f"{config}/lora_alpha"]) / int(scalars[f"{config}/r"])
    start, down = f"base_model.model.extractor_list.{tower}.model.", ".lora_A.weight"
    own = [name for name in updates if name.startswith(start) and name.endswith(down)]
    if not own:
        raise KeyError(f"{start}*{down}")
    for name in own:
        target = f"{name.removeprefix(start).removesuffix(down)}.weight"
        up = updates[name.replace("lora_A", "lora_B")]
        state[target] = state[target].float() + scale * (up.float() @ updates[name].float())


def _tower(state: dict[str, Any], *, prenorm: bool, quick: bool) -> Any:
    """A ViT of the sizes that its weights have. ``prenorm`` is CLIP's norm before the blocks, and its eps."""
    from timm.layers import QuickGELU
    from timm.models.vision_transformer import VisionTransformer
    from torch import nn

    width, patch = state["cls_token"].shape[-1], state["patch_embed.proj.weight"].shape[-1]
    eps = 1e-5 if prenorm else 1e-6
    tower = VisionTransformer(
        img_size=patch * round((state["pos_embed"].shape[1] - 1) ** 0.5),
        patch_size=patch,
        embed_dim=width,
        depth=1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks.")),
        num_heads=width // HEAD,
        num_classes=0,
        act_layer=QuickGELU if quick else nn.GELU,
        norm_layer=partial(nn.LayerNorm, eps=eps),
    )
    if prenorm:
        tower.norm_pre = nn.LayerNorm(width, eps=eps)
        state = {re.sub("^pos_drop", "norm_pre", name): tensor for name, tensor in state.items()}
    else:
        tower.norm = nn.Identity()
        state = {name: tensor for name, tensor in state.items() if not name.startswith("norm.")}
    tower.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return tower.eval().to(inference_device())


class DreamSimDistance:
    """``dreamsim[ensemble]``: distance to the reference's image from the same noise, in [0, 2]. A ``PromptMetric``."""

    kind: Literal["prompt"] = "prompt"
    name = "dreamsim[ensemble]"
    columns = (
        Column(name, "DreamSim", "lower", "perceptual distance to the reference's image from the same noise"),
    )

    def __init__(self, model: DreamSim) -> None:
        self._model = model

    @property
    def extractor(self) -> str:
        return self._model.image_recipe

    @property
    def recipe(self) -> str:
        return f"{self.name}: {self.extractor}; 1 - cosine of images from the same noise, mean over a prompt"

    def features(self, images: Images) -> Features:
        """See ``PromptMetric.features``."""
        return self._model.encode_images(images)

    def compare(self, own: Features, reference: Features | None) -> float:
        """See ``PromptMetric.compare``."""
        if reference is None:
            return float("nan")
        return float(1 - np.sum(unit_length(own) * unit_length(reference), axis=1).mean())


def published_dreamsim() -> DreamSim:
    """Raises MissingData without the two converted files."""
    needs("dino-vit-b-16", "dreamsim-ensemble")
    return DreamSim(find_weights("dino-vit-b-16"), find_weights("dreamsim-ensemble"))


def dreamsim_distance() -> DreamSimDistance:
    """``dreamsim[ensemble]``. Raises MissingData without the weights."""
    return DreamSimDistance(published_dreamsim())
