"""The gate as GitHub annotations, on the lines of the suite file that a finding is about.

Workflow commands are lines of the log, so what others wrote (prompts, names) is escaped as GitHub's toolkit does
it (``@actions/core``, command.ts), and on top of that can begin no command of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..terminal import printable
from ..yamlfile import line_of
from .words import headline, place, sentence

__all__ = ["line_in_suite", "lines"]

NAMED = 3  # prompts in a message
SHOWN = 120  # characters of each


def lines(gate: Mapping[str, Any], suite: Path | None, tree: Any) -> Iterator[str]:
    """The lines of a document of ``gate.document``: an annotation for all that did not pass, then the verdict.

    ``tree`` is the suite file as ``yamlfile.read_yaml`` gives it. Without one (None) annotations name no file.
    """
    profile = gate["run"]["profile"]
    level = {"fail": "error", "inconclusive": "error" if gate["exit_code"] == 4 else "warning"}
    for difference in gate["differences"]:
        yield _command("error", "Not comparable", [difference["text"]], suite, 1)
    order = {"fail": 0, "inconclusive": 1}  # GitHub shows ten of a step: the worst first
    for check in sorted(gate["checks"], key=lambda check: order.get(check["verdict"], 2)):
        line = line_in_suite(tree, profile, check) if tree is not None else 1
        if check["verdict"] in level:
            title = f"{check['verdict'].capitalize()}: {place(check)}"
            told = [sentence(check)]
            if check["verdict"] == "fail":
                told += [f"{m['prompt_id']}: {m['text'][:SHOWN]}" for m in check["moved"][:NAMED]]
            yield _command(level[check["verdict"]], title, told, suite, line)
        elif check["improved"]:
            yield _command("notice", f"Improved: {place(check)}", [sentence(check)], suite, line)
    yield _harmless(headline(gate))


def line_in_suite(tree: Any, profile: str | None, check: Mapping[str, Any]) -> int:
    """The 1-based line that a reader of the suite would change: the margin of the column or metric, the sampler that
    was played, the metric in the list, the gate block; 1 when the file has none of them."""
    margins = ((tree.get("gate") or {}).get("margins") or {}) if isinstance(tree.get("gate"), dict) else {}
    for name in (check["column"], check["metric"]):
        if name in margins:
            return line_of(tree, ["gate", "margins", name])
    of_profile = ["profiles", profile] if profile else []
    for key, wanted in (("samplers", check["sampler"]), ("metrics", check["metric"])):
        for above in (of_profile, []):
            listed = _at(tree, [*above, key])
            for position, entry in enumerate(listed if isinstance(listed, list) else []):
                if _named(entry, _judge(tree, of_profile)) == wanted:
                    return line_of(tree, [*above, key, position])
    block = {
        "speed": "speed",
        "latency": "speed",
        "failures": "failures",
        "drops": "failures",
        "steps": "steps",
    }
    return line_of(tree, ["gate", block.get(check["kind"], "margins")])


def _at(tree: Any, keys: list[str]) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _judge(tree: Any, of_profile: list[str]) -> str:
    return str(_at(tree, [*of_profile, "judge"]) or _at(tree, ["judge"]))


def _named(entry: Any, judge: str) -> str:
    """What an entry of ``samplers`` or ``metrics`` is called in results."""
    if isinstance(entry, dict):
        return str(entry.get("name") or f"{entry.get('like')}+{entry.get('adapters')}")
    name = str(entry)
    return Path(name).stem if name.endswith((".yaml", ".yml")) else name.replace("[judge]", f"[{judge}]")


def _command(level: str, title: str, told: list[str], suite: Path | None, line: int) -> str:
    properties = {"title": printable(title)}
    if suite is not None:
        repository = os.environ.get("GITHUB_WORKSPACE") or os.curdir
        properties = {"file": os.path.relpath(suite, repository), "line": str(line), **properties}
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level} {listed}::" + _data("\n".join(printable(part) for part in told))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A").replace("##[", "## [")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _harmless(text: str) -> str:
    """A line that is no command: none begins with ``::``, none holds the older ``##[``."""
    return printable(text).replace("##[", "## [").removeprefix("::")
