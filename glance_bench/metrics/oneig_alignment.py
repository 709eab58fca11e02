"""OneIG-Bench alignment: questions about objects, portraits and stylised pictures, answered by Qwen2.5-VL.

Official code: OneIG-Bench/OneIG-Benchmark scripts/alignment. Each question is put as question + ". Please answer
'Yes' or 'No' only.", scores when the answer is exactly "Yes", and is zeroed when the *own* answer of one it depends
on is no (no cascade, unlike DPG). An image is the mean over its questions, a prompt the mean over its images, the
score the mean over the prompts of all sets pooled, 0..1. The judge sees each image as it comes back from a JPEG file of
quality 75, because the official script saves the cells of its grids so. Images that are black all over stand for
failed generations: they get no score, as there, and here they count as not covered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glance_bench.judges.make import judge as make_judge
from glance_bench.judges.pictures import JPEG_QUALITY, as_jpeg, is_black
from glance_bench.judges.wording import ONEIG
from glance_bench.metrics.graph import Answers, Question, one_level
from glance_bench.metrics.questions import Questioned

if TYPE_CHECKING:
    from glance_bench.prompts import Prompt

__all__ = ["OneigAlignment", "oneig_alignment"]

SETS = ("anime", "human", "object", "multilingualism")  # those that have questions; the last in Chinese alone
VERSION = 1


class OneigAlignment(Questioned):
    """``oneig_alignment[<judge>]`` in 0..1, and its coverage."""

    benchmark = "oneig_alignment"
    title = "OneIG alignment"
    instruction = ONEIG
    protocol = (
        f"exactly 'Yes'; JPEG quality {JPEG_QUALITY}, black images left out; OneIG graph rule without cascade; mean "
        f"over questions, images, prompts; version {VERSION}"
    )

    def means(self, answer: str) -> bool | None:
        return {"Yes": True, "No": False}.get(answer)

    def ruled(self, questions: Sequence[Question], answers: Answers) -> Answers:
        return one_level(questions, answers)

    def expects(self, prompt: Prompt) -> bool:
        return prompt.meta.get("set") in SETS

    def seen(self, image: Any) -> Any:
        return None if is_black(image) else as_jpeg(image)


def oneig_alignment(judge: str) -> OneigAlignment:
    """``oneig_alignment[<judge>]``. Raises as ``dpg``."""
    return OneigAlignment(make_judge(judge))
