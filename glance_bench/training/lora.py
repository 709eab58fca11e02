"""Trains one LoRA on a frozen transformer: the flow-matching loss at the noise levels of one phase.

    loss = mean |v(x_s, t) - (noise - x0)|^2,   x_s = (1 - s) x0 + s noise,   s drawn from the phase's levels

(rectified flow; Glance, arXiv:2512.02899, section 3). peft makes the adapter, accelerate keeps device and precision,
diffusers reads and writes the file.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from diffusers.training_utils import _collate_lora_metadata, cast_training_params
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from ..errors import GlanceBenchError, UsageError
from ..sealed import digest_of
from .prepare import Prepared
from .recipe import PhaseLevels, Recipe
from .state import read_state, write_state

__all__ = [
    "Trained",
    "add_lora",
    "generator_of",
    "optimizer_of",
    "restore_state",
    "save_lora",
    "save_state",
    "train_phase",
]

ADAPTER = "default"  # the name that diffusers' metadata helper looks for
SAVE_EVERY = 10  # steps


@dataclass
class Trained:
    """What one phase's training left behind: the loss of every step, in order, and the seconds it took."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


def add_lora(transformer: nn.Module, recipe: Recipe) -> int:
    """Freeze ``transformer`` and give it the recipe's LoRA; the number of trainable parameters.

    Raises UsageError naming a target that no module of the transformer ends with.
    """
    names = [name for name, _ in transformer.named_modules()]
    for target in recipe.targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise UsageError(
                f"recipe {recipe.name!r}: {type(transformer).__name__} has no module {target!r} to adapt"
            )
    transformer.requires_grad_(False)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        init_lora_weights=recipe.init,
        target_modules=list(recipe.targets),
    )
    transformer.add_adapter(config, adapter_name=ADAPTER)  # type: ignore[operator]
    return sum(parameter.numel() for parameter in transformer.parameters() if parameter.requires_grad)


def save_lora(transformer: nn.Module, pipeline_class: Any, file: Path) -> None:
    """Write the adapter in diffusers' LoRA format with its rank and alpha as metadata; ``file`` appears whole.

    Without the metadata a file loads at scale 1, whatever alpha / rank it was trained at.
    """
    temporary = file.with_name(f".{file.stem}.tmp.safetensors")
    metadata = _collate_lora_metadata({"transformer": transformer})
    for known in metadata.values():
        known["target_modules"] = sorted(
            known["target_modules"]
        )  # a set, whose order changes the file's bytes
    try:
        pipeline_class.save_lora_weights(
            str(file.parent),
            transformer_lora_layers=get_peft_model_state_dict(transformer, adapter_name=ADAPTER),
            weight_name=temporary.name,
            **metadata,
        )
        _in_order(temporary)
        temporary.chmod(0o644)  # safetensors lets nobody else read what it writes
        os.replace(temporary, file)
    except Exception as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise
        raise GlanceBenchError(f"{file} cannot be written: {' '.join(str(error).split())[:200]}") from error


def _in_order(file: Path) -> None:
    """Sort the metadata in the header of a safetensors file, which safetensors writes in random order."""
    with file.open("r+b") as opened:
        size = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > size:
            raise GlanceBenchError(f"{file} has a header that cannot be written in order")
        opened.seek(8)
        opened.write(text.ljust(size))


def train_phase(
    transformer: nn.Module,
    velocity: Callable[..., Tensor],
    data: Prepared,
    phase: PhaseLevels,
    recipe: Recipe,
    state: Path,
    key: str,
    accelerator: Accelerator,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> Trained:
    """Train the adapter that ``add_lora`` put into ``transformer``, which stays on its device; returns its history.

    Every random number is drawn from (seed, phase, step), so a run that was killed and one that was not end in the
    same weights. ``state`` is written every SAVE_EVERY steps and read when it belongs to ``key``; it is left for the
    caller to remove once the adapter is saved. ``velocity`` is the family's.
    Raises GlanceBenchError at the first loss that is not finite; the last good state is kept.
    """
    device = accelerator.device
    if accelerator.mixed_precision == "fp16":
        cast_training_params(transformer, dtype=torch.float32)
    parameters = [parameter for parameter in transformer.parameters() if parameter.requires_grad]
    optimizer = optimizer_of(parameters, recipe)
    rates = get_scheduler(
        recipe.rate_schedule,
        optimizer,
        num_warmup_steps=recipe.warmup,
        num_training_steps=recipe.steps,
    )
    optimizer, rates = accelerator.prepare(optimizer, rates)
    done = Trained()
    restore_state(state, key, transformer, optimizer, rates, done)
    latents = data.latents.to(device)
    inputs = [{name: value.to(device) for name, value in one.items()} for one in data.inputs]
    empty = {name: value.to(device) for name, value in data.empty.items()}
    transformer.train()
    started = time.perf_counter() - done.seconds
    for step in range(len(done.losses), recipe.steps):
        loss = torch.zeros((), device=device)
        for part in range(recipe.batch):  # captions differ in length, so a batch is summed one by one
            draw = generator_of(recipe.seed, phase.name, step, part)
            pick = int(torch.randint(len(latents), (), generator=draw))
            level = phase.sigmas[int(torch.randint(len(phase.sigmas), (), generator=draw))]
            dropped = float(torch.rand((), generator=draw)) < recipe.caption_dropout
            noise = torch.randn(latents[pick].shape, generator=draw).to(device)
            sigma = recipe.stepped(level)
            mixed = (1 - sigma) * latents[pick] + sigma * noise
            told = torch.full((1,), recipe.told(level), device=device)
            with accelerator.autocast():
                made = velocity(
                    transformer, mixed[None], told, empty if dropped else inputs[pick], data.tokens
                )
            loss = loss + (made.float() - (noise - latents[pick])[None]).square().mean() / recipe.batch
        value = float(loss.detach())
        if not torch.isfinite(loss):
            kept = f"the state of step {step // SAVE_EVERY * SAVE_EVERY} is kept in {state}"
            raise GlanceBenchError(
                f"expert {phase.name}: the loss is {value} at step {step + 1} of {recipe.steps}; "
                + (kept if state.exists() else "nothing was saved before it")
            )
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(parameters, recipe.clip)
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
        done.losses.append(value)
        done.seconds = time.perf_counter() - started
        if (step + 1) % SAVE_EVERY == 0 and step + 1 < recipe.steps:
            save_state(state, key, transformer, optimizer, rates, done)
        on_step(step + 1, value)
    return done


def generator_of(*what: Any) -> torch.Generator:
    """A generator seeded by ``what``: a killed run draws again what it would have drawn."""
    return torch.Generator().manual_seed(int(digest_of(list(what))[:15], 16))


def optimizer_of(parameters: Sequence[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer. Raises GlanceBenchError when its package is missing."""
    settings: dict[str, Any] = {
        "lr": recipe.learning_rate,
        "betas": recipe.betas,
        "weight_decay": recipe.weight_decay,
        "eps": recipe.epsilon,
    }
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **settings)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise GlanceBenchError(
            "optimizer adamw-8bit needs bitsandbytes: python -m pip install 'glance-bench[train]'"
        ) from error
    made: torch.optim.Optimizer = AdamW8bit(parameters, **settings)
    return made


def save_state(
    state: Path,
    key: str,
    transformer: nn.Module,
    optimizer: Any,
    rates: Any,
    done: Trained,
    average: Sequence[Tensor] = (),
) -> None:
    """Write what training needs to go on, ``average`` of the adapter's weights included; ``state`` appears whole."""
    content = {
        "key": key,
        "lora": get_peft_model_state_dict(transformer, adapter_name=ADAPTER),
        "optimizer": optimizer.state_dict(),
        "rates": rates.state_dict(),
        "losses": done.losses,
        "seconds": done.seconds,
        "average": list(average),
    }
    write_state(state, content)


def restore_state(
    state: Path, key: str, transformer: nn.Module, optimizer: Any, rates: Any, done: Trained
) -> list[Tensor]:
    """Go on from ``state`` if it is there, whole, and belongs to ``key``; else start anew. The average, if any."""
    content = read_state(state)
    if content.get("key") != key:
        return []
    set_peft_model_state_dict(transformer, content["lora"], adapter_name=ADAPTER)
    optimizer.load_state_dict(content["optimizer"])
    rates.load_state_dict(content["rates"])
    done.losses = list(content["losses"])
    done.seconds = float(content["seconds"])
    return list(content["average"])
