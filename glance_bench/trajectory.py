"""The steps that a sampler takes, as data: noise levels, what the model is told, who serves them, what they
cost.

A rectified-flow model moves along ``x = (1 - sigma) * image + sigma * noise`` from sigma 1 to 0. The teacher
visits a grid of sigmas; few-step samplers keep some of its points. Numpy only: no model is needed to read off
the cost of a sampler. The rules of the grids are those of diffusers' ``FlowMatchEulerDiscreteScheduler`` and
of ``calculate_shift`` in its pipelines, followed operation by operation in float32, so that the values are
the same to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError, near_misses

FloatArray = NDArray[np.float64]

TIMESTEPS = 1000  # pipelines scale t_cond by this constant on its way through the scheduler
TEACHER_STEPS = 50
SOLVERS = ("euler", "heun", "ab2", "dpmpp-2m")
SLOW_REGION = 10  # Glance: steps 0..9 of the teacher's 50 are the slow phase, the rest the fast phase


@dataclass(frozen=True)
class Step:
    """One step of the solver. ``sigma``, ``sigma_next`` and ``t_cond`` lie in [0, 1].

    ``t_cond`` is the time that the model is told (the diffusers timestep / 1000); published code exists in
    which it differs from ``sigma``. ``adapter`` is the path of a LoRA file or None for the bare model,
    ``adapter_scale`` its weight. ``guidance`` None means the model's default; ``passes`` is the number of
    transformer evaluations (2 with true classifier-free guidance). ``phase`` only names the part of the
    trajectory for the reader.
    """

    sigma: float
    sigma_next: float
    t_cond: float
    adapter: str | None = None
    adapter_scale: float = 1.0
    guidance: float | None = None
    passes: int = 1
    phase: str = "all"


class Move(NamedTuple):
    """Where a step starts and ends, and what the model is told there; the three have the meaning of Step's."""

    sigma: float
    sigma_next: float
    t_cond: float


@dataclass(frozen=True)
class Phase:
    """Steps ``start`` to ``stop - 1`` of a trajectory, served by one expert."""

    name: str
    start: int
    stop: int
    adapter: str | None = None
    adapter_scale: float = 1.0


@dataclass(frozen=True)
class Trajectory:
    """A non-empty sequence of steps; they need not connect: a published sampler restarts at sigma 1.

    ``solver`` is one of SOLVERS, see ``models.scheduler``; ``cache`` is an option of ``samplers.options`` or None.
    Raises UsageError when it is empty, or a sigma or t_cond lies outside [0, 1] or is not finite, or a step
    has no pass; for an unknown solver, for one of second order where the model is told another noise level than the
    one that is stepped, and for heun with a cache.
    """

    steps: tuple[Step, ...]
    solver: str = "euler"
    cache: object | None = None

    def __post_init__(self) -> None:
        if not self.steps:
            raise UsageError("a trajectory needs at least one step")
        for index, step in enumerate(self.steps):
            if not all(0.0 <= x <= 1.0 for x in (step.sigma, step.sigma_next, step.t_cond)):
                raise UsageError(f"step {index}: sigma, sigma_next and t_cond must lie in [0, 1], got {step}")
            if step.passes < 1:
                raise UsageError(f"step {index}: passes must be at least 1, got {step.passes}")
            if self.solver != "euler" and step.t_cond not in (step.sigma, told(step.sigma)):
                told_else = f"is told the level it is at, {step.sigma}, not {step.t_cond}"
                raise UsageError(f"step {index}: solver {self.solver!r} needs a model that {told_else}")
        if self.solver not in SOLVERS:
            raise UsageError(f"unknown solver {self.solver!r}; {near_misses(self.solver, SOLVERS)}")
        if self.cache is not None and self.solver == "heun":
            raise UsageError("solver heun, which evaluates twice a step, takes no cache")

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def costs(self) -> tuple[int, ...]:
        """Nominal evaluations of each step: its passes; twice as many with heun, but not for a step to 0."""
        double = self.solver == "heun"
        return tuple(step.passes * (2 if double and step.sigma_next > 0 else 1) for step in self.steps)

    @property
    def nfe(self) -> int:
        """Nominal number of function evaluations for one image, without what a cache leaves out."""
        return sum(self.costs)

    @property
    def sigmas(self) -> FloatArray:
        """float64[n + 1]: where each step starts, and where the last one ends."""
        return np.array([step.sigma for step in self.steps] + [self.steps[-1].sigma_next])

    @property
    def span(self) -> float:
        """The sum of sigma - sigma_next: 1 for every sampler that goes from noise to image once."""
        return math.fsum(step.sigma - step.sigma_next for step in self.steps)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Maximal runs of steps with the same phase name, adapter and scale; they tile the trajectory."""
        runs: list[Phase] = []
        start = 0
        for key, group in groupby(self.steps, lambda step: (step.phase, step.adapter, step.adapter_scale)):
            stop = start + len(list(group))
            runs.append(Phase(key[0], start, stop, key[1], key[2]))
            start = stop
        return tuple(runs)

    def speedup(self, teacher: Trajectory) -> float:
        """How many times fewer evaluations than ``teacher``, nominally."""
        return teacher.nfe / self.nfe

    def to_rows(self) -> list[dict[str, Any]]:
        """Plain data, one dict a step, without the phase names: everything here can change a pixel.

        ``adapter`` is a path; what the file holds is hashed by the card that named it. With another solver than
        euler there are also ``solver`` and the step's ``cost``.
        """
        rows = [{k: v for k, v in asdict(step).items() if k != "phase"} for step in self.steps]
        if self.solver != "euler":
            for row, cost in zip(rows, self.costs, strict=True):
                row |= {"solver": self.solver, "cost": cost}
        return rows


@dataclass(frozen=True)
class TimeShift:
    """How a scheduler bends an even grid of sigmas towards noise; the fields of its diffusers config.

    With ``dynamic``, ``mu`` grows linearly from ``base_shift`` at ``base_tokens`` image tokens to
    ``max_shift`` at ``max_tokens`` and sigma becomes e^mu / (e^mu + 1/sigma - 1) (``linear``: mu in place of
    e^mu); without, ``shift * sigma / (1 + (shift - 1) * sigma)``. ``terminal`` stretches the grid so that
    its last level before 0 has that value; None leaves it.
    """

    dynamic: bool = True
    base_shift: float = 0.5
    max_shift: float = 1.15
    base_tokens: int = 256
    max_tokens: int = 4096
    terminal: float | None = None
    shift: float = 1.0
    linear: bool = False

    @classmethod
    def from_scheduler_config(cls, config: Mapping[str, Any]) -> TimeShift:
        """From ``scheduler_config.json``; missing keys have the defaults of FlowMatchEulerDiscreteScheduler.

        Raises UsageError for settings with other grids (Karras, exponential or beta sigmas, inverted sigmas,
        stochastic sampling, another number of training timesteps).
        """
        refused = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "invert_sigmas")
        wrong = [key for key in (*refused, "stochastic_sampling") if config.get(key)]
        if config.get("num_train_timesteps", TIMESTEPS) != TIMESTEPS:
            wrong.append("num_train_timesteps")
        if wrong:
            raise UsageError(f"scheduler config: {wrong[0]} = {config[wrong[0]]!r} is not supported")
        return cls(
            dynamic=bool(config.get("use_dynamic_shifting", False)),
            base_shift=float(config.get("base_shift", 0.5)),
            max_shift=float(config.get("max_shift", 1.15)),
            base_tokens=int(config.get("base_image_seq_len", 256)),
            max_tokens=int(config.get("max_image_seq_len", 4096)),
            terminal=config.get("shift_terminal") or None,
            shift=float(config.get("shift", 1.0)),
            linear=config.get("time_shift_type", "exponential") == "linear",
        )

    def mu(self, tokens: int) -> float:
        """The shift at ``tokens`` packed image tokens; extrapolated outside [base_tokens, max_tokens]."""
        slope = (self.max_shift - self.base_shift) / (self.max_tokens - self.base_tokens)
        return tokens * slope + (self.base_shift - slope * self.base_tokens)


FLUX_SHIFT = TimeShift()
QWEN_SHIFT = TimeShift(max_shift=0.9, max_tokens=8192, terminal=0.02)


def teacher_grid(shift: TimeShift, tokens: int, steps: int = TEACHER_STEPS) -> FloatArray:
    """The sigmas that the stock scheduler visits when a pipeline asks it for ``steps`` steps.

    ``tokens`` is the number of packed image tokens: (height / (2 * vae factor)) * (width / (2 * vae factor)),
    4096 at 1024 x 1024 for both real families. Returns float64[steps + 1], float32 values widened, strictly
    falling from 1 (to float32 rounding) to exactly 0. With ``steps`` below 50 this is the "native" few-step
    grid.

    A static shift whose rounding puts the first level one ulp above 1 is cut to 1.

    Raises UsageError for steps or tokens below 1, and for a single step on a grid with a terminal level,
    where the stock scheduler divides 0 by 0.
    """
    if steps < 1 or tokens < 1:
        raise UsageError(f"a grid needs at least 1 step and 1 token, got {steps} and {tokens}")
    if steps == 1 and shift.terminal:
        raise UsageError(
            f"one step cannot both start at 1 and be stretched to {shift.terminal}: ask for 2 or more"
        )
    return shifted_grid(shift, tokens, np.linspace(1.0, 1 / steps, steps))


def shifted_grid(shift: TimeShift, tokens: int, levels: Sequence[float] | FloatArray) -> FloatArray:
    """The sigmas that the stock scheduler visits when a pipeline passes it ``levels`` as ``sigmas=``.

    It bends and stretches them as it does its own even grid; levels that were shifted before are shifted
    again. ``levels`` fall within (0, 1], the last below 1 where the shift has a terminal level. Returns
    float64[n + 1] as ``teacher_grid`` does. Raises UsageError for a linear shift that is not positive.
    """
    sigmas: NDArray[np.floating[Any]] = np.array(levels).astype(np.float32)
    if shift.dynamic:
        bend = shift.mu(tokens) if shift.linear else math.exp(shift.mu(tokens))
        if bend <= 0:
            raise UsageError(f"linear time shift: mu is {bend:.3g} at {tokens} tokens, expected more than 0")
        sigmas = bend / (bend + (1 / sigmas - 1) ** 1.0)
    else:
        sigmas = shift.shift * sigmas / (1 + (shift.shift - 1) * sigmas)
    if shift.terminal:
        rest = 1 - sigmas
        sigmas = 1 - rest / (rest[-1] / (1 - shift.terminal))
    return np.append(np.minimum(sigmas.astype(np.float32), 1).astype(np.float64), 0.0)


def told(sigma: float) -> float:
    """What a float32 pipeline tells the model at ``sigma``: the value after * 1000 and / 1000 in float32.

    Idempotent, and within one float32 ulp of ``sigma``.
    """
    scaled = np.float32(sigma) * np.float32(TIMESTEPS)
    return float(scaled / np.float32(TIMESTEPS))


def bfloat16(value: float) -> float:
    """``value`` rounded to the nearest bfloat16, ties to even, as torch rounds a float32. Finite values only."""
    bits = int(np.float32(value).view(np.uint32))
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return float(np.uint32(bits).view(np.float32))


def snr(sigma: float) -> float:
    """Signal-to-noise ratio ((1 - sigma) / sigma) ** 2 of a rectified flow: 0 at sigma 1, infinite at 0."""
    return math.inf if sigma == 0 else ((1 - sigma) / sigma) ** 2


def uniform_indices(steps: int, of: int = TEACHER_STEPS) -> tuple[int, ...]:
    """``steps`` indices of an ``of``-step grid, evenly skipped: index j is floor(j * of / steps).

    The first is 0, the stride is of / steps rounded down or up, and the last kept level steps straight to 0:
    10 of 50 keeps 0, 5, ..., 45. Where ``steps`` divides ``of`` and the grid has no terminal level (FLUX),
    the levels are those of the native ``steps``-step grid; on Qwen-Image's stretched grid they are not.
    Raises UsageError unless 1 <= steps <= of.
    """
    if not 1 <= steps <= of:
        raise UsageError(f"cannot keep {steps} of {of} steps: expected 1 to {of}")
    return tuple(j * of // steps for j in range(steps))


def slow_fast_indices(slow: int, fast: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Glance's kept indices of the 50-step grid, slow phase and fast phase.

    Published index by index is only Slow5 + Fast5: 0, 2, 4, 6, 8 | 10, 20, 30, 40, 49. Other sizes follow the
    rule that gives it back, and are called derived: slow index j is 10 * j / slow; fast index j is
    10 + 40 * j / (fast - 1), the last one, 50, becoming 49; both rounded to the nearest, ties up. So Slow3 is
    0, 3, 7 and Fast10 is 10, 14, 19, 23, 28, 32, 37, 41, 46, 49.
    Raises UsageError unless 1 <= slow <= 10 and 2 <= fast <= 20.
    """
    fast_region = TEACHER_STEPS - SLOW_REGION
    if not (1 <= slow <= SLOW_REGION and 2 <= fast <= fast_region // 2):
        raise UsageError(f"slow-fast takes 1 to 10 slow and 2 to 20 fast steps, got {slow} and {fast}")
    early = tuple((2 * SLOW_REGION * j + slow) // (2 * slow) for j in range(slow))
    gaps = fast - 1
    late = (SLOW_REGION + (2 * fast_region * j + gaps) // (2 * gaps) for j in range(fast))
    return early, tuple(min(index, TEACHER_STEPS - 1) for index in late)


def slow_fast_is_derived(slow: int, fast: int) -> bool:
    """Whether this set follows our rule because no index list of it is published."""
    return (slow, fast) != (5, 5)


def boundary_step(
    sigmas: Sequence[float] | FloatArray,
    *,
    step: int | None = None,
    sigma: float | None = None,
    at_snr: float | None = None,
) -> int:
    """Where one phase ends and the next begins: the number of steps before the boundary.

    ``sigmas`` are the levels at which steps start, falling. Exactly one of: ``step`` (that many steps come
    before), ``sigma`` (the later phase begins at the first level <= sigma), ``at_snr`` (at the first level
    whose SNR is >= at_snr). Returns 0 to len(sigmas). Raises UsageError otherwise.
    """
    if [step, sigma, at_snr].count(None) != 2:
        raise UsageError("a phase boundary is given by exactly one of step, sigma, snr")
    if step is not None:
        if not 0 <= step <= len(sigmas):
            raise UsageError(f"phase boundary at step {step}: the trajectory has {len(sigmas)} steps")
        return step
    if sigma is not None:
        return sum(1 for level in sigmas if level > sigma)
    assert at_snr is not None
    return sum(1 for level in sigmas if snr(float(level)) < at_snr)


def grid_moves(grid: FloatArray, indices: Sequence[int]) -> list[Move]:
    """The moves that visit ``grid[i]`` for each kept index and end at 0; the model is told ``told(sigma)``.

    ``grid`` is float64[n + 1] as ``teacher_grid`` returns. Raises UsageError unless ``indices`` rise strictly
    within 0 .. n - 1.
    """
    last = len(grid) - 2
    kept = list(indices)
    if (
        not kept
        or kept[0] < 0
        or kept[-1] > last
        or any(a >= b for a, b in zip(kept, kept[1:], strict=False))
    ):
        raise UsageError(f"kept indices must rise strictly within 0..{last}, got {kept}")
    levels = [float(grid[i]) for i in kept] + [0.0]
    return [Move(sigma, after, told(sigma)) for sigma, after in zip(levels, levels[1:], strict=False)]


def from_moves(
    moves: Sequence[Move],
    *,
    guidance: float | None = None,
    passes: int = 1,
    phases: Sequence[Phase] = (),
    solver: str = "euler",
    cache: object | None = None,
) -> Trajectory:
    """The trajectory that makes these moves, which need not connect.

    ``phases`` tile the moves in order (default: one phase, "all", without adapter). Raises UsageError for
    phases that do not.
    """
    phases = tuple(phases) or (Phase("all", 0, len(moves)),)
    edges = [0] + [phase.stop for phase in phases]
    if [phase.start for phase in phases] != edges[:-1] or edges[-1] != len(moves):
        raise UsageError(f"phases must tile {len(moves)} steps, got {[(p.start, p.stop) for p in phases]}")
    return Trajectory(
        tuple(
            Step(
                *moves[i],
                adapter=phase.adapter,
                adapter_scale=phase.adapter_scale,
                guidance=guidance,
                passes=passes,
                phase=phase.name,
            )
            for phase in phases
            for i in range(phase.start, phase.stop)
        ),
        solver,
        cache,
    )


def from_grid(
    grid: FloatArray,
    indices: Sequence[int],
    *,
    guidance: float | None = None,
    passes: int = 1,
    phases: Sequence[Phase] = (),
) -> Trajectory:
    """The trajectory that visits ``grid[i]`` for each kept index and ends at 0.

    Raises UsageError as ``grid_moves`` and ``from_moves`` do, whose arguments these are.
    """
    return from_moves(grid_moves(grid, indices), guidance=guidance, passes=passes, phases=phases)
