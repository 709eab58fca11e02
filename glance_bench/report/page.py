"""The one HTML document of a report: every view that is made at build time, and the index its scripts begin with.

It opens from a disk without a network; a content security policy lets nothing run or load but what lies beside
it, or in single-file form only this very style and script. Prompts, OCR output and names are untrusted: templates
escape them and the scripts only ever set them as text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from glance_bench.report.charts.marks import mark
from glance_bench.report.chunks import CHUNK, noted, script_json
from glance_bench.report.text import evaluations, interval, number, times, visible

if TYPE_CHECKING:
    from glance_bench.report.model import Board, Report

__all__ = ["Pictures", "environment", "index_of", "link", "page", "script", "style"]

VIEWS = (
    "overview", "compare", "prompts", "failures", "text", "speed", "papers", "schedule", "training",
    "provenance", "prompt",
)  # fmt: skip
SCRIPTS = (
    "core.js", "tables.js", "listing.js", "text.js", "prompts.js", "failures.js", "detail.js", "compare.js",
)  # fmt: skip
STYLES = ("report.css", "views.css", "charts.css")


@dataclass(frozen=True)
class Pictures:
    """Which images of a board a page can show: ``thumbs`` as bits of [samplers, rows], ``originals`` as a folder.

    ``thumbs`` is "" where there is none, ``originals`` is None where the page must not point at the run.
    """

    thumbs: str
    originals: str | None


def link(view: str, **parameters: object) -> str:
    """The address of a view inside the page."""
    told = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in parameters.items())
    return f"#/{view}?{told}" if told else f"#/{view}"


def environment() -> Environment:
    """Templates of this package: autoescaped, undefined names are errors."""
    made = Environment(
        loader=FunctionLoader(lambda name: _asset(f"templates/{name}")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters.update(
        evaluations=evaluations, number=number, interval=interval, times=times, visible=visible
    )
    made.globals.update(mark=mark, link=link)
    return made


def style() -> str:
    return "\n".join(_asset(f"static/{name}") for name in STYLES)


def script() -> str:
    """The scripts as one, without indentation and lines of comment: no more than a reader's browser needs."""
    lines = (line.strip() for name in SCRIPTS for line in _asset(f"static/{name}").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//")) + "\n"


def index_of(report: Report, pictures: Mapping[int, Pictures]) -> dict[str, Any]:
    """What the scripts know before they load anything."""
    return {
        "title": visible(report.title),
        "boards": [_indexed(b, pictures[b.number]) for b in report.boards],
    }


def _indexed(board: Board, pictures: Pictures) -> dict[str, Any]:
    told = ("name", "title", "decimals", "better", "headline", "kind", "flag")
    own = {column["name"] for column in board.per_image}
    return {
        "number": board.number,
        "label": visible(board.label),
        "model": visible(board.results["model"]),
        "set": visible(board.results["prompt_set"]),
        "source": visible(board.source.name),
        "suite": visible(str(board.source.evidence.results["suite"])),
        "samplers": [visible(name) for name in board.samplers],
        "reference": board.samplers.index(board.reference),
        "columns": [{k: c[k] for k in told} | {"images": c["name"] in own} for c in board.columns],
        "rows": len(board.rows),
        "chunk": CHUNK,
        "categories": sorted({visible(prompt.category) for prompt in board.prompts}),
        "notes": None if board.records is None else noted(board),
        "thumbs": pictures.thumbs,
        "originals": pictures.originals,
        "strips": sorted(board.strips),
    }


def page(report: Report, index: Mapping[str, Any], inline: Mapping[str, Any] | None = None) -> str:
    """The document. ``inline`` holds the pieces of data by key for a single file; None for a folder's page."""
    templates = environment()
    views = []
    for name in VIEWS:
        view = import_module(f"glance_bench.report.views.{name}")
        content = templates.get_template(f"{name}.html").render(report=report, **view.context(report))
        views.append({"name": name, "title": view.TITLE, "content": Markup(content)})
    return templates.get_template("page.html").render(
        title=index["title"],
        views=views,
        index=script_json(index),
        samplers=max((len(board.samplers) for board in report.boards), default=0),
        style=Markup(style()),
        script=Markup(script()),
        inline=None if inline is None else {key: script_json(value) for key, value in inline.items()},
        policy=_policy(inline is not None),
    )


def _policy(single: bool) -> str:
    """A folder's page takes style and scripts from beside it; a single file only those inside it."""
    if not single:
        allowed = "style-src 'self' file:; script-src 'self' file:; img-src 'self' file: data:"
    else:
        hashes = [
            base64.b64encode(hashlib.sha256(text().encode()).digest()).decode() for text in (style, script)
        ]
        allowed = (
            f"style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; img-src 'self' file: data:"
        )
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _asset(name: str) -> str:
    return files("glance_bench.report").joinpath(name).read_text(encoding="utf-8")
