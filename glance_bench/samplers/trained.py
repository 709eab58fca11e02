"""A card played with adapters that a suite trains, in place of those that the card names. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UsageError
from .cards import Expert, SamplerCard, load_card

__all__ = ["check_phases", "trained_card"]

SINGLE = "single"


def trained_card(like: str, name: str, folder: str, phases: Sequence[str]) -> SamplerCard:
    """The card ``like`` with the adapters of ``folder``, trained for ``phases``, called ``name``.

    ``glance-10/slow`` becomes ``<folder>/slow``; experts without an adapter stay as they are. One adapter trained for
    all steps serves all of them, whoever did in the card. Raises UsageError when the card has no adapter to replace.
    """
    base = load_card(like)
    experts = [
        e.model_copy(update={"adapter": f"{folder}/{e.adapter.partition('/')[2]}"}) if e.adapter else e
        for e in base.experts
    ]
    if tuple(phases) == (SINGLE,):
        experts = [Expert(name=SINGLE, adapter=f"{folder}/{SINGLE}")]
    elif not any(expert.adapter for expert in experts):
        raise UsageError(
            f"sampler {name!r}: card {base.name!r} names no adapter that {folder!r} could replace; only a recipe with "
            "experts: single serves the steps of any card"
        )
    return base.model_copy(
        update={
            "name": name,
            "title": f"{base.title or base.name}, adapters {folder}",
            "description": f"{base.name} with the adapters {folder} that the suite trains.",
            "experts": experts,
        }
    )


def check_phases(card: SamplerCard, folders: Sequence[str], phases: Sequence[str]) -> None:
    """Raises UsageError when the card names an adapter of ``folders`` other than those for ``phases``."""
    for expert in card.experts:
        folder, _, phase = (expert.adapter or "").partition("/")
        if folder in folders and phase not in phases:
            raise UsageError(
                f"sampler {card.name!r}: its expert {expert.name!r} wants {expert.adapter!r}, but the recipe trains "
                f"{' and '.join(phases)}"
            )
