"""The comparison document: every pair of sides, corrected over what is shown together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .. import stats
from ..errors import GlanceBenchError, UsageError, near_misses
from .differences import differences
from .effects import Effect, Later, Refused, effect_of
from .latency import latencies
from .moved import moved
from .pairing import Pairing, pair
from .sides import Side
from .slices import Slice, slices
from .verdicts import LEVEL, MEANING, Margins, word

__all__ = ["SCHEMA", "chooser", "compare", "document", "finite", "measured"]

SCHEMA = "glance-bench/comparison/1"
ALWAYS_SHOWN = "failed"


def compare(
    sides: Sequence[tuple[Side, Side]],
    *,
    metrics: Sequence[str] = (),
    margins: Margins | None = None,
    sliced: bool = True,
    most_moved: int = 3,
    not_shared: Sequence[str] = (),
) -> dict[str, Any]:
    """The comparison of each pair (see the package's docstring for the document). Deterministic.

    ``metrics`` names the columns or metrics to compare instead of the headline ones; ``not_shared`` goes into the
    document as it is. Raises UsageError for a name that
    no side has, GlanceBenchError when a pair has no prompt in common.
    """
    margins = margins or Margins()
    chosen = chooser([side for both in sides for side in both], metrics)
    for name in margins.by_column or {}:
        _known(name, {c for both in sides for side in both for c in side.columns}, "--margin")
    later = Later()
    made = [
        measured(pair(a, b), chosen, later, sliced=sliced, most_moved=most_moved, named=bool(metrics))
        for a, b in sides
    ]
    later.settle()
    return document(*sides[0], made, margins, not_shared)


def document(
    a: Side, b: Side, made: list[dict[str, Any]], margins: Margins, not_shared: Sequence[str] = ()
) -> dict[str, Any]:
    """The document of what was ``measured``, corrected over all of it; ``a`` and ``b`` are of the two runs."""
    whole = [effect for one in made for effect in one["metrics"]]
    parts = [effect for one in made for effect in one["slices"]]
    families = [
        _judged("overall", whole, margins),
        *([_judged("slices", parts, margins)] if parts else []),
    ]
    for one in made:
        one["metrics"], one["slices"] = ([_told(e) for e in one[key]] for key in ("metrics", "slices"))
    whole_document = {
        "schema": SCHEMA,
        "a": _run(a),
        "b": _run(b),
        "level": LEVEL,
        "margins": {"share": margins.share, "by_column": dict(margins.by_column or {})},
        "verdicts": dict(MEANING),
        "not_shared": list(not_shared),
        "families": families,
        "comparisons": made,
    }
    told: dict[str, Any] = finite(whole_document)
    return told


def chooser(sides: Iterable[Side], metrics: Sequence[str]) -> Callable[[Pairing], list[str]]:
    """A function that gives the columns to compare in a pairing."""
    every = {name: known for side in sides for name, known in side.columns.items()}
    for name in metrics:
        _known(name, set(every) | {known["metric"] for known in every.values()}, "--metrics")

    def chosen(pairing: Pairing) -> list[str]:
        names = []
        for name, known in every.items():
            present = [side.cells[name] for side in (pairing.a, pairing.b) if name in side.cells]
            if not present and name not in pairing.a.columns and name not in pairing.b.columns:
                continue
            flagged = known["flag"] and any(cell["value"] for cell in present)
            usual = known["headline"] or name == ALWAYS_SHOWN or flagged
            if (name in metrics or known["metric"] in metrics) if metrics else usual:
                names.append(name)
        return names

    return chosen


def _known(name: str, names: set[str], option: str) -> None:
    if name not in names:
        raise UsageError(f"{option}: no metric or column {name!r}; {near_misses(name, names)}")


def measured(
    pairing: Pairing,
    chosen: Callable[[Pairing], list[str]],
    later: Later,
    *,
    sliced: bool,
    most_moved: int,
    named: bool = False,
    images: bool = True,
) -> dict[str, Any]:
    """An entry of the document's ``comparisons`` before it is corrected: its effects are still Effect objects.

    ``named``: the columns were asked for by name. Without ``images`` those of the prompts that moved are not looked
    for. Raises GlanceBenchError when the sides have no prompt in common.
    """
    a, b = pairing.a, pairing.b
    if not len(pairing.images):
        raise GlanceBenchError(
            f"{_name(a)} and {_name(b)} have no prompt in common on {a.model}, {a.prompt_set}"
            + (f": {pairing.other_text} have the same id and another text" if pairing.other_text else "")
        )
    whole, refused = [], []
    cut = slices(pairing.images) if sliced else []
    for column in chosen(pairing):
        try:
            effect = effect_of(pairing, column, later=later)
        except Refused as why:
            refused.append({"column": column, "why": str(why)})
            continue
        whole.append(effect)
    timed, untimed = latencies(a, b)
    refused += [{"column": "latency", "why": why} for why in untimed]
    firsts = _firsts(whole, named)
    parts = [effect for one in cut for effect in _in_slice(pairing, firsts, one, later)]
    movers = [
        moved(pairing, effect.column, most_moved, images)
        for effect in firsts
        if effect.test == "sign-flip" and most_moved
    ]
    return {
        "model": a.model,
        "prompt_set": a.prompt_set,
        "testbed": bool(a.board["testbed"]),
        "a": _side(a),
        "b": _side(b),
        "pairing": {
            "prompts": len(pairing.prompts),
            "images": len(pairing.images),
            "noise": pairing.noise,
            "same_noise": pairing.same_noise,
            "only_a": pairing.only_a,
            "only_b": pairing.only_b,
            "other_text": pairing.other_text,
        },
        "differences": differences(pairing),
        "not_compared": refused,
        "metrics": whole,
        "slices": parts,
        "latency": [asdict(one) for one in timed],
        "moved": movers,
    }


def _firsts(effects: Sequence[Effect], named: bool) -> list[Effect]:
    """Those that are sliced: the first column of each metric (all that were asked for by name), flags that occur."""
    seen: set[str] = set()
    chosen = []
    for effect in effects:
        metric = effect.column["metric"]
        by_prompt = effect.interval != "jackknife"
        occurs, flag = bool(effect.a or effect.b), effect.column["flag"]
        wanted = occurs if flag else named or metric not in seen
        if by_prompt and wanted:
            chosen.append(effect)
            seen.add(metric)
    return chosen


def _in_slice(pairing: Pairing, effects: Sequence[Effect], part: Slice, later: Later) -> list[Effect]:
    made = []
    for whole in effects:
        try:
            effect = effect_of(pairing, whole.column["name"], part.prompts, later)
        except Refused:  # no value in this slice: a metric of drawn text, where no text was asked for
            continue
        effect.slicing, effect.slice = part.slicing, part.name
        made.append(effect)
    return made


def _judged(name: str, effects: Sequence[Effect], margins: Margins) -> dict[str, Any]:
    """Fill in adjusted p-values and verdicts of a family of tests, and say what it was."""
    adjusted = stats.holm({i: e.p for i, e in enumerate(effects) if e.p is not None})
    for i, effect in enumerate(effects):
        effect.p_adjusted = adjusted.get(i)
        margin = margins.of(effect.column["name"], effect.a)
        effect.verdict = word(
            effect.delta,
            effect.low,
            effect.high,
            n=effect.n,
            p_adjusted=effect.p_adjusted,
            better=effect.column["better"],
            margin=margin,
            judged=effect.judged,
        )
    return {"name": name, "tests": len(adjusted), "correction": "Holm"}


def _told(effect: Effect) -> dict[str, Any]:
    column = effect.column
    told = vars(effect) | {"column": column["name"], "delta": effect.delta}
    for key in ("title", "metric", "better", "decimals"):
        told[key] = column[key]
    if effect.slicing is None:
        del told["slicing"], told["slice"]
    return told


def _run(side: Side) -> dict[str, Any]:
    evidence = side.evidence
    return {"run": evidence.name, "path": str(evidence.path), "digest": evidence.results["digest"]}


def _side(side: Side) -> dict[str, Any]:
    row = side.row
    return {
        "run": side.evidence.name,
        "sampler": side.sampler,
        "title": row["title"],
        "nfe": row["nfe"]["counted"],
        "images": row["images"],
    }


def _name(side: Side) -> str:
    return f"{side.sampler!r} of {side.evidence.path}"


def finite(value: Any) -> Any:
    """NaN and infinities, which JSON has not, as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
