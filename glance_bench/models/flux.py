"""FLUX.1: CLIP and T5 embeddings, guidance as an input of the distilled model (one pass a step)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel

from ..errors import UsageError
from ..trajectory import Step
from .base import DiffusersFamily, Embeds


class FluxFamily(DiffusersFamily):
    """FluxPipeline. ``encode`` gives ``prompt_embeds`` [max_sequence_length, D] and ``pooled`` [D]."""

    name = "flux"
    pipeline_class = FluxPipeline
    transformer_class = FluxTransformer2DModel

    def _encode(self, text: str, limit: int) -> dict[str, Any]:
        tokens = self.pipe.tokenizer_2(text, truncation=False, verbose=False).input_ids
        embeds, pooled, _ = self.pipe.encode_prompt(
            prompt=text, prompt_2=None, device=self._encoder_device, max_sequence_length=limit
        )
        return {"prompt_embeds": embeds[0].cpu(), "pooled": pooled[0].cpu(), "truncated": len(tokens) > limit}

    def inputs(self, embeds: Sequence[Embeds], guidance: float | None = None) -> dict[str, torch.Tensor]:
        """See ``DiffusersFamily.inputs``."""
        value = self.settings.guidance if guidance is None else guidance
        return {
            "encoder_hidden_states": self._place(torch.stack([entry["prompt_embeds"] for entry in embeds])),
            "pooled_projections": self._place(torch.stack([entry["pooled"] for entry in embeds])),
            "guidance": self._place(torch.full((len(embeds),), float(value))),
        }

    @staticmethod
    def velocity(
        transformer: torch.nn.Module,
        latents: torch.Tensor,
        t_cond: torch.Tensor,
        inputs: Mapping[str, torch.Tensor],
        tokens: tuple[int, int],
    ) -> torch.Tensor:
        """See ``DiffusersFamily.velocity``."""
        text = inputs["encoder_hidden_states"]
        embedded = transformer.config.guidance_embeds  # FLUX.1-schnell's is not
        places = FluxPipeline._prepare_latent_image_ids(1, *tokens, latents.device, latents.dtype)
        made: torch.Tensor = transformer(
            hidden_states=latents,
            timestep=t_cond,
            img_ids=places,
            txt_ids=torch.zeros(text.shape[1], 3, device=latents.device, dtype=latents.dtype),
            return_dict=False,
            **{name: value for name, value in inputs.items() if embedded or name != "guidance"},
        )[0]
        return made

    def _latents(self, pixels: torch.Tensor) -> torch.Tensor:
        vae = self.pipe.vae
        mean = vae.encode(pixels).latent_dist.mode()
        return torch.as_tensor((mean - vae.config.shift_factor) * vae.config.scaling_factor)

    def _pixels(self, latents: torch.Tensor, height: int, width: int) -> torch.Tensor:
        vae = self.pipe.vae
        unpacked = self.pipe._unpack_latents(latents, height, width, self.pipe.vae_scale_factor)
        scaled = (unpacked / vae.config.scaling_factor) + vae.config.shift_factor
        return torch.as_tensor(vae.decode(scaled, return_dict=False)[0])

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
