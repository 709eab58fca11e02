"""A vision-language model of transformers that answers a question about an image, one user turn, greedily.

bfloat16 on a GPU that has it, float32 on others and on a CPU. Only safetensors weights are read and no code of a
repository is run. What a model's own ``generation_config.json`` says is kept (Qwen2.5-VL has a repetition penalty),
apart from sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.base import Images
from glance_bench.models.placement import reading
from glance_bench.profiles import find_gpus

__all__ = ["ChatModel"]

BATCH = 8  # questions a forward pass; padded on the left


class ChatModel:
    """The model in ``folder``, loaded when it is first asked.

    ``architecture`` is the name of a class of transformers. ``resize`` maps (height, width) of an image to those at
    which Pillow's bicubic filter resizes it before the model's own processor; None leaves that to the processor.
    Raises GlanceBenchError when the folder has no config or no safetensors weights.
    """

    def __init__(
        self,
        folder: Path,
        architecture: str,
        resize: Callable[[int, int], tuple[int, int]] | None = None,
    ) -> None:
        if not (folder / "config.json").is_file():
            raise GlanceBenchError(f"{folder}: no model there (config.json is missing)")
        if not any(folder.glob("*.safetensors")):
            raise GlanceBenchError(f"{folder}: no *.safetensors weights; other formats are not loaded")
        self._folder = folder
        self._architecture = architecture
        self._resize = resize

    @cached_property
    def recipe(self) -> str:
        """Precision and decoding. No torch."""
        device, dtype = reading(find_gpus())
        return f"{dtype}, {'GPU' if device == 'cuda' else 'CPU'}, sdpa, chat template, greedy"

    def answer(self, images: Images, questions: Sequence[str], *, tokens: int) -> list[str | None]:
        """As ``Judge.answer``: uint8[N, H, W, 3] and N questions to N answers of at most ``tokens`` new tokens."""
        if len(images) != len(questions):
            raise ValueError(f"{len(images)} images for {len(questions)} questions")
        found: list[str | None] = []
        for start in range(0, len(questions), BATCH):
            found += self._batch(images[start : start + BATCH], questions[start : start + BATCH], tokens)
        return found

    def _batch(self, images: Images, questions: Sequence[str], tokens: int) -> list[str]:
        import torch

        model, processor = self._loaded
        pictures = [self._picture(image) for image in images]
        texts = [
            processor.apply_chat_template(
                [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}],
                tokenize=False,
                add_generation_prompt=True,
            )
            for question in questions
        ]
        inputs = processor(
            text=texts, images=[[picture] for picture in pictures], padding=True, return_tensors="pt"
        ).to(model.device)
        with torch.inference_mode():
            made = model.generate(**inputs, max_new_tokens=tokens)
        new = made[:, inputs["input_ids"].shape[1] :]
        return list(processor.batch_decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _picture(self, image: Any) -> Any:
        from PIL import Image

        picture = Image.fromarray(image)
        if self._resize is None:
            return picture
        height, width = self._resize(*image.shape[:2])
        return picture.resize((width, height), Image.Resampling.BICUBIC)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import torch
        import transformers
        from safetensors import SafetensorError

        device, dtype = reading(find_gpus())
        transformers.utils.logging.disable_progress_bar()
        try:
            model = getattr(transformers, self._architecture).from_pretrained(
                self._folder,
                dtype=getattr(torch, dtype),
                attn_implementation="sdpa",
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
            )
            processor = transformers.AutoProcessor.from_pretrained(
                self._folder, trust_remote_code=False, local_files_only=True
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise GlanceBenchError(
                f"{self._folder}: the model cannot be loaded: {_first_line(error)}"
            ) from error
        if not getattr(processor, "chat_template", None):
            raise GlanceBenchError(
                f"{self._folder}: its processor has no chat template, so it cannot be asked"
            )
        processor.tokenizer.padding_side = "left"
        settings = model.generation_config
        settings.do_sample = False
        settings.temperature = settings.top_k = settings.top_p = None
        return model.to(device).eval(), processor


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:200]
