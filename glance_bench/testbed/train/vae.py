"""The autoencoders: FLUX's AutoencoderKL, and Qwen-Image's AutoencoderKLQwenImage through its 2-D equivalent.

Both turn a 64 px image into 16 x 16 latents of 16 channels (f4); packed 2 x 2 they are the 64 tokens of 64 channels
that the real transformers see. The decoder is trained on latents with a little noise, so that it forgives the errors
of a few-step sampler as large autoencoders do.
"""

from __future__ import annotations

from types import MethodType

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderKLQwenImage
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageCausalConv3d
from torch import Tensor, nn
from torch.nn import functional as F

from glance_bench.testbed.scenes import KINDS, sample_scene
from glance_bench.testbed.world import render

LATENT_NOISE = 0.1  # of the latents' own standard deviation
KL_WEIGHT = 2e-4


def flux_vae() -> AutoencoderKL:
    """AutoencoderKL as FLUX.1 configures it (16 latent channels, no quant convolutions), three levels, untrained."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=1.0,
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


def qwen_vae() -> AutoencoderKLQwenImage:
    """AutoencoderKLQwenImage with three levels (f4), untrained, its 1x1 quant convolutions set to the identity."""
    vae = AutoencoderKLQwenImage(
        base_dim=16,
        z_dim=16,
        dim_mult=[1, 2, 4],
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[False, False],
        latents_mean=[0.0] * 16,
        latents_std=[1.0] * 16,
    )
    for conv in (vae.quant_conv, vae.post_quant_conv):
        nn.init.dirac_(conv.weight)
        nn.init.zeros_(conv.bias)
        conv.requires_grad_(False)
    return vae


def play_in_2d(vae: nn.Module) -> None:
    """Let the causal 3-D convolutions of `vae` run as 2-D ones, for single frames.

    A causal convolution pads the past with zeros, so on one frame only its last temporal slice meets the image. The
    other slices get no gradient: they are set to zero, and the trained module is the 3-D one as it is.
    """
    for module in vae.modules():
        if isinstance(module, QwenImageCausalConv3d):
            with torch.no_grad():
                module.weight[:, :, :-1].zero_()
            module.forward = MethodType(_one_frame, module)


def _one_frame(module: nn.Conv3d, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
    """The last temporal slice of a causal 3-D convolution, on x float[N, C, 1, H, W]."""
    padding = (module._padding[2], module._padding[0])
    stride = module.stride[1:]
    return F.conv2d(x.squeeze(2), module.weight[:, :, -1], module.bias, stride, padding).unsqueeze(2)


def batch_of_images(count: int, seed: int) -> Tensor:
    """float32[count, 3, 64, 64] in -1..1: renders of training scenes, every kind equally often."""
    rng = np.random.default_rng(seed)
    images = np.stack([render(sample_scene(rng, KINDS[i % len(KINDS)]), rng) for i in range(count)])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def reconstruction_loss(vae: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
    """L1, gradient L1, L2 and a small KL term, for images float32[N, 3, H, W] (or [N, 3, 1, H, W]) in -1..1."""
    moments = vae.encoder(images)
    mean, log_variance = moments.chunk(2, dim=1)
    log_variance = log_variance.clamp(-20, 10)
    noise = torch.randn(mean.shape, generator=generator)
    scale = (0.5 * log_variance).exp() + LATENT_NOISE * mean.detach().std()
    decoded = vae.decoder(mean + scale * noise)
    error = decoded - images
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    return F.l1_loss(decoded, images) + 0.5 * edges + error.square().mean() + KL_WEIGHT * divergence
