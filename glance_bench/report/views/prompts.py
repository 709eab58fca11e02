"""Prompts: every sampler's image of a prompt from the same noise; and the choices that all lists of images offer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from glance_bench.comparison.slices import OBJECTS, PROMPT_WORDS, WANTED_WORDS, Bins
from glance_bench.report.model import Board, Report

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MARKS", "TITLE", "context", "headlines", "lengths"]

TITLE = "Prompts"
MARKS = (
    "\u25b2 better, \u25bc worse than the reference from the same noise, "
    "\u2248 the same as far as the decimals show."
)


def context(report: Report) -> dict[str, Any]:
    """The choices of the form; the lists themselves are drawn by a script."""
    return {"columns": headlines(report), "lengths": lengths(report), "marks": MARKS}


def headlines(report: Report) -> dict[int, list[Mapping[str, Any]]]:
    """By board, the columns of the leaderboard of which every image has a value of its own.

    As there, ``failed`` is one where an image failed.
    """
    return {
        board.number: [column for column in board.per_image if _told(board, column)]
        for board in report.boards
    }


def _told(board: Board, column: Mapping[str, Any]) -> bool:
    failures = column["name"] == "failed" and bool((board.samples["failed"] > 0).any())
    return failures or bool(column["headline"])


def lengths(report: Report) -> dict[int, list[dict[str, Any]]]:
    """By board, the slices by length of text and by objects that have prompts: those of comparisons, by the same names.

    ``field``, a number of a prompt (words, wanted_words or objects), lies between ``least`` and ``most``.
    """
    return {board.number: _lengths(board) for board in report.boards}


def _lengths(board: Board) -> list[dict[str, Any]]:
    asked = board.samples.drop_duplicates("prompt_id")
    drawn = bool((asked["wanted_words"] > 0).any())
    if drawn:
        made = _filled(asked["wanted_words"], "wanted_words", WANTED_WORDS)
    else:
        made = _filled(asked["prompt_words"], "words", PROMPT_WORDS)
    return made + _filled(asked["objects"], "objects", OBJECTS)


def _filled(values: pd.Series, field: str, bins: Bins) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    least: float = 0
    for most, name in bins:
        if values.between(least, most).any():
            said = {"none": "no object", "4 or more": "4 objects or more"}.get(name, name)
            end = "Infinity" if most == math.inf else int(most)
            made.append({"name": name, "title": said, "field": field, "least": int(least), "most": end})
        least = most + 1
    return made if len(made) > 1 else []
