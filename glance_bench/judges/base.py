"""What a judge is: something that answers a question about an image in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from glance_bench.metrics.base import Images

__all__ = ["Judge"]


class Judge(Protocol):
    """Answers questions about images. Cheap to make: weights and connections come with the first question.

    ``name`` is what scores bear in brackets ("qwen2.5-vl-7b"); ``recipe`` adds everything else that can change an
    answer: weights' digest or revision, precision, prompt wrapping, decoding.
    """

    @property
    def name(self) -> str: ...

    @property
    def recipe(self) -> str: ...

    def answer(self, images: Images, questions: Sequence[str], *, tokens: int = 128) -> list[str | None]:
        """One answer for each of N images and its question, decoded greedily, at most ``tokens`` new tokens.

        None where no answer could be had (a time-out, a refusal to answer): such questions lower the coverage that
        is printed, and are never taken for a no. Raises MissingData when weights are not there.
        """
        ...
