"""What reads the text of an image for the text metrics: an OCR engine, or a judge that is asked to.

Scores by different readers are not comparable: a vision-language model reads stylised lettering better than OCR does,
and repairs misspellings that OCR reports as drawn. So each score bears its reader's name in brackets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from glance_bench.judges.base import Judge
from glance_bench.judges.pictures import as_jpeg
from glance_bench.metrics.base import Images
from glance_bench.metrics.ocr import engine_recipe, read_text

__all__ = ["INSTRUCTION", "JudgeReader", "RapidOcrReader", "Reader"]

# Says what the instruction of the official scripts says, which both benchmarks share, in words of our own.
INSTRUCTION = (
    "Read the text in this image. Answer with the text alone, and do not write again what you have written already. "
    "If there is no text, answer: No text recognized."
)


class Reader(Protocol):
    """``name`` stands in brackets in a metric's name; ``recipe`` names everything that can change what is read."""

    @property
    def name(self) -> str: ...

    @property
    def recipe(self) -> str: ...

    def read(self, images: Images, tokens: Sequence[int]) -> list[str | None]:
        """The text of each of uint8[N, H, W, 3], "" where there is none, None where no answer could be had.

        ``tokens`` has N entries: how many new tokens a language model may spend. OCR does not look at it.
        """
        ...


class RapidOcrReader:
    """RapidOCR as ``metrics.ocr`` sets it up; lines are joined by spaces, top to bottom."""

    name = "rapidocr"

    @property
    def recipe(self) -> str:
        """Raises GlanceBenchError when rapidocr is not installed."""
        return f"{engine_recipe()}, images as they are"

    def read(self, images: Images, tokens: Sequence[int]) -> list[str | None]:
        """See ``Reader.read``; never None."""
        return [" ".join(lines) for lines in read_text(images)]


class JudgeReader:
    """A judge that is told to read. ``jpeg`` saves each image as JPEG first, at Pillow's default quality (75).

    ``instruction`` may be replaced by the official wording, which this project does not contain.
    """

    def __init__(self, judge: Judge, *, jpeg: bool = False, instruction: str = INSTRUCTION) -> None:
        self._judge, self._jpeg, self._instruction = judge, jpeg, instruction
        self.name = judge.name

    @property
    def recipe(self) -> str:
        seen = "images as JPEG of quality 75" if self._jpeg else "images as they are"
        whose = "our own" if self._instruction == INSTRUCTION else "the user's"
        return f"{self._judge.recipe}, {seen}, {whose} instruction {self._instruction!r}"

    def read(self, images: Images, tokens: Sequence[int]) -> list[str | None]:
        """See ``Reader.read``. Images with the same number of tokens are handed over together."""
        answers: list[str | None] = [None] * len(images)
        for limit in sorted(set(tokens)):
            places = [i for i, own in enumerate(tokens) if own == limit]
            shown = images[places]
            if self._jpeg:
                shown = np.stack([as_jpeg(image) for image in shown])
            questions = [self._instruction] * len(places)
            for i, answer in zip(places, self._judge.answer(shown, questions, tokens=limit), strict=True):
                answers[i] = answer
        return answers
