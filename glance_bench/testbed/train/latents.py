"""Latents of training scenes, encoded once and kept on disk; the transformers train on these."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from glance_bench.testbed.scenes import KINDS, WORLD_VERSION, Scene, caption, sample_scene
from glance_bench.testbed.world import render

PER_KIND = {"object": 7000, "pair": 14000, "count": 4000, "sign": 24000, "sign+object": 8000, "poster": 6000}
CURRICULUM = (  # (until this share of training, weights in the order of KINDS)
    (0.3, (0.40, 0.20, 0.08, 0.32, 0.00, 0.00)),
    (0.8, (0.08, 0.14, 0.06, 0.52, 0.12, 0.08)),
    (1.0, (0.14, 0.28, 0.10, 0.26, 0.10, 0.12)),
)


def pack(latents: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, H/2 * W/2, 4 C], as both pipelines pack."""
    count, channels, height, width = latents.shape
    blocks = latents.view(count, channels, height // 2, 2, width // 2, 2)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(count, height * width // 4, channels * 4)


@dataclass(frozen=True)
class Latents:
    """Training scenes by kind with their raw (not yet normalised) latents float16[N, 16, 16, 16], and their moments."""

    scenes: dict[str, list[Scene]]
    latents: dict[str, np.ndarray]
    mean: np.ndarray  # float32[16], per channel
    std: np.ndarray  # float32[16]

    def batch(self, count: int, share: float, generator: torch.Generator) -> tuple[list[Scene], Tensor]:
        """`count` scenes by the curriculum at `share` of training, and their raw latents float32[count, 16, 16, 16]."""
        weights = next(weights for until, weights in CURRICULUM if share <= until)
        kinds = torch.multinomial(torch.tensor(weights), count, replacement=True, generator=generator)
        scenes, latents = [], []
        for kind in (KINDS[index] for index in kinds.tolist()):
            row = int(torch.randint(len(self.scenes[kind]), (), generator=generator))
            scenes.append(self.scenes[kind][row])
            latents.append(self.latents[kind][row])
        return scenes, torch.from_numpy(np.stack(latents)).float()


def scenes_of(kind: str, seed: int) -> list[Scene]:
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    return [sample_scene(rng, kind) for _ in range(PER_KIND[kind])]


def load(
    encode: Callable[[Tensor], Tensor], folder: Path, log: Callable[[str], None], seed: int = 11
) -> Latents:
    """The latents under `folder`, encoded first if they are not there.

    encode: images float32[N, 3, 64, 64] in -1..1 -> latents float32[N, 16, 16, 16].
    """
    folder.mkdir(parents=True, exist_ok=True)
    scenes, latents = {}, {}
    for kind in KINDS:
        scenes[kind] = scenes_of(kind, seed)
        path = folder / f"{kind.replace('+', '-')}-{WORLD_VERSION}-{seed}-{PER_KIND[kind]}.npy"
        if not path.exists():
            rng = np.random.default_rng([seed, 1, KINDS.index(kind)])
            rows = []
            for start in range(0, len(scenes[kind]), 64):
                images = np.stack([render(scene, rng) for scene in scenes[kind][start : start + 64]])
                pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
                with torch.inference_mode():
                    rows.append(encode(pixels.contiguous(memory_format=torch.channels_last)).half().numpy())
            temporary = path.with_suffix(".tmp.npy")
            np.save(temporary, np.concatenate(rows))
            os.replace(temporary, path)
            log(f"encoded {len(scenes[kind])} scenes of kind {kind}")
        latents[kind] = np.load(path, allow_pickle=False)
    sample = np.concatenate([values[:500] for values in latents.values()]).astype(np.float32)
    return Latents(scenes, latents, sample.mean((0, 2, 3)), sample.std((0, 2, 3)))


def captions_of(scenes: list[Scene], empty: str, dropout: float, generator: torch.Generator) -> list[str]:
    """A random caption of each scene, replaced by `empty` with probability `dropout`."""
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    return [empty if rng.random() < dropout else caption(scene, rng) for scene in scenes]
