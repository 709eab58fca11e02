"""The two transformers: flow matching on the world's latents, and FLUX's guidance distillation.

x_sigma = (1 - sigma) x_0 + sigma noise, and the model predicts the velocity noise - x_0, as FLUX.1 and Qwen-Image do.
Sigmas are drawn from a logit-normal, shifted towards noise as the samplers' grids are. Attention runs on the math
path in bfloat16 where the CPU gains from it; weights, EMA and optimizer stay in float32.
"""

from __future__ import annotations

import torch
from diffusers import FluxTransformer2DModel, QwenImageTransformer2DModel
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from glance_bench.testbed.train import encoders

SIDE = 8  # tokens along each side of a 64 px image
HEADS, HEAD_DIM, AXES = 6, 32, (8, 12, 12)
GUIDANCE = (1.0, 5.0)  # range of the distilled guidance scale


def _start_at_zero(module: nn.Module) -> None:
    """Zero the modulations and the last layer, so that every block starts as the identity (DiT's adaLN-Zero)."""
    for name, tensor in module.named_parameters():
        if ("norm" in name and ".linear." in name) or "_mod.1." in name or name.startswith("proj_out"):
            nn.init.zeros_(tensor)


def flux_transformer() -> FluxTransformer2DModel:
    """FLUX.1's transformer with 2 dual-stream and 5 single-stream blocks, 192 wide, untrained."""
    model = FluxTransformer2DModel(
        in_channels=64,
        num_layers=2,
        num_single_layers=5,
        attention_head_dim=HEAD_DIM,
        num_attention_heads=HEADS,
        joint_attention_dim=encoders.WIDTH,
        pooled_projection_dim=encoders.POOLED,
        guidance_embeds=True,
        axes_dims_rope=AXES,
    )
    _start_at_zero(model)
    return model


def qwen_transformer() -> QwenImageTransformer2DModel:
    """Qwen-Image's transformer with 5 dual-stream blocks, 192 wide, untrained."""
    model = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=64,
        out_channels=16,
        num_layers=5,
        attention_head_dim=HEAD_DIM,
        num_attention_heads=HEADS,
        joint_attention_dim=encoders.WIDTH,
        axes_dims_rope=AXES,
    )
    _start_at_zero(model)
    return model


class FluxText:
    """Captions -> what FLUX's transformer is given: T5 states float32[N, 32, 128] and CLIP's pooled float32[N, 64]."""

    empty = ""

    def __init__(self, t5: encoders.TextPart, clip: encoders.TextPart) -> None:
        self.t5, self.clip = t5, clip

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> dict[str, Tensor]:
        long = self.t5.tokenizer(
            texts, padding="max_length", max_length=encoders.T5_LENGTH, truncation=True, return_tensors="pt"
        )
        short = self.clip.tokenizer(
            texts, padding="longest", max_length=77, truncation=True, return_tensors="pt"
        )
        return {
            "encoder_hidden_states": self.t5.parser.encoder(long.input_ids)[0],
            "pooled_projections": self.clip.parser.encoder(short.input_ids).pooler_output,
        }


class QwenText:
    """Captions -> Qwen2.5-VL's last hidden states float32[N, T, 128] after the template's prefix, with their mask."""

    empty = " "

    def __init__(self, qwen: encoders.TextPart) -> None:
        self.qwen = qwen

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> dict[str, Tensor]:
        full = [encoders.qwen_template().format(text) for text in texts]
        batch = self.qwen.tokenizer(full, padding=True, padding_side="right", return_tensors="pt")
        states = self.qwen.parser.encoder.model.language_model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask
        ).last_hidden_state[:, 34:]
        mask = batch.attention_mask[:, 34:]
        return {"encoder_hidden_states": states * mask[..., None], "encoder_hidden_states_mask": mask}


def predict(
    model: nn.Module, x: Tensor, sigma: Tensor, text: dict[str, Tensor], guidance: Tensor | None
) -> Tensor:
    """Velocity float32[N, 64, 64] of packed latents x at sigma float32[N]; guidance float32[N] for FLUX alone."""
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        if guidance is None:
            shapes = [[(1, SIDE, SIDE)]] * len(x)
            out = model(hidden_states=x, timestep=sigma, img_shapes=shapes, return_dict=False, **text)[0]
        else:
            ids = torch.zeros(SIDE * SIDE, 3)
            ids[:, 1] = torch.arange(SIDE).repeat_interleave(SIDE)
            ids[:, 2] = torch.arange(SIDE).repeat(SIDE)
            none = torch.zeros(text["encoder_hidden_states"].shape[1], 3)
            out = model(
                hidden_states=x,
                timestep=sigma,
                guidance=guidance,
                img_ids=ids,
                txt_ids=none,
                return_dict=False,
                **text,
            )[0]
    return out.float()


def draw_sigmas(count: int, generator: torch.Generator) -> Tensor:
    """float32[count] in (0, 1): logit-normal with mean 0.6 and standard deviation 1.2."""
    return torch.sigmoid(0.6 + 1.2 * torch.randn(count, generator=generator))


def flow_loss(
    model: nn.Module, x0: Tensor, text: dict[str, Tensor], guidance: float | None, generator: torch.Generator
) -> Tensor:
    """Flow-matching loss on packed latents x0 float32[N, 64, 64]."""
    noise = torch.randn(x0.shape, generator=generator)
    sigma = draw_sigmas(len(x0), generator)
    mixed = torch.lerp(x0, noise, sigma[:, None, None])
    scale = None if guidance is None else torch.full((len(x0),), guidance)
    return F.mse_loss(predict(model, mixed, sigma, text, scale), noise - x0)


def distillation_loss(
    student: nn.Module,
    teacher: nn.Module,
    x0: Tensor,
    text: dict[str, Tensor],
    empty: dict[str, Tensor],
    generator: torch.Generator,
) -> Tensor:
    """Student at guidance g against the teacher's v_empty + g (v_text - v_empty), as FLUX.1-dev's guidance is made."""
    noise = torch.randn(x0.shape, generator=generator)
    sigma = draw_sigmas(len(x0), generator)
    mixed = torch.lerp(x0, noise, sigma[:, None, None])
    low, high = GUIDANCE
    scale = low + (high - low) * torch.rand(len(x0), generator=generator)
    one = torch.ones(len(x0))
    with torch.no_grad():
        given = predict(teacher, mixed, sigma, text, one)
        blind = predict(teacher, mixed, sigma, empty, one)
        target = blind + scale[:, None, None] * (given - blind)
    return F.mse_loss(predict(student, mixed, sigma, text, scale), target)
