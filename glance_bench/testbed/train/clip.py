"""testbed-clip: a small CLIP of open_clip's own class, trained by contrast on the world, for scores and features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glance_bench.testbed.scenes import KINDS, SEEN_WORDS, Scene, caption, sample_scene
from glance_bench.testbed.train.encoders import LETTERS
from glance_bench.testbed.world import render

CONTEXT = 48  # tokens
CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 64,
        "vision_cfg": {"image_size": 64, "layers": 4, "width": 128, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 3},
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "squash",
    },
}


def model() -> nn.Module:
    return open_clip.model.CLIP(**CONFIG["model_cfg"])


def pairs(count: int, seed: int) -> tuple[Tensor, list[str]]:
    """Images float32[count, 3, 64, 64] in -1..1 and captions of distinct training scenes.

    Every second batch holds a single kind of scene, so that its negatives differ in attributes alone; half of the
    words are random letters, so that words are read and not memorised.
    """
    rng = np.random.default_rng(seed)
    scenes: dict[Scene, None] = {}
    while len(scenes) < count:
        kind = KINDS[(seed // 2) % len(KINDS)] if seed % 2 else KINDS[len(scenes) % len(KINDS)]
        words = SEEN_WORDS
        if rng.random() < 0.5:
            words = tuple("".join(rng.choice(list(LETTERS), int(rng.integers(3, 6)))) for _ in range(6))
        scenes[sample_scene(rng, kind, words=words)] = None
    images = np.stack([render(scene, rng) for scene in scenes])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return pixels, [caption(scene, rng) for scene in scenes]


def contrastive_loss(module: nn.Module, count: int, seed: int) -> Tensor:
    """CLIP's symmetric cross-entropy over one batch of `count` pairs."""
    images, texts = pairs(count, seed)
    seen = F.normalize(module.encode_image(images), dim=-1)
    read = F.normalize(module.encode_text(open_clip.tokenize(texts, CONTEXT)), dim=-1)
    logits = module.logit_scale.clamp(max=math.log(100)).exp() * seen @ read.T
    own = torch.arange(count)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def without_unused_tokens(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Zero the embeddings of tokens that no caption of the world can contain, so that the file packs small."""
    used = torch.zeros(49408, dtype=torch.bool)
    for seed in range(40):
        used[open_clip.tokenize(pairs(64, seed)[1], CONTEXT)] = True
    used[:512] = True  # single characters
    return state | {"token_embedding.weight": state["token_embedding.weight"] * used[:, None]}
