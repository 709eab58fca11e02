"""Writes trained parts as checkpoints in the real diffusers and open_clip layouts, in float16."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from safetensors.torch import save_file
from torch import nn

from glance_bench.testbed.train import clip
from glance_bench.testbed.train.encoders import T5_LENGTH
from glance_bench.testbed.train.latents import Latents
from glance_bench.testbed.train.transformers import FluxText, QwenText

QWEN_LENGTH = 64  # prompt tokens


def flux_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """FLUX.1-dev's scheduler with the sequence lengths divided by 64, so that 64 tokens play the grid of 4096."""
    return FlowMatchEulerDiscreteScheduler(
        shift=3.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=4,
        max_image_seq_len=64,
    )


def qwen_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Qwen-Image's scheduler with the sequence lengths divided by 64, so that 64 tokens play the grid of 4096."""
    return FlowMatchEulerDiscreteScheduler(
        shift=1.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=0.9,
        base_image_seq_len=4,
        max_image_seq_len=128,
        shift_terminal=0.02,
    )


def _save(pipe: Any, folder: Path, settings: dict[str, Any]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    pipe.to(torch.float16).save_pretrained(folder)
    (folder / "glance_bench.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    _readable(folder)


def _readable(folder: Path) -> None:
    """safetensors writes files that their owner alone may read; a package's files are for everyone."""
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)


def export_flux(
    autoencoder: AutoencoderKL,
    text: FluxText,
    transformer: FluxTransformer2DModel,
    data: Latents,
    folder: Path,
) -> None:
    """The FLUX-shaped checkpoint to `folder`, which is replaced. `data` gives the latents' scale and shift."""
    autoencoder.register_to_config(
        shift_factor=round(float(data.mean.mean()), 6), scaling_factor=round(1 / float(data.std.mean()), 6)
    )
    pipe = FluxPipeline(
        scheduler=flux_scheduler(),
        vae=autoencoder,
        text_encoder=text.clip.parser.encoder,
        tokenizer=text.clip.tokenizer,
        text_encoder_2=text.t5.parser.encoder,
        tokenizer_2=text.t5.tokenizer,
        transformer=transformer,
    )
    settings = {"family": "flux", "guidance": 3.5, "max_sequence_length": T5_LENGTH, "resolution": [64, 64]}
    _save(pipe, folder, settings)


def export_qwen(
    autoencoder: AutoencoderKLQwenImage,
    text: QwenText,
    transformer: QwenImageTransformer2DModel,
    data: Latents,
    folder: Path,
) -> None:
    """The Qwen-Image-shaped checkpoint to `folder`, which is replaced. `data` gives the latents' moments."""
    autoencoder.register_to_config(
        latents_mean=[round(float(value), 6) for value in data.mean],
        latents_std=[round(float(value), 6) for value in data.std],
    )
    pipe = QwenImagePipeline(
        scheduler=qwen_scheduler(),
        vae=autoencoder,
        text_encoder=text.qwen.parser.encoder,
        tokenizer=text.qwen.tokenizer,
        transformer=transformer,
    )
    settings = {
        "family": "qwen_image",
        "guidance": 4.0,
        "max_sequence_length": QWEN_LENGTH,
        "resolution": [64, 64],
    }
    _save(pipe, folder, settings)


def export_clip(model: nn.Module, folder: Path) -> None:
    """testbed-clip in open_clip's layout, to `folder`, which is replaced."""
    state = clip.without_unused_tokens(model.state_dict())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    half = {key: value.half().contiguous() for key, value in state.items()}
    save_file(half, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    (folder / "open_clip_config.json").write_text(json.dumps(clip.CONFIG, indent=2) + "\n")
    _readable(folder)
