"""From checked prompts to a set: unique ids, a revision, and an order whose first N are worth running alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import islice

from glance_bench.errors import UsageError
from glance_bench.prompts import Prompt, PromptSet

__all__ = ["as_set", "spread"]


def spread(
    prompts: Iterable[Prompt], group: Callable[[Prompt], str] = lambda one: one.category
) -> list[Prompt]:
    """The prompts with every group spread evenly over the whole, each group in its own order.

    Published lists are sorted by category: their first 100 prompts are all of one kind. Here prompt i of a group
    of n is due at (i + 1/2) / n of the way, so the first N hold every group in proportion to its size, give or
    take a prompt, and the first N are contained in the first M. The published position stays in the id or meta.
    """
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(group(prompt), []).append(prompt)
    due = [
        (Fraction(2 * index + 1, 2 * len(members)), place, prompt)
        for place, members in enumerate(groups.values())
        for index, prompt in enumerate(members)
    ]
    return [prompt for _, _, prompt in sorted(due, key=lambda one: one[:2])]


def as_set(name: str, prompts: Sequence[Prompt], limit: int | None = None) -> PromptSet:
    """The first ``limit`` prompts as a set; its revision is a hash over their ids and texts.

    Raises UsageError when an id occurs twice among all of them.
    """
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.id in seen:
            raise UsageError(f"prompt set {name!r} has id {prompt.id!r} twice ({prompt.text[:60]!r})")
        seen.add(prompt.id)
    chosen = tuple(islice(prompts, limit))
    digest = hashlib.sha256("\n".join(f"{one.id}\t{one.text}" for one in chosen).encode()).hexdigest()
    return PromptSet(name, digest[:12], chosen)
