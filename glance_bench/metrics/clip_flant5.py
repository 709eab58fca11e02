"""CLIP-FlanT5 (zhiqiulin/clip-flant5-xxl), the model behind VQAScore: a T5 that reads image patches as words.

CLIP ViT-L/14-336's patch features of the last layer but one, without the class token, go through a linear layer, GELU
and a linear layer, and stand where ``<image>`` stands in the text, as in LLaVA. The package that the authors publish
cannot be installed beside current libraries, so the model is put together here from transformers' T5 and CLIP; the
parameters are called as in the published checkpoint (T5's own names and ``mm_projector.0``, ``mm_projector.2``).
bfloat16 on a GPU that has it, float32 on others and on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.base import Images
from glance_bench.models.placement import reading
from glance_bench.profiles import find_gpus

__all__ = ["IMAGE", "ClipFlanT5", "Part", "squared"]

BATCH = 8
IMAGE = "<image>"  # where the patches stand in a text
LAYER = -2  # of CLIP's hidden states
OUTSIDE = "vision_tower."  # a checkpoint may hold CLIP too; it is frozen, so its own repository's is used
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP, RGB in 0..1
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Part:
    """Where one of the two networks lies: folders with its config.json and with its *.safetensors weights."""

    config: Path
    weights: Path


class ClipFlanT5:
    """``model`` is T5 with ``mm_projector``, ``tower`` CLIP, ``tokenizer`` a folder with Flan-T5's; loaded when used.

    Raises GlanceBenchError when a config or the weights of a part are not there.
    """

    def __init__(self, model: Part, tower: Part, tokenizer: Path) -> None:
        for part in (model, tower):
            if not (part.config / "config.json").is_file():
                raise GlanceBenchError(f"CLIP-FlanT5: {part.config / 'config.json'} is missing")
            if not any(part.weights.glob("*.safetensors")):
                raise GlanceBenchError(f"CLIP-FlanT5: no *.safetensors weights in {part.weights}")
        self._model, self._tower, self._tokenizer = model, tower, tokenizer

    @cached_property
    def recipe(self) -> str:
        """Digests and precision. No torch."""
        from glance_bench.models.checkpoints import checkpoint_digest

        places = self._model.weights, self._tower.weights, self._tokenizer
        model, tower, tokenizer = (checkpoint_digest(p).removeprefix("sha256:")[:12] for p in places)
        device, dtype = reading(find_gpus())
        precision = f"{dtype}, {'GPU' if device == 'cuda' else 'CPU'}"
        return f"CLIP-FlanT5 {model}, CLIP tower {tower}, tokenizer {tokenizer}, {precision}"

    def log_likelihood(
        self, images: Images, texts: Sequence[str], answers: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        """float64[N], the mean log probability of the tokens of each answer and its end mark, given image and text.

        ``images`` is uint8[N, H, W, 3]; each text holds ``<image>`` once.
        """
        if not len(images) == len(texts) == len(answers):
            raise ValueError(f"{len(images)} images, {len(texts)} texts, {len(answers)} answers")
        parts = [np.zeros(0)]
        for start in range(0, len(images), BATCH):
            rows = slice(start, start + BATCH)
            parts.append(self._batch(images[rows], texts[rows], answers[rows]))
        return np.concatenate(parts)

    def _batch(self, images: Images, texts: Sequence[str], answers: Sequence[str]) -> npt.NDArray[np.float64]:
        import torch
        from torch.nn.functional import cross_entropy
        from torch.nn.utils.rnn import pad_sequence

        t5, projector, tower, tokenizer = self._loaded
        side = tower.config.image_size
        pixels = torch.from_numpy(np.stack([_normalised(image, side) for image in images]))
        with torch.inference_mode():
            hidden = tower(pixels.to(t5.device, t5.dtype), output_hidden_states=True).hidden_states[LAYER]
            patches = projector(hidden[:, 1:])
            rows = [_around(tokenizer, text, t5, own) for text, own in zip(texts, patches, strict=True)]
            labels = [torch.tensor(tokenizer(answer).input_ids) for answer in answers]
            wanted = pad_sequence(labels, batch_first=True, padding_value=-100).to(t5.device)
            logits = t5(
                inputs_embeds=pad_sequence(rows, batch_first=True),
                attention_mask=pad_sequence([torch.ones(len(row)) for row in rows], batch_first=True).to(
                    t5.device
                ),
                labels=wanted,
            ).logits.float()
            costs = [cross_entropy(one, label) for one, label in zip(logits, wanted, strict=True)]
        return -torch.stack(costs).double().cpu().numpy()

    @cached_property
    def _loaded(self) -> tuple[Any, Any, Any, Any]:
        import torch
        import transformers
        from safetensors import SafetensorError

        transformers.utils.logging.disable_progress_bar()
        device, dtype = reading(find_gpus())
        try:
            t5, projector = _language_model(self._model)
            tower = transformers.CLIPVisionModel.from_pretrained(
                self._tower.weights,
                config=transformers.CLIPVisionConfig.from_pretrained(self._tower.config),
                use_safetensors=True,
                local_files_only=True,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                self._tokenizer, trust_remote_code=False, local_files_only=True
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise GlanceBenchError(f"CLIP-FlanT5 cannot be loaded: {str(error)[:300]}") from error
        return (
            *(part.to(device, getattr(torch, dtype)).eval() for part in (t5, projector, tower)),
            tokenizer,
        )


def _language_model(part: Part) -> tuple[Any, Any]:
    """T5 and the projector of its checkpoint, in the precision they are stored in.

    Raises KeyError or ValueError for a checkpoint that lacks parameters or has others.
    """
    import torch
    import transformers
    from safetensors.torch import load_file

    state = {
        name: value
        for file in sorted(part.weights.glob("*.safetensors"))
        for name, value in load_file(file).items()
    }
    own = {name: value for name, value in state.items() if not name.startswith(("mm_projector.", OUTSIDE))}
    projected = {name: state[f"mm_projector.{name}"] for name in ("0.weight", "0.bias", "2.weight", "2.bias")}
    with torch.device("meta"):
        t5 = transformers.T5ForConditionalGeneration(transformers.T5Config.from_pretrained(part.config))
        sizes = [projected[name].shape for name in ("0.weight", "2.weight")]
        first, second = (torch.nn.Linear(inner, outer) for outer, inner in sizes)
        projector = torch.nn.Sequential(first, torch.nn.GELU(), second)
    projector.load_state_dict(projected, assign=True)
    _, unknown = t5.load_state_dict(own, strict=False, assign=True)
    for stack in (t5.encoder, t5.decoder):  # one embedding for both, stored once
        stack.set_input_embeddings(t5.shared)
    missing = [name for name, parameter in t5.named_parameters() if parameter.is_meta]
    if unknown or missing:
        raise ValueError(f"not CLIP-FlanT5's parameters: {[*missing, *unknown][:3]}")
    return t5, projector


def _around(tokenizer: Any, text: str, t5: Any, patches: Any) -> Any:
    """float[L, D]: the embedded text with ``patches``, float[P, D], where ``<image>`` is.

    The two parts are tokenised one by one, and each gets the tokenizer's end mark, as in the published code.
    """
    import torch

    before, image, after = text.partition(IMAGE)
    if not image or IMAGE in after:
        raise ValueError(f"expected {IMAGE} once: {text[:80]!r}")
    embed = t5.get_input_embeddings()
    head, tail = (
        embed(torch.tensor(tokenizer(part, verbose=False).input_ids, device=t5.device))
        for part in (before, after)
    )
    return torch.cat([head, patches, tail])


def squared(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """uint8[S, S, 3], S the longer side: the image in the middle of a square of CLIP's mean colour."""
    height, width = image.shape[:2]
    side = max(height, width)
    square = np.empty((side, side, 3), np.uint8)
    square[:] = [int(value * 255) for value in MEAN]
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return square


def _normalised(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.float32]:
    """float32[3, side, side]: squared, resized by Pillow's bicubic filter, with CLIP's mean and deviation."""
    from PIL import Image

    small = Image.fromarray(squared(image)).resize((side, side), Image.Resampling.BICUBIC)
    mean, deviation = np.array(MEAN, np.float32), np.array(STD, np.float32)
    values = (np.asarray(small).astype(np.float32) / np.float32(255) - mean) / deviation
    return values.transpose(2, 0, 1).astype(np.float32)
