"""Writes trained parts as checkpoints in the real diffusers and open_clip layouts, in float16."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, QwenImagePipeline
from safetensors.torch import save_file

from glance_bench.testbed.train import clip, encoders, transformers, vae
from glance_bench.testbed.train.latents import Latents
from glance_bench.testbed.train.loop import trained

QWEN_LENGTH = 64  # prompt tokens


def flux_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """The constants of FLUX.1-dev's scheduler config."""
    return FlowMatchEulerDiscreteScheduler(
        shift=3.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
    )


def qwen_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """The constants of Qwen-Image's scheduler config."""
    return FlowMatchEulerDiscreteScheduler(
        shift=1.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=0.9,
        base_image_seq_len=256,
        max_image_seq_len=8192,
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


def export_flux(work: Path, data: Latents, folder: Path, state: str = "flux") -> None:
    """The FLUX-shaped checkpoint, from the training states under `work`, to `folder`, which is replaced."""
    autoencoder = trained(vae.flux_vae(), work / "vae")
    autoencoder.register_to_config(
        shift_factor=round(float(data.mean.mean()), 6), scaling_factor=round(1 / float(data.std.mean()), 6)
    )
    t5, text = encoders.t5(), encoders.clip()
    trained(t5.parser, work / "t5")
    trained(text.parser, work / "clip-text")
    pipe = FluxPipeline(
        scheduler=flux_scheduler(),
        vae=autoencoder.to(memory_format=torch.contiguous_format),
        text_encoder=text.parser.encoder,
        tokenizer=text.tokenizer,
        text_encoder_2=t5.parser.encoder,
        tokenizer_2=t5.tokenizer,
        transformer=trained(transformers.flux_transformer(), work / state),
    )
    settings = {
        "family": "flux",
        "guidance": 3.5,
        "max_sequence_length": encoders.T5_LENGTH,
        "resolution": [64, 64],
    }
    _save(pipe, folder, settings)


def export_qwen(work: Path, data: Latents, folder: Path, state: str = "qwen") -> None:
    """The Qwen-Image-shaped checkpoint, from the training states under `work`, to `folder`, which is replaced."""
    autoencoder = trained(vae.qwen_vae(), work / "qwen-vae")
    autoencoder.register_to_config(
        latents_mean=[round(float(value), 6) for value in data.mean],
        latents_std=[round(float(value), 6) for value in data.std],
    )
    part = encoders.qwen()
    trained(part.parser, work / "qwen-text")
    pipe = QwenImagePipeline(
        scheduler=qwen_scheduler(),
        vae=autoencoder,
        text_encoder=part.parser.encoder,
        tokenizer=part.tokenizer,
        transformer=trained(transformers.qwen_transformer(), work / state),
    )
    settings = {
        "family": "qwen_image",
        "guidance": 4.0,
        "max_sequence_length": QWEN_LENGTH,
        "resolution": [64, 64],
    }
    _save(pipe, folder, settings)


def export_clip(work: Path, folder: Path) -> None:
    """testbed-clip in open_clip's layout, to `folder`, which is replaced."""
    state = clip.without_unused_tokens(trained(clip.model(), work / "clip").state_dict())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    half = {key: value.half().contiguous() for key, value in state.items()}
    save_file(half, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    (folder / "open_clip_config.json").write_text(json.dumps(clip.CONFIG, indent=2) + "\n")
    _readable(folder)
