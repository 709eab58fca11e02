"""Grids, kept indices, phases and costs of trajectories: published numbers and properties."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from glance_bench import trajectory as tr
from glance_bench.errors import UsageError

SHARED = Path(os.environ.get("GLANCE_BENCH_SHARED", Path(__file__).parents[2] / "shared"))
PAPER = SHARED / "paper" / "glance-2512.02899v2.yaml"

shifts = st.one_of(
    st.sampled_from([tr.FLUX_SHIFT, tr.QWEN_SHIFT]),
    st.builds(
        tr.TimeShift,
        dynamic=st.booleans(),
        base_shift=st.floats(0.1, 1.0),
        max_shift=st.floats(0.1, 2.0),
        base_tokens=st.just(64),
        max_tokens=st.just(8192),
        terminal=st.sampled_from([None, 0.02, 0.1]),
        shift=st.floats(0.5, 5.0),
        linear=st.booleans(),
    ),
)
tokens = st.integers(64, 8192)


def is_plan_of(trajectory: tr.Trajectory, grid: np.ndarray) -> None:
    """Monotone, connected, ends at 0, every level on the grid, total 1 (to the rounding of a static
    shift)."""
    sigmas = trajectory.sigmas
    assert (np.diff(sigmas) < 0).all()
    assert sigmas[0] == pytest.approx(1.0, abs=1e-6) and sigmas[0] <= 1 and sigmas[-1] == 0.0
    assert set(sigmas) <= set(grid)
    assert all(a.sigma_next == b.sigma for a, b in zip(trajectory.steps, trajectory.steps[1:], strict=False))
    assert trajectory.span == pytest.approx(sigmas[0], abs=1e-12)


@pytest.mark.skipif(not PAPER.is_file(), reason=f"the paper's numbers are not at {PAPER}")
@pytest.mark.parametrize(("family", "shift"), [("flux", tr.FLUX_SHIFT), ("qwen", tr.QWEN_SHIFT)])
def test_published_timesteps(family: str, shift: tr.TimeShift) -> None:
    published = YAML(typ="safe").load(PAPER)["timesteps"][family]
    grid = tr.teacher_grid(shift, 4096)
    for phase, kept in zip(("slow", "fast"), tr.slow_fast_indices(5, 5), strict=True):
        assert [i + 1 for i in kept] == published[phase]["steps"]
        assert grid[list(kept)] * 1000 == pytest.approx(published[phase]["t"], abs=1e-4)


def test_published_timesteps_known_here() -> None:
    """The same check on a few values, so that it also runs where the paper's file is absent."""
    flux, qwen = (tr.teacher_grid(shift, 4096) * 1000 for shift in (tr.FLUX_SHIFT, tr.QWEN_SHIFT))
    assert flux[[2, 10, 49]] == pytest.approx([986.9786, 926.6473, 60.5503], abs=1e-4)
    assert qwen[[2, 10, 49]] == pytest.approx([979.1915, 886.7053, 20.0], abs=1e-4)
    assert tr.FLUX_SHIFT.mu(4096) == pytest.approx(1.15)
    assert tr.QWEN_SHIFT.mu(4096) == pytest.approx(0.693548, abs=1e-6)


@given(shifts, tokens, st.integers(2, 100))
def test_grids_fall_from_one_to_zero(shift: tr.TimeShift, tokens: int, steps: int) -> None:
    grid = tr.teacher_grid(shift, tokens, steps)
    assert grid.shape == (steps + 1,) and grid.dtype == np.float64
    assert grid[0] == pytest.approx(1.0, abs=1e-6) and grid[0] <= 1 and grid[-1] == 0.0
    assert (np.diff(grid) < 0).all()
    assert np.array_equal(grid, grid.astype(np.float32))
    if shift.terminal:
        assert grid[-2] == pytest.approx(shift.terminal, abs=1e-6)


@given(shifts, tokens, st.integers(1, 50))
def test_uniform_skipping(shift: tr.TimeShift, tokens: int, steps: int) -> None:
    kept = tr.uniform_indices(steps)
    grid = tr.teacher_grid(shift, tokens)
    assert len(kept) == steps and kept[0] == 0
    strides = np.diff([*kept, 50])
    assert strides.max() - strides.min() <= 1
    is_plan_of(tr.from_grid(grid, kept), grid)


@given(shifts, tokens, st.integers(1, 10), st.integers(2, 20))
def test_slow_fast_sets(shift: tr.TimeShift, tokens: int, slow: int, fast: int) -> None:
    early, late = tr.slow_fast_indices(slow, fast)
    assert (len(early), len(late)) == (slow, fast)
    assert early[0] == 0 and early[-1] < 10 <= late[0] and late[-1] == 49
    grid = tr.teacher_grid(shift, tokens)
    is_plan_of(tr.from_grid(grid, early + late), grid)


@given(shifts, tokens, st.lists(st.integers(1, 49), unique=True))
def test_any_rising_subset(shift: tr.TimeShift, tokens: int, others: list[int]) -> None:
    grid = tr.teacher_grid(shift, tokens)
    trajectory = tr.from_grid(grid, [0, *sorted(others)], guidance=4.0, passes=2)
    is_plan_of(trajectory, grid)
    assert trajectory.nfe == 2 * len(trajectory) == 2 * (len(others) + 1)


def test_slow_fast_published_and_derived() -> None:
    assert tr.slow_fast_indices(5, 5) == ((0, 2, 4, 6, 8), (10, 20, 30, 40, 49))
    assert tr.slow_fast_indices(3, 5) == ((0, 3, 7), (10, 20, 30, 40, 49))
    assert tr.slow_fast_indices(5, 10)[1] == (10, 14, 19, 23, 28, 32, 37, 41, 46, 49)
    assert not tr.slow_fast_is_derived(5, 5)
    assert tr.slow_fast_is_derived(3, 5) and tr.slow_fast_is_derived(5, 10)


def test_native_and_uniform_meet_only_without_a_terminal_level() -> None:
    for shift, same in ((tr.FLUX_SHIFT, True), (tr.QWEN_SHIFT, False)):
        native = tr.teacher_grid(shift, 4096, 10)
        skipped = tr.from_grid(tr.teacher_grid(shift, 4096), tr.uniform_indices(10)).sigmas
        assert np.allclose(native, skipped, atol=1e-6) is same


@given(st.floats(0, 1, width=32))
def test_told_is_what_float32_gives_back(sigma: float) -> None:
    once = tr.told(sigma)
    assert tr.told(once) == once
    assert abs(once - sigma) <= np.spacing(np.float32(sigma))


def test_snr_and_boundary() -> None:
    assert tr.snr(1.0) == 0 and tr.snr(0.5) == 1 and tr.snr(0.0) == math.inf
    sigmas = [1.0, 0.9, 0.5, 0.2]
    assert tr.boundary_step(sigmas, step=2) == 2
    assert tr.boundary_step(sigmas, sigma=0.5) == 2
    assert tr.boundary_step(sigmas, at_snr=1.0) == 2
    assert tr.boundary_step(sigmas, at_snr=1e-9) == 1
    assert tr.boundary_step(sigmas, sigma=0.0) == 4
    for wrong in ({}, {"step": 5}, {"step": 1, "sigma": 0.5}):
        with pytest.raises(UsageError):
            tr.boundary_step(sigmas, **wrong)


@given(st.floats(0.01, 0.99), tokens)
def test_boundary_by_sigma_and_by_its_snr_agree(sigma: float, tokens: int) -> None:
    sigmas = tr.teacher_grid(tr.FLUX_SHIFT, tokens)[:-1]
    assert tr.boundary_step(sigmas, sigma=sigma) == tr.boundary_step(sigmas, at_snr=tr.snr(sigma))


def test_cost_and_phases() -> None:
    grid = tr.teacher_grid(tr.QWEN_SHIFT, 4096)
    teacher = tr.from_grid(grid, range(50), guidance=4.0, passes=2)
    phases = (tr.Phase("slow", 0, 5, "slow.safetensors", 4.0), tr.Phase("fast", 5, 10, "fast.safetensors"))
    glance = tr.from_grid(grid, (0, 2, 4, 6, 8, 10, 20, 30, 40, 49), guidance=1.0, phases=phases)
    assert glance.phases == phases
    assert (teacher.nfe, glance.nfe, glance.speedup(teacher)) == (100, 10, 10.0)
    assert [s.adapter_scale for s in glance.steps] == [4.0] * 5 + [1.0] * 5
    assert teacher.phases == (tr.Phase("all", 0, 50),)
    assert "phase" not in glance.to_rows()[0] and glance.to_rows()[0]["adapter"] == "slow.safetensors"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda g: tr.from_grid(g, []), "rise strictly"),
        (lambda g: tr.from_grid(g, [0, 50]), "0..49"),
        (lambda g: tr.from_grid(g, [0, 5, 5]), "rise strictly"),
        (lambda g: tr.from_grid(g, [0, 5], phases=[tr.Phase("slow", 0, 1)]), "tile 2 steps"),
        (lambda g: tr.Trajectory(()), "at least one step"),
        (lambda g: tr.Trajectory((tr.Step(float("nan"), 0.0, 1.0),)), r"in \[0, 1\]"),
        (lambda g: tr.Trajectory((tr.Step(1.0, 0.0, 1.0, passes=0),)), "passes"),
        (lambda g: tr.uniform_indices(51), "51 of 50"),
        (lambda g: tr.slow_fast_indices(11, 5), "1 to 10 slow"),
        (lambda g: tr.teacher_grid(tr.QWEN_SHIFT, 4096, 1), "ask for 2"),
        (lambda g: tr.teacher_grid(tr.FLUX_SHIFT, 0), "1 token"),
        (lambda g: tr.TimeShift.from_scheduler_config({"use_karras_sigmas": True}), "use_karras_sigmas"),
        (lambda g: tr.TimeShift.from_scheduler_config({"num_train_timesteps": 500}), "num_train_timesteps"),
    ],
)
def test_impossible_plans_say_why(build, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(tr.teacher_grid(tr.FLUX_SHIFT, 4096))


def test_a_restart_at_one_is_a_trajectory() -> None:
    steps = (tr.Step(1.0, 0.95, 1.0), tr.Step(1.0, 0.0, 0.888))
    assert tr.Trajectory(steps).span == pytest.approx(1.05)
