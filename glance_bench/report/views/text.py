"""Text: what was wanted against what was read in every sampler's image."""

from __future__ import annotations

from typing import Any

from glance_bench.report.chunks import noted
from glance_bench.report.model import Board, Report
from glance_bench.report.views.prompts import lengths

__all__ = ["TITLE", "context"]

TITLE = "Text"


def context(report: Report) -> dict[str, Any]:
    """By board, the columns that a reader of text gives, each with the note that holds what was read."""
    return {
        "columns": {board.number: _read(board) for board in report.boards},
        "lengths": lengths(report),
    }


def _read(board: Board) -> list[dict[str, Any]]:
    """The reader ``label[model]`` notes what it read as ``label_read[model]``; its columns are ``label_x[model]``."""
    made = []
    for note in noted(board):
        label, reads, model = note["name"].partition("_read")
        for column in board.per_image:
            own = column["name"].startswith(f"{label}_") and column["name"].endswith(model)
            if reads and own and not column["flag"]:
                made.append({"name": column["name"], "title": column["title"], "note": note["name"]})
    return made
