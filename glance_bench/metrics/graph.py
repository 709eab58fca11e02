"""Questions that depend on each other: a yes to a question counts only when those it builds on are a yes too.

Two official rules differ, and neither is wrong about the other's data. Questions 1, 2 (built on 1) and 3 (built on
2), answered no, yes, yes: DPG-Bench gives 0 of 3, OneIG-Bench 1 of 3. numpy-free and pure.

A question without an answer (None) stays without one, and zeroes nothing that builds on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glance_bench.errors import GlanceBenchError

if TYPE_CHECKING:
    from glance_bench.prompts import Prompt

__all__ = [
    "Answers",
    "Question",
    "cascade",
    "check_acyclic",
    "one_level",
    "questions_of",
    "top_category",
]

Answers = dict[int, bool | None]  # by question id


@dataclass(frozen=True)
class Question:
    """One yes-or-no question. ``parents`` are the ids of the questions it builds on; none for a root."""

    id: int
    text: str
    parents: tuple[int, ...]
    category: str


def questions_of(prompt: Prompt) -> tuple[Question, ...]:
    """The questions of ``prompt.meta["questions"]`` in their order; () when there are none.

    Parent 0 means none. Raises GlanceBenchError naming the prompt for a wrong form, an id that occurs twice, and a
    parent that is not among the prompt's questions: no rule says what such a question is worth.
    """
    entries = prompt.meta.get("questions") or ()
    questions = tuple(_question(prompt.id, entry) for entry in entries)
    ids = [question.id for question in questions]
    for question in questions:
        if ids.count(question.id) > 1:
            raise GlanceBenchError(f"prompt {prompt.id}: question {question.id} is there twice")
        for parent in question.parents:
            if parent not in ids:
                raise GlanceBenchError(
                    f"prompt {prompt.id}: question {question.id} depends on question {parent}, which is not there"
                )
    return questions


def _question(prompt: str, entry: Any) -> Question:
    try:
        number, text, parents = int(entry["id"]), entry["text"], [int(parent) for parent in entry["parents"]]
        category = str(entry.get("category", ""))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise GlanceBenchError(
            f"prompt {prompt}: a question needs id, text and parents, got {str(entry)[:80]!r}"
        ) from error
    if not isinstance(text, str) or not text.strip():
        raise GlanceBenchError(f"prompt {prompt}: question {number} has no text")
    return Question(number, text, tuple(parent for parent in parents if parent), category)


def check_acyclic(prompt: str, questions: Sequence[Question]) -> None:
    """Raises GlanceBenchError naming ``prompt`` when a question depends on itself, directly or through others."""
    parents = {question.id: question.parents for question in questions}
    settled: set[int] = set()
    while left := [number for number in parents if number not in settled]:
        ready = [number for number in left if settled.issuperset(parents[number])]
        if not ready:
            circle = _circle(parents, settled)
            if len(circle) == 1:
                raise GlanceBenchError(f"prompt {prompt}: question {circle[0]} depends on itself")
            path = " on ".join(str(number) for number in [*circle, circle[0]])
            raise GlanceBenchError(f"prompt {prompt}: its questions depend on each other in a circle: {path}")
        settled.update(ready)


def _circle(parents: Mapping[int, Sequence[int]], settled: set[int]) -> list[int]:
    """One circle among the questions that are not settled; each has a parent that is not settled either."""
    walked = [next(number for number in parents if number not in settled)]
    while (step := next(parent for parent in parents[walked[-1]] if parent not in settled)) not in walked:
        walked.append(step)
    return walked[walked.index(step) :]


def cascade(questions: Sequence[Question], answers: Mapping[int, bool | None]) -> Answers:
    """DPG-Bench's rule (TencentQQGYLab/ELLA dpg_bench/compute_dpg_bench.py), which is DSG's.

    Questions are visited in their order and changed in place: one becomes no when a parent is no, and those after
    it see that. A question listed before its parent sees the parent's own answer.
    """
    kept = {question.id: answers[question.id] for question in questions}
    for question in questions:
        if kept[question.id] and any(kept[parent] is False for parent in question.parents):
            kept[question.id] = False
    return kept


def one_level(questions: Sequence[Question], answers: Mapping[int, bool | None]) -> Answers:
    """OneIG-Bench's rule (its scripts/alignment): no when a parent's *own* answer is no, without cascade."""
    return {
        question.id: False
        if answers[question.id] and any(answers[parent] is False for parent in question.parents)
        else answers[question.id]
        for question in questions
    }


def top_category(category: str) -> str:
    """ "entity" of "entity - whole (dog)": what stands before the first "(" and the first "-"."""
    return category.partition("(")[0].partition("-")[0].strip().lower()
