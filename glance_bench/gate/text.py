"""The gate in a terminal or a log: the verdict, what is behind it, and which prompts to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..terminal import printable
from .words import ARROW, headline, place, sentence, summary

__all__ = ["lines"]

SHOWN = 160  # characters of a prompt


def lines(gate: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a document of ``gate.document``, safe to print."""
    yield printable(headline(gate))
    for difference in gate["differences"]:
        yield printable(f"- {difference['text']}")
    if gate["differences"]:
        yield "The baseline says nothing about this run: save a new one, or run what it was saved from."
    for verdict in ("fail", "inconclusive"):
        for check in gate["checks"]:
            if check["verdict"] == verdict:
                yield from _entry(check, verdict)
    for check in gate["checks"]:
        if check["improved"]:
            yield printable(f"improved  {place(check)}: {sentence(check)}")
    yield from _information([check for check in gate["checks"] if check["verdict"] == "informational"])
    for note in gate["notes"]:
        yield printable(f"note  {note}")
    if told := summary(gate):
        yield told


def _entry(check: Mapping[str, Any], verdict: str) -> Iterator[str]:
    yield printable(f"{verdict.upper()}  {place(check)}: {sentence(check)}")
    if verdict == "fail" and check["moved"]:
        for moved in check["moved"]:
            yield printable(f"  - {_values(check, moved)}  {moved['prompt_id']}: {moved['text'][:SHOWN]}")


def _information(checks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What was measured and not gated: of each kind the one that changed for the worse most, and how many there are."""
    kinds: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for check in checks:
        kinds.setdefault((check["title"], check["message"]), []).append(check)
    for alike in kinds.values():
        worst = max(alike, key=_loss)
        more = f" (and {len(alike) - 1} more that lost less)" if len(alike) > 1 else ""
        yield printable(f"not gated  {place(worst)}: {sentence(worst)}{more}")


def _loss(check: Mapping[str, Any]) -> float:
    difference = check["difference"] or 0.0
    return float(-difference if check["better"] == "higher" else difference)


def _values(check: Mapping[str, Any], moved: Mapping[str, Any]) -> str:
    if check["kind"] == "failures":
        return "newly flagged"
    if check["kind"] == "drops":
        return f"-{moved['run']:.0%} of the mean"
    decimals = check["decimals"]
    return f"{moved['baseline']:.{decimals}f} {ARROW} {moved['run']:.{decimals}f}"
