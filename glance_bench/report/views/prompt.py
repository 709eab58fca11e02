"""One prompt: every sampler's image, two of them compared, and the command that makes one again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glance_bench.report.model import Board, Report
from glance_bench.report.views.prompts import MARKS
from glance_bench.samplers.cards import lora_name

__all__ = ["TITLE", "again", "context"]

TITLE = ""  # reached from the lists of images, not from the navigation


def context(report: Report) -> dict[str, Any]:
    """The commands, by board and sampler. To each the script adds the prompt, by its ``text`` or as a ``limit``."""
    return {
        "marks": MARKS,
        "commands": [
            {"board": board.number, "sampler": place, "by": _by(board), "command": command}
            for board in report.boards
            for place, command in enumerate(again(board))
            if command
        ],
    }


def again(board: Board) -> Iterator[str]:
    """For each sampler the command that makes its images again, for a shell; "" where the seed is not known."""
    evidence = board.source.evidence
    start = ["glance-bench", "run", str(evidence.results["suite"])]
    if evidence.results.get("profile"):
        start += ["--profile", str(evidence.results["profile"])]
    known = board.samples[board.samples["seed"] >= 0]["sampler"].unique()
    for sampler in board.samplers:
        chosen = _options(sampler, evidence.suite)
        yield shlex.join([*start, *chosen, "-o", "runs/again"]) if sampler in known else ""


def _by(board: Board) -> str:
    """Prompts that stand in the suite itself can be given as text: their noise follows from it."""
    suite = board.source.evidence.suite
    own = any(
        use["set"] == board.results["prompt_set"] and use.get("texts") for use in suite.get("prompts", ())
    )
    return "prompt" if own and suite.get("noise") == "hashed" else "limit"


def _options(sampler: str, suite: Mapping[str, Any]) -> list[str]:
    """What chooses one sampler of a resolved suite on the command line."""
    for entry in suite.get("samplers", ()):
        if isinstance(entry, str):
            continue
        like = str(entry["like"])
        if "lora" in entry:
            file, scale = Path(str(entry["lora"])), entry.get("scale")
            if sampler == lora_name(file, scale, like):
                weight = [] if scale is None else ["--scale", f"{scale:g}"]
                return ["--samplers", like, "--lora", file.name, *weight, "--like", like]
        else:
            label = entry.get("name") or f"{like}+{entry['adapters']}"
            if sampler == label or sampler.startswith(f"{label}.s"):  # a sampler for each training seed
                return ["--samplers", label]
    return ["--samplers", sampler]
