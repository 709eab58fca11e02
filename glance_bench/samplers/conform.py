"""A sampler's steps beside a published schedule: what ``trajectory --conform`` prints, and the same as data."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from ..terminal import printable
from ..trajectory import TIMESTEPS, Move, from_moves
from .cards import Geometry, SamplerCard
from .published import load_published, published_moves

TOLERANCE = 1e-4  # in sigma; the printed timesteps have four digits after the point, 1e-7 in sigma


def document(card: SamplerCard, geometry: Geometry, name: str) -> dict[str, Any]:
    """Everything that ``text`` shows, as JSON data.

    ``steps`` has one entry a step of the longer of the two: ``step`` (from 0), ``ours`` and ``published`` with
    ``sigma``, ``sigma_next`` and ``t_cond``, null where one has ended, and ``parts``, the names of the values
    that differ by more than ``tolerance``. ``parts_from`` is the first step that parts, null when none does.
    Raises UsageError for an unknown name, a family without that schedule, and as ``card.compile`` does.
    """
    publication = load_published(name)
    wanted = from_moves(published_moves(publication.timesteps(name, geometry.family)))
    trajectory = card.compile(geometry)
    moves = [Move(step.sigma, step.sigma_next, step.t_cond) for step in trajectory.steps]
    expected = [Move(step.sigma, step.sigma_next, step.t_cond) for step in wanted.steps]
    rows = [
        {
            "step": number,
            "ours": ours and ours._asdict(),
            "published": theirs and theirs._asdict(),
            "parts": _parts(ours, theirs),
        }
        for number, (ours, theirs) in enumerate(zip_longest(moves, expected))
    ]
    apart = [row["step"] for row in rows if row["parts"]]
    return {
        "published": name,
        "family": geometry.family,
        "source": publication.source,
        "code": publication.code,
        "tokens": {"ours": geometry.tokens, "published": publication.tokens},
        "span": {"ours": trajectory.span, "published": wanted.span},
        "tolerance": TOLERANCE,
        "conforms": not apart,
        "parts_from": apart[0] if apart else None,
        "steps": rows,
    }


def text(card: SamplerCard, geometry: Geometry, name: str) -> str:
    """The same as plain lines, at most 110 columns: a heading, a row a step, and the verdict."""
    data = document(card, geometry, name)
    rows, tokens, span = data["steps"], data["tokens"], data["span"]
    other = "" if tokens["ours"] == tokens["published"] else f", here {tokens['ours']}"
    apart = [row for row in rows if row["parts"]]
    ours, theirs = (sum(row[side] is not None for row in rows) for side in ("ours", "published"))
    if data["conforms"]:
        verdict = f"conforms: all {len(rows)} steps; sigma covered {span['ours']:.4f}"
    else:
        first = apart[0]
        verdict = (
            f"parts from step {first['step']}: {_apart(first)}; "
            + (f"{len(apart)} of {ours} steps part" if ours == theirs else f"{ours} steps against {theirs}")
            + f"; sigma covered {span['ours']:.4f} against {span['published']:.4f}"
        )
    lines = [
        f"{printable(card.name)} beside {name} as published for {data['family']} at "
        f"{tokens['published']} tokens{other}",
        printable(f"{data['source']}; {data['code']}"),
        f"tolerance {TOLERANCE:g} in sigma, {TOLERANCE * TIMESTEPS:g} in 1000 * t",
        "",
        "step  1000 * t     sigma -> next   |  published     sigma -> next     parts in",
        *(
            f"{row['step']:4d}  {_shown(row['ours'])}  |   {_shown(row['published'])}     {', '.join(row['parts'])}"
            for row in rows
        ),
        "",
        verdict,
    ]
    return "\n".join(line.rstrip() for line in lines)


def _parts(ours: Move | None, theirs: Move | None) -> list[str]:
    """The names of the values that differ; all of them where one side has no such step."""
    return [
        name
        for index, name in enumerate(Move._fields)
        if ours is None or theirs is None or abs(ours[index] - theirs[index]) > TOLERANCE
    ]


def _apart(row: dict[str, Any]) -> str:
    """In words, the first value in which a step parts."""
    if row["ours"] is None:
        return "the sampler has ended"
    if row["published"] is None:
        return "the published schedule has ended"
    name = row["parts"][0]
    return f"{name} {row['ours'][name]:.4f} against {row['published'][name]:.4f}"


def _shown(move: dict[str, float] | None) -> str:
    """27 columns."""
    if move is None:
        return f"{'-':>8}  {'-':>7}{'':10}"
    return f"{move['t_cond'] * TIMESTEPS:8.3f}  {move['sigma']:.4f} -> {move['sigma_next']:.4f}"
