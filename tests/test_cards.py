"""Sampler cards: what the shipped ones compile to, and what a bad one is told."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.samplers import show
from glance_bench.samplers.cards import (
    Geometry,
    SamplerCard,
    list_cards,
    load_card,
    lora_card,
)
from glance_bench.samplers.lora_files import trained_adapters
from glance_bench.trajectory import FLUX_SHIFT, QWEN_SHIFT, Phase, teacher_grid

from .lora_files import write_lora

FLUX = Geometry("flux", FLUX_SHIFT, 4096, 3.5, cfg=False)
QWEN = Geometry("qwen_image", QWEN_SHIFT, 4096, 4.0, cfg=True)
STEPS = {
    "teacher-50": 50,
    "native-10": 10,
    "native-8": 8,
    "uniform-20": 20,
    "uniform-10": 10,
    "uniform-8": 8,
    "uniform-4": 4,
    "slowfast-8-base": 8,
    "slowfast-10-base": 10,
    "slowfast-15-base": 15,
}
GLANCE = {  # adapters of the slow and of the fast phase
    "glance-8": (3, "glance-8/slow", "glance-10/fast"),
    "glance-10": (5, "glance-10/slow", "glance-10/fast"),
    "glance-15": (5, "glance-10/slow", "glance-15/fast"),
}
SINGLE = {"uniform-8/single", "uniform-10/single"}  # see test_baseline_cards.py
DISTILLED = {"distilled-4": 4, "distilled-8": 8}
VARIANTS = {"glance-10@paper", "glance-10@released", "glance-10@simpletuner"}  # see test_conformance.py


def written(folder: Path, text: str) -> str:
    path = folder / "card.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def trained(folder: Path, geometry: Geometry) -> Geometry:
    """The geometry of a model that has every adapter of the shipped cards."""
    names = {name for _, *adapters in GLANCE.values() for name in adapters} | SINGLE
    for name in sorted(names | {f"{card}/all" for card in DISTILLED}):
        write_lora(folder / f"{name}.safetensors", zlib.crc32(name.encode()))
    return replace(geometry, adapters=trained_adapters(folder))


def test_the_shipped_cards(tmp_path: Path) -> None:
    cards = list_cards()
    assert {card.name for card in cards} >= {*STEPS, *GLANCE, *DISTILLED, *VARIANTS} and cards[
        0
    ].name == "teacher-50"
    assert all(card.title and card.description and load_card(card.name) == card for card in cards)
    shape = trained(tmp_path, QWEN)
    here = [card for card in cards if not card.published]
    assert len({card.digest(shape) for card in here}) == len(here)
    derived = {"slowfast-8-base", "slowfast-15-base", "glance-8", "glance-15"}
    derived |= {"glance-8-slow-only", "glance-8-fast-only"}
    assert {card.name for card in cards if card.derived} == derived


@pytest.mark.parametrize(("name", "steps"), DISTILLED.items())
@pytest.mark.parametrize("geometry", [FLUX, QWEN], ids=["flux", "qwen"])
def test_a_distilled_lora_plays_the_uniform_steps_in_one_pass_each(
    tmp_path: Path, name: str, steps: int, geometry: Geometry
) -> None:
    geometry = trained(tmp_path, geometry)
    student, uniform = (load_card(card).compile(geometry) for card in (name, f"uniform-{steps}"))
    assert student.nfe == len(student) == steps and list(student.sigmas) == list(uniform.sigmas)
    assert student.phases == (Phase("all", 0, steps, str(tmp_path / name / "all.safetensors")),)
    assert {step.guidance for step in student.steps} == {1.0 if geometry.cfg else 3.5}


@pytest.mark.parametrize("name", GLANCE)
@pytest.mark.parametrize("geometry", [FLUX, QWEN], ids=["flux", "qwen"])
def test_glance_plays_the_slow_fast_steps_with_its_adapters(
    tmp_path: Path, name: str, geometry: Geometry
) -> None:
    steps, slow, fast = GLANCE[name]
    bare = load_card(name).compile(geometry)
    base = load_card(name.replace("glance", "slowfast") + "-base").compile(geometry)
    assert list(bare.sigmas) == list(base.sigmas) and bare.nfe == base.nfe
    assert bare.phases == (Phase("slow", 0, steps, slow), Phase("fast", steps, len(base), fast))
    with pytest.raises(GlanceBenchError, match="has no adapter 'glance-.*glance-bench train glance") as error:
        load_card(name).digest(geometry)
    assert error.value.exit_code == 3
    known = trained(tmp_path, geometry)
    files = [phase.adapter for phase in load_card(name).compile(known).phases]
    assert files == [str(tmp_path / f"{adapter}.safetensors") for adapter in (slow, fast)]
    assert load_card(name).digest(known) != load_card("glance-10@paper").digest(known)


@pytest.mark.parametrize("name", STEPS)
def test_what_a_shipped_card_costs(name: str) -> None:
    flux, qwen = load_card(name).compile(FLUX), load_card(name).compile(QWEN)
    assert (flux.nfe, qwen.nfe) == (STEPS[name], 2 * STEPS[name])
    assert {step.guidance for step in flux.steps} == {3.5} and {step.guidance for step in qwen.steps} == {4.0}
    assert all(step.adapter is None for step in (*flux.steps, *qwen.steps))


@given(st.sampled_from(sorted(STEPS)), st.integers(16, 16384), st.booleans())
def test_shipped_cards_fall_from_one_to_zero_at_any_size(name: str, tokens: int, qwen: bool) -> None:
    geometry = Geometry("qwen_image", QWEN_SHIFT, tokens, 4.0, True) if qwen else FLUX
    sigmas = load_card(name).compile(geometry).sigmas
    assert sigmas[0] == 1 and sigmas[-1] == 0 and (np.diff(sigmas) < 0).all()


def test_slow_fast_is_the_published_set_by_index() -> None:
    small = Geometry("qwen_image", QWEN_SHIFT, 64, 4.0, True)
    grid = teacher_grid(QWEN_SHIFT, 64)
    trajectory = load_card("slowfast-10-base").compile(small)
    assert list(trajectory.sigmas[:-1]) == list(grid[[0, 2, 4, 6, 8, 10, 20, 30, 40, 49]])
    assert trajectory.phases == (Phase("slow", 0, 5), Phase("fast", 5, 10))


def test_guidance_by_family_decides_the_passes(tmp_path: Path) -> None:
    text = "name: x\nschedule: {kind: indices, indices: [0, 10]}\nguidance: {qwen_image: 1.0}\n"
    card = load_card(written(tmp_path, text))
    assert [(s.guidance, s.passes) for s in card.compile(QWEN).steps] == [(1.0, 1)] * 2
    assert [(s.guidance, s.passes) for s in card.compile(FLUX).steps] == [(3.5, 1)] * 2


@pytest.mark.parametrize("until", ["{step: 2}", "{sigma: 0.9}", "{snr: 0.0163}"])
def test_experts_hand_over_at_a_boundary(tmp_path: Path, until: str) -> None:
    (tmp_path / "slow.safetensors").write_bytes(b"slow")
    text = (
        "name: two\nfamilies: [qwen_image]\nschedule: {kind: indices, indices: [0, 8, 10, 20]}\nexperts:\n"
        f"- {{name: slow, lora: slow.safetensors, scale: 4, until: {until}}}\n- {{name: base}}\n"
    )
    card = load_card(written(tmp_path, text))
    slow = str(tmp_path / "slow.safetensors")
    assert card.compile(QWEN).phases == (Phase("slow", 0, 2, slow, 4.0), Phase("base", 2, 4))
    with pytest.raises(UsageError, match="is for qwen_image, not for flux"):
        card.compile(FLUX)


def test_the_digest_follows_pixels_and_nothing_else(tmp_path: Path) -> None:
    body = "schedule: {kind: uniform, steps: 8}\n"
    shipped = load_card("uniform-8").digest(FLUX)
    renamed = "name: mine\ntitle: T\ndescription: D\nlicence: L\ncitation: C\nfamilies: [flux]\n"
    assert load_card(written(tmp_path, renamed + body)).digest(FLUX) == shipped
    assert load_card(written(tmp_path, renamed + "guidance: {flux: 2.0}\n" + body)).digest(FLUX) != shipped
    lora = tmp_path / "a.safetensors"
    expert = "experts: [{name: e, lora: a.safetensors}]\n"
    write_lora(lora, 1.0)
    first = load_card(written(tmp_path, renamed + body + expert)).digest(FLUX)
    write_lora(lora, 2.0)
    assert load_card(written(tmp_path, renamed + body + expert)).digest(FLUX) != first != shipped
    lora.unlink()
    with pytest.raises(GlanceBenchError, match="a.safetensors"):
        load_card(written(tmp_path, renamed + body + expert)).digest(FLUX)


def test_a_file_without_alpha_needs_a_stated_scale(tmp_path: Path) -> None:
    file = write_lora(tmp_path / "foreign.safetensors", alpha=False)
    with pytest.raises(UsageError, match=r"foreign.safetensors carries no alpha.*state its scale"):
        lora_card(file, None, "uniform-8").digest(FLUX)
    assert lora_card(file, 4.0, "uniform-8").digest(FLUX)
    assert lora_card(write_lora(tmp_path / "whole.safetensors"), None, "uniform-8").digest(FLUX)
    file.write_bytes(b"no safetensors")
    with pytest.raises(GlanceBenchError, match="cannot be read"):
        lora_card(file, None, "uniform-8").digest(FLUX)


def test_ones_own_lora_without_a_card(tmp_path: Path) -> None:
    file = tmp_path / "my best lora.safetensors"
    file.write_bytes(b"weights")
    card = lora_card(file, 0.5, "uniform-8")
    steps, like = card.compile(FLUX).steps, load_card("uniform-8").compile(FLUX).steps
    assert card.name == "my-best-lora@0.5-like-uniform-8"
    assert [s.sigma for s in steps] == [s.sigma for s in like]
    assert {(s.adapter, s.adapter_scale) for s in steps} == {(str(file), 0.5)}
    assert card.digest(FLUX) != lora_card(file, 1.0, "uniform-8").digest(FLUX)
    assert SamplerCard.model_validate(card.model_dump()) == card
    with pytest.raises(UsageError, match="no LoRA file at"):
        lora_card(tmp_path / "none", 1.0, "uniform-8")
    with pytest.raises(UsageError, match="did you mean 'uniform-8'"):
        lora_card(file, 1.0, "unifrm-8")
    with pytest.raises(UsageError, match="finite"):
        lora_card(file, float("nan"), "uniform-8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: x\nschedule: {kind: uniform, stepz: 8}\n",
            ":2: unknown key 'schedule.stepz'; did you mean 'steps'",
        ),
        (
            "name: x\nschedul: {kind: uniform, steps: 8}\n",
            ":2: unknown key 'schedul'; did you mean 'schedule'",
        ),
        ("name: x\n", ":1: 'schedule' is required"),
        ("name: x\nschedule:\n  kind: unifrm\n  steps: 8\n", ":2: schedule: .*'uniform'"),
        ("name: x\nschedule:\n  kind: uniform\n  steps: many\n", ":4: schedule.steps: .*integer"),
        ("name: x\nschedule:\n  kind: uniform\n  steps: 60\n", ":2: schedule: cannot keep 60 of 50"),
        ("name: x\nschedule: {kind: indices, indices: [0, 50]}\n", "within 0..49"),
        (
            "name: x\nschedule: {kind: slow-fast, slow: 11, fast: 5}\n",
            ":2: schedule.slow: .*less than or equal to 10",
        ),
        ("name: a/b\nschedule: {kind: native, steps: 4}\n", ":1: name: "),
        ("name: x\nname: y\nschedule: {kind: native, steps: 4}\n", "duplicate key"),
        ("name: x\nfamilies: [fluxx]\nschedule: {kind: native, steps: 4}\n", ":2: .*did you mean 'flux'"),
        ("name: x\nguidance: {flx: 1.0}\nschedule: {kind: native, steps: 4}\n", ":2: .*did you mean 'flux'"),
        ("name: x\nschedule: {kind: native, steps: 4}\nexperts: [{name: a}, {name: b}]\n", "needs 'until'"),
        (
            "name: x\nschedule: {kind: native, steps: 4}\nexperts:\n- {name: a, until: {step: 2}}\n",
            "takes no 'until'",
        ),
        (
            "name: x\nschedule: {kind: native, steps: 4}\nexperts:\n- {name: a, until: {}}\n- {name: b}\n",
            ":4: .*exactly one of step, sigma, snr",
        ),
        ("name: [\n", "not YAML"),
        ("- a\n", "expected a mapping"),
        ("", "expected a mapping"),
    ],
)
def test_a_bad_card_is_told_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError, match=message) as error:
        load_card(path)
    assert str(error.value).startswith(path) and "\n" not in str(error.value) and error.value.exit_code == 2


def test_unknown_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown sampler 'teacher-5O'; did you mean 'teacher-50'"):
        load_card("teacher-5O")
    with pytest.raises(UsageError, match="no sampler card at"):
        load_card(str(tmp_path / "none.yaml"))
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_card(str(tmp_path / "latin.yaml"))


def test_an_expert_without_steps_is_refused(tmp_path: Path) -> None:
    text = (
        "name: x\nschedule: {kind: native, steps: 4}\nexperts:\n- {name: a, until: {step: 4}}\n- {name: b}\n"
    )
    with pytest.raises(UsageError, match="expert 'b' has no step"):
        load_card(written(tmp_path, text)).compile(FLUX)


def test_the_table_of_steps() -> None:
    card = load_card("slowfast-10-base")
    data = json.loads(json.dumps(show.document(card, QWEN), allow_nan=False))
    assert [row["index"] for row in data["steps"]] == [0, 2, 4, 6, 8, 10, 20, 30, 40, 49]
    assert (data["nfe"], data["speedup"], data["grid_steps"], data["derived"]) == (20, 5.0, 50, False)
    assert [phase["steps"] for phase in data["phases"]] == [[0, 4], [5, 9]]
    lines = show.text(card, QWEN).splitlines()
    rows = [line for line in lines if "->" in line and "sigma ->" not in line]
    assert len(rows) == 10 and all(len(line) <= 110 for line in lines)
    assert "0.8867 -> 0.7451" in rows[5] and "886.705" in rows[5] and " fast " in rows[5]
    assert "NFE 20, 5x fewer than teacher-50" in show.text(card, QWEN)


@pytest.mark.parametrize("name", STEPS)
def test_the_plot_covers_the_way_from_one_to_zero(name: str) -> None:
    rows = show.text(load_card(name), FLUX).split("SNR  1")[1].splitlines()[1:]
    bars = [row.split()[-1] for row in rows]
    assert len(bars) == STEPS[name] and {len(bar) for bar in bars} == {show.BAR}
    assert all(any(bar[column] != "." for bar in bars) for column in range(show.BAR))


def test_control_characters_of_a_card_stay_off_the_terminal(tmp_path: Path) -> None:
    text = 'name: x\ntitle: "\\e[31mred"\nschedule: {kind: native, steps: 4}\n'
    assert "\x1b" not in show.text(load_card(written(tmp_path, text)), FLUX)
