"""The gate as GitHub-flavoured Markdown, for ``$GITHUB_STEP_SUMMARY`` and pull requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..report.escaping import markdown as escaped
from ..report.text import markdown_table
from .text import SHOWN
from .words import headline, numbers

__all__ = ["lines"]

MARKS = {"fail": "\u274c fail", "inconclusive": "\u2753 inconclusive", "pass": "\u2705 pass",
         "informational": "\u2139\ufe0f for information"}  # fmt: skip
TOP = {"pass": "\u2705", "fail": "\u274c"}
HEAD = ("verdict", "model", "prompts", "sampler", "check", "result")


def lines(gate: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a document of ``gate.document``; text of others is escaped."""
    yield f"## {TOP.get(gate['verdict'], chr(0x2753))} {escaped(headline(gate))}"
    yield ""
    yield from (f"- {escaped(difference['text'])}" for difference in gate["differences"])
    telling = [c for c in gate["checks"] if c["verdict"] in ("fail", "inconclusive") or c["improved"]]
    order = list(MARKS)
    telling.sort(key=lambda check: order.index(check["verdict"]))
    if telling:
        yield from markdown_table(HEAD, map(_row, telling))
        yield ""
    for check in telling:
        if check["verdict"] == "fail" and check["moved"]:
            yield f"**{escaped(check['sampler'])}, {escaped(check['title'])}: the prompts that lost most**"
            yield ""
            for moved in check["moved"]:
                yield f"1. {escaped(moved['prompt_id'])}: {escaped(moved['text'][:SHOWN])}"
            yield ""
    rest = [check for check in gate["checks"] if check not in telling]
    if rest:
        yield f"<details><summary>{len(rest)} other checks</summary>"
        yield ""
        yield from markdown_table(HEAD, map(_row, rest))
        yield ""
        yield "</details>"
        yield ""
    yield from (f"- note: {escaped(note)}" for note in gate["notes"])


def _row(check: Mapping[str, Any]) -> Sequence[str]:
    mark = MARKS[check["verdict"]] + (", improved" if check["improved"] else "")
    names = (check["model"], check["prompt_set"], check["sampler"], check["title"], numbers(check))
    return [mark, *map(escaped, names)]
