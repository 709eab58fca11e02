"""CLIP-FlanT5 (zhiqiulin/clip-flant5-xxl), the model behind VQAScore: a T5 that reads image patches as words.

CLIP ViT-L/14-336's patch features of the last layer but one, without the class token, go through a linear layer, GELU
and a linear layer, and stand where ``<image>`` stands in the text, as in LLaVA. The package that the authors publish
cannot be installed beside current libraries, so the model is put together here from transformers' T5 and CLIP; the
parameters are called as in the published checkpoint (T5's own names and ``mm_projector.0``, ``mm_projector.2``).
bfloat16 on a GPU, float32 on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.base import Images
from glance_bench.profiles import find_gpus

__all__ = ["IMAGE", "ClipFlanT5", "squared"]

BATCH = 8
IMAGE = "<image>"  # where the patches stand in a text
LAYER = -2  # of CLIP's hidden states
OUTSIDE = "vision_tower."  # a checkpoint may hold CLIP too; it is frozen, so its own repository's is used
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP, RGB in 0..1
STD = (0.26862954, 0.26130258, 0.27577711)


class ClipFlanT5:
    """``model`` is a folder with config.json (T5's) and model.safetensors (T5 and ``mm_projector``), ``tower`` one with
    CLIP's, ``tokenizer`` one with Flan-T5's tokenizer. Loaded when first used.

    Raises GlanceBenchError when a file is not there.
    """

    def __init__(self, model: Path, tower: Path, tokenizer: Path) -> None:
        needed = (model / "model.safetensors", tower / "model.safetensors", tower / "config.json")
        for file in (model / "config.json", *needed):
            if not file.is_file():
                raise GlanceBenchError(f"CLIP-FlanT5: {file} is missing")
        self._places = model, tower, tokenizer

    @cached_property
    def recipe(self) -> str:
        """Digests and precision. No torch."""
        from glance_bench.models.checkpoints import checkpoint_digest

        digests = [checkpoint_digest(place).removeprefix("sha256:")[:12] for place in self._places]
        precision = "bfloat16, GPU" if find_gpus() else "float32, CPU"
        return f"CLIP-FlanT5 {digests[0]}, CLIP tower {digests[1]}, tokenizer {digests[2]}, {precision}"

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
        from safetensors.torch import load_file

        transformers.utils.logging.disable_progress_bar()
        model, tower_folder, tokenizer_folder = self._places
        device, dtype = ("cuda", torch.bfloat16) if find_gpus() else ("cpu", torch.float32)
        config = transformers.T5Config.from_pretrained(model)
        state = {name: value for name, value in load_file(model / "model.safetensors").items()}
        projected = {name: state.pop(name) for name in list(state) if name.startswith("mm_projector.")}
        with torch.device("meta"):
            t5 = transformers.T5ForConditionalGeneration(config)
        own = {name: value for name, value in state.items() if not name.startswith(OUTSIDE)}
        try:
            missing, unknown = t5.load_state_dict(own, strict=False, assign=True)
            t5.tie_weights()
            if unknown or any(parameter.is_meta for parameter in t5.parameters()):
                raise GlanceBenchError(f"{model}: not CLIP-FlanT5's parameters: {[*missing, *unknown][:3]}")
            first, second = projected["mm_projector.0.weight"], projected["mm_projector.2.weight"]
            projector = torch.nn.Sequential(
                torch.nn.Linear(*reversed(first.shape)),
                torch.nn.GELU(),
                torch.nn.Linear(*reversed(second.shape)),
            )
            projector.load_state_dict(
                {name.removeprefix("mm_projector."): w for name, w in projected.items()}
            )
            tower = transformers.CLIPVisionModel.from_pretrained(
                tower_folder, use_safetensors=True, local_files_only=True, dtype=dtype
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_folder, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:  # RuntimeError: shapes that do not fit
            raise GlanceBenchError(f"CLIP-FlanT5 cannot be loaded: {error!r:.200}") from error
        on_device = (part.to(device, dtype).eval() for part in (t5, projector, tower))
        return (*on_device, tokenizer)


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
    values = (np.asarray(small, np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return values.transpose(2, 0, 1)
