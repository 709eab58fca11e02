"""How small a difference a number of prompts can show, and how many prompts a difference needs."""

from __future__ import annotations

import math
from typing import Literal

from scipy.special import ndtri, stdtrit

__all__ = ["minimum_detectable", "needed_n"]


def minimum_detectable(
    sd: float, n: int, *, power: float = 0.8, level: float = 0.95, sided: Literal[1, 2] = 1
) -> float:
    """The true mean difference that a paired test over ``n`` prompts finds with probability ``power``.

    (t_(1 - alpha) + t_power) sd / sqrt(n), with t the quantiles of Student's t with n - 1 degrees of freedom and
    alpha = (1 - level) / ``sided`` (Bloom 1995; the textbook formula with normal quantiles promises too much at small
    n). ``sd`` is the standard deviation of the per-prompt differences, in the unit of the result. An end of a two-sided
    interval held against a margin is a one-sided test at half of 1 - level: ``sided=2``; the effect is then how far
    beyond the margin the truth must lie.

    One prompt shows nothing: infinity. Raises ValueError unless sd is finite and >= 0, n >= 1, 0 < level < 1 and
    alpha < power < 1.
    """
    alpha = _alpha(sd, power, level, sided)
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if n == 1:
        return math.inf
    freedom = n - 1
    return float(stdtrit(freedom, 1 - alpha) + stdtrit(freedom, power)) * sd / math.sqrt(n)


def needed_n(
    sd: float, effect: float, *, power: float = 0.8, level: float = 0.95, sided: Literal[1, 2] = 1
) -> int:
    """The fewest prompts, at least 2, whose ``minimum_detectable`` is at most ``effect`` (> 0, the same unit).

    Starts from the normal approximation ((z_(1 - alpha) + z_power) sd / effect)^2, which is always too few, and
    adds prompts until t agrees. Raises ValueError as ``minimum_detectable``, or unless effect is finite and > 0.
    """
    alpha = _alpha(sd, power, level, sided)
    if not (effect > 0 and math.isfinite(effect)):
        raise ValueError(f"effect must be finite and above 0, got {effect}")
    n = max(2, math.floor((float(ndtri(1 - alpha) + ndtri(power)) * sd / effect) ** 2))
    # The slack is for n so large that one more no longer changes the rounded root.
    while minimum_detectable(sd, n, power=power, level=level, sided=sided) > effect * (1 + 1e-9):
        n += 1
    return n


def _alpha(sd: float, power: float, level: float, sided: int) -> float:
    if not (sd >= 0 and math.isfinite(sd)):
        raise ValueError(f"sd must be finite and not negative, got {sd}")
    if sided not in (1, 2) or not 0 < level < 1:
        raise ValueError(f"sided must be 1 or 2 and level between 0 and 1, got {sided} and {level}")
    alpha = (1 - level) / sided
    if not alpha < power < 1:
        raise ValueError(f"power must lie between {alpha:g}, which chance alone reaches, and 1, got {power}")
    return alpha
