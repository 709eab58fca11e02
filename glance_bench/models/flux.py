"""FLUX.1: CLIP and T5 embeddings, guidance as an input of the distilled model (one pass a step)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import FluxPipeline

from ..errors import UsageError
from ..trajectory import Step
from .base import DiffusersFamily, Embeds


class FluxFamily(DiffusersFamily):
    """FluxPipeline. ``encode`` gives ``prompt_embeds`` [max_sequence_length, D] and ``pooled`` [D]."""

    name = "flux"
    pipeline_class = FluxPipeline

    def _encode(self, text: str) -> dict[str, Any]:
        limit = self.settings.max_sequence_length
        tokens = self.pipe.tokenizer_2(text, truncation=False, verbose=False).input_ids
        embeds, pooled, _ = self.pipe.encode_prompt(
            prompt=text, prompt_2=None, device=self.device, max_sequence_length=limit
        )
        return {"prompt_embeds": embeds[0].cpu(), "pooled": pooled[0].cpu(), "truncated": len(tokens) > limit}

    def _conditioning(self, embeds: Sequence[Embeds], step: Step) -> dict[str, Any]:
        if step.passes != 1:
            raise UsageError(
                f"FLUX takes its guidance as an input, in 1 pass a step; the plan says {step.passes}"
            )
        return {
            "prompt_embeds": self._place(torch.stack([entry["prompt_embeds"] for entry in embeds])),
            "pooled_prompt_embeds": self._place(torch.stack([entry["pooled"] for entry in embeds])),
            "guidance_scale": self._guidance(step),
            "max_sequence_length": self.settings.max_sequence_length,
        }
