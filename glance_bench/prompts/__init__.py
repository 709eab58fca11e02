"""Prompts and the sets they come in. One file a set; each registers a loader by name. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Prompt", "PromptSet"]


@dataclass(frozen=True)
class Prompt:
    """One prompt. ``wanted_text`` holds the lines of text that must appear in the image.

    ``id`` is unique in its set and stays the same when the set grows; ``meta`` is JSON, for metrics that need
    more than the text (``meta["scene"]`` is the testbed's scene).
    """

    id: str
    text: str
    category: str
    wanted_text: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PromptSet:
    """A named, ordered set; its first N prompts are contained in its first M > N.

    ``revision`` is a hash over ids and texts. Loaders are callables ``load(limit: int | None) -> PromptSet``.
    """

    name: str
    revision: str
    prompts: tuple[Prompt, ...]
