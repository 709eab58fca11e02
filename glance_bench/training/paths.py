"""Teacher paths: where a long sampler's latents are at the levels between which a few-step student will step.

A path starts in noise drawn from its own seed and is played by the teacher outside the pipeline, many at a time. Paths
lie in shards, one safetensors file each, that are complete or absent, so that making them can be stopped and resumed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import GlanceBenchError
from ..models.qwen_image import NEGATIVE_PROMPT
from ..trajectory import Trajectory

__all__ = ["Paths", "make_shard", "play", "read_shards"]


@dataclass(frozen=True)
class Paths:
    """N paths of one teacher.

    captions: of each. latents: float16[N, levels, tokens, channels], from noise to image. key: what the shards were
    made with. seconds: processor time that they took.
    """

    captions: tuple[str, ...]
    latents: Tensor
    key: str
    seconds: float

    def __len__(self) -> int:
        return len(self.captions)


@torch.no_grad()
def play(
    family: Any,
    trajectory: Trajectory,
    captions: Sequence[str],
    noise: Tensor,
    keep: Sequence[int],
    *,
    order: Literal[1, 2] = 1,
    precision: torch.dtype = torch.bfloat16,
) -> Tensor:
    """The latents float32[N, len(keep), tokens, channels] after each number of steps in ``keep``; 0 is the noise.

    ``noise`` is packed, float32[N, tokens, channels]. Matrix products are made in ``precision``, steps in float32; in
    float32 the result is the pipeline's. A step of two passes is guided as Qwen-Image's pipeline guides: away from the
    negative prompt, then each token back to the length of its conditional velocity. ``order`` 2 is Adams-Bashforth's:
    a step's velocity is carried on to its middle along the line through the last one's.
    """
    transformer = family.pipe.transformer
    rows = family.geometry().tokens ** 0.5
    tokens = (int(rows), int(rows))
    given = family.inputs(family.encode(captions), trajectory.steps[0].guidance)
    guided = any(step.passes == 2 for step in trajectory.steps)
    blind = family.inputs(family.encode([NEGATIVE_PROMPT]) * len(captions)) if guided else {}

    def velocity(latents: Tensor, told: float, inputs: Mapping[str, Tensor]) -> Tensor:
        levels = torch.full((len(latents),), told)
        made: Tensor = family.velocity(transformer, latents, levels, inputs, tokens)
        return made.float()

    latents, kept = noise, {0: noise}
    before: tuple[Tensor, float] | None = None
    enabled = precision != torch.float32
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        for index, step in enumerate(trajectory.steps):
            moved = velocity(latents, step.t_cond, given)
            if step.passes == 2:
                assert step.guidance is not None
                away = velocity(latents, step.t_cond, blind)
                combined = away + step.guidance * (moved - away)
                moved = combined * (moved.norm(dim=-1, keepdim=True) / combined.norm(dim=-1, keepdim=True))
            length, now = step.sigma_next - step.sigma, moved
            if order == 2 and before is not None:
                moved = moved + length / (2 * before[1]) * (moved - before[0])
            before = now, length
            latents = latents + length * moved
            kept[index + 1] = latents
    return torch.stack([kept[number] for number in keep], dim=1)


def make_shard(file: Path, key: str, captions: Sequence[str], make: Callable[[], Tensor]) -> bool:
    """Write one shard unless it is there with this key; whether it was made. ``file`` appears whole."""
    if file.is_file() and _head(file).get("key") == key:
        return False
    temporary = file.with_name(f".{file.stem}.tmp")
    started = time.process_time()
    latents = make().half().contiguous()
    seconds = f"{time.process_time() - started:.2f}"
    save_file(
        {"latents": latents},
        temporary,
        metadata={"key": key, "captions": json.dumps(list(captions)), "cpu_seconds": seconds},
    )
    os.replace(temporary, file)
    return True


def read_shards(folder: Path, count: int, levels: Sequence[int]) -> Paths:
    """The first ``count`` paths of a folder, at these of their levels.

    Raises GlanceBenchError where there are fewer, or a file is damaged or was made with another key.
    """
    captions: list[str] = []
    latents: list[Tensor] = []
    seconds, keys = 0.0, set()
    for file in sorted(folder.glob("*.safetensors")):
        head = _head(file)
        captions += json.loads(head["captions"])
        seconds += float(head["cpu_seconds"])
        keys.add(head["key"])
        with safe_open(file, framework="pt") as opened:
            latents.append(opened.get_tensor("latents")[:, list(levels)])
        if len(captions) >= count:
            break
    if len(captions) < count:
        raise GlanceBenchError(f"{folder} has {len(captions)} teacher paths, expected {count}")
    if len(keys) > 1:
        raise GlanceBenchError(
            f"{folder} has teacher paths made with different settings; delete the older ones"
        )
    return Paths(tuple(captions[:count]), torch.cat(latents)[:count], keys.pop(), seconds)


def _head(file: Path) -> dict[str, str]:
    try:
        with safe_open(file, framework="pt") as opened:
            return dict(opened.metadata() or {})
    except (OSError, SafetensorError) as error:
        what = " ".join(str(error).split())[:200]
        raise GlanceBenchError(f"teacher paths {file} cannot be read: {what}; delete it") from error
