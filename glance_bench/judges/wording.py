"""How yes-or-no questions are put to a judge, and what counts as a yes.

Every instruction that a metric adds to a question is listed here, so that supplied answers (``import:FILE``) may be
given for the plain question.
"""

from __future__ import annotations

__all__ = ["ONEIG", "PLAIN", "ask", "plain_question", "said"]

ONEIG = (
    ". Please answer 'Yes' or 'No' only."  # OneIG-Benchmark scripts/alignment; follows the question mark too
)
PLAIN = " Please answer yes or no."  # for models that would answer in a sentence; mPLUG needs none


def ask(question: str, instruction: str) -> str:
    """The question as a judge gets it."""
    return question + instruction


def plain_question(asked: str) -> str:
    """``asked`` without the instruction that ``ask`` put behind it; other texts as they are."""
    for instruction in (ONEIG, PLAIN):
        if asked.endswith(instruction):
            return asked.removesuffix(instruction)
    return asked


def said(answer: str) -> bool | None:
    """True for yes, False for no, whatever the case and one final period; None for anything else ("maybe", "")."""
    return {"yes": True, "no": False}.get(answer.strip().removesuffix(".").lower())
