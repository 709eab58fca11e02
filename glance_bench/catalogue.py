"""What can be named in a suite: each name with one line about it. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import GlanceBenchError, MissingData, UsageError, near_misses
from .registry import METRICS, MODELS, PROMPT_SETS, ModelEntry

if TYPE_CHECKING:
    from .samplers.cards import SamplerCard

__all__ = ["KINDS", "entries"]

KINDS = ("samplers", "metrics", "prompts", "models", "suites")


def entries(kind: str) -> list[tuple[str, str]]:
    """(name, about) of each sampler, metric, prompt set, model or suite. Raises UsageError for another kind."""
    if kind == "samplers":
        from .samplers.cards import list_cards

        return [(card.name, f"{card.title}{_needed(card)}") for card in list_cards()]
    if kind == "metrics":
        return [(name, _metric(name)) for name in METRICS.names()]
    if kind == "prompts":
        return [(name, f"{_first_line(_loader(name).__doc__)}") for name in PROMPT_SETS.names()]
    if kind == "models":
        found = [MODELS.get(name) for name in MODELS.names()]
        return [(model.name, f"{model.family}{_absence(model)}") for model in found]
    if kind == "suites":
        from .suite import list_suites, load_suite

        return [(name, load_suite(str(path)).title) for name, path in list_suites().items()]
    raise UsageError(f"cannot list {kind!r}; {near_misses(kind, KINDS)}")


def _needed(card: SamplerCard) -> str:
    """The licence of a card's weights, and which of them are not here."""
    from .samplers.experts import HubLora

    missing = [e.lora.published for e in card.experts if isinstance(e.lora, HubLora)]
    waits = [f" ({one.missing()})" for one in missing if one.place() is None]
    return (f"; {card.licence}" if card.licence else "") + "".join(waits)


def _absence(model: ModelEntry) -> str:
    try:
        return "" if model.path.is_dir() else " (weights are missing)"
    except MissingData as missing:
        return f" ({missing})"


def _metric(name: str) -> str:
    if "*" in name:
        return _first_line(METRICS.get(name).func.__doc__)
    try:
        columns = METRICS.get(name)().columns
    except GlanceBenchError as error:
        return str(error)
    return "; ".join(f"{c.name}: {c.description} ({c.better} is better)" for c in columns)


def _loader(name: str) -> Any:
    loader = PROMPT_SETS.get(name)
    return loader.func if "*" in name else loader


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
