"""One board's table of images as arrays of samplers by rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import GlanceBenchError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Floats", "Grid"]

Floats = npt.NDArray[np.float64]
KEYS = ["sampler", "prompt_id", "index"]


@dataclass(frozen=True)
class Grid:
    """The images of a board: S samplers in its order, R rows of (prompt id, index) in the order of its prompts.

    ``samples`` are the board's rows of the evidence's table, ``reference`` is the place of its reference in
    ``samplers``.
    """

    samples: pd.DataFrame
    samplers: tuple[str, ...]
    reference: int
    rows: tuple[tuple[str, int], ...]

    @classmethod
    def of(
        cls, samples: pd.DataFrame, board: Mapping[str, Any], rows: Sequence[tuple[str, int]] | None = None
    ) -> Grid:
        """The grid of ``board``, an entry of results.json, from the rows of ``samples`` that are its own.

        Without ``rows``, prompts are in the order in which ``samples`` has them. Raises GlanceBenchError for an image
        that is there twice.
        """
        own = samples[(samples["model"] == board["model"]) & (samples["prompt_set"] == board["prompt_set"])]
        twice = int(own.duplicated(KEYS).sum())
        if twice:
            raise GlanceBenchError(
                f"{board['model']} on {board['prompt_set']}: {twice} images are recorded twice"
            )
        if rows is None:
            place = {prompt: number for number, prompt in enumerate(own["prompt_id"].unique())}
            keys = set(zip(own["prompt_id"], own["index"].astype(int), strict=True))
            rows = sorted(keys, key=lambda key: (place[key[0]], key[1]))
        samplers = tuple(str(row["sampler"]) for row in board["samplers"])
        return cls(own, samplers, samplers.index(str(board["reference"])), tuple(rows))

    @property
    def shape(self) -> tuple[int, int]:
        """(S, R)."""
        return len(self.samplers), len(self.rows)

    def positions(self, frame: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Where each image lies in ``frame``, which has KEYS: int64[S, R], -1 for an image that is not there."""
        import pandas as pd

        wanted = pd.MultiIndex.from_tuples(self.rows or [("", 0)], names=KEYS[1:])
        rows = wanted.get_indexer(pd.MultiIndex.from_frame(frame[KEYS[1:]]))
        samplers = pd.Index(self.samplers).get_indexer(frame["sampler"])
        found = np.full(self.shape, -1, dtype=np.int64)
        there = (rows >= 0) & (samplers >= 0) & bool(self.rows)
        found[samplers[there], rows[there]] = np.flatnonzero(there)
        return found

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """Where each image lies in ``samples``: int64[S, R], -1 for one that is not there."""
        return self.positions(self.samples)

    def values(self, column: str) -> Floats:
        """A numeric column of samples, float64[S, R]; NaN where there is no image, no value or no finite one."""
        listed = np.append(self.samples[column].to_numpy(float, na_value=np.nan), np.nan)
        found: Floats = listed[self.places]  # -1 is the NaN that was put last
        found[~np.isfinite(found)] = np.nan
        return found

    @cached_property
    def same_noise(self) -> npt.NDArray[np.bool_]:
        """bool[S, R]: whether an image started from the noise of the reference's. Images made elsewhere did not."""
        seeds = np.append(self.samples["seed"].to_numpy(np.int64), -1)[self.places]
        same: npt.NDArray[np.bool_] = (seeds == seeds[self.reference]) & (seeds >= 0)
        return same

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """The P ids of the prompts, in order."""
        return tuple(dict.fromkeys(prompt for prompt, _ in self.rows))

    @cached_property
    def prompt_of(self) -> npt.NDArray[np.int64]:
        """int64[R]: the place of each row's prompt in ``prompts``."""
        place = {prompt: number for number, prompt in enumerate(self.prompts)}
        return np.array([place[prompt] for prompt, _ in self.rows], dtype=np.int64)

    def by_prompt(self, values: Floats) -> Floats:
        """Means over the images of each prompt, float64[S, P] of float64[S, R]; NaN where no image has a value."""
        there = np.isfinite(values)
        made = np.full((len(values), len(self.prompts)), np.nan)
        for s in range(len(values)):
            own = there[s]
            count = np.bincount(self.prompt_of[own], minlength=len(self.prompts))
            total = np.bincount(self.prompt_of[own], weights=values[s, own], minlength=len(self.prompts))
            np.divide(total, count, out=made[s], where=count > 0)
        return made

    def facets(self) -> pd.DataFrame:
        """A row a prompt, in the order of ``prompts``: prompt_id, category, prompt_words, wanted_words, objects."""
        one = self.samples.drop_duplicates("prompt_id").set_index("prompt_id", drop=False)
        return one.loc[list(self.prompts)]
