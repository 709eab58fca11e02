"""The training loop shared by all parts of the testbed: resumable, with EMA weights and a warm-up/stable/decay rate."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    images: in all, over every resume. batch: images a step. rate: peak learning rate of AdamW.
    muon: learning rate of Muon for the hidden matrices, 0 to give everything to AdamW. ema: half-life in steps.
    decay: the last share of `images` over which the rates fall linearly to zero. warmup: in steps.
    """

    images: int
    batch: int = 32
    rate: float = 1e-3
    muon: float = 0.0
    ema: float = 300.0
    decay: float = 0.25
    warmup: int = 100
    seed: int = 0
    save_every: float = 120.0  # seconds


def _is_hidden_matrix(name: str, tensor: Tensor) -> bool:
    """Matrices between hidden activations: what Muon is for. Modulations, embeddings and heads stay with AdamW."""
    outer = ("embed", "embedder", "norm", "mod.", "proj_out", "x_embed", "context_", "img_in", "txt_in")
    return (
        tensor.ndim == 2
        and "transformer_blocks" in name
        and not any(part in name for part in outer if not (part == "proj_out" and "single" in name))
    )


def optimizers(module: nn.Module, plan: Plan) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for the hidden matrices and AdamW for the rest."""
    hidden: list[Tensor] = []
    rest: list[Tensor] = []
    for name, tensor in module.named_parameters():
        if tensor.requires_grad:
            (hidden if plan.muon and _is_hidden_matrix(name, tensor) else rest).append(tensor)
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    ]
    if hidden:
        made.append(
            torch.optim.Muon(
                hidden, lr=plan.muon, momentum=0.95, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
            )
        )
    return made


def rate_factor(plan: Plan, step: int) -> float:
    """Share of the peak rate at `step`: linear warm-up, constant, linear decay to zero."""
    total = max(plan.images // plan.batch, 1)
    falling = max(int(total * plan.decay), 1)
    return max(0.0, min(1.0, (step + 1) / plan.warmup, (total - step) / falling))


class Trainer:
    """Runs `loss(module, step, generator)` until `plan.images` are seen, resuming from `folder/state.*` if it is there.

    The state is two safetensors files (weights and optimizer tensors) and a step count, written under a temporary
    name and renamed, so a kill loses at most `plan.save_every` seconds.
    """

    def __init__(self, module: nn.Module, plan: Plan, folder: Path, package: Path | None = None) -> None:
        """Without a state, training starts from the weights in the folder `package`, or from `module` as it is."""
        if package and not has_state(folder):
            module.load_state_dict(packaged(package))
        self.module, self.plan, self.folder = module, plan, folder
        self.average = copy.deepcopy(module).eval().requires_grad_(False)
        self.optimizers = optimizers(module, plan)
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if has_state(folder):
            self._restore()

    def _state(self) -> dict[str, Tensor]:
        state = {f"model/{k}": v for k, v in self.module.state_dict().items()}
        state |= {f"average/{k}": v for k, v in self.average.state_dict().items()}
        for index, optimizer in enumerate(self.optimizers):
            for key, values in optimizer.state_dict()["state"].items():
                state |= {f"optimizer/{index}/{key}/{name}": torch.as_tensor(v) for name, v in values.items()}
        state["step"] = torch.tensor(self.step)
        return {key: value.detach().clone().contiguous() for key, value in state.items()}

    def save(self) -> None:
        temporary = self.folder / "state.safetensors.tmp"
        save_file(self._state(), temporary)
        os.replace(temporary, self.folder / "state.safetensors")

    def _restore(self) -> None:
        state = load_file(self.folder / "state.safetensors")
        self.step = int(state["step"])
        self.module.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("model/")})
        self.average.load_state_dict({k[8:]: v for k, v in state.items() if k.startswith("average/")})
        for index, optimizer in enumerate(self.optimizers):
            whole = optimizer.state_dict()
            for key, value in state.items():
                if key.startswith(f"optimizer/{index}/"):
                    _, _, number, name = key.split("/")
                    whole["state"].setdefault(int(number), {})[name] = value
            optimizer.load_state_dict(whole)

    @property
    def share(self) -> float:
        """How much of the plan is done, 0..1."""
        return self.step * self.plan.batch / self.plan.images

    def run(
        self, loss: Callable[[nn.Module, int, torch.Generator], Tensor], log: Callable[[str], None]
    ) -> nn.Module:
        """Train to the end of the plan and return the EMA weights. `loss` gives a scalar for one batch."""
        plan = self.plan
        peaks = [plan.rate, plan.muon][: len(self.optimizers)]
        generator = torch.Generator().manual_seed(plan.seed + self.step)
        total = plan.images // plan.batch
        running: list[Tensor] = []
        since = saved = time.perf_counter()
        first = self.step
        self.module.train()
        while self.step < total:
            factor = rate_factor(plan, self.step)
            for optimizer, peak in zip(self.optimizers, peaks, strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = peak * factor
            value = loss(self.module, self.step, generator)
            value.backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            keep = min(0.5 ** (1 / plan.ema), (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self.average.parameters()), list(self.module.parameters()), 1 - keep
                )
            self.step += 1
            running.append(value.detach())
            if self.step % 50 == 0 or self.step == total:
                rate = (self.step - first) * plan.batch / (time.perf_counter() - since)
                log(f"step {self.step}/{total}  loss {torch.stack(running).mean():.4f}  {rate:.1f} images/s")
                running.clear()
            if time.perf_counter() - saved > plan.save_every:
                self.save()
                saved = time.perf_counter()
        self.save()
        return self.average


def has_state(folder: Path) -> bool:
    return (folder / "state.safetensors").is_file()


def packaged(folder: Path) -> dict[str, Tensor]:
    """The float32 weights of the one safetensors file in a folder of a packaged checkpoint."""
    (file,) = folder.glob("*.safetensors")
    return {key: value.float() for key, value in load_file(file).items()}


def restore(module: Module, folder: Path) -> Module:
    """Give `module` the EMA weights of the state under `folder`, and freeze it."""
    state = load_file(folder / "state.safetensors")
    module.load_state_dict({key[8:]: value for key, value in state.items() if key.startswith("average/")})
    return module.eval().requires_grad_(False)


def trained(module: Module, folder: Path, package: Path) -> Module:
    """`module` with the weights of the state under `folder`, or without a state the packaged ones; frozen."""
    if has_state(folder):
        return restore(module, folder)
    module.load_state_dict(packaged(package))
    return module.eval().requires_grad_(False)
