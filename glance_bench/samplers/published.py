"""Timesteps printed in a paper or its code, by name and family. No torch.

They are facts, kept in ``baselines/published/``, one file a paper. Nothing here is computed from a grid.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..errors import UsageError, near_misses
from ..resources import data_dir
from ..trajectory import TIMESTEPS, Move

__all__ = ["Published", "Timesteps", "load_published", "published_moves"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Printed = list[Annotated[float, Field(gt=0, le=TIMESTEPS)]]


class Timesteps(_Strict):
    """One family's printed timesteps (1000 * sigma) of the slow and of the fast phase, falling."""

    slow: Annotated[Printed, Field(min_length=1)]
    fast: Annotated[Printed, Field(min_length=1)]

    @model_validator(mode="after")
    def _falls(self) -> Timesteps:
        if any(a <= b for a, b in zip(self.all, self.all[1:], strict=False)):
            raise ValueError("timesteps must fall strictly")
        return self

    @property
    def all(self) -> list[float]:
        return self.slow + self.fast


class Published(_Strict):
    """The schedules that one paper published, by name, then by model family.

    ``source`` is the paper, ``code`` where the timesteps stand, ``tokens`` the image tokens that they are for.
    """

    source: str
    code: str
    tokens: Annotated[int, Field(ge=1)]
    schedules: dict[str, dict[str, Timesteps]]

    def timesteps(self, name: str, family: str) -> Timesteps:
        """Raises UsageError when the schedule ``name`` was not published for the family."""
        known = self.schedules[name]
        if family not in known:
            raise UsageError(
                f"published schedule {name!r} has no timesteps for family {family!r}; "
                f"{near_misses(family, known)}"
            )
        return known[family]


def load_published(name: str) -> Published:
    """The publication that has the schedule ``name``. Raises UsageError for an unknown one, with the nearest."""
    from ..yamlfile import read_yaml, validated

    known: set[str] = set()
    for path in sorted((data_dir("baselines") / "published").glob("*.yaml")):
        published = validated(Published, path, read_yaml(path))
        if name in published.schedules:
            return published
        known |= set(published.schedules)
    raise UsageError(f"unknown published schedule {name!r}; {near_misses(name, known)}")


def published_moves(timesteps: Timesteps) -> list[Move]:
    """What is meant by them: sigma is t / 1000, each step goes to the next one and the last to 0."""
    levels = [t / TIMESTEPS for t in timesteps.all] + [0.0]
    return [Move(sigma, after, sigma) for sigma, after in zip(levels, levels[1:], strict=False)]
