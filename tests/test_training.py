"""Training a slow-fast pair: recipes, what is written, that it goes on after a kill, and what bad input is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.models.checkpoints import family_geometry, read_geometry
from glance_bench.registry import FAMILIES, ModelEntry
from glance_bench.samplers.cards import Uniform
from glance_bench.training.base_weights import load_transformer
from glance_bench.training.glance import train
from glance_bench.training.lora import add_lora, train_phase
from glance_bench.training.prepare import prepare
from glance_bench.training.recipe import Recipe, load_recipe
from glance_bench.training.samples import Pair, noise_pair, read_pairs
from glance_bench.trajectory import Phase, from_grid, teacher_grid, uniform_indices

CAPTION = "a red circle"


@pytest.fixture(params=["flux", "qwen_image"])
def entry(request: pytest.FixtureRequest, tiny_flux_dir: Path, tiny_qwen_dir: Path) -> ModelEntry:
    folder = tiny_flux_dir if request.param == "flux" else tiny_qwen_dir
    return ModelEntry(f"tiny-{request.param}", request.param, folder)


def recipe_for(family: str, **changes: Any) -> Recipe:
    """The published recipe in plain float32, so that a file can be compared with what was trained."""
    published = load_recipe("glance-flux" if family == "flux" else "glance-qwen")
    plain = {"base_weights": "float32", "precision": "float32", "optimizer": "adamw", "steps": 4}
    return Recipe.model_validate({**published.model_dump(), **plain, **changes})


def pair(seed: int = 0) -> Pair:
    return replace(noise_pair((64, 64), CAPTION, seed), source=f"pair {seed}")


# -- recipes -------------------------------------------------------------------------------------------------


def test_the_published_recipes() -> None:
    flux, qwen = load_recipe("glance-flux"), load_recipe("glance-qwen")
    assert (flux.rank, flux.alpha, flux.learning_rate, flux.guidance) == (16, 64, 5e-4, 1.0)
    assert (qwen.rank, qwen.alpha, qwen.learning_rate, qwen.caption_dropout) == (32, 128, 3e-4, 0.1)
    assert flux.targets == ["to_q", "to_k", "to_v", "to_out.0"] and len(qwen.targets) == 12
    for recipe in (flux, qwen):
        assert (recipe.steps, recipe.batch, recipe.clip, recipe.weight_decay) == (60, 1, 1.0, 0.01)
        assert (recipe.optimizer, recipe.base_weights, recipe.init) == ("adamw-8bit", "float8", "gaussian")
        assert (recipe.sigma, recipe.timesteps, recipe.experts) == ("exact", "exact", "pair")


def test_phases_are_the_published_timesteps() -> None:
    flux = load_recipe("glance-flux").phases(family_geometry("flux"))
    told = [[round(1000 * sigma, 4) for sigma in phase.sigmas] for phase in flux]
    assert told[0] == pytest.approx([1000.0, 986.9786, 973.2042, 958.6094, 943.1188], abs=1e-3)
    assert told[1] == pytest.approx([926.6473, 825.7017, 677.9868, 441.1997, 60.5503], abs=1e-3)
    qwen = load_recipe("glance-qwen").phases(family_geometry("qwen_image"))
    assert 1000 * qwen[1].sigmas[-1] == pytest.approx(20.0, abs=1e-3)


def test_declared_variants_are_one_setting_each() -> None:
    geometry = family_geometry("flux")
    single = recipe_for("flux", experts="single")
    assert [phase.name for phase in single.phases(geometry)] == ["single"]
    assert len(single.phases(geometry)[0].sigmas) == 10
    uniform = recipe_for("flux", experts="single", schedule=Uniform(kind="uniform", steps=8).model_dump())
    assert len(uniform.phases(geometry)[0].sigmas) == 8
    assert [p.name for p in recipe_for("flux").chosen(["fast"], geometry)] == ["fast"]
    assert recipe_for("flux", sigma="nearest-table").stepped(0.9869786) == 0.987
    rounded = recipe_for("flux", timesteps="bf16")
    assert [1000 * rounded.told(t / 1000) for t in (986.9786, 943.1188, 60.5503)] == [988.0, 944.0, 60.5]
    assert recipe_for("flux").told(0.9869786) == recipe_for("flux").stepped(0.9869786) == 0.9869786


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": 0}, "rank"),
        ({"steps": 0}, "steps"),
        ({"targets": []}, "targets"),
        ({"schedule": {"kind": "uniform", "steps": 8}}, "experts: single"),
        ({"precision": "float32"}, "goes with base_weights float32"),
        ({"learning_rate": float("nan")}, "learning_rate"),
    ],
)
def test_a_bad_recipe_names_its_setting(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    file = tmp_path / "mine.yaml"
    data = {**load_recipe("glance-flux").model_dump(), **change}
    file.write_text(json.dumps(data).replace("NaN", ".nan"))
    with pytest.raises(UsageError, match=message):
        load_recipe(str(file))


def test_an_unknown_recipe_has_a_near_miss() -> None:
    with pytest.raises(UsageError, match="glance-flux"):
        load_recipe("glance-fluxx")


# -- what is trained and written -----------------------------------------------------------------------------


def sampled(entry: ModelEntry, file: Path) -> np.ndarray:
    model = FAMILIES.get(entry.family).load(entry.path)
    grid = teacher_grid(model.geometry().shift, 64)
    trajectory = from_grid(grid, uniform_indices(4), guidance=1.0, phases=[Phase("x", 0, 4, str(file))])
    images: np.ndarray = model.sample(trajectory, model.encode([CAPTION]), model.noise([1]))
    return images


def test_a_trained_file_loads_as_it_was_trained(entry: ModelEntry, tmp_path: Path) -> None:
    """The file at scale 1 is base + alpha / rank * B A; without its metadata it is base + B A."""
    recipe = recipe_for(entry.family, steps=30, learning_rate=0.02)
    (expert,) = train(entry, recipe, [pair()], tmp_path, phases=["slow"])
    family = FAMILIES.get(entry.family)
    model = family.load(entry.path)
    weights = load_file(expert.file)
    merged = model.pipe.transformer.state_dict()
    for name, low in weights.items():
        if name.endswith("lora_A.weight"):
            place = name.removeprefix("transformer.").replace("lora_A.weight", "weight")
            up = weights[name.replace("lora_A", "lora_B")]
            merged[place] += recipe.alpha / recipe.rank * up @ low
    model.pipe.transformer.load_state_dict(merged)
    grid = teacher_grid(model.geometry().shift, 64)
    bare = from_grid(grid, uniform_indices(4), guidance=1.0)
    expected = model.sample(bare, model.encode([CAPTION]), model.noise([1])).astype(int)

    loaded = sampled(entry, expert.file)
    assert np.abs(loaded.astype(int) - expected).max() <= 1
    assert (sampled(entry, expert.file) == loaded).all()
    with safe_open(expert.file, "pt") as file:
        known = json.loads(file.metadata()["lora_adapter_metadata"])
    assert (known["transformer.r"], known["transformer.lora_alpha"]) == (recipe.rank, recipe.alpha)
    without = tmp_path / "without.safetensors"
    save_file(weights, without, metadata={"format": "pt"})
    assert np.abs(sampled(entry, without).astype(int) - expected).max() > 1


def test_the_record_says_how_it_was_made(entry: ModelEntry, tmp_path: Path) -> None:
    recipe = recipe_for(entry.family)
    experts = train(entry, recipe, [pair()], tmp_path)
    assert [(e.phase, e.reused) for e in experts] == [("slow", False), ("fast", False)]
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        "fast.safetensors",
        "slow.safetensors",
        "training.json",
    ]
    record = json.loads((tmp_path / "training.json").read_text())
    for name in ("slow", "fast"):
        made = record["experts"][name]
        assert len(made["losses"]) == 4 and all(np.isfinite(made["losses"])) and made["seconds"] > 0
        assert made["recipe"]["rank"] == recipe.rank and made["samples"] == [pair().digest]
        assert made["sources"] == [{"source": "pair 0", "caption": CAPTION}]
        assert made["peak_memory_bytes"] > 10**8 and made["environment"]["versions"]["torch"]
    again = train(entry, recipe, [pair()], tmp_path)
    assert all(expert.reused for expert in again)
    other = train(entry, recipe, [pair(1)], tmp_path, phases=["fast"])
    assert not other[0].reused


def test_training_learns(entry: ModelEntry, tmp_path: Path) -> None:
    """With enough steps on one sample the loss at the same noise levels falls."""
    recipe = recipe_for(entry.family, steps=120, learning_rate=0.01, caption_dropout=0.0)
    train(entry, recipe, [pair()], tmp_path, phases=["fast"])
    losses = json.loads((tmp_path / "training.json").read_text())["experts"]["fast"]["losses"]
    assert np.mean(losses[-30:]) < 0.9 * np.mean(losses[:10])


def test_ten_samples_work_as_one_does(entry: ModelEntry, tmp_path: Path) -> None:
    for number in range(10):
        Image.fromarray(pair(number).image).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"{CAPTION} {number}")
    pairs = read_pairs(str(tmp_path), None, (64, 64))
    assert [one.caption for one in pairs] == [f"{CAPTION} {number}" for number in range(10)]
    experts = train(entry, recipe_for(entry.family, batch=2), pairs, tmp_path / "out")
    assert all(expert.file.is_file() for expert in experts)


@pytest.mark.parametrize("weights", ["float8", "int8", "nf4", "bfloat16"])
def test_base_weights(entry: ModelEntry, tmp_path: Path, weights: str) -> None:
    pytest.importorskip("optimum.quanto")
    pytest.importorskip("bitsandbytes")
    recipe = recipe_for(entry.family, base_weights=weights, precision="bfloat16", optimizer="adamw-8bit")
    (expert,) = train(entry, recipe, [pair()], tmp_path, phases=["fast"])
    assert sampled(entry, expert.file).shape == (1, 64, 64, 3)


def test_the_encoders_are_freed_before_the_transformer_is_loaded(
    tiny_flux_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gc

    from diffusers import AutoencoderKL
    from transformers import T5EncoderModel

    from glance_bench.training import glance

    alive: list[int] = []

    def counting(*arguments: Any) -> Any:
        alive.append(sum(isinstance(thing, AutoencoderKL | T5EncoderModel) for thing in gc.get_objects()))
        return load_transformer(*arguments)

    gc.collect()
    before = sum(isinstance(thing, AutoencoderKL | T5EncoderModel) for thing in gc.get_objects())
    monkeypatch.setattr(glance, "load_transformer", counting)
    entry = ModelEntry("tiny", "flux", tiny_flux_dir)
    train(entry, recipe_for("flux", steps=1), [pair()], tmp_path, phases=["fast"])
    assert alive == [before]


# -- killed, stopped, full disk ------------------------------------------------------------------------------

COMMAND = [sys.executable, "-m", "glance_bench", "train", "glance", "--caption", CAPTION, "--device", "cpu"]
PLAIN = ["--base-weights", "float32", "--precision", "float32", "--optimizer", "adamw", "--phases", "slow"]


def test_a_killed_training_ends_in_the_same_file(tiny_flux_dir: Path, tmp_path: Path) -> None:
    Image.fromarray(pair().image).save(tmp_path / "sample.png")
    call = [*COMMAND, "--model", str(tiny_flux_dir), "--sample", str(tmp_path / "sample.png"), *PLAIN]
    subprocess.run([*call, "-o", str(tmp_path / "whole")], check=True, capture_output=True)
    killed = subprocess.Popen([*call, "-o", str(tmp_path / "killed")], stderr=subprocess.PIPE)
    state = tmp_path / "killed" / ".slow.state"
    deadline = time.monotonic() + 120
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert state.exists() and not (tmp_path / "killed" / "slow.safetensors").exists()
    subprocess.run([*call, "-o", str(tmp_path / "killed")], check=True, capture_output=True)
    files = [tmp_path / name / "slow.safetensors" for name in ("whole", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not state.exists()


def test_a_loss_that_is_not_finite_stops_and_keeps_the_state(tiny_flux_dir: Path, tmp_path: Path) -> None:
    entry = ModelEntry("tiny", "flux", tiny_flux_dir)
    recipe = recipe_for("flux", steps=30)
    family = FAMILIES.get("flux")
    data = prepare(entry, [pair()], 1.0)
    transformer = load_transformer(family, tiny_flux_dir, "float32", "cpu")
    add_lora(transformer, recipe)
    phase = recipe.phases(read_geometry(tiny_flux_dir))[0]
    calls = 0

    def breaking(*arguments: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        made: torch.Tensor = family.velocity(*arguments)
        return made * float("nan") if calls == 14 else made

    state = tmp_path / "slow.state"
    with pytest.raises(
        GlanceBenchError, match=r"expert slow: the loss is nan at step 14 of 30.*step 10 is kept"
    ):
        train_phase(transformer, breaking, data, phase, recipe, state, "key", Accelerator(cpu=True))
    done = train_phase(transformer, family.velocity, data, phase, recipe, state, "key", Accelerator(cpu=True))
    assert len(done.losses) == 30 and all(np.isfinite(done.losses))


def test_a_full_disk_leaves_the_old_file(tiny_flux_dir: Path, tmp_path: Path) -> None:
    Image.fromarray(pair().image).save(tmp_path / "sample.png")
    call = [*COMMAND, "--model", str(tiny_flux_dir), "--sample", str(tmp_path / "sample.png"), *PLAIN]
    call += ["-o", str(tmp_path / "out")]
    subprocess.run(call, check=True, capture_output=True)
    old = (tmp_path / "out" / "slow.safetensors").read_bytes()
    limited = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
        "sys.argv = sys.argv[1:]; runpy.run_module('glance_bench', run_name='__main__')"
    )
    made = subprocess.run(
        [sys.executable, "-c", limited, *call[2:], "--seed", "1"], capture_output=True, text=True
    )
    assert made.returncode == 3 and made.stderr.splitlines()[-1].startswith("error: ")
    assert (tmp_path / "out" / "slow.safetensors").read_bytes() == old


# -- bad input -----------------------------------------------------------------------------------------------


def test_samples_that_cannot_be_used(tmp_path: Path) -> None:
    Image.fromarray(pair().image).save(tmp_path / "lonely.png")
    with pytest.raises(UsageError, match="has no caption"):
        read_pairs(str(tmp_path / "lonely.png"), None, (64, 64))
    with pytest.raises(UsageError, match="has no caption"):
        read_pairs(str(tmp_path), None, (64, 64))
    (tmp_path / "broken.png").write_bytes((tmp_path / "lonely.png").read_bytes()[:500])
    with pytest.raises(GlanceBenchError, match=r"broken.png cannot be read"):
        read_pairs(str(tmp_path / "broken.png"), CAPTION, (64, 64))
    with pytest.raises(UsageError, match="the caption is empty"):
        read_pairs(str(tmp_path / "lonely.png"), "  ", (64, 64))
    with pytest.raises(UsageError, match="no such image or folder"):
        read_pairs(str(tmp_path / "absent.png"), CAPTION, (64, 64))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no images"):
        read_pairs(str(tmp_path / "empty"), None, (64, 64))


def test_an_image_of_another_size_is_cut_to_cover(tmp_path: Path) -> None:
    wide = np.zeros((40, 200, 3), np.uint8)
    wide[:, 80:120] = (255, 0, 0)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    (one,) = read_pairs(str(tmp_path / "wide.png"), CAPTION, (64, 64))
    assert one.image.shape == (64, 64, 3) and one.image[32, 32].tolist() == [255, 0, 0]


def test_requests_that_cannot_be_trained(entry: ModelEntry, tmp_path: Path) -> None:
    other = "qwen_image" if entry.family == "flux" else "flux"
    cases: list[tuple[Recipe, list[Pair], str]] = [
        (recipe_for(other), [pair()], f"is for {other}, not for {entry.family}"),
        (recipe_for(entry.family, targets=["to_q", "to_qq"]), [pair()], "no module 'to_qq'"),
        (recipe_for(entry.family), [replace(pair(), caption="x " * 500)], "caption of pair 0: longer than"),
        (recipe_for(entry.family), [noise_pair((60, 64), CAPTION)], "multiples of 8"),
        (recipe_for(entry.family, precision="float16"), [pair()], "needs a GPU"),
        (recipe_for(entry.family), [], "no samples"),
    ]
    for recipe, pairs, message in cases:
        with pytest.raises(UsageError, match=message):
            train(entry, recipe, pairs, tmp_path / "out")
    with pytest.raises(UsageError, match="no phase 'slwo'; did you mean 'slow'"):
        train(entry, recipe_for(entry.family), [pair()], tmp_path / "out", phases=["slwo"])


def test_an_adapter_of_the_other_family_or_of_another_size_is_refused(
    tiny_flux_dir: Path, tiny_qwen_dir: Path, tmp_path: Path
) -> None:
    flux, qwen = ModelEntry("f", "flux", tiny_flux_dir), ModelEntry("q", "qwen_image", tiny_qwen_dir)
    (made,) = train(flux, recipe_for("flux", steps=1), [pair()], tmp_path, phases=["slow"])
    with pytest.raises(GlanceBenchError, match=r"slow.safetensors"):
        sampled(qwen, made.file)
    weights = {
        name: torch.zeros(*(side + 1 for side in value.shape)) for name, value in load_file(made.file).items()
    }
    save_file(weights, tmp_path / "misfit.safetensors")
    with pytest.raises(GlanceBenchError, match=r"misfit.safetensors cannot be loaded"):
        sampled(flux, tmp_path / "misfit.safetensors")
