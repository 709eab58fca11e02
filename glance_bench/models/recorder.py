"""What a caller can watch while a batch of images is made. Nothing here imports torch."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Recorder:
    """Watches one call of ``model.sample``: counts, finite flags and component times.

    Subclass it and override ``on_step`` to see more; one object may watch several calls, whose seconds add
    up.

    Attributes:
        evaluations: transformer evaluations really made for each image of the last call: a forward pass over
            the batch counts 1, true classifier-free guidance 2 a step. With a cache a pass counts the share of the
            transformer's blocks that it really ran, see ``caches.Work``.
        finite: one flag an image of the last call, False when its final latents hold a NaN or an infinity.
        seconds: wall seconds by component ("denoise", "decode"; "switch", which is part of denoising: putting in the
            next step's adapter; "encode" where the caller opens it).
        waits: whether a GPU must be idle when denoising and decoding begin, so that wall time is theirs.
        estimated: the steps (0-based) of which ``on_estimate`` is told; a subclass says which.
    """

    estimated: frozenset[int] = frozenset()
    waits: bool = True

    def __init__(self) -> None:
        self.evaluations: float = 0.0
        self.finite: list[bool] = []
        self.seconds: dict[str, float] = defaultdict(float)

    def on_start(self) -> None:
        """A call of ``sample`` begins."""
        self.evaluations = 0.0
        self.finite = []

    def on_model_call(self, n_evaluations: float) -> None:
        """The transformer ran once, and evaluated each image ``n_evaluations`` times in doing so."""
        self.evaluations += n_evaluations

    def on_step(self, index: int, latents: Any) -> None:
        """Step ``index`` (0-based) of the trajectory ended with ``latents`` [N, tokens, channels]."""

    def on_estimate(self, index: int, latents: Any) -> None:
        """Step ``index``, one of ``estimated``, was heading for the image ``latents`` [N, tokens, channels].

        That is x - sigma * v of the latents x and the velocity v at its start.
        """

    def on_finish(self, finite: Sequence[bool]) -> None:
        """The images are made; ``finite`` has a flag for each."""
        self.finite = list(finite)

    @contextmanager
    def component(self, name: str) -> Iterator[None]:
        """Adds the wall time of the block to ``seconds[name]``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start
