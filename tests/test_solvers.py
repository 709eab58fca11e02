"""Solvers of second order: how fast their error falls, and what they do in a pipeline."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from glance_bench import trajectory as tr
from glance_bench.errors import UsageError
from glance_bench.models.flux import FluxFamily
from glance_bench.models.qwen_image import QwenImageFamily
from glance_bench.models.recorder import Recorder
from glance_bench.models.scheduler import TrajectoryScheduler

Velocity = Callable[[torch.Tensor, float], torch.Tensor]
START = torch.tensor([[[0.5, -1.2, 2.0]]])
MEAN, SPREAD = 0.7, 0.3  # of the images of the Gaussian model


def moves(levels: Any) -> list[tr.Move]:
    pairs = zip(map(float, levels), map(float, levels[1:]), strict=False)
    return [tr.Move(a, b, tr.told(a)) for a, b in pairs]


def solved(plan: tr.Trajectory, velocity: Velocity) -> torch.Tensor:
    """Where the scheduler takes START, its model told what the scheduler says."""
    scheduler, x = TrajectoryScheduler.of(plan), START
    for t in scheduler.timesteps:
        made = velocity(x.double(), float(t) / 1000).float()
        x = scheduler.step(made, t, x, return_dict=False)[0]
    return x


def gaussian(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """The exact velocity E[noise - image | x] where images are Gaussian, in closed form."""
    score = (x - (1 - sigma) * MEAN) / ((1 - sigma) ** 2 * SPREAD**2 + sigma**2)
    return sigma * score - (MEAN + (1 - sigma) * SPREAD**2 * score)


def gaussian_end(start: float, end: float) -> torch.Tensor:
    """The flow's solution at ``end``: the number of standard deviations stays."""
    width = [math.hypot((1 - sigma) * SPREAD, sigma) for sigma in (start, end)]
    return (1 - end) * MEAN + width[1] * (START - (1 - start) * MEAN) / width[0]


def falls(solver: str, grid: Callable[[int], Any], velocity: Velocity, exact: torch.Tensor) -> float:
    """By what factor the largest error falls from 32 steps to 64."""
    errors = [
        float((solved(tr.from_moves(moves(grid(n)), solver=solver), velocity) - exact).abs().max())
        for n in (32, 64)
    ]
    return errors[0] / errors[1]


def even(steps: int) -> Any:
    return np.linspace(1, 0, steps + 1)


def even_in_snr(steps: int) -> Any:
    return 1 / (1 + np.exp(np.linspace(-4, 4, steps + 1)))


@pytest.mark.parametrize(("solver", "factor"), [("euler", 2), ("heun", 4), ("ab2", 4)])
def test_twice_the_steps(solver: str, factor: int) -> None:
    """Of the Gaussian flow, and of dx/dsigma = x cos(3 sigma) with its solution x0 exp(sin(3 sigma) / 3)."""
    wave = START * math.exp(-math.sin(3) / 3)
    assert falls(solver, even, gaussian, gaussian_end(1, 0)) == pytest.approx(factor, rel=0.1)
    assert falls(solver, even, lambda x, s: x * math.cos(3 * s), wave) == pytest.approx(factor, rel=0.1)


def test_dpm_solver_is_of_second_order_in_its_own_variable() -> None:
    levels = even_in_snr(1)
    exact = gaussian_end(float(levels[0]), float(levels[1]))
    assert falls("dpmpp-2m", even_in_snr, gaussian, exact) == pytest.approx(4, rel=0.1)
    assert falls("euler", even_in_snr, gaussian, exact) == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("steps", [2, 5, 12])
def test_dpm_solver_as_diffusers_has_it(steps: int) -> None:
    """On the sigmas that its own scheduler chooses, from the same velocities."""
    stock = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, final_sigmas_type="zero"
    )
    stock.set_timesteps(steps)
    levels, wanted = stock.sigmas.tolist(), START
    for i, t in enumerate(stock.timesteps):
        wanted = stock.step(gaussian(wanted.double(), levels[i]).float(), t, wanted, return_dict=False)[0]
    made = solved(tr.from_moves(moves(levels), solver="dpmpp-2m"), gaussian)
    assert torch.allclose(made, wanted, rtol=0, atol=1e-5)


def test_heun_evaluates_twice_but_for_the_step_to_zero() -> None:
    plan = tr.from_grid(tr.teacher_grid(tr.FLUX_SHIFT, 64), tr.uniform_indices(5), passes=2)
    heun = tr.Trajectory(plan.steps, "heun")
    assert (plan.nfe, heun.nfe, heun.costs) == (10, 18, (4, 4, 4, 4, 2))
    assert heun.speedup(plan) == 10 / 18
    assert [row["cost"] for row in heun.to_rows()] == list(heun.costs)
    assert plan.to_rows()[0].keys() == {f for f in tr.Step.__dataclass_fields__ if f != "phase"}
    assert len(TrajectoryScheduler.of(heun).timesteps) == 9


def test_a_step_after_another_adapter_does_not_look_back() -> None:
    phases = (tr.Phase("one", 0, 3, "a"), tr.Phase("two", 3, 6, "b"))
    whole = tr.from_moves(moves(even(6)), phases=phases, solver="ab2")
    rest = tr.Trajectory(whole.steps[3:], "ab2")
    scheduler, x, halfway = TrajectoryScheduler.of(whole), START, START
    for number, t in enumerate(scheduler.timesteps):
        x = scheduler.step(gaussian(x, float(t) / 1000), t, x, return_dict=False)[0]
        halfway = x if number == 2 else halfway
    again, y = TrajectoryScheduler.of(rest), halfway
    for t in again.timesteps:
        y = again.step(gaussian(y, float(t) / 1000), t, y, return_dict=False)[0]
    assert torch.equal(x, y)
    joined = tr.from_moves(moves(even(6)), solver="ab2")
    assert not torch.equal(solved(joined, gaussian), solved(whole, gaussian))


@pytest.mark.parametrize("solver", ["heun", "ab2", "dpmpp-2m"])
def test_the_estimate_of_a_step_to_zero_is_its_result(solver: str) -> None:
    scheduler, x = TrajectoryScheduler.of(tr.from_moves(moves(even(4)), solver=solver)), START
    for t in scheduler.timesteps:
        x = scheduler.step(gaussian(x, float(t) / 1000), t, x, return_dict=False)[0]
    assert torch.equal(scheduler.estimate(), x)


def test_what_is_refused() -> None:
    told_else = tr.Step(1.0, 0.0, 0.5)
    assert tr.Trajectory((told_else,)).nfe == 1
    with pytest.raises(UsageError, match="'heun' needs a model that is told the level it is at"):
        tr.Trajectory((told_else,), "heun")
    with pytest.raises(UsageError, match="unknown solver 'huen'.*heun"):
        tr.Trajectory((tr.Step(1.0, 0.0, 1.0),), "huen")
    with pytest.raises(UsageError, match="takes no cache"):
        tr.Trajectory((tr.Step(1.0, 0.0, 1.0),), "heun", cache="any")


class Levels(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[int, float]] = []

    def on_step(self, index: int, latents: torch.Tensor) -> None:
        self.steps.append((index, self.evaluations))


@pytest.mark.parametrize("family", ["flux", "qwen"])
def test_in_a_pipeline(family: str, tiny_flux_dir: Path, tiny_qwen_dir: Path) -> None:
    """Every solver nears the fine Euler solution, Heun's steps are told to the recorder once, and all is counted."""
    model: Any = (FluxFamily if family == "flux" else QwenImageFamily).load(
        {"flux": tiny_flux_dir, "qwen": tiny_qwen_dir}[family]
    )
    passes = 1 if family == "flux" else 2
    shift, tokens = model.geometry().shift, model.geometry().tokens
    embeds, noise = model.encode(["a red circle"]), model.noise([1])

    def images(steps: int, solver: str) -> tuple[Levels, np.ndarray]:
        watch = Levels()
        grid = tr.teacher_grid(shift, tokens, steps)
        plan = tr.Trajectory(tr.from_grid(grid, range(steps), passes=passes).steps, solver)
        made = model.sample(plan, embeds, noise, watch).astype(float)
        assert watch.evaluations == plan.nfe
        assert [index for index, _ in watch.steps] == list(range(steps))
        return watch, made

    fine = images(40, "euler")[1]
    far = {s: np.abs(images(8, s)[1] - fine).mean() for s in ("euler", "heun", "ab2", "dpmpp-2m")}
    assert max(far["heun"], far["ab2"]) < far["euler"], far
    assert images(3, "heun")[0].steps == [(0, 2 * passes), (1, 4 * passes), (2, 5 * passes)]
