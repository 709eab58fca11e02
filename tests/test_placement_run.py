"""Placements in a run: what they put into keys and records, and where a model goes when memory runs out."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from glance_bench.engine.generate import check_device
from glance_bench.engine.placements import settled
from glance_bench.engine.planning import make_plan
from glance_bench.engine.runner import run_suite
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.models import placing
from glance_bench.models.flux import FluxFamily
from glance_bench.models.recorder import Recorder
from glance_bench.profiles import Gpu
from glance_bench.suite import Suite, load_suite
from glance_bench.terminal import Progress

V100_16 = Gpu("Tesla V100-SXM2-16GB", 16160, 7.0)
QUIET = Progress(quiet=True)


def lack(memory: str) -> None:
    """Raises what torch raises when there is no more memory of the GPU, of the host, or of the host to be pinned."""
    if memory == "GPU":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
    if memory == "pinned":
        raise torch.AcceleratorError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in")
    torch.empty(2**60, dtype=torch.uint8)


def suite(flux: Path, **changes: Any) -> Suite:
    return Suite.model_validate(
        {
            "name": "placed",
            "models": [{"name": "tiny", "family": "flux", "path": str(flux)}],
            "prompts": [{"set": "own", "texts": ["a fox", "two cats", "red"]}],
            "samplers": ["uniform-4"],
            "batch_size": 2,
            "slice_size": 2,
            "timing": {"repeats": 0},
            **changes,
        }
    )


def keys(given: Suite) -> list[str]:
    return [work.info.key for work in make_plan(given).works]


def images(run: Path) -> dict[str, bytes]:
    """Every image that the run's manifest lists, by prompt."""
    units = json.loads((run / "manifest.json").read_bytes())["units"]
    found = {}
    for unit in units:
        document = json.loads((run / unit["folder"] / "unit.json").read_bytes())
        for image in document["images"]:
            found[image["prompt_id"]] = (run / unit["folder"] / image["file"]).read_bytes()
    return found


def records(run: Path) -> list[dict[str, Any]]:
    """What each unit of the manifest was made with, of its placement."""
    units = json.loads((run / "manifest.json").read_bytes())["units"]
    documents = [json.loads((run / unit["folder"] / "unit.json").read_bytes()) for unit in units]
    return [document["made_with"]["placement"] for document in documents]


def on(monkeypatch: pytest.MonkeyPatch, gpu: Gpu | None, ram: float = 64.0) -> None:
    monkeypatch.setattr("glance_bench.engine.placements.find_gpus", lambda: [gpu] if gpu else [])
    monkeypatch.setattr("glance_bench.engine.placements.free_ram_gib", lambda: ram)


def run_out(
    monkeypatch: pytest.MonkeyPatch, largest: dict[str, int], memory: str = "GPU"
) -> list[tuple[str, int]]:
    """Has plans run out of memory above so many images at once; what is tried is listed."""
    whole, tried = FluxFamily.sample, []

    def sample(self: Any, trajectory: Any, embeds: Any, noise: Any, *args: Any, **options: Any) -> Any:
        plan = self.placing.plan.name
        tried.append((plan, len(noise)))
        if len(noise) > largest.get(plan, 99):
            lack(memory)
        return whole(self, trajectory, embeds, noise, *args, **options)

    monkeypatch.setattr(FluxFamily, "sample", sample)
    return tried


# -- keys ----------------------------------------------------------------------------------------------------


def test_only_other_numbers_give_other_keys(tiny_flux_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, None)
    plain = keys(suite(tiny_flux_dir))
    for same in ("auto", "all-on-gpu", "encode-then-drop", "group-offload", "sequential"):
        assert keys(suite(tiny_flux_dir, placement=same)) == plain
    others = [keys(suite(tiny_flux_dir, placement=p)) for p in ("quanto-int8", "quanto-float8", "bnb-nf4")]
    assert len({tuple(found) for found in [plain, *others]}) == 4


def test_what_a_gpu_computes_in_enters_the_key(
    tiny_flux_dir: Path, tiny_qwen_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, V100_16)
    models = [
        {"name": "tiny", "family": "flux", "path": str(tiny_flux_dir)},
        {"name": "qwen", "family": "qwen_image", "path": str(tiny_qwen_dir)},
    ]
    plan = make_plan(suite(tiny_flux_dir, models=models, device="cuda", dtype="float16", placement="auto"))
    flux, qwen = (sampler.made_of for sampler in plan.samplers)
    assert (flux["dtype"], flux["placement"]) == ("float16", "encoding float32")
    assert qwen["dtype"] == "float32" and "placement" not in qwen


def test_emulated_bfloat16_is_refused_unless_forced(
    tiny_flux_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, V100_16)
    given = suite(tiny_flux_dir, device="cuda", dtype="bfloat16", placement="auto")
    with pytest.raises(GlanceBenchError, match="compute capability 7.0 emulates it"):
        make_plan(given)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 0))
    with pytest.raises(GlanceBenchError, match="emulates it"):  # without a placement as well
        check_device("cuda", "bfloat16")
    check_device("cuda", "float16")
    monkeypatch.setenv("GLANCE_BENCH_EMULATED_BFLOAT16", "1")
    check_device("cuda", "bfloat16")
    assert make_plan(given).samplers[0].made_of["dtype"] == "bfloat16"


def test_a_machine_too_small_for_every_plan_is_told_what_each_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, V100_16, ram=60.0)
    given = load_suite("coco").with_profile("v100-16gb")
    with pytest.raises(GlanceBenchError, match="model 'qwen-image': no placement fits Tesla V100") as caught:
        settled(given)
    assert "group-offload needs" in str(caught.value) and "where 60.0 are free" in str(caught.value)
    on(monkeypatch, V100_16, ram=256.0)
    chosen = settled(given).placements
    assert chosen == {"flux.1-dev": ["quanto-int8"], "qwen-image": ["group-offload"]}


def test_a_run_keeps_what_was_settled_when_it_started(
    tiny_flux_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = suite(tiny_flux_dir, device="cuda", dtype="float16", placement="auto")
    on(monkeypatch, V100_16)
    first = settled(given)
    assert first.placements == {"tiny": ["all-on-gpu"]}
    (tmp_path / "suite.json").write_text(first.model_dump_json())
    on(monkeypatch, Gpu(V100_16.name, 16160, 7.0, free_mib=100))  # another process came in between
    with pytest.raises(GlanceBenchError, match="no placement fits"):
        settled(given)
    assert settled(given, tmp_path) == first
    on(monkeypatch, Gpu("NVIDIA Tiny", 100, 7.0))  # another machine
    with pytest.raises(GlanceBenchError, match="no placement fits"):
        settled(given, tmp_path)


def test_an_unknown_placement_is_answered_with_the_known_ones(tiny_flux_dir: Path) -> None:
    with pytest.raises(
        UsageError, match=r"placement: Input should be 'auto', 'all-on-gpu', .* or 'sequential'"
    ):
        suite(tiny_flux_dir).with_overrides(placement="quanto")
    assert suite(tiny_flux_dir).with_overrides(placement="auto").placement == "auto"


# -- out of memory -------------------------------------------------------------------------------------------


def test_out_of_memory_goes_on_with_the_next_plan_and_the_same_images(
    tiny_flux_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on(monkeypatch, None)
    timing = {"repeats": 1, "warmup": 0}
    run_suite(suite(tiny_flux_dir), tmp_path / "whole", QUIET)
    with monkeypatch.context() as patch:
        tried = run_out(patch, {"all-on-gpu": 0})
        given = suite(tiny_flux_dir, placement="all-on-gpu", timing=timing)
        results = run_suite(given, tmp_path / "small", QUIET)
    assert tried[:4] == [
        ("all-on-gpu", 2),
        ("all-on-gpu", 1),
        ("encode-then-drop", 2),
        ("encode-then-drop", 1),
    ]
    assert images(tmp_path / "small") == images(tmp_path / "whole")
    for record in records(tmp_path / "small"):
        assert (record["plan"], record["outgrown"]) == ("encode-then-drop", ["all-on-gpu"])
    told = capsys.readouterr().err
    assert "tiny: out of memory under all-on-gpu, going on with encode-then-drop\n" in told
    (timed,) = results["timing"]
    assert timed["hardware"].endswith(", encode-then-drop") and timed["components"]["encode"]["median"] > 0

    tried = run_out(monkeypatch, {})  # a longer run starts where the last one ended
    longer = suite(tiny_flux_dir, placement="all-on-gpu", prompts=[{"set": "own", "texts": ["a fox", "new"]}])
    run_suite(longer, tmp_path / "small", QUIET)
    assert {plan for plan, _ in tried} == {"encode-then-drop"}


def test_other_pixels_are_never_mixed_in(
    tiny_flux_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on(monkeypatch, None)
    largest = {"all-on-gpu": 0, "encode-then-drop": 1}
    run_out(monkeypatch, largest, "host")
    named = suite(tiny_flux_dir, placement="encode-then-drop")
    run_suite(named, tmp_path / "named", QUIET)
    batches = pd.concat(pd.read_parquet(file) for file in (tmp_path / "named/units").rglob("*.parquet"))
    assert set(batches["batch_size"]) == {1}
    largest["encode-then-drop"] = 0
    with pytest.raises(GlanceBenchError, match="placement quanto-int8 needs less and gives other pixels"):
        run_suite(named, tmp_path / "refused", QUIET)
    assert not list((tmp_path / "refused").rglob("*.png"))

    automatic = suite(tiny_flux_dir, placement="auto")
    run_suite(automatic, tmp_path / "auto", QUIET)
    assert "going on with quanto-int8; it gives other pixels" in capsys.readouterr().err
    for record in records(tmp_path / "auto"):
        assert record["plan"] == "quanto-int8"
        assert record["outgrown"] == ["all-on-gpu", "encode-then-drop"]
    made = json.loads((tmp_path / "auto" / "manifest.json").read_bytes())["units"]
    assert [unit["key"] for unit in made] == keys(suite(tiny_flux_dir, placement="quanto-int8"))
    assert len(images(tmp_path / "auto")) == 3


@pytest.mark.parametrize(("part", "memory"), [("draw", "GPU"), ("draw", "pinned"), ("_pipeline", "host")])
def test_a_model_that_does_not_even_load_moves_on(
    part: str, memory: str, tiny_flux_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, None)
    whole = getattr(placing.Placing, part)

    def made(self: placing.Placing, *args: Any) -> Any:
        if self.plan.name == "all-on-gpu":
            lack(memory)
        return whole(self, *args)

    monkeypatch.setattr(placing.Placing, part, made)
    run_suite(suite(tiny_flux_dir, placement="all-on-gpu"), tmp_path / "run", QUIET)
    assert {record["plan"] for record in records(tmp_path / "run")} == {"encode-then-drop"}


def test_without_a_placement_what_does_not_load_is_told_with_the_cure(
    tiny_flux_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: Path, **options: Any) -> Any:
        with placing.readable(path):  # which tells damaged files from this
            lack("host")

    monkeypatch.setattr(FluxFamily, "load", load)
    with pytest.raises(
        GlanceBenchError, match="^tiny: out of memory while it is loaded; .* --placement auto$"
    ):
        run_suite(suite(tiny_flux_dir), tmp_path, QUIET)


# -- not finite ----------------------------------------------------------------------------------------------


def test_the_first_image_that_is_not_finite_is_told_once(
    tiny_flux_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on(monkeypatch, None)

    def broken(self: Recorder, finite: Any) -> None:
        self.finite = [False for _ in finite]

    monkeypatch.setattr(Recorder, "on_finish", broken)
    given = suite(tiny_flux_dir, samplers=["uniform-4", "uniform-8"], placement="encode-then-drop")
    run_suite(given, tmp_path / "run", QUIET)
    told = capsys.readouterr().err
    assert told.count("is not finite in float32 under placement encode-then-drop") == 1
