"""What DPG-Bench, DSG and OneIG alignment have in common: a judge answers a prompt's questions for each image.

Rows are per image, which is what those benchmarks call a crop or a cell: their 2x2 grids hold the four images of a
prompt, and here the images are never put into a grid. Nothing is dropped silently:

* ``<benchmark>_uncovered``: share of a prompt's questions that have no answer (the judge timed out; no answer is
  supplied), 1 where a prompt that should have questions has none, or has a graph that means nothing. The score is
  over the answered questions, and absent where there are none; a question without an answer is never a no.
* ``<benchmark>_unclear``: share of the answers that are neither yes nor no ("maybe", ""). The official rule, which
  is kept, counts them as no.

The notes say which questions failed, what was wrong with a graph, and the yes answers by category before the graph
rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from glance_bench.errors import GlanceBenchError
from glance_bench.judges.base import Judge
from glance_bench.judges.wording import ask, said
from glance_bench.metrics.base import Column, Images, Row
from glance_bench.metrics.graph import Answers, Question, cascade, check_acyclic, questions_of, top_category

if TYPE_CHECKING:
    from glance_bench.prompts import Prompt

__all__ = ["Questioned"]

TOKENS = 128  # new tokens an answer may have, as in OneIG's script


class Questioned:
    """A benchmark of yes-or-no questions with a dependency graph, asked of ``judge``.

    A subclass sets ``benchmark`` (the stem of its columns), ``title``, ``instruction`` (put behind each question),
    ``scale`` and ``protocol`` (its clause of the recipe), and may change ``means``, ``ruled``, ``expects`` and
    ``seen``.
    """

    kind: Literal["sample"] = "sample"
    benchmark: ClassVar[str]
    title: ClassVar[str]
    instruction: ClassVar[str]
    scale: ClassVar[float] = 1.0
    protocol: ClassVar[str]

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.name = f"{self.benchmark}[{judge.name}]"
        self._uncovered, self._unclear, self._missing, self._by_category, self._defect = (
            f"{self.benchmark}_{part}[{judge.name}]"
            for part in ("uncovered", "unclear", "missing", "by_category", "defect")
        )
        self.notes = (self._missing, self._by_category, self._defect)
        self.columns = (
            Column(
                self.name,
                self.title,
                "higher",
                f"questions of {self.title} that {judge.name} answers with yes, after its graph rule",
                decimals=3 if self.scale == 1 else 2,
            ),
            Column(
                self._uncovered,
                f"{self.title} uncovered",
                "lower",
                "share of questions without an answer; 1 for a prompt that has no questions",
                flag=True,
            ),
            Column(
                self._unclear,
                f"{self.title} unclear",
                "lower",
                "share of answers that are neither yes nor no; they count as no",
                flag=True,
            ),
        )

    @property
    def recipe(self) -> str:
        wording = f"question + {self.instruction!r}" if self.instruction else "the question alone"
        return f"{self.name}: {self._judge.recipe}; {wording}, {TOKENS} new tokens; {self.protocol}"

    def means(self, answer: str) -> bool | None:
        """Yes, no, or None for neither. Here: in any case, with or without one final period."""
        return said(answer)

    def ruled(self, questions: Sequence[Question], answers: Answers) -> Answers:
        """The answers after the graph rule. Here: DPG's."""
        return cascade(questions, answers)

    def expects(self, prompt: Prompt) -> bool:
        """Whether a prompt without questions counts as not covered."""
        return True

    def seen(self, image: Any) -> Any:
        """uint8[H, W, 3] as the judge sees it; None for an image that is not judged."""
        return image

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Row]:
        """See ``SampleMetric.score``; the score lies in [0, scale], the shares in [0, 1]."""
        if len(images) != len(prompts):
            raise ValueError(f"{len(images)} images for {len(prompts)} prompts")
        return [self._judged(image, prompt) for image, prompt in zip(images, prompts, strict=True)]

    def _judged(self, image: Any, prompt: Prompt) -> Row:
        try:
            questions = questions_of(prompt)
        except GlanceBenchError as error:  # told in the row: one bad prompt must not stop the others
            return {self._uncovered: 1.0, self._defect: str(error)}
        if not questions:
            return {self._uncovered: 1.0} if self.expects(prompt) else {}
        picture = self.seen(image)
        if picture is None:
            return {self._uncovered: 1.0}
        asked = [ask(question.text, self.instruction) for question in questions]
        again = np.broadcast_to(picture, (len(asked), *picture.shape))  # no copies
        return self._row(prompt.id, questions, self._judge.answer(again, asked, tokens=TOKENS))

    def _row(self, prompt: str, questions: Sequence[Question], words: Sequence[str | None]) -> Row:
        pairs = list(zip(questions, words, strict=True))
        own: Answers = {q.id: None if word is None else self.means(word) is True for q, word in pairs}
        kept = self.ruled(questions, own)
        covered = [q for q in questions if own[q.id] is not None]
        row: Row = {self._uncovered: 1 - len(covered) / len(questions)}
        try:
            check_acyclic(prompt, questions)
        except GlanceBenchError as error:  # both official rules still give a number: told, not refused
            row[self._defect] = str(error)
        if covered:
            row[self.name] = self.scale * sum(kept[q.id] is True for q in covered) / len(covered)
            row[self._unclear] = sum(w is not None and self.means(w) is None for w in words) / len(covered)
            row[self._missing] = ", ".join(f"{q.id} {q.text}" for q in covered if not kept[q.id])
            row[self._by_category] = _by_category(covered, own)
        return row


def _by_category(questions: Sequence[Question], answers: Answers) -> str:
    """ "entity 2/3, relation 1/1": the yes answers and the answers of each top-level category."""
    asked = Counter(top_category(question.category) for question in questions)
    yes = Counter(top_category(question.category) for question in questions if answers[question.id])
    return ", ".join(f"{name} {yes[name]}/{asked[name]}" for name in sorted(asked) if name)
