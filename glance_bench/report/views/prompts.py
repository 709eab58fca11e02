"""Prompts: every sampler's image of a prompt from the same noise; and the choices that all lists of images offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glance_bench.comparison.slices import PROMPT_WORDS, WANTED_WORDS
from glance_bench.report.model import Board, Report

__all__ = ["MARKS", "TITLE", "context", "headlines", "lengths"]

TITLE = "Prompts"
MARKS = (
    "\u25b2 better, \u25bc worse than the reference from the same noise, \u2248 the same as far as the decimals show."
)


def context(report: Report) -> dict[str, Any]:
    """The choices of the form; the lists themselves are drawn by a script."""
    return {"columns": headlines(report), "lengths": lengths(report), "marks": MARKS}


def headlines(report: Report) -> dict[int, list[Mapping[str, Any]]]:
    """By board, the columns of the leaderboard of which every image has a value of its own."""
    return {
        board.number: [column for column in board.per_image if column["headline"]] for board in report.boards
    }


def lengths(report: Report) -> dict[int, list[dict[str, Any]]]:
    """By board, the slices by length that have prompts: the same, with the same names, as those of comparisons.

    ``field`` is the number of a prompt, ``words`` or ``wanted_words``, that lies between ``least`` and ``most``.
    """
    return {board.number: _lengths(board) for board in report.boards}


def _lengths(board: Board) -> list[dict[str, Any]]:
    asked = board.samples.drop_duplicates("prompt_id")
    drawn = bool((asked["wanted_words"] > 0).any())
    words = asked["wanted_words" if drawn else "prompt_words"]
    made = []
    least = 0
    for most, name in WANTED_WORDS if drawn else PROMPT_WORDS:
        if words.between(least, most).any():
            field = "wanted_words" if drawn else "words"
            most_told = "Infinity" if most == float("inf") else int(most)
            made.append({"name": name, "field": field, "least": least, "most": most_told})
        least = most + 1
    return made
