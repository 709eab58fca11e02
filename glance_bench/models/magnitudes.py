"""The ratios that a MagCache card needs: by how much the residual of a model's blocks shrinks from step to step.

    python -m glance_bench.models.magnitudes testbed-flux teacher-50

prints the line for the card. At each evaluation with the prompt the residual is what the blocks together add to the
image tokens; a ratio is the mean over tokens of its length over the length at the step before (arXiv:2506.09045).
Nothing is cached meanwhile.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch

from ..registry import FAMILIES, MODELS, PROMPT_SETS
from ..samplers.cards import load_card
from ..trajectory import Trajectory
from .base import DiffusersFamily

__all__ = ["magnitude_ratios"]

PROMPTS = 8


def magnitude_ratios(
    model: DiffusersFamily, trajectory: Trajectory, prompts: Sequence[str], seed: int = 0
) -> list[float]:
    """One ratio a step, the first being 1; the mean over tokens and prompts."""
    blocks = [
        block
        for part in model.pipe.transformer.children()
        if isinstance(part, torch.nn.ModuleList)
        for block in part
    ]
    entered: list[torch.Tensor] = []
    residuals: list[torch.Tensor] = []

    def enter(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        entered.append(kwargs["hidden_states"] if "hidden_states" in kwargs else args[0])

    def leave(module: Any, args: Any, output: Any) -> None:
        residuals.append((output[1] - entered.pop()).float())  # a block gives text and image tokens

    hooks = [
        blocks[0].register_forward_pre_hook(enter, with_kwargs=True),
        blocks[-1].register_forward_hook(leave),
    ]
    try:
        noise = model.noise([seed + i for i in range(len(prompts))])
        model.sample(trajectory, model.encode(prompts), noise)
    finally:
        for hook in hooks:
            hook.remove()
    passes = trajectory.steps[0].passes
    lengths = [
        residual.norm(dim=-1) for residual in residuals[::passes]
    ]  # of those with the prompt, which come first
    pairs = zip(lengths, lengths[1:], strict=False)
    return [1.0, *(float((after / before).mean()) for before, after in pairs)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m glance_bench.models.magnitudes", description=__doc__)
    parser.add_argument("model", help="a registered model")
    parser.add_argument("sampler", help="a card, whose steps are measured")
    parser.add_argument("--prompt-set", default="testbed", help=f"its first {PROMPTS} prompts are drawn")
    given = parser.parse_args()
    entry = MODELS.get(given.model)
    model = FAMILIES.get(entry.family).load(entry.path)
    prompts = [prompt.text for prompt in PROMPT_SETS.get(given.prompt_set)(PROMPTS).prompts]
    ratios = magnitude_ratios(model, load_card(given.sampler).compile(model.geometry()), prompts)
    print(f"{entry.family}: [{', '.join(f'{ratio:.4f}' for ratio in ratios)}]")


if __name__ == "__main__":
    main()
