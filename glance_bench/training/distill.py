"""Trains one few-step LoRA on many teacher paths: from each of the student's levels straight to its next.

    loss = mean w_k |v(x_k, s_k) - (x_k+1 - x_k) / (s_k+1 - s_k)|^2,   w_k = (s_k - s_k+1) / their mean

x_k are the teacher's latents at the student's levels s_k, so that a step that the student takes at once goes where the
teacher's many went (trajectory distillation, the regression of progressive distillation, arXiv:2202.00512, with each
part of the path learnt at once). A guided teacher's guidance is in its paths: the student needs one pass a step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from torch import Tensor, nn

from ..errors import GlanceBenchError
from ..trajectory import Trajectory
from .lora import Trained, generator_of, optimizer_of, restore_state, save_state
from .recipe import Recipe

__all__ = ["distil"]

SAVE_EVERY = 50  # steps
AVERAGED = 50.0  # half-life in steps of the average of the weights


def distil(
    transformer: nn.Module,
    velocity: Callable[..., Tensor],
    latents: Tensor,
    inputs: Callable[[Sequence[int]], Mapping[str, Tensor]],
    student: Trajectory,
    tokens: tuple[int, int],
    recipe: Recipe,
    state: Path,
    key: str,
    accelerator: Accelerator,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Trained:
    """Train the adapter that ``add_lora`` put into ``transformer`` and leave its averaged weights there.

    ``latents`` are float16[paths, len(student) + 1, tokens, channels] at the student's levels, ``inputs`` gives what
    ``velocity`` needs for some of the paths. A step of the optimizer sees ``recipe.batch`` pairs of a path and a step.
    Killed and started again with the same ``state`` and ``key``, it ends in the same weights.
    Raises GlanceBenchError at the first loss that is not finite.
    """
    device = accelerator.device
    parameters = [parameter for parameter in transformer.parameters() if parameter.requires_grad]
    optimizer = optimizer_of(parameters, recipe)
    rates = get_scheduler(
        recipe.rate_schedule, optimizer, num_warmup_steps=recipe.warmup, num_training_steps=recipe.steps
    )
    optimizer, rates = accelerator.prepare(optimizer, rates)
    done = Trained()
    kept = restore_state(state, key, transformer, optimizer, rates, done)
    average = [tensor.to(device) for tensor in kept] or [one.detach().clone() for one in parameters]
    lengths = torch.tensor([step.sigma_next - step.sigma for step in student.steps])
    told = torch.tensor([step.t_cond for step in student.steps], dtype=torch.float32)
    weights = (lengths / lengths.mean()).to(device)
    transformer.train()
    started = clock() - done.seconds
    for number in range(len(done.losses), recipe.steps):
        draw = generator_of(recipe.seed, "distil", number)
        picks = torch.randint(len(latents), (recipe.batch,), generator=draw)
        steps = torch.randint(len(student), (recipe.batch,), generator=draw)
        before, after = (latents[picks, at].float() for at in (steps, steps + 1))
        target = ((after - before) / lengths[steps, None, None]).to(device)
        with accelerator.autocast():
            made = velocity(
                transformer, before.to(device), told[steps].to(device), inputs(picks.tolist()), tokens
            )
        errors = (made.float() - target).square().mean(dim=(1, 2))
        loss = (weights[steps.to(device)] * errors).mean()
        value = float(loss.detach())
        if not torch.isfinite(loss):
            raise GlanceBenchError(
                f"distillation: the loss is {value} at step {number + 1} of {recipe.steps}"
            )
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(parameters, recipe.clip)
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
        keep = min(0.5 ** (1 / AVERAGED), (1 + number) / (10 + number))
        with torch.no_grad():
            torch._foreach_lerp_(average, parameters, 1 - keep)
        done.losses.append(value)
        done.seconds = clock() - started
        if (number + 1) % SAVE_EVERY == 0 and number + 1 < recipe.steps:
            save_state(state, key, transformer, optimizer, rates, done, average)
        on_step(number + 1, value)
    with torch.no_grad():
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.copy_(mean)
    return done
