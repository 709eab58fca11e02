"""Views of a report over evidence that was made in memory, and what they render read back."""

from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd

from glance_bench.evidence import Evidence
from glance_bench.models.checkpoints import read_geometry
from glance_bench.registry import MODELS
from glance_bench.report import model
from glance_bench.report.page import environment
from glance_bench.report.views import compare as compare_view
from glance_bench.report.views import papers, provenance, schedule, speed, training
from glance_bench.samplers.cards import load_card
from glance_bench.sealed import digest_of
from glance_bench.store import Run

from .made_evidence import MADE_OF, column, evidence

VIEWS = {
    "compare": compare_view,
    "speed": speed,
    "papers": papers,
    "schedule": schedule,
    "training": training,
    "provenance": provenance,
}
TIMING = ["model", "sampler", "session", "hardware", "prompt_id", "repeat", "batch_size", "component"]
TIMING += ["seconds", "evaluations"]
COUNT = 30
RNG = np.random.default_rng(5)
NOISE = RNG.normal(0.6, 0.1, COUNT)
HOSTILE = "<img src=x onerror=alert(1)>\u202e\x1b[31m'\"& {{ 7 * 7 }}"


class Fragment(HTMLParser):
    """A piece of HTML as its tags with their attributes, its words, and its tables as rows of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []
        self._cell: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append(" ".join(" ".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._cell is not None:
            self._cell.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        """The attributes of the elements with a tag, and with a class."""
        return [a for t, a in self.tags if t == tag and kind in ["", *(a.get("class") or "").split()]]

    def links(self, view: str) -> list[str]:
        return [str(a["href"]) for a in self.all("a") if str(a.get("href")).startswith(f"#/{view}?")]


def report_of(*evidences: Evidence, runs: Mapping[str, Run] | None = None) -> model.Report:
    """A report of evidence that was made in memory."""
    sealed = [_as_read(e) for e in evidences]
    sources = [model.Source(e.name, e.path, e, (runs or {}).get(e.name)) for e in sealed]
    boards: list[model.Board] = []
    for source in sources:
        kept = replace(source, run=None)
        boards += [replace(b, source=source) for b in model._boards(kept, len(boards), len(sources) > 1)]
    return model.Report("made", sources, boards)


def _as_read(made: Evidence) -> Evidence:
    """With what evidence has that was read from a folder: a seal, and a timing table with columns."""
    timing = made.timing if len(made.timing) else pd.DataFrame(columns=TIMING)
    return replace(made, timing=timing, results={"seal": f"seal of {made.name}", **made.results})


def shown(name: str, report: model.Report) -> Fragment:
    """A view's own part of the page."""
    template = environment().get_template(f"{name}.html")
    return Fragment(template.render(report=report, **VIEWS[name].context(report)))


def pieces(report: model.Report) -> dict[str, Fragment]:
    return {key: Fragment(str(content)) for key, content in compare_view.pairs(report)}


def three(**changes: Any) -> Evidence:
    """Three samplers: b loses 0.1 against the reference a, c does not differ from it but by noise."""
    values = {
        "a": {"x": NOISE, "y": NOISE},
        "b": {"x": NOISE - 0.1 + RNG.normal(0, 0.02, COUNT), "y": NOISE + 0.05 * (np.arange(COUNT) % 2)},
        "c": {"x": NOISE + RNG.normal(0, 0.02, COUNT), "y": NOISE},
    }
    settings: dict[str, Any] = {
        "columns": [column("x"), column("y", better="lower")],
        "facets": {"category": ["sign", "pair"] * (COUNT // 2)},
        "seconds": {"a": [5.0, 5.1, 5.3, 4.9, 5.0, 5.2, 5.0], "b": [1.0, 1.1, 1.0, 1.0, 0.9, 1.0, 1.1]},
    }
    return evidence(values, **(settings | changes))


SUITE = {
    "name": "made",
    "models": ["testbed-flux", "testbed-qwen"],
    "prompts": [{"set": "testbed"}],
    "samplers": ["teacher-50", "glance-10", "slowfast-10-base", "uniform-4"],
}


def rows_of(card: str, name: str) -> list[dict[str, Any]]:
    trajectory = load_card(card).compile(read_geometry(MODELS.get(name).path, 64, 64))
    return [{**row, "adapter": row["adapter"] is not None} for row in trajectory.to_rows()]


def stepped(name: str = "testbed-flux", suite: Mapping[str, Any] = SUITE, **other: str) -> Evidence:
    """Evidence of samplers that are cards, with the digests of their real steps; ``other`` replaces some."""
    cards = [sampler for sampler in suite["samplers"] if isinstance(sampler, str)]
    made = evidence({card: {"x": NOISE} for card in cards}, model=name)
    board = made.results["boards"][0]
    rows = [
        {
            **row,
            "made_of": {
                **MADE_OF,
                "trajectory": other.get(row["sampler"], digest_of(rows_of(row["sampler"], name))),
            },
        }
        for row in board["samplers"]
    ]
    return replace(made, suite=dict(suite), results={**made.results, "boards": [{**board, "samplers": rows}]})
