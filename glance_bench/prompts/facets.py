"""What a prompt asks for, in numbers by which results are sliced: words, words to be drawn, objects."""

from __future__ import annotations

from glance_bench.prompts import Prompt

__all__ = ["objects_asked", "words_asked"]


def words_asked(prompt: Prompt) -> int:
    """How many words must be drawn; 0 where no text is asked for. Chinese is counted by the line."""
    return sum(len(line.split()) for line in prompt.wanted_text)


def objects_asked(prompt: Prompt) -> int | None:
    """How many objects must be shown, where the prompt's meta says so.

    The testbed's scenes (``meta["scene"]``) and GenEval's metadata (``meta["include"]``) do; None for others.
    """
    scene, include = prompt.meta.get("scene"), prompt.meta.get("include")
    if isinstance(scene, dict):
        return len(scene["things"]) * int(scene["count"])
    if isinstance(include, list):
        return sum(int(one.get("count", 1)) for one in include)
    return None
