"""Which images of a run are meant: one model, one sampler, one prompt set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glance_bench.errors import GlanceBenchError, UsageError, near_misses

if TYPE_CHECKING:
    import pandas as pd

    from glance_bench.prompts import Prompt
    from glance_bench.store import Run

__all__ = ["Board", "images_of", "pick", "prompts_of"]


@dataclass(frozen=True)
class Board:
    """The images of one sampler on one prompt set: ``prompts`` in the order of the set, those with images.

    ``records`` has a row an image, columns ``store.RECORD_COLUMNS``; every prompt has the indices 0 to
    ``count`` - 1.
    """

    model: str
    sampler: str
    prompt_set: str
    prompts: tuple[Prompt, ...]
    count: int
    records: pd.DataFrame


def pick(what: str, asked: str | None, there: Iterable[str]) -> str:
    """The one of ``there`` that was asked for, or the only one.

    Raises UsageError for an unknown name, and when several are there and none was asked for.
    """
    names = list(dict.fromkeys(there))
    if asked is None:
        if len(names) == 1:
            return names[0]
        option = what.replace(" ", "-")
        raise UsageError(
            f"the run has {len(names)} {what}s: name one with --{option} ({', '.join(names[:12])})"
        )
    if asked not in names:
        raise UsageError(f"the run has no {what} {asked!r}; {near_misses(asked, names)}")
    return asked


def prompts_of(run: Run, prompt_set: str) -> dict[str, Prompt]:
    """The prompts of a set by id, in order."""
    return {prompt.id: prompt for prompt in run.prompts(prompt_set)}


def images_of(run: Run, model: str, sampler: str, prompt_set: str) -> Board:
    """The images of one sampler on one set.

    Raises GlanceBenchError when a prompt lacks an image that another one has.
    """
    records = run.records()
    here = (
        (records["model"] == model) & (records["sampler"] == sampler) & (records["prompt_set"] == prompt_set)
    )
    own = records[here].drop_duplicates(["prompt_id", "index"]).sort_values(["prompt_id", "index"])
    known = prompts_of(run, prompt_set)
    counts = own.groupby("prompt_id")["index"].agg(["size", "max"])
    count = int(counts["size"].max())
    odd = counts[(counts["size"] != count) | (counts["max"] != count - 1)]
    if len(odd):
        prompt_id = str(odd.index[0])
        raise GlanceBenchError(
            f"{sampler} on {prompt_set}: {len(odd)} prompts lack images, the first is {prompt_id!r} with "
            f"{int(odd['size'].iloc[0])} where others have {count}"
        )
    used = set(own["prompt_id"])
    prompts = tuple(prompt for prompt in known.values() if prompt.id in used)
    return Board(model, sampler, prompt_set, prompts, count, own)
