"""``qwen2.5-vl-7b``: the judge of OneIG-Bench and LongText-Bench, Qwen/Qwen2.5-VL-7B-Instruct.

The official scripts run it in bfloat16 with flash attention through qwen_vl_utils; here transformers' own attention
is used. Like qwen_vl_utils, images are brought to multiples of 28 px by Pillow's bicubic filter before the processor
sees them (its own filter differs in the last bits).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, sqrt
from pathlib import Path

from glance_bench.errors import UsageError
from glance_bench.judges.chat import ChatModel
from glance_bench.metrics.base import Images
from glance_bench.models.placement import refuse_to_read
from glance_bench.profiles import find_gpus
from glance_bench.weights import WEIGHTS, find_weights

__all__ = ["QwenJudge", "qwen", "smart_size"]

NAME = "qwen2.5-vl-7b"
FACTOR = 28  # pixels: two patches of 14 a side become one token
FEWEST, MOST = 4 * FACTOR**2, 16384 * FACTOR**2  # pixels of an image
THINNEST = 200  # longer side / shorter side


def smart_size(height: int, width: int) -> tuple[int, int]:
    """The (height, width) at which qwen_vl_utils shows an image: multiples of 28, about the same aspect ratio,
    between 4 and 16,384 tokens. Raises UsageError for a side 200 times the other."""
    if max(height, width) > THINNEST * min(height, width):
        raise UsageError(
            f"{NAME} takes no image of {height}x{width}: one side is over {THINNEST} times the other"
        )
    high, wide = (max(FACTOR, round(side / FACTOR) * FACTOR) for side in (height, width))
    if high * wide > MOST:
        shrink = sqrt(height * width / MOST)
        high, wide = (max(FACTOR, floor(side / shrink / FACTOR) * FACTOR) for side in (height, width))
    elif high * wide < FEWEST:
        grow = sqrt(FEWEST / (height * width))
        high, wide = (ceil(side * grow / FACTOR) * FACTOR for side in (height, width))
    return high, wide


class QwenJudge:
    """The model in ``folder``, which has the layout of the published repository."""

    name = NAME

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model = ChatModel(folder, "Qwen2_5_VLForConditionalGeneration", smart_size)

    @property
    def recipe(self) -> str:
        return f"{NAME}: snapshot {self._folder.name}, {self._model.recipe}, Pillow bicubic to multiples of {FACTOR}"

    def answer(self, images: Images, questions: Sequence[str], *, tokens: int = 128) -> list[str | None]:
        """See ``Judge.answer``."""
        return self._model.answer(images, questions, tokens=tokens)


def qwen() -> QwenJudge:
    """The published model. Raises MissingData when it, or room for it, is not on this machine."""
    folder = find_weights(NAME)
    refuse_to_read(NAME, WEIGHTS[NAME].gigabytes, find_gpus())
    return QwenJudge(folder)
