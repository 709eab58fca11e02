"""Solvers of second order along a trajectory: which velocity a step takes, of those that the model has given.

diffusers' own drop custom sigmas (DPM++), or take none (Heun). Every step ends at ``sample + (sigma_next - sigma) *
velocity``; with Euler the velocity is the model's at the step's start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch


def corrected(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Heun's velocity: the mean of those at the start and at the end of a step, in the dtype of both."""
    return ((first.to(torch.float32) + second.to(torch.float32)) / 2).to(first.dtype)


class Multistep:
    """Two-step solvers, which correct a step's velocity by what the step before gave. One evaluation a step.

    ``ab2`` is Adams and Bashforth's: the velocity is extrapolated linearly in sigma.

    ``dpmpp-2m`` is DPM-Solver++(2M) (arXiv:2211.01095, algorithm 2, with alpha = 1 - sigma): the predicted image,
    ``sample - sigma * velocity``, is extrapolated linearly in log((1 - sigma) / sigma). That is infinite at 0 and 1:
    a step from 1, the step after it, and a step to 0 are Euler's, and on a grid that is even in sigma near them the
    solver is of first order.

    The first step, and one of ``fresh`` or that does not start where the one before it ended, is Euler's.
    """

    def __init__(
        self, solver: str, sigmas: Sequence[float], sigmas_next: Sequence[float], fresh: Sequence[int]
    ) -> None:
        self._of_images = solver == "dpmpp-2m"
        place = _log_ratio if self._of_images else _progress
        connected = [i > 0 and i not in fresh and sigmas[i] == sigmas_next[i - 1] for i in range(len(sigmas))]
        self._sigmas = sigmas
        self._shares = [
            _share(place, sigmas[i - 1], sigmas[i], sigmas_next[i]) if connected[i] else 0.0
            for i in range(len(sigmas))
        ]
        self._before: torch.Tensor | None = None

    def velocity(self, step: int, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """The velocity of ``step``, in the dtype of ``output``; ``sample`` and ``output`` are those at its start."""
        sigma, share, before = self._sigmas[step], self._shares[step], self._before
        velocity = output.to(torch.float32)
        self._before = sample.to(torch.float32) - sigma * velocity if self._of_images else velocity
        if not share or before is None:
            return output
        change = share * (self._before - before)
        return (velocity - change / sigma if self._of_images else velocity + change).to(output.dtype)


def _share(place: Callable[[float], float], before: float, start: float, end: float) -> float:
    """Half the length of a step over that of the one before it; 0 where either is infinite or goes backwards."""
    length, behind = place(end) - place(start), place(start) - place(before)
    return length / (2 * behind) if 0 < length < math.inf and 0 < behind < math.inf else 0.0


def _progress(sigma: float) -> float:
    return -sigma


def _log_ratio(sigma: float) -> float:
    """log((1 - sigma) / sigma), infinite at 0 and 1."""
    if sigma in (0, 1):
        return math.inf if sigma == 0 else -math.inf
    return math.log((1 - sigma) / sigma)
