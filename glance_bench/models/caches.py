"""Training-free caches on a pipeline's transformer, and how much of it they leave to be evaluated.

diffusers' caches and cache-dit's are put on for one call of ``sample`` and taken off after it, so that nothing of them
reaches another sampler. The pipelines tell them apart the passes with and without the prompt.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import FirstBlockCacheConfig, MagCacheConfig, TaylorSeerCacheConfig

from ..errors import GlanceBenchError
from ..samplers.options import DBCache, FirstBlock, MagCache, TaylorSeer
from ..trajectory import Trajectory
from .quiet import quiet_libraries

__all__ = ["StepCache", "Work"]


class StepCache:
    """The cache of a trajectory while it is played; without one, nothing.

    It is fresh, so that its first step is evaluated in full, at the start of each pipeline call and wherever another
    adapter begins to serve: what one expert computed is not what the other would have.
    """

    def __init__(self, transformer: Any, trajectory: Trajectory, family: str) -> None:
        self._transformer = transformer
        self._option, self._family = trajectory.cache, family
        self._steps = trajectory.steps
        self._undo: Callable[[], None] | None = None

    def begin(self, step: int) -> None:
        """Forget everything; ``step`` (0-based) is the next one.

        Raises GlanceBenchError when the package that has the cache is missing.
        """
        self.end()
        if self._option is None:
            return
        if isinstance(self._option, DBCache):
            left = len(self._steps) - step
            self._undo = _dbcache(self._transformer, self._option, left, self._steps[step].passes == 2)
            return
        self._transformer.enable_cache(self._config(step))
        self._undo = self._transformer.disable_cache

    def end(self) -> None:
        """Leave the transformer as it was."""
        if self._undo is not None:
            self._undo()
            self._undo = None

    def _config(self, step: int) -> Any:
        match self._option:
            case FirstBlock(threshold=threshold):
                return FirstBlockCacheConfig(threshold=threshold)
            case TaylorSeer() as option:
                return TaylorSeerCacheConfig(
                    cache_interval=option.interval,
                    disable_cache_before_step=option.first,
                    disable_cache_after_step=None if option.last is None else max(option.last - step, 0),
                    max_order=option.order,
                    taylor_factors_dtype=self._transformer.dtype,
                    use_lite_mode=option.lite,
                )
            case MagCache() as option:
                ratios = _stretched(option.ratios[self._family], len(self._steps))[step:]
                retained = max(round(option.retain * len(self._steps)) - step, 0)
                return MagCacheConfig(
                    threshold=option.threshold,
                    max_skip_steps=option.skips,
                    retention_ratio=retained / len(ratios),
                    num_inference_steps=len(ratios),
                    mag_ratios=ratios,
                )
        raise GlanceBenchError(f"cache {self._option!r} is not known to models.caches")


class Work:
    """Counts which share of the transformer's blocks a cache left to be evaluated.

    All blocks count alike, and within a block its linear layers by their weights: a block that ran counts 1 of the
    number of blocks; one whose attention was extrapolated counts what the rest of it weighs. The layers before and
    after the blocks, which every cache runs, are not counted, nor is what the cache itself computes.
    """

    def __init__(self, transformer: torch.nn.Module) -> None:
        self._done = 0.0
        blocks = _blocks_of(transformer)
        self._hooks = []
        for block in blocks:
            layers = [
                layer
                for name, layer in block.named_modules()
                if isinstance(layer, torch.nn.Linear) and ".lora_" not in name
            ]
            whole = sum(layer.in_features * layer.out_features for layer in layers) * len(blocks)
            self._hooks += [
                layer.register_forward_hook(self._noted(layer.in_features * layer.out_features / whole))
                for layer in layers
            ]

    def taken(self) -> float:
        """The share of the blocks that ran since the last time, 0 to 1."""
        share, self._done = self._done, 0.0
        return share

    def close(self) -> None:
        """Stop counting."""
        for hook in self._hooks:
            hook.remove()

    def _noted(self, share: float) -> Any:
        def note(module: Any, args: Any, output: Any) -> None:
            self._done += share

        return note


def _blocks_of(transformer: torch.nn.Module) -> list[torch.nn.Module]:
    return [
        block for part in transformer.children() if isinstance(part, torch.nn.ModuleList) for block in part
    ]


def _stretched(ratios: Sequence[float], steps: int) -> list[float]:
    """``ratios`` for another number of steps: the nearest ones, as MagCache has it."""
    places = np.linspace(0, len(ratios) - 1, steps) if steps > 1 else [len(ratios) - 1]
    return [ratios[int(place)] for place in np.round(places)]


def _dbcache(transformer: Any, option: DBCache, steps: int, guided: bool) -> Callable[[], None]:
    """Put cache-dit's cache on for so many steps, of two passes each where ``guided``; what takes it off again.

    What cache-dit leaves behind when it is disabled is mended: FLUX's transformer and blocks with another ``forward``,
    and the transformer's parts in another order, by which diffusers' caches find the first and the last block.
    """
    os.environ.setdefault("CACHE_DIT_LOG_LEVEL", "ERROR")
    try:
        with quiet_libraries():
            import cache_dit
    except ImportError as error:
        raise GlanceBenchError(
            f"cache: kind dbcache needs the package cache-dit ({error}): pip install glance-bench[cache]"
        ) from error
    modules = [transformer, *_blocks_of(transformer)]
    forwards = [module.__dict__.get("forward") for module in modules]
    parts = list(transformer._modules)
    cache_dit.enable_cache(
        transformer,
        cache_config=cache_dit.DBCacheConfig(
            Fn_compute_blocks=option.front,
            Bn_compute_blocks=option.back,
            residual_diff_threshold=option.threshold,
            max_warmup_steps=option.warmup,
            num_inference_steps=steps,
            enable_separate_cfg=guided,
        ),
    )

    def undo() -> None:
        cache_dit.disable_cache(transformer)
        for module, forward in zip(modules, forwards, strict=True):
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.forward = forward
        transformer.__dict__.pop("_is_patched", None)
        for name in parts:
            transformer._modules[name] = transformer._modules.pop(name)

    return undo
