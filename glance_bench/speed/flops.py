"""Floating point operations of one image, counted by torch on the real shapes with nothing allocated.

Matrix products, convolutions and attention, a multiply and an add as two. Low-rank adapters, which add about a
hundredth, and the text encoders are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..models.qwen_image import NEGATIVE_PROMPT
from ..models.random_weights import build, parameters
from ..trajectory import Trajectory

__all__ = ["Operations", "count"]

TERA = 1e12


@dataclass(frozen=True)
class Operations:
    """Of one image, in units of 10^12.

    Attributes:
        forward: one evaluation with the prompt.
        second: the second pass of true guidance, whose negative prompt may be shorter.
        decode: from latents to pixels.
        text_tokens: of the prompt.
        transformer, vae: parameters.
    """

    forward: float
    second: float
    decode: float
    text_tokens: int
    transformer: int
    vae: int

    def denoise(self, trajectory: Trajectory, evaluations: float) -> float:
        """All of a trajectory's evaluations; fewer or more than its nominal ones cost in proportion."""
        nominal = sum(self.forward + (step.passes - 1) * self.second for step in trajectory.steps)
        return nominal * evaluations / sum(step.passes for step in trajectory.steps)


def count(folder: Path, resolution: tuple[int, int], limit: int | None = None) -> Operations:
    """Of the model whose configurations are in ``folder``, at (height, width) pixels.

    ``limit`` is the most tokens that a prompt may have, by default the model's own.
    """
    model = build(folder, device="meta", dtype="bfloat16")
    transformer = model.pipe.transformer
    tokens = model.geometry(*resolution).tokens
    latents = torch.empty(1, tokens, transformer.config.in_channels, device="meta", dtype=model.dtype)
    side = 2 * model.pipe.vae_scale_factor
    grid = resolution[0] // side, resolution[1] // side
    level = torch.empty(1, device="meta", dtype=model.dtype)

    def forward(embeds: list[dict[str, Any]]) -> float:
        return _counted(lambda: model.velocity(transformer, latents, level, model.inputs(embeds), grid))

    prompt = model.encode(["a prompt"], limit)
    return Operations(
        forward=forward(prompt),
        second=forward(model.encode([NEGATIVE_PROMPT], limit)) if model.settings.cfg else 0.0,
        decode=_counted(lambda: model._pixels(latents, *resolution)),
        text_tokens=len(prompt[0]["prompt_embeds"]),
        transformer=parameters(transformer),
        vae=parameters(model.pipe.vae),
    )


def _counted(compute: Callable[[], Any]) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops() / TERA
