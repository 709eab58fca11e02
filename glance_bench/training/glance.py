"""`glance-bench train glance`: from a model, samples and a recipe to adapter files and a record of the making."""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from ..errors import UsageError
from ..machine import environment
from ..models.checkpoints import checkpoint_digest, read_geometry
from ..models.quiet import quiet_libraries
from ..registry import FAMILIES, ModelEntry
from ..sealed import digest_of, sha256_file, write_json
from .base_weights import load_transformer
from .lora import ADAPTER, add_lora, save_lora, train_phase
from .prepare import prepare
from .recipe import Recipe
from .record import RECORD, adapter_file, is_whole, read_record
from .samples import Pair

__all__ = ["Expert", "train"]

PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True)
class Expert:
    """One trained adapter: its phase, its file, and whether it was there already."""

    phase: str
    file: Path
    reused: bool


def train(
    entry: ModelEntry,
    recipe: Recipe,
    pairs: Sequence[Pair],
    folder: Path,
    *,
    phases: Sequence[str] = (),
    device: str = "cpu",
    say: Callable[[str], None] = lambda line: None,
    on_step: Callable[[str, int, float], None] = lambda phase, step, loss: None,
) -> list[Expert]:
    """Train the recipe's experts (or those named in ``phases``) into ``folder``, one ``<phase>.safetensors`` each.

    ``folder/training.json`` records for each: recipe, digests of model and samples, levels, loss of every step,
    seconds, peak memory and versions. An expert whose file and record are there for the same recipe, samples and
    model is kept. A run that was killed goes on from its last saved step.
    Raises UsageError for bad requests and GlanceBenchError for what is missing or fails.
    """
    if not pairs:
        raise UsageError("no samples to train on")
    if device == "cpu" and recipe.precision == "float16":
        raise UsageError("precision float16 needs a GPU; a CPU trains in float32 or bfloat16")
    height, width = pairs[0].image.shape[:2]
    geometry = read_geometry(Path(entry.path), height, width)
    levels = recipe.chosen(list(phases), geometry)
    base = {
        "model": checkpoint_digest(Path(entry.path)),
        "recipe": recipe.model_dump(mode="json", exclude={"title"}),
        "samples": [pair.digest for pair in pairs],
        "resolution": [height, width],
    }
    keys = {phase.name: digest_of([base, phase.name]) for phase in levels}
    folder.mkdir(parents=True, exist_ok=True)
    record = read_record(folder)
    files = {phase.name: adapter_file(folder, phase.name) for phase in levels}
    todo = [
        phase
        for phase in levels
        if record["experts"].get(phase.name, {}).get("key") != keys[phase.name]
        or not is_whole(record, folder, phase.name)
    ]
    if todo:
        say(f"{entry.name}: encoding {len(pairs)} sample{'s' if len(pairs) > 1 else ''}")
        data = prepare(entry, pairs, recipe.guidance, device=device)
        gc.collect()
        family = FAMILIES.get(entry.family)
        with quiet_libraries():
            transformer = load_transformer(family, Path(entry.path), recipe.base_weights, device)
        AcceleratorState._reset_state(reset_partial_state=True)  # else a process has one precision for good
        accelerator = Accelerator(mixed_precision=PRECISIONS[recipe.precision], cpu=device == "cpu")
        transformer.enable_gradient_checkpointing()
        for phase in todo:
            _reset_peak(device)
            torch.manual_seed(int(digest_of([recipe.seed, phase.name])[:15], 16))  # for the initial weights
            trainable = add_lora(transformer, recipe)
            count = len(phase.sigmas)
            say(f"expert {phase.name}: {trainable:,} parameters, {recipe.steps} steps at {count} levels")
            state = folder / f".{phase.name}.state"
            trained = train_phase(
                transformer,
                family.velocity,
                data,
                phase,
                recipe,
                state,
                keys[phase.name],
                accelerator,
                on_step=lambda step, loss, name=phase.name: on_step(name, step, loss),  # type: ignore[misc]
            )
            save_lora(transformer, family.pipeline_class, files[phase.name])
            transformer.delete_adapters(ADAPTER)
            record["experts"][phase.name] = {
                **base,
                "key": keys[phase.name],
                "file": files[phase.name].name,
                "sha256": sha256_file(files[phase.name]),
                "trainable_parameters": trainable,
                "sigmas": list(phase.sigmas),
                "told": [recipe.told(sigma) for sigma in phase.sigmas],
                "sources": [{"source": pair.source, "caption": pair.caption} for pair in pairs],
                **asdict(trained),
                "peak_memory_bytes": _peak(device),
                "environment": environment(device),
            }
            write_json(folder / RECORD, record)
            state.unlink(missing_ok=True)
    return [Expert(phase.name, files[phase.name], phase not in todo) for phase in levels]


def _reset_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _peak(device: str) -> int:
    """Bytes: allocated on the GPU since the reset, or the largest resident set of the process so far."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
