"""What an image costs before anything was measured: operations of one evaluation, and how fast a device does them.

Denoising alone is counted; encoding, decoding and loading come on top. No torch.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..machine import threads
from ..models.checkpoints import read_settings
from ..profiles import Gpu

__all__ = ["Shape", "evaluation_flop", "rate"]

CPU_THREAD = 3e10  # useful operations a second of one thread in float32
PROMPT = 128  # tokens of a long prompt, for models that are told no more than there is
PUBLISHED_TEXT = 512


@dataclass(frozen=True)
class Shape:
    """A transformer of one of the two families: ``width`` of its tokens, and how many blocks it has.

    ``text`` is the number of text tokens beside the image's.
    """

    width: int
    blocks: int
    text: int

    def flop(self, image_tokens: int) -> float:
        """Operations of one evaluation for one image.

        A block multiplies each token with 12 width^2 weights, text and image each with their own, and compares all
        tokens with all: 24 width^2 n + 4 width n^2. That gives 74.4 and 70.6 10^12 for FLUX.1 and Qwen-Image at 1024
        pixels, which is what counting the operations of the real ones gives.
        """
        tokens = image_tokens + self.text
        return self.blocks * (24 * self.width**2 * tokens + 4 * self.width * tokens**2)


PUBLISHED = {"flux": Shape(3072, 19 + 38, PUBLISHED_TEXT), "qwen_image": Shape(3072, 60, PROMPT)}

# Useful 10^12 operations a second in 16 bits and in float32: what denoising reaches, well below what is advertised.
# For a V100 two fifths of its tensor cores' peak, for the others about three tenths; none of it was measured here.
RATES: dict[str, tuple[float, float]] = {
    "V100": (50, 11),
    "T4": (20, 5),
    "A10": (40, 15),
    "A100": (100, 14),
    "L40S": (110, 35),
    "RTX 4090": (60, 40),
    "H100": (300, 40),
    "H200": (300, 40),
    "B200": (600, 45),
}


def evaluation_flop(family: str, image_tokens: int, checkpoint: Path | None) -> tuple[float, str]:
    """Operations of one evaluation for one image, and how they were counted.

    ``checkpoint`` is the folder of a model that is here; without one it is the family's published model.
    """
    shape = PUBLISHED.get(family)
    if checkpoint is not None and shape is not None:
        shape = _shape(family, checkpoint) or shape
    if shape is not None:
        return shape.flop(image_tokens), "its blocks' matrices and attention"
    parameters = sum(
        _parameters(path) for path in ((checkpoint or Path()) / "transformer").glob("*.safetensors")
    )
    return 2.0 * parameters * (image_tokens + PROMPT), "2 operations a parameter and token"


def rate(gpu: Gpu | None, dtype: str) -> tuple[float, str]:
    """Useful operations a second, and whose rate that is; ``gpu`` None is this machine's processor."""
    if gpu is None:
        return CPU_THREAD * threads(), f"{threads()} CPU threads at {CPU_THREAD / 1e9:.0f} GFLOP/s"
    known = [name for name in RATES if name.lower().replace(" ", "") in gpu.name.lower().replace(" ", "")]
    name = max(known, key=len, default="V100")
    tflops = RATES[name][dtype == "float32"]
    whose = name if known else f"V100, for want of a rate for {gpu.name}"
    return tflops * 1e12, f"{tflops:g} TFLOP/s in {dtype} ({whose})"


def _shape(family: str, checkpoint: Path) -> Shape | None:
    """Of a checkpoint whose transformer is described as diffusers describes it, else None."""
    try:
        config: dict[str, Any] = json.loads((checkpoint / "transformer" / "config.json").read_text("utf-8"))
        width = config["num_attention_heads"] * config["attention_head_dim"]
        blocks = config["num_layers"] + config.get("num_single_layers", 0)
    except (OSError, ValueError, KeyError):
        return None
    longest = read_settings(checkpoint).max_sequence_length
    return Shape(width, blocks, longest if family == "flux" else min(longest, PROMPT))


def _parameters(path: Path) -> int:
    """How many numbers a safetensors file holds, from its header."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
