"""A written report read back: its document, its pieces of data."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np


class Page(HTMLParser):
    """Elements, the attributes that load or act, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self._inside != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def index(self) -> dict[str, Any]:
        return dict(
            json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == "index"))
        )


def page_of(folder: Path) -> Page:
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def piece(folder: Path, key: str) -> Any:
    """A piece of data of a report's folder, out of the one call that its file holds."""
    text = (folder / f"data/{key}.js").read_text(encoding="utf-8")
    found = re.fullmatch(r'GB\.put\("([^"]+)",(.*)\);\n', text, re.DOTALL)
    assert found and found[1] == key
    return json.loads(found[2])


def floats_of(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")
