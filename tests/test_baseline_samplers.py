"""Suites whose samplers bring weights, limits and solvers of their own, run on the testbed and on a fake family."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from glance_bench import timing
from glance_bench.engine.planning import make_plan
from glance_bench.engine.runner import run_suite
from glance_bench.errors import MissingData, UsageError
from glance_bench.models.flux import FluxFamily
from glance_bench.models.qwen_image import QwenImageFamily
from glance_bench.registry import MODELS, ModelEntry
from glance_bench.samplers.cards import load_card
from glance_bench.store import Run
from glance_bench.suite import Suite
from glance_bench.terminal import Progress

from .hub_cache import hub_file, use_cache
from .tiny_models import make_flux

QUIET = Progress(quiet=True)
OTHER = "tiny-other"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another checkpoint of FLUX's family, registered: its transformer's weights are turned round."""
    path = make_flux(tmp_path_factory.mktemp("other") / "flux")
    pipe = FluxFamily.load(path).pipe
    with torch.no_grad():
        for weight in pipe.transformer.proj_out.parameters():
            weight.neg_()
    pipe.transformer.save_pretrained(path / "transformer")
    if OTHER not in MODELS:
        MODELS.register(OTHER, ModelEntry(OTHER, "flux", path))
    return path


def random_lora(model: Any, file: Path, seed: int) -> None:
    """A LoRA on the model's attention, as published ones are saved: without alpha."""
    torch.manual_seed(seed)
    layers = LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
    model.pipe.transformer.add_adapter(layers, adapter_name="made")
    state = get_peft_model_state_dict(model.pipe.transformer, adapter_name="made")
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({f"transformer.{key}": value.contiguous() for key, value in state.items()}, file)
    model.pipe.transformer.delete_adapters("made")


def suite(folder: Path, models: list[dict[str, str]], samplers: list[str], **changes: Any) -> Suite:
    return Suite.model_validate(
        {
            "name": "others",
            "models": models,
            "prompts": [{"set": "two", "texts": ["a red circle", "a blue square " * 20]}],
            "samplers": samplers,
            "batch_size": 2,
            "timing": {"repeats": 1, "warmup": 0},
            **changes,
        }
    )


def flux(path: Path) -> dict[str, str]:
    return {"name": "tiny-flux", "family": "flux", "path": str(path)}


def qwen(path: Path) -> dict[str, str]:
    return {"name": "tiny-qwen", "family": "qwen_image", "path": str(path)}


def written(folder: Path, name: str, text: str) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(f"name: {name}\n{text}")
    return str(path)


def test_a_whole_run(
    tiny_flux_dir: Path, tiny_qwen_dir: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FLUX board with another base and a published LoRA, a Qwen board with Lightning, and what both report."""
    cache = use_cache(monkeypatch, tmp_path / "hub")
    tdd = hub_file(cache, "RED-AIGC/TDD", "FLUX.1-dev_tdd_lora_weights.safetensors")
    lightning = hub_file(
        cache, "lightx2v/Qwen-Image-Lightning", "Qwen-Image-Lightning-4steps-V2.0.safetensors"
    )
    random_lora(FluxFamily.load(tiny_flux_dir), tdd, 1)
    random_lora(QwenImageFamily.load(tiny_qwen_dir), lightning, 2)
    based = "families: [flux]\nbase: tiny-other\nschedule: {kind: native, steps: 4}\nlicence: mine\n"
    cards = [written(tmp_path, "based", based), "tdd-4", "qwen-lightning-4", "uniform-5-heun"]
    asked = suite(tmp_path, [flux(tiny_flux_dir), qwen(tiny_qwen_dir)], ["native-8", *cards])
    plan = make_plan(asked)
    played = [(s.model.name, s.name) for s in plan.samplers]
    assert played == [
        *[("tiny-flux", name) for name in ("native-8", "based", "tdd-4", "uniform-5-heun")],
        *[("tiny-qwen", name) for name in ("native-8", "qwen-lightning-4", "uniform-5-heun")],
    ]
    by_name = {s.name: s for s in plan.samplers if s.model.name == "tiny-flux"}
    assert by_name["based"].weights.path == other and by_name["tdd-4"].weights.path == tiny_flux_dir
    assert by_name["based"].made_of["checkpoint"] != by_name["native-8"].made_of["checkpoint"]

    results = run_suite(asked, tmp_path / "run", QUIET)
    rows = {(b["model"], r["sampler"]): r for b in results["boards"] for r in b["samplers"]}
    assert {key: row["nfe"]["counted"] for key, row in rows.items()} == {
        **{("tiny-flux", "native-8"): 8, ("tiny-flux", "based"): 4, ("tiny-flux", "tdd-4"): 4},
        **{("tiny-flux", "uniform-5-heun"): 9, ("tiny-qwen", "uniform-5-heun"): 18},
        **{("tiny-qwen", "native-8"): 16, ("tiny-qwen", "qwen-lightning-4"): 4},
    }
    assert results["sources"]["based"] == {"licence": "mine"}
    assert results["sources"]["tdd-4"]["licence"].startswith("unverified")
    assert "arXiv:2409.01347" in results["sources"]["tdd-4"]["citation"]
    timed = {(row["model"], row["sampler"]) for row in results["timing"]}
    assert timed == set(rows)

    run = Run(tmp_path / "run")
    records = run.records().set_index(["model", "sampler"])
    drawn = records.loc[("tiny-flux", "based"), "image_sha256"].tolist()
    model = FluxFamily.load(other)
    noise = model.noise(records.loc[("tiny-flux", "based"), "seed"].tolist())
    images = model.sample(
        load_card(cards[0]).compile(model.geometry()), model.encode(asked.prompts[0].texts or []), noise
    )
    assert len(set(drawn)) == 2
    shown = [np.asarray(_opened(run.folder / name)) for name in records.loc[("tiny-flux", "based"), "image"]]
    assert np.array_equal(np.stack(shown), images)

    text = (run.folder / "report" / "index.html").read_text()
    assert "Whose samplers these are" in text and "arXiv:2409.01347" in text and "licence unverified" in text


def _opened(path: Path) -> Any:
    from PIL import Image

    with Image.open(path) as picture:
        return picture.convert("RGB")


def test_weights_without_room_beside_the_teachers_are_left_without_times(
    tiny_flux_dir: Path,
    other: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = timing.load_model

    def load(weights: Any, device: str, dtype: str) -> Any:
        if weights.path == other:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 72.00 MiB")
        return whole(weights, device, dtype)

    monkeypatch.setattr(timing, "load_model", load)
    text = "schedule: {kind: native, steps: 2}\n"
    cards = [
        written(tmp_path, "based", f"families: [flux]\nbase: {OTHER}\n{text}"),
        written(tmp_path, "two", text),
    ]
    asked = suite(
        tmp_path,
        [flux(tiny_flux_dir)],
        ["native-8", *cards],
        timing={"repeats": 2, "warmup": 0, "prompts": 1},
    )
    results = run_suite(asked, tmp_path / "run", QUIET)
    assert {row["sampler"] for row in results["timing"]} == {"native-8", "two"}
    told = (
        "warning: tiny-flux: out of memory, not timed: based, whose own weights have no room beside those of"
    )
    assert f"{told} native-8\n" in capsys.readouterr().err
    times = Run(tmp_path / "run").timing()
    assert times["session"].nunique() == 1 and set(times["repeat"]) == {0, 1}
    assert len(Run(tmp_path / "run").records()) == 3 * 2

    def full(*given: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(timing, "load_model", full)
    again = run_suite(asked, tmp_path / "run", QUIET, time_again=True)
    assert "warning: tiny-flux: out of memory, not timed: native-8, two\n" in capsys.readouterr().err
    assert again["timing"] == results["timing"]


def test_a_limit_of_tokens_is_the_samplers_own(tiny_flux_dir: Path, tmp_path: Path) -> None:
    """The same steps with fewer tokens of the long prompt: other images of it, other embeddings, flagged as cut."""
    short = written(tmp_path, "short", "schedule: {kind: native, steps: 2}\nmax_sequence_length: 8\n")
    loose = written(tmp_path, "loose", "schedule: {kind: native, steps: 2}\nmax_sequence_length: 4096\n")
    asked = suite(tmp_path, [flux(tiny_flux_dir)], ["native-8", short, loose], timing={"repeats": 0})
    run_suite(asked, tmp_path / "run", QUIET)
    records = Run(tmp_path / "run").records().set_index("sampler")
    assert records.loc["short", "truncated"].tolist() == [True, True]
    assert records.loc["loose", "truncated"].tolist() == records.loc["native-8", "truncated"].tolist()
    model = FluxFamily.load(tiny_flux_dir)
    assert model.encode(["a red circle"], 8)[0]["prompt_embeds"].shape[0] == 8
    own = model.settings.max_sequence_length
    assert model.encode(["a red circle"], 4096)[0]["prompt_embeds"].shape[0] == own


def test_a_card_that_fits_no_model_is_an_error(tiny_flux_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="'qwen-lightning-4' is for qwen_image, which none of the suite's models is"
    ):
        make_plan(suite(tmp_path, [flux(tiny_flux_dir)], ["native-8", "qwen-lightning-4"]))


def test_missing_weights_are_named_with_their_command(
    tiny_flux_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_cache(monkeypatch, tmp_path)
    for name, told in (
        (
            "hyper-flux-8",
            r"'hyper-flux-8' waits for Hyper-FLUX.*\(about 1.4 GB\): glance-bench prefetch ByteDance",
        ),
        (
            "flux-schnell-4",
            r"'flux-schnell-4': .*waits for flux.1-schnell \(34 GB\): glance-bench prefetch flux.1-sch",
        ),
    ):
        with pytest.raises(MissingData, match=told) as caught:
            make_plan(suite(tmp_path, [flux(tiny_flux_dir)], ["native-8", name]))
        assert caught.value.exit_code == 3


def test_a_cache_and_a_solver_make_other_units(tiny_flux_dir: Path, tmp_path: Path) -> None:
    """Cards with the same steps: the keys differ, and a plan without options is what it was."""
    text = "schedule: {kind: native, steps: 8}\n"
    cards = [
        written(tmp_path, name, text + option)
        for name, option in (
            ("plain", ""),
            ("cached", "cache: {kind: first-block}\n"),
            ("ab2", "solver: ab2\n"),
            ("short", "max_sequence_length: 8\n"),
        )
    ]
    plan = make_plan(suite(tmp_path, [flux(tiny_flux_dir)], ["native-8", *cards]))
    keys = {s.name: s.key for s in plan.samplers}
    assert keys["plain"] == keys["native-8"] and len(set(keys.values())) == 4
    assert set(plan.samplers[0].made_of) == {
        *("generation_version", "family", "checkpoint", "card", "trajectory", "resolution", "device", "dtype")
    }
    assert json.dumps([s.made_of for s in plan.samplers])
    trajectory = plan.samplers[1].trajectory
    assert replace(trajectory, cache=None) == plan.samplers[0].trajectory
