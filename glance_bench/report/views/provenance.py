"""Provenance: the suite as it was run, what everything is made of, digests, and how to reproduce and verify it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from glance_bench.report.model import Board, Report, Source

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TITLE", "context"]

TITLE = "Provenance"
PARTS = ("checkpoint", "card", "trajectory")  # of what images are made of, as digests
LONGEST = 10**9  # a seed that a reader may still compare


def context(report: Report) -> dict[str, Any]:
    """One entry a source."""
    return {"sources": [_source(report, source) for source in report.sources], "parts": PARTS}


def _source(report: Report, source: Source) -> dict[str, Any]:
    results, evidence = source.evidence.results, source.evidence
    suite = evidence.suite
    return {
        "name": source.name,
        "results": results,
        "testbed": any(board["testbed"] for board in results["boards"]),
        "suite": json.dumps(suite, indent=1, sort_keys=True, ensure_ascii=False),
        "facts": [
            ("Suite", results["suite"]),
            ("Profile", results.get("profile") or "none"),
            ("Seed", suite.get("seed", "not stated")),
            ("Noise", _noise(suite)),
            ("Images a prompt", suite.get("images_per_prompt", "not stated")),
            ("Kept", "with its images" if source.run is not None else "results alone, or with some images"),
        ],
        "environment": list(_flat(evidence.environment)),
        "digests": [
            ("results, but for timing", results["digest"]),
            ("seal of results.json", results.get("seal", "")),
            *sorted(results.get("tables", {}).items()),
        ],
        "recipes": _recipes(results),
        "waiting": results.get("waiting", {}),
        "owed": results.get("sources", {}),
        "boards": [_board(board) for board in report.boards if board.source is source],
        "sets": [(name, len(texts)) for name, texts in evidence.prompts.items()],
        "commands": _commands(source),
    }


def _noise(suite: Mapping[str, Any]) -> str:
    """How the seed of an image comes from the suite's."""
    known = {
        "hashed": "hashed: from the suite's seed, the prompt's id and the image's index",
        "by-index": "by index: the suite's seed and the prompt's place in its set",
    }
    return known.get(str(suite.get("noise")), "not stated")


def _recipes(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each column with the recipes by which the boards measured it."""
    used: dict[str, set[str]] = {}
    for board in results["boards"]:
        for row in board["samplers"]:
            for name, cell in row["cells"].items():
                used.setdefault(name, set()).add(cell["recipe"])
    return [
        {**column, "recipes": [(key, results["recipes"][key]) for key in sorted(used[column["name"]])]}
        for column in results["columns"]
        if column["name"] in used
    ]


def _board(board: Board) -> dict[str, Any]:
    rows = []
    for place, row in enumerate(board.results["samplers"]):
        made = row.get("made_of")
        seeds = board.samples.loc[board.samples["sampler"] == row["sampler"], "seed"]
        rows.append(
            {
                "place": place,
                "sampler": row["sampler"],
                "images": row["images"],
                "made": made,
                "settings": _settings(made) if made else "",
                "seeds": _seeds(seeds),
                "stated": row.get("stated"),
            }
        )
    return {"board": board, "rows": rows}


def _seeds(seeds: pd.Series) -> str:
    """Those of a sampler's images; hashed ones are too long to say anything."""
    if seeds.empty or seeds.min() < 0:
        return "not known"
    if seeds.max() > LONGEST:
        return f"{seeds.nunique():,} different"
    return f"{seeds.min()} to {seeds.max()}"


def _settings(made: Mapping[str, Any]) -> str:
    size = " \u00d7 ".join(map(str, made["resolution"]))
    numbers = ", ".join([made["dtype"], *filter(None, [made.get("placement")])])
    return f"{size} px, {made['device']}, {numbers}, generating code {made['generation_version']}"


def _commands(source: Source) -> list[tuple[str, str]]:
    """What each command does, and the command; the folder is where a run of this name is written by default."""
    folder = f"runs/{source.evidence.name}"
    name = shlex.quote(folder)
    told = [("every file is as it was written", f"glance-bench verify {name}")]
    if source.run is not None:
        suite = shlex.quote(f"{folder}/suite.json")
        told = [
            ("the same images and scores, in another folder", f"glance-bench run {suite} -o again"),
            ("both runs beside each other", f"glance-bench compare {name} again"),
            *told,
        ]
    return [*told, ("this report", f"glance-bench report {name}")]


def _flat(value: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """The leaves of env.json with the names that lead to them."""
    found = []
    for name, item in value.items():
        if isinstance(item, Mapping):
            found += _flat(item, f"{before}{name} ")
        else:
            found.append((f"{before}{name}", str(item)))
    return found
