"""Sheets as one HTML page: no script, nothing is loaded, every text escaped by the template engine."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from glance_bench.report.text import visible

from .sheets import Section

__all__ = ["page"]


def page(title: str, sections: Sequence[Section]) -> str:
    """The whole page. A content security policy allows its own style sheet and nothing else."""
    style = _asset("tables.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["visible"] = visible
    return environment.get_template("tables.html").render(
        title=title,
        sections=sections,
        style=Markup(style),
        policy=f"default-src 'none'; style-src 'sha256-{digest}'",
    )


def _asset(name: str) -> str:
    return files("glance_bench.tables").joinpath(f"templates/{name}").read_text(encoding="utf-8")
