"""What pages say that no page holds: the command line, the suite file's schema, committed measurements.

Each function gives Markdown. `docs/conf.py` puts it in place of ``<!-- generated: NAME -->``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from typer.main import get_command

__all__ = ["PAGES", "command_line", "commands", "plain", "suite_file", "testbed_speed"]

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "suites" / "suite.schema.json"
SPEED = ROOT / "reports" / "speed"


def commands() -> Iterator[tuple[str, Any]]:
    """Every command of the program in its own order, with its full name: ``("baseline save", <command>)``."""
    from glance_bench.cli import app

    yield from _below("", get_command(app))


def _below(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from _below(f"{path}{name} ", inner)
        else:
            yield path + name, inner


def command_line() -> str:
    """A section for each command: what it does, how it is called, its arguments and options."""
    return "\n".join(line for name, command in commands() for line in _section(name, command))


def _section(name: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    called = " ".join([f"glance-bench {name}", *map(_argument, arguments), "[OPTIONS]"])
    yield from (f"## {name}", "", plain(command.help or ""), "", "```text", called, "```", "")
    told = [(f"`{_argument(p)}`", plain(p.help)) for p in arguments if p.help]
    told += [(", ".join(f"`{spelling}`" for spelling in _spellings(p)), plain(p.help or "")) for p in options]
    yield from _table(("argument or option", "meaning"), told)


def _argument(parameter: Any) -> str:
    shown = parameter.metavar or parameter.name.upper()
    return shown if parameter.required or shown.startswith("[") else f"[{shown}]"


def _spellings(option: Any) -> list[str]:
    """Of ``--output``: "--output PATH", "-o"; of a flag all that it may be called."""
    names = sorted([*option.opts, *option.secondary_opts], key=len)
    if option.is_flag:
        return names
    long = next(name for name in names if name.startswith("--"))
    value = option.metavar or _choices(option) or option.name.upper()
    return [f"{name} {value}" if name == long else name for name in names]


def _choices(option: Any) -> str:
    kind = getattr(option, "type_descriptor", None) or option.type  # the latter: typer before it left click
    return "|".join(map(str, getattr(kind, "choices", None) or ()))


def suite_file() -> str:
    """A section for the suite and one for each block in it: its keys with their types, defaults and meanings."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    sections = {"Suite": schema, **schema["$defs"]}
    return "\n".join(line for name, block in sections.items() for line in _block(name, block))


def _block(name: str, block: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"## {name}", "", plain(block.get("description", "")), "")
    required = block.get("required", ())
    rows = [
        (f"`{key}`", _kind(value), _default(value, key in required), plain(value.get("description", "")))
        for key, value in block["properties"].items()
    ]
    yield from _table(("key", "value", "default", "meaning"), rows)


def _default(value: Mapping[str, Any], required: bool) -> str:
    if required:
        return "required"
    default = value.get("default")
    if default is None or (isinstance(default, dict) and default):  # of a block: those of its own keys
        return ""
    return f"`{json.dumps(default)}`"


def _kind(value: Mapping[str, Any]) -> str:
    """The type of a value in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value or "oneOf" in value:
        kinds = [_kind(one) for one in value.get("anyOf", value.get("oneOf")) if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in value or "const" in value:
        return ", ".join(f"`{json.dumps(one)}`" for one in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        return f"list of {_kind(value['items'])}"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return f"mapping to {_kind(inner)}" if isinstance(inner, dict) else "mapping"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    return words.get(value.get("type", ""), "any") + _bounds(value)


def _bounds(value: Mapping[str, Any]) -> str:
    said = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    bounds = [f"{words} {value[key]:g}" for key, words in said.items() if key in value]
    bounds += [f"a multiple of {value['multipleOf']:g}"] if "multipleOf" in value else []
    return f", {', '.join(bounds)}" if bounds else ""


def plain(text: str) -> str:
    """A text of the program on one line of Markdown, where only backticks keep their meaning."""
    return re.sub(r"([\\<*_\[\]])", r"\\\1", " ".join(text.split()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield f"| {' | '.join(head)} |"
        yield "|---" * len(head) + "|"
    for row in rows:
        cells = [" ".join(cell.split()).replace("|", "\\|") for cell in row]
        yield f"| {' | '.join(cells)} |"
    yield ""


def testbed_speed() -> str:
    """The committed speed record of the testbed, as tables."""
    from glance_bench.speed.record import read_record
    from glance_bench.speed.table import markdown

    return "\n".join(markdown(read_record(SPEED / "testbed-cpu.json")))


PAGES: dict[str, Callable[[], str]] = {
    "command line": command_line,
    "suite file": suite_file,
    "speed of the testbed": testbed_speed,
}
