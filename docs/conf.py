"""Sphinx's settings: `tox -e docs`, or `python -m sphinx -E -W -n docs docs/_build/html` with the extra `docs`.

Nothing is fetched: no other project's inventory, no fonts, no analytics.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from generated import PAGES  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from glance_bench import __version__  # noqa: E402

project = "glance-bench"
author = copyright = "The glance-bench developers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "images"]
myst_heading_anchors = 3  # the anchors by which pages link to headings are GitHub's, so that both work

# Docstrings are read from the imported modules, with the heavy libraries replaced by stand-ins: what must be
# installed to build these pages is then 50 MB instead of 6 GB, and importing them takes no time.
autodoc_mock_imports = [
    *("accelerate", "datasets", "diffusers", "huggingface_hub", "matplotlib", "onnxruntime", "open_clip"),
    *("pandas", "peft", "pyarrow", "rapidfuzz", "rapidocr", "safetensors", "scipy", "timm", "tokenizers"),
    *("torch", "torchmetrics", "torchvision", "transformers"),
]
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
# A reference to something of this package must lead somewhere. Other projects' names cannot be looked up offline,
# and aliases of types, which have no page of their own, have no package in their name.
nitpick_ignore_regex = [(r"py:.*", r"(?!glance_bench\.).*"), ("py:class", r"glance_bench\.stats\.\w+\.Name")]

smartquotes = False  # they would make a dash of the two of an option

html_theme = "furo"
html_title = f"glance-bench {release}"
html_copy_source = False


def leave_the_site(name: str, text: str) -> str:
    """A link to a file of the repository that is no page here becomes its path: the site does not know where the
    repository is published."""

    def told(link: re.Match[str]) -> str:
        target = (HERE / name).parent / link["path"].partition("#")[0]
        if target.resolve().is_relative_to(HERE):
            return link[0]
        path = target.resolve().relative_to(HERE.parent).as_posix()
        return f"`{path}`" if link["text"].strip("/") in path else f"{link['text']} (`{path}`)"

    return re.sub(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<path>\.\.?/[^)\s]+)\)", told, text)


def complete(app: Any, name: str, source: list[str]) -> None:
    """What the pages say that no file holds: see ``generated``."""
    for mark, make in PAGES.items():
        if f"<!-- generated: {mark} -->" in source[0]:
            source[0] = source[0].replace(f"<!-- generated: {mark} -->", make())
    source[0] = leave_the_site(name, source[0])


def without_fields(app: Any, what: str, name: str, thing: Any, *rest: Any) -> tuple[str, None] | None:
    """A model's signature would repeat all its fields with their checks."""
    return ("", None) if isinstance(thing, type) and issubclass(thing, BaseModel) else None


def without_aliases(app: Any, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """The fields of a named tuple come with a text that says nothing."""
    return True if (getattr(thing, "__doc__", None) or "").startswith("Alias for field number") else None


def setup(app: Any) -> dict[str, Any]:
    app.connect("source-read", complete)
    app.connect("autodoc-process-signature", without_fields)
    app.connect("autodoc-skip-member", without_aliases)
    return {"parallel_read_safe": True}
