"""The scheduler that plays a trajectory inside the two unmodified pipelines."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from glance_bench import trajectory as tr
from glance_bench.models.flux import FluxFamily
from glance_bench.models.qwen_image import QwenImageFamily
from glance_bench.models.scheduler import TrajectoryScheduler

FAMILIES = {"flux": FluxFamily, "qwen": QwenImageFamily}


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tiny_flux_dir: Path, tiny_qwen_dir: Path) -> Any:
    return FAMILIES[request.param].load({"flux": tiny_flux_dir, "qwen": tiny_qwen_dir}[request.param])


class Witness(torch.nn.Module):
    """Stands in for the transformer: notes what it is told, and always answers with the velocity 1.

    Started from latents of 1, the latents then are the noise level itself.
    """

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, real: Any) -> None:
        super().__init__()
        self.config = real.config
        self.told: list[float] = []
        self.level: list[float] = []

    def cache_context(self, name: str) -> Any:
        return nullcontext()

    def forward(self, hidden_states: torch.Tensor, timestep: torch.Tensor, **rest: Any) -> Any:
        assert (timestep == timestep[0]).all() and (hidden_states == hidden_states.flatten()[0]).all()
        self.told.append(timestep[0].item())
        self.level.append(hidden_states.flatten()[0].item())
        return (torch.ones_like(hidden_states),)


def witnessed(model: Any, trajectory: tr.Trajectory, height: int, width: int) -> tuple[Witness, list[float]]:
    """The witness of a run, and how far each step really moved from 0."""
    pipe = model.pipe
    parts = pipe.transformer, pipe.scheduler
    witness, moved = Witness(pipe.transformer), []
    tokens = model.geometry(height, width).tokens
    kwargs = model._conditioning(model.encode(["a red circle", "b"]), trajectory.steps[0])

    def from_zero(pipe: Any, i: int, t: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        moved.append(state["latents"].flatten()[0].item())
        return {"latents": torch.zeros_like(state["latents"])}

    kwargs |= {"height": height, "width": width, "output_type": "latent"}
    try:
        pipe.transformer, pipe.scheduler = witness, TrajectoryScheduler.of(trajectory)
        pipe(latents=torch.ones(2, tokens, 64), **kwargs)
        still = Witness(parts[0])
        pipe.transformer = still
        pipe(latents=torch.zeros(2, tokens, 64), callback_on_step_end=from_zero, **kwargs)
    finally:
        pipe.transformer, pipe.scheduler = parts
    assert still.told == witness.told
    return witness, moved


def plans(model: Any, height: int, width: int) -> list[tr.Trajectory]:
    geometry = model.geometry(height, width)
    grid = tr.teacher_grid(geometry.shift, geometry.tokens)
    glance = tr.from_grid(grid, sum(tr.slow_fast_indices(5, 5), ()), guidance=1.0)
    apart = tuple(tr.Step(s.sigma, s.sigma_next, tr.told(s.sigma * 0.9), guidance=1.0) for s in glance.steps)
    return [glance, tr.Trajectory(apart)]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 32)])
def test_the_model_sees_exactly_the_plan(model: Any, height: int, width: int) -> None:
    for plan in plans(model, height, width):
        witness, moved = witnessed(model, plan, height, width)
        assert witness.told == [step.t_cond for step in plan.steps]
        assert witness.level == pytest.approx([step.sigma for step in plan.steps], abs=1.2e-7)
        lengths = [np.float32(s.sigma_next) - np.float32(s.sigma) for s in plan.steps]
        assert moved == [float(length) for length in lengths]


def test_a_plan_that_restarts_is_played_as_it_is(model: Any) -> None:
    """As the released Qwen-Image sampler does: levels that do not connect, times that belong to others."""
    steps = (
        tr.Step(1.0, 0.9463, 1.0),
        tr.Step(1.0, 0.8367, tr.told(0.888)),
        tr.Step(0.02, 0.0, tr.told(0.32)),
    )
    witness, moved = witnessed(model, tr.Trajectory(steps), 64, 64)
    assert witness.told == [step.t_cond for step in steps]
    assert moved == pytest.approx([-0.0537, -0.1633, -0.02], abs=1e-7)


def test_true_guidance_tells_both_passes_the_same(tiny_qwen_dir: Path) -> None:
    model = QwenImageFamily.load(tiny_qwen_dir)
    grid = tr.teacher_grid(tr.QWEN_SHIFT, 64)
    plan = tr.from_grid(grid, tr.uniform_indices(4), guidance=4.0, passes=2)
    witness, moved = witnessed(model, plan, 64, 64)
    assert witness.told == [t for step in plan.steps for t in (step.t_cond, step.t_cond)]
    assert len(moved) == 4


@pytest.mark.parametrize(("steps", "height", "width"), [(50, 64, 64), (50, 96, 32), (10, 64, 64)])
def test_the_stock_steps_bit_for_bit(model: Any, steps: int, height: int, width: int) -> None:
    geometry = model.geometry(height, width)
    plan = tr.from_grid(tr.teacher_grid(geometry.shift, geometry.tokens, steps), range(steps))
    pipe, stock = model.pipe, model.pipe.scheduler
    step = tr.Step(1.0, 0.0, 1.0, passes=2 if geometry.cfg else 1)
    kwargs = model._conditioning(model.encode(["a red circle", "b"]), step)
    kwargs |= {"height": height, "width": width, "output_type": "latent", "num_inference_steps": steps}
    noise = model.noise([1, 2], resolution=(height, width))
    wanted = pipe(latents=noise, **kwargs).images
    try:
        pipe.scheduler = TrajectoryScheduler.of(plan)
        played = pipe(latents=noise, **kwargs).images
    finally:
        pipe.scheduler = stock
    assert torch.isfinite(wanted).all() and wanted.std() > 0.1
    assert torch.equal(played, wanted)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([tr.FLUX_SHIFT, tr.QWEN_SHIFT, tr.TimeShift(dynamic=False, shift=3.0)]),
    st.integers(16, 16384),
    st.integers(2, 100),
)
def test_grids_are_those_of_the_stock_scheduler(shift: tr.TimeShift, tokens: int, steps: int) -> None:
    stock = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=shift.dynamic,
        base_shift=shift.base_shift,
        max_shift=shift.max_shift,
        max_image_seq_len=shift.max_tokens,
        shift_terminal=shift.terminal,
        shift=shift.shift,
    )
    stock.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift.mu(tokens))
    assert np.array_equal(tr.teacher_grid(shift, tokens, steps), stock.sigmas.double().numpy())
    assert tr.TimeShift.from_scheduler_config(stock.config) == shift


def test_a_scheduler_survives_being_saved(tmp_path: Path) -> None:
    plan = tr.from_grid(tr.teacher_grid(tr.FLUX_SHIFT, 64), tr.uniform_indices(4))
    TrajectoryScheduler.of(plan).save_pretrained(tmp_path)
    again = TrajectoryScheduler.from_pretrained(tmp_path)
    assert again.config.t_cond == [step.t_cond for step in plan.steps]
    assert torch.equal(again.timesteps, TrajectoryScheduler.of(plan).timesteps)


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="same number of steps"):
        TrajectoryScheduler([1.0, 0.5], [0.5], [1.0, 0.5])


def test_half_precision_keeps_its_dtype() -> None:
    scheduler = TrajectoryScheduler([1.0], [0.5], [1.0])
    sample = torch.ones(1, 4, 8, dtype=torch.bfloat16)
    moved = scheduler.step(sample, None, sample, return_dict=False)[0]
    assert moved.dtype == torch.bfloat16 and torch.equal(moved, torch.full_like(sample, 0.5))
