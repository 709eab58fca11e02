"""The project's Markdown files as tests see them: their code blocks, and the commands in those."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.glob("**/*.md") if "_build" not in path.parts)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *PAGES, *(ROOT / "reports").glob("*.md")])
# The line before a block may say what becomes of it.
BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<mark>not run|file): (?P<said>[^\n]+?) -->\n(?P=indent))?"
    r"```(?P<language>\w+)\n(?P<code>.*?)^(?P=indent)```$",
    re.M | re.S,
)
NAMED = re.compile(r"# ([\w-]+(?:/[\w-]+)*\.\w+)\n")  # the first line of a block that is a file


@dataclass(frozen=True)
class Block:
    """A block of code. ``why_not`` says why commands are not run, ``file`` where the block's content belongs."""

    language: str
    code: str
    why_not: str = ""
    file: str = ""


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a document that name their language, in order."""
    for found in BLOCK.finditer(text):
        code = dedent(found["code"])
        named = NAMED.match(code) if found["language"] != "bash" else None
        file = found["said"] if found["mark"] == "file" else named[1] if named else ""
        yield Block(found["language"], code, found["said"] if found["mark"] == "not run" else "", file)


def commands(code: str) -> Iterator[list[str]]:
    """The words of each `glance-bench` command in lines of a shell, without the program's own name."""
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&")
        lexer.whitespace_split = True
        for separates, group in groupby(lexer, lambda word: set(word) <= set(";&")):
            words = list(group)
            if not separates and words[:1] == ["glance-bench"]:
                yield words[1:]
