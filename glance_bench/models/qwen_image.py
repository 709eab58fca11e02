"""Qwen-Image: Qwen2.5-VL embeddings, true classifier-free guidance against the negative prompt " "."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from diffusers import QwenImagePipeline, QwenImageTransformer2DModel
from torch.nn.utils.rnn import pad_sequence

from ..errors import UsageError
from ..trajectory import Step
from .base import DiffusersFamily, Embeds

NEGATIVE_PROMPT = " "


class QwenImageFamily(DiffusersFamily):
    """QwenImagePipeline. ``encode`` gives ``prompt_embeds`` [T, D], T being the prompt's own length."""

    name = "qwen_image"
    pipeline_class = QwenImagePipeline
    transformer_class = QwenImageTransformer2DModel

    def _encode(self, text: str, limit: int) -> dict[str, Any]:
        whole = self.pipe.prompt_template_encode.format(text)
        tokens = self.pipe.tokenizer(whole, truncation=False, verbose=False).input_ids
        length = len(tokens) - self.pipe.prompt_template_encode_start_idx
        embeds, _ = self.pipe.encode_prompt(
            prompt=text, device=self._encoder_device, max_sequence_length=limit
        )
        return {"prompt_embeds": embeds[0].cpu(), "truncated": length > limit}

    def _last_encoding(self) -> None:
        _ = self._negative

    @cached_property
    def _negative(self) -> torch.Tensor:
        return self.encode([NEGATIVE_PROMPT])[0]["prompt_embeds"]

    def inputs(self, embeds: Sequence[Embeds], guidance: float | None = None) -> dict[str, torch.Tensor]:
        """See ``DiffusersFamily.inputs``; this family has no guidance input."""
        made = self._padded("prompt", [entry["prompt_embeds"] for entry in embeds])
        return {
            "encoder_hidden_states": made["prompt_embeds"],
            "encoder_hidden_states_mask": made["prompt_embeds_mask"],
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
        made: torch.Tensor = transformer(
            hidden_states=latents,
            timestep=t_cond,
            img_shapes=[[(1, *tokens)]] * len(latents),
            return_dict=False,
            **inputs,
        )[0]
        return made

    def _latents(self, pixels: torch.Tensor) -> torch.Tensor:
        vae = self.pipe.vae
        latents = vae.encode(pixels.unsqueeze(2)).latent_dist.mode().squeeze(2)
        mean, std = (
            torch.tensor(values, device=latents.device, dtype=latents.dtype)[:, None, None]
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        return torch.as_tensor((latents - mean) / std)

    def _pixels(self, latents: torch.Tensor, height: int, width: int) -> torch.Tensor:
        vae = self.pipe.vae
        unpacked = self.pipe._unpack_latents(latents, height, width, self.pipe.vae_scale_factor)
        mean, std = (
            torch.tensor(values)[:, None, None, None].to(latents.device, latents.dtype)
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        scaled = unpacked / (1 / std) + mean  # the pipeline's rounding, in this order
        return torch.as_tensor(vae.decode(scaled, return_dict=False)[0][:, :, 0])

    def _conditioning(self, embeds: Sequence[Embeds], step: Step) -> dict[str, Any]:
        if step.passes not in (1, 2):
            raise UsageError(
                f"Qwen-Image takes 1 pass a step, or 2 with guidance; the plan says {step.passes}"
            )
        made = {
            **self._padded("prompt", [entry["prompt_embeds"] for entry in embeds]),
            "max_sequence_length": self.settings.max_sequence_length,
            "true_cfg_scale": 1.0,
        }
        if step.passes == 2:
            made |= self._padded("negative_prompt", [self._negative] * len(embeds))
            made["true_cfg_scale"] = self._guidance(step)
        return made

    def _padded(self, what: str, rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Embeddings [N, longest, D] with zeros at the end, and their mask [N, longest]."""
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        embeds = pad_sequence(rows, batch_first=True)
        mask = torch.arange(embeds.shape[1], device=self.device) < lengths[:, None]
        return {f"{what}_embeds": self._place(embeds), f"{what}_embeds_mask": mask.long()}
