"""Published schedules, the cards that play them in different readings, and the comparison of the two."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from glance_bench.cli import app
from glance_bench.errors import UsageError
from glance_bench.registry import MODELS
from glance_bench.samplers import conform
from glance_bench.samplers.cards import Geometry, list_cards, load_card
from glance_bench.samplers.published import Published, load_published, published_moves
from glance_bench.trajectory import (
    FLUX_SHIFT,
    QWEN_SHIFT,
    Phase,
    TimeShift,
    Trajectory,
    bfloat16,
    shifted_grid,
    teacher_grid,
)

from .lora_files import write_lora

FLUX = Geometry("flux", FLUX_SHIFT, 4096, 3.5, cfg=False)
QWEN = Geometry("qwen_image", QWEN_SHIFT, 4096, 4.0, cfg=True)
BOTH = pytest.mark.parametrize("geometry", [FLUX, QWEN], ids=["flux", "qwen"])
KEPT = [0, 2, 4, 6, 8, 10, 20, 30, 40, 49]

# Observed by running the released Qwen-Image pipelines: (sigma, sigma_next, t that the model is told).
RELEASED = [
    (1.0000, 0.9897, 1000),
    (0.9897, 0.9792, 980),
    (0.9792, 0.9685, 956),
    (0.9685, 0.9575, 936),
    (0.9575, 0.9463, 912),
    (1.0000, 0.8367, 888),
    (0.8367, 0.6326, 744),
    (0.6326, 0.3701, 564),
    (0.3701, 0.0200, 320),
    (0.0200, 0.0000, 20),
]


def printed(family: str) -> list[float]:
    return load_published("glance-10").timesteps("glance-10", family).all


def said(trajectory: Trajectory) -> list[float]:
    """The timesteps as the pipelines compute them: t_cond * 1000 in float32."""
    return [float(np.float32(step.t_cond) * np.float32(1000)) for step in trajectory.steps]


@BOTH
def test_the_printed_timesteps_lie_on_the_50_step_grid(geometry: Geometry) -> None:
    grid = teacher_grid(geometry.shift, 4096) * 1000
    assert printed(geometry.family) == pytest.approx(list(grid[KEPT]), abs=1e-4)
    moves = published_moves(load_published("glance-10").timesteps("glance-10", geometry.family))
    assert [move.sigma_next for move in moves] == [*(move.sigma for move in moves[1:]), 0.0]


@BOTH
def test_glance_10_conforms(geometry: Geometry) -> None:
    data = conform.document(load_card("glance-10"), geometry, "glance-10")
    assert data["conforms"] and data["parts_from"] is None and len(data["steps"]) == 10
    for row in data["steps"]:
        assert not row["parts"] and row["ours"] == pytest.approx(row["published"], abs=1e-4)
    assert data["span"] == {"ours": pytest.approx(1), "published": pytest.approx(1)}
    shown = conform.text(load_card("glance-10"), geometry, "glance-10").splitlines()
    assert shown[-1] == "conforms: all 10 steps; sigma covered 1.0000"
    assert "tolerance 0.0001 in sigma" in shown[2] and "arXiv:2512.02899" in shown[1]


@BOTH
@pytest.mark.parametrize("tokens", [16, 64, 4096, 16384])
def test_paper_visits_exactly_what_was_printed_at_any_resolution(geometry: Geometry, tokens: int) -> None:
    small = Geometry(geometry.family, geometry.shift, tokens, geometry.guidance, geometry.cfg)
    trajectory = load_card("glance-10@paper").compile(small)
    levels = [t / 1000 for t in printed(geometry.family)]
    assert list(trajectory.sigmas) == [*levels, 0.0] and trajectory.span == pytest.approx(1)
    assert said(trajectory) == [
        float(np.float32(t / 1000) * np.float32(1000)) for t in printed(geometry.family)
    ]
    assert conform.document(load_card("glance-10@paper"), small, "glance-10")["conforms"]
    assert conform.document(load_card("glance-10"), small, "glance-10")["conforms"] == (tokens == 4096)


def test_released_is_what_the_released_code_was_seen_to_do() -> None:
    card = load_card("glance-10@released")
    trajectory = card.compile(QWEN)
    assert [(s.sigma, s.sigma_next) for s in trajectory.steps] == [
        pytest.approx(row[:2], abs=1e-4) for row in RELEASED
    ]
    assert said(trajectory) == [row[2] for row in RELEASED]
    assert trajectory.span == pytest.approx(1.0537, abs=1e-4)
    assert sum(s.sigma - s.sigma_next for s in trajectory.steps[:5]) == pytest.approx(0.0537, abs=1e-4)
    assert [(p.stop, p.adapter, p.adapter_scale) for p in trajectory.phases] == [
        (5, "glance-10/slow", 0.25),
        (10, "glance-10/fast", 0.25),
    ]
    with pytest.raises(UsageError, match="is for qwen_image, not for flux"):
        card.compile(FLUX)


def test_released_is_told_on_to_part_and_where() -> None:
    data = conform.document(load_card("glance-10@released"), QWEN, "glance-10")
    assert not data["conforms"] and data["parts_from"] == 0
    parts = [row["parts"] for row in data["steps"]]
    assert parts[0] == ["sigma_next"] and parts[5] == ["sigma", "sigma_next", "t_cond"]
    assert parts[8] == ["sigma"] and parts[9] == []
    last = conform.text(load_card("glance-10@released"), QWEN, "glance-10").splitlines()[-1]
    assert last == (
        "parts from step 0: sigma_next 0.9897 against 0.9792; 9 of 10 steps part; "
        "sigma covered 1.0537 against 1.0000"
    )


@pytest.mark.parametrize("resolution", [128, 512, 1024])
@pytest.mark.parametrize("family", ["flux", "qwen_image"])
def test_simpletuner_is_what_the_stock_scheduler_makes_of_shifted_sigmas(
    family: str, resolution: int
) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    shift = {"flux": FLUX_SHIFT, "qwen_image": QWEN_SHIFT}[family]
    tokens = (resolution // 16) ** 2
    stock = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        max_shift=shift.max_shift,
        max_image_seq_len=shift.max_tokens,
        shift_terminal=shift.terminal,
    )
    stock.set_timesteps(sigmas=[t / 1000 for t in printed("qwen_image")], mu=shift.mu(tokens))
    trajectory = load_card("glance-10@simpletuner").compile(Geometry(family, shift, tokens, 1.0, False))
    assert list(trajectory.sigmas) == stock.sigmas.double().tolist()
    assert said(trajectory) == pytest.approx(stock.timesteps.tolist(), rel=1.2e-7)
    middle = trajectory.sigmas[1:-2] * 1000
    assert (middle > np.array(printed("qwen_image")[1:-1]) + 1).all()  # a shift moves levels towards noise


def test_a_second_shift_of_flux_timesteps() -> None:
    """986.98 at 128 px, worked out by hand: mu is 0.5 - 192 * 0.65 / 3840 at 64 tokens."""
    bend = math.exp(0.5 - 192 * 0.65 / 3840)
    again = bend / (bend + 1 / 0.98698 - 1)
    levels = shifted_grid(FLUX_SHIFT, 64, [1.0, 0.98698, 0.5])
    assert levels[1] == pytest.approx(again, abs=1e-6) and again == pytest.approx(0.9918, abs=1e-5)
    assert levels[0] == 1 and levels[-1] == 0
    still = shifted_grid(TimeShift(dynamic=False), 64, [1.0, 0.98698, 0.5])
    assert list(still) == pytest.approx([1.0, 0.98698, 0.5, 0.0], abs=1e-7)


def test_bfloat16_rounds_the_published_timesteps_as_tensors_do() -> None:
    assert [bfloat16(t) for t in printed("flux")] == [1000, 988, 972, 960, 944, 928, 824, 676, 442, 60.5]
    assert [bfloat16(t) for t in printed("qwen_image")] == [row[2] for row in RELEASED]


@given(st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False))
def test_bfloat16_is_that_of_torch(value: float) -> None:
    import torch

    assert bfloat16(value) == torch.tensor(value, dtype=torch.float32).to(torch.bfloat16).item()


@pytest.mark.parametrize(("value", "rounded"), [(1 + 2**-8, 1.0), (1 + 3 * 2**-8, 1 + 2**-6), (0.0, 0.0)])
def test_bfloat16_breaks_ties_to_even(value: float, rounded: float) -> None:
    assert bfloat16(value) == rounded


def test_another_number_of_steps(tmp_path: Path) -> None:
    shorter = conform.document(load_card("glance-8"), FLUX, "glance-10")
    assert [row["ours"] is None for row in shorter["steps"]] == [False] * 8 + [True] * 2
    assert shorter["steps"][9]["parts"] == ["sigma", "sigma_next", "t_cond"]
    assert "; 8 steps against 10; " in conform.text(load_card("glance-8"), FLUX, "glance-10")
    (tmp_path / "early.yaml").write_text(
        f"name: early\nschedule: {{kind: indices, indices: {KEPT[:9] + [45, 49]}}}\n"
    )
    longer = conform.document(load_card(str(tmp_path / "early.yaml")), FLUX, "glance-10")
    assert longer["parts_from"] == 8 and [len(row["parts"]) for row in longer["steps"][8:]] == [1, 3, 3]
    assert longer["steps"][10]["published"] is None
    lines = conform.text(load_card("glance-8"), FLUX, "glance-10").splitlines()
    assert len(lines) == 5 + 10 + 2 and all(len(line) <= 110 for line in lines)


def test_a_printed_list_needs_no_adapters(tmp_path: Path) -> None:
    card = tmp_path / "card.yaml"
    card.write_text("name: x\nschedule: {kind: printed, published: glance-10}\n")
    assert conform.document(load_card(str(card)), FLUX, "glance-10")["conforms"]
    assert load_card(str(card)).compile(FLUX).phases == (Phase("all", 0, 10),)


def test_unknown_schedules_and_families(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="unknown published schedule 'glance-1O'; did you mean 'glance-10'"
    ) as error:
        load_published("glance-1O")
    assert error.value.exit_code == 2
    other = Geometry("other", TimeShift(), 4096, 1.0, cfg=False)
    with pytest.raises(UsageError, match="no timesteps for family 'other'; valid: flux, qwen_image") as error:
        conform.document(load_card("teacher-50"), other, "glance-10")
    assert error.value.exit_code == 2
    card = tmp_path / "card.yaml"
    card.write_text("name: x\nschedule: {kind: printed, published: glanse-10}\n")
    with pytest.raises(UsageError, match="did you mean 'glance-10'"):
        load_card(str(card)).compile(FLUX)
    card.write_text("name: x\nschedule: {kind: reshifted, published: glance-10}\n")
    with pytest.raises(UsageError, match=":2: 'schedule.family' is required"):
        load_card(str(card))


def test_published_timesteps_must_fall() -> None:
    lists: dict[str, Any] = {"slow": [900.0, 1000.0], "fast": [20.0]}
    rest = {"source": "s", "code": "c", "tokens": 1}
    with pytest.raises(ValueError, match="must fall strictly"):
        Published.model_validate({**rest, "schedules": {"x": {"flux": lists}}})


def test_a_published_list_is_no_card() -> None:
    assert "glance" not in {card.name for card in list_cards()}


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["trajectory", *arguments])


@pytest.mark.parametrize("family", ["flux", "qwen_image"])
def test_the_command_prints_the_comparison_below_the_steps(family: str) -> None:
    shown = invoke("glance-10", "--model", family, "--conform", "glance-10")
    assert shown.exit_code == 0, shown.stderr
    assert "NFE" in shown.stdout and f"as published for {family} at 4096 tokens" in shown.stdout
    assert shown.stdout.splitlines()[-1].startswith("conforms: all 10 steps")
    assert "published" not in invoke("glance-10", "--model", family).stdout.splitlines()[-1]


def test_the_command_says_where_released_parts_and_exits_with_0() -> None:
    shown = invoke("glance-10@released", "--model", "qwen_image", "--conform", "glance-10")
    assert shown.exit_code == 0
    rows = [line for line in shown.stdout.splitlines() if "|" in line and "->" in line][1:]
    assert len(rows) == 10 and rows[5].split("|")[0].split() == ["5", "888.000", "1.0000", "->", "0.8367"]
    assert rows[5].endswith("sigma, sigma_next, t_cond") and rows[9].endswith("0.0000")
    assert shown.stdout.splitlines()[-1].startswith("parts from step 0: ")


def test_the_command_as_json() -> None:
    shown = invoke("glance-10@simpletuner", "--conform", "glance-10", "--json")
    data = json.loads(shown.stdout)
    assert data["conform"]["published"] == "glance-10" and data["conform"]["conforms"] is False
    assert data["grid_steps"] is None and {row["index"] for row in data["steps"]} == {None}
    ours = [row["ours"] for row in data["conform"]["steps"]]
    assert [{key: row[key] for key in ours[0]} for row in data["steps"]] == ours
    assert "conform" not in json.loads(invoke("glance-10", "--json").stdout)


def test_a_wrong_name_is_exit_code_2_and_prints_no_steps() -> None:
    for name in ("glance-1O", ""):
        shown = invoke("glance-10", "--conform", name)
        assert (shown.exit_code, shown.stdout) == (2, "") and "glance-10" in shown.stderr
    wrong = invoke("glance-10@released", "--conform", "glance-10")
    assert wrong.exit_code == 2 and "is for qwen_image, not for flux" in wrong.stderr


def test_a_suite_ranks_the_readings(tmp_path: Path) -> None:
    from glance_bench.engine.planning import make_plan
    from glance_bench.suite import load_suite

    checkpoint = MODELS.get("testbed-qwen").path
    if not checkpoint.is_dir():
        pytest.skip("this checkout has no weights for testbed-qwen")
    names = ["glance-10", "glance-10@paper", "glance-10@simpletuner", "glance-10@released"]
    for phase in ("slow", "fast"):
        write_lora(tmp_path / "adapters" / "glance-10" / f"{phase}.safetensors")
    suite = {
        "name": "readings",
        "models": [{"name": "q", "family": "qwen_image", "path": str(checkpoint), "adapters": "adapters"}],
        "prompts": [{"set": "mine", "texts": ["a red circle"]}],
        "samplers": ["teacher-50", *names],
    }
    (tmp_path / "readings.yaml").write_text(json.dumps(suite))
    samplers = make_plan(load_suite(str(tmp_path / "readings.yaml"))).samplers
    assert [sampler.name for sampler in samplers] == ["teacher-50", *names]
    assert [sampler.trajectory.nfe for sampler in samplers[1:]] == [20] * 4
    assert len({sampler.key for sampler in samplers}) == 5
    assert {step.adapter for step in samplers[-1].trajectory.steps} == {
        str(tmp_path / "adapters" / "glance-10" / f"{phase}.safetensors") for phase in ("slow", "fast")
    }
