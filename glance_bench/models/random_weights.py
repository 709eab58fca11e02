"""A model of the true shapes with random weights: what its speed and its memory need, and no download.

Built from the configurations of a checkpoint folder in the diffusers layout; weights need not be there. The folders
below ``shapes/`` have those of published models. Prompts become random embeddings of the shapes that the text encoders
would give, so there are none. What such a model draws is noise.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler
from torch import nn

from ..errors import UsageError
from ..registry import ModelEntry
from ..sealed import sha256_bytes
from .base import DiffusersFamily
from .checkpoints import read_settings
from .flux import FluxFamily
from .placement import Plan
from .placing import DTYPES, install
from .quantised import quantise
from .qwen_image import NEGATIVE_PROMPT, QwenImageFamily

__all__ = ["build", "parameters", "shape_folder"]

SHAPES = Path(__file__).parent / "shapes"
RESIDENT = ("all-on-gpu", "encode-then-drop")  # plans under which plain weights stay on the device
SPREAD = 0.02  # standard deviation of the weights: as transformers are initialised, so that activations stay finite
PROMPT_TOKENS = 64  # of a prompt of Qwen-Image, whose embeddings are as long as the text: a long sentence
NEGATIVE_TOKENS = 6  # of " ": a blank and the end of the chat template


class RandomFlux(FluxFamily):
    """FLUX whose prompts are padded to the model's limit, as T5's are."""

    autoencoder_class = AutoencoderKL
    absent = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")

    def _encode(self, text: str, limit: int) -> dict[str, Any]:
        config = self.pipe.transformer.config
        return {
            "prompt_embeds": _embedding(text, limit, config.joint_attention_dim),
            "pooled": _embedding(text, config.pooled_projection_dim),
            "truncated": False,
        }


class RandomQwenImage(QwenImageFamily):
    """Qwen-Image with a prompt of 64 tokens, or the model's limit, and its short negative prompt."""

    autoencoder_class = AutoencoderKLQwenImage
    absent = ("text_encoder", "tokenizer")

    def _encode(self, text: str, limit: int) -> dict[str, Any]:
        tokens = NEGATIVE_TOKENS if text == NEGATIVE_PROMPT else PROMPT_TOKENS
        shape = min(tokens, limit), self.pipe.transformer.config.joint_attention_dim
        return {"prompt_embeds": _embedding(text, *shape), "truncated": False}


FAMILIES: dict[str, Any] = {family.name: family for family in (RandomFlux, RandomQwenImage)}


def shape_folder(entry: ModelEntry) -> Path:
    """Where the configurations of a model are: below ``shapes/``, or its checkpoint's own."""
    shipped = SHAPES / entry.name
    return shipped if shipped.is_dir() else entry.path


def build(
    folder: Path, *, device: str, dtype: str, seed: int = 0, plan: Plan | None = None
) -> DiffusersFamily:
    """The pipeline of the configurations in ``folder`` with seeded random weights made on ``device`` in ``dtype``.

    Under a ``plan``, whose dtype then counts, the transformer is stored and offloaded as it says; there are no encoders
    to drop. On the device "meta" nothing is allocated, which is enough to count parameters and operations. Raises
    GlanceBenchError for a damaged folder and UsageError for a family that has no random twin.
    """
    settings = read_settings(folder)
    if settings.family not in FAMILIES:
        raise UsageError(f"random weights are for {' and '.join(FAMILIES)}, not for family {settings.family}")
    family = FAMILIES[settings.family]
    place, kind = torch.device(device), DTYPES[plan.dtype if plan else dtype]
    whole = plan is None or plan.name in RESIDENT
    stored = torch.float16 if plan and plan.weights != "plain" else kind
    resting = place if whole else torch.device("cpu")
    transformer = _filled(family.transformer_class, folder / "transformer", place, resting, stored, seed)
    if plan and plan.weights != "plain":
        quantise(transformer, plan.weights, kind, place)
    vae = _filled(family.autoencoder_class, folder / "vae", place, place, kind, seed)
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(
        _config(folder / "scheduler", "scheduler_config.json")
    )
    without = dict.fromkeys(family.absent)
    pipe = family.pipeline_class(transformer=transformer, vae=vae, scheduler=scheduler, **without)
    pipe.set_progress_bar_config(disable=True)
    if plan:
        install(pipe, transformer, plan, place)
    made: DiffusersFamily = family(pipe, folder, place, kind)
    return made


def parameters(module: nn.Module) -> int:
    """How many numbers its weights are."""
    return sum(parameter.numel() for parameter in module.parameters())


def _filled(
    kind: Any, folder: Path, device: torch.device, resting: torch.device, dtype: torch.dtype, seed: int
) -> nn.Module:
    """A module on ``resting``, its weights made one by one on ``device``, which may be faster.

    Matrices and kernels are normal, scales of norms one, biases zero.
    """
    with init_empty_weights(include_buffers=False):
        module: nn.Module = kind.from_config(_config(folder, "config.json"))
    random = None if device.type == "meta" else torch.Generator(device).manual_seed(seed)
    for name, empty in list(module.named_parameters()):
        weight = torch.empty(empty.shape, dtype=dtype, device=device)
        if empty.ndim > 1:
            weight.normal_(0.0, SPREAD, generator=random)
        else:
            weight.fill_(float(name.endswith("weight")))
        owner, _, own = name.rpartition(".")
        filled = nn.Parameter(weight.to(resting), requires_grad=False)
        module.get_submodule(owner).register_parameter(own, filled)
    return module.to(resting).eval()


def _config(folder: Path, file: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / file).read_text(encoding="utf-8"))
    return config


def _embedding(text: str, *shape: int) -> torch.Tensor:
    """float32, on the CPU, its own for each text."""
    random = torch.Generator("cpu").manual_seed(int(sha256_bytes(text.encode())[:16], 16))
    return torch.randn(shape, generator=random)
