"""Many pairs of samplers, each compared by itself and in both directions: what a reader of a board can ask for.

The numbers are those of ``compare`` for the pair alone, and of ``compare`` with A and B exchanged. Resamples are shared
by all pairs, so that a board of ten samplers takes little longer than a few pairs would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from .differences import differences
from .document import chooser, document, measured
from .effects import Effect, Later, Refused, add_power, effect_of
from .latency import latencies
from .pairing import Pairing
from .verdicts import Margins

__all__ = ["compare_each"]

Document = dict[str, Any]


def compare_each(
    pairings: Iterable[Pairing], *, sliced: Callable[[Pairing], bool], most_moved: int = 3
) -> Iterator[tuple[Document, Document]]:
    """For each pair the documents of B - A and of A - B, in the order given. Deterministic.

    Each document is corrected over its own tests. ``sliced`` says which pairs are cut into slices. The images of
    prompts that moved are not looked for. Raises GlanceBenchError for a pair without a common prompt.
    """
    later = Later()
    found = []
    for pairing in pairings:
        chosen = chooser([pairing.a, pairing.b], ())
        cut = sliced(pairing)
        one = measured(pairing, chosen, later, sliced=cut, most_moved=most_moved, images=False)
        found.append((pairing.a, pairing.b, one, _around(pairing, one)))
    later.settle()
    for a, b, one, other in found:
        other |= {key: [_turned(effect) for effect in one[key]] for key in ("metrics", "slices")}
        other["moved"] = [_moved_back(moved) for moved in one["moved"]]
        yield (
            document(a, b, [one], Margins()),
            document(b, a, [{**one, **other}], Margins()),
        )


def _around(pairing: Pairing, one: Document) -> Document:
    """What is said of the pair with A and B exchanged, but for its effects and the prompts that moved."""
    other = pairing.turned()
    timed, untimed = latencies(other.a, other.b)
    refused = [entry["column"] for entry in one["not_compared"] if entry["column"] != "latency"]
    return {
        "a": one["b"],
        "b": one["a"],
        "pairing": {**one["pairing"], "only_a": other.only_a, "only_b": other.only_b},
        "differences": differences(other),
        "not_compared": [
            *({"column": column, "why": _refusal(other, column)} for column in refused),
            *({"column": "latency", "why": why} for why in untimed),
        ],
        "latency": [asdict(one) for one in timed],
    }


def _refusal(pairing: Pairing, column: str) -> str:
    """Why a column that was refused in one direction is refused in the other."""
    try:
        effect_of(pairing, column)
    except Refused as why:
        return str(why)
    return ""


def _turned(effect: Effect) -> Effect:
    """A - B from B - A: the same test, its interval mirrored."""
    made = replace(
        effect,
        a=effect.b,
        b=effect.a,
        low=-effect.high,
        high=-effect.low,
        wins=effect.losses,
        losses=effect.wins,
        needed=None,
    )
    if effect.detectable is not None and effect.sd is not None:
        add_power(made, effect.sd)
    return made


def _moved_back(moved: Mapping[str, Any]) -> Document:
    def exchanged(entry: Mapping[str, Any]) -> Document:
        return {**entry, "a": entry["b"], "b": entry["a"]}

    return {
        "column": moved["column"],
        "better": [exchanged(entry) for entry in moved["worse"]],
        "worse": [exchanged(entry) for entry in moved["better"]],
    }
