"""What a reader must know before the numbers of a board: questions without an answer, prompts cut, failed images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["flagged"]

IN_FAILED = ("non_finite", "black")  # the column "failed" counts both


def flagged(results: Mapping[str, Any], board: Mapping[str, Any]) -> list[str]:
    """A line for each flag column of the board and each value of it above zero, samplers with the same one together.

    Such as ``uniform-4, uniform-8: 1 of 12 images non-finite or black (failed, n=12)``; n is images. Names in it are
    untrusted: what prints it spells out what is not text.
    """
    found = []
    for column in results["columns"]:
        if not column["flag"] or column["name"] in IN_FAILED:
            continue
        alike: dict[str, list[str]] = {}
        for row in board["samplers"]:
            cell = row["cells"].get(column["name"])
            if cell and cell["value"]:
                what = f"{_share(cell, column['description'])} ({column['name']}, n={cell['n']})"
                alike.setdefault(what, []).append(row["sampler"])
        for what, names in alike.items():
            who = "every sampler" if len(names) == len(board["samplers"]) else ", ".join(names)
            found.append(f"{who}: {what}")
    return found


def _share(cell: Mapping[str, Any], description: str) -> str:
    """``3 of 48 images ...`` where the description is about a share of images or prompts, and the cell is such a count.

    Otherwise a percentage: a cell knows how many images and prompts it is made of, not how many questions.
    """
    what = description.removeprefix("share of ")
    whole = {"images": cell["n"], "prompts": cell["prompts"]}.get(what.partition(" ")[0])
    if whole is not None:
        count = cell["value"] * whole
        if abs(count - round(count)) < 1e-6:
            return f"{round(count)} of {whole} {what}"
    percent = 100 * cell["value"]
    return f"{f'{percent:.1f}' if percent >= 0.05 else 'less than 0.1'} % of {what}"
