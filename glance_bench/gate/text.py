"""The gate in a terminal or a log: the verdict, what is behind it, and which prompts to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
        if check["improved"] and check["verdict"] in ("pass", "informational"):
            yield printable(f"improved  {place(check)}: {sentence(check)}")
    for check in gate["checks"]:
        if check["verdict"] == "informational" and not check["improved"]:
            yield printable(f"for information  {place(check)}: {sentence(check)}")
    for note in gate["notes"]:
        yield printable(f"note  {note}")
    if told := summary(gate):
        yield told


def _entry(check: Mapping[str, Any], verdict: str) -> Iterator[str]:
    yield printable(f"{verdict.upper()}  {place(check)}: {sentence(check)}")
    if verdict == "fail" and check["moved"]:
        for moved in check["moved"]:
            yield printable(f"  - {_values(check, moved)}  {moved['prompt_id']}: {moved['text'][:SHOWN]}")


def _values(check: Mapping[str, Any], moved: Mapping[str, Any]) -> str:
    if check["kind"] == "failures":
        return "newly flagged"
    if check["kind"] == "drops":
        return f"-{moved['run']:.0%} of the mean"
    decimals = check["decimals"]
    return f"{moved['baseline']:.{decimals}f} {ARROW} {moved['run']:.{decimals}f}"
