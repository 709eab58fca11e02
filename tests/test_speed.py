"""`glance-bench speed` for real: both test models with random weights, on a CPU, at a quarter of their pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from glance_bench.cli import app
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.models.placement import CONTEXT
from glance_bench.models.placement import placement as placed
from glance_bench.models.random_weights import build, shape_folder
from glance_bench.registry import MODELS
from glance_bench.samplers.cards import load_card
from glance_bench.speed import table
from glance_bench.speed.adapters import random_adapter
from glance_bench.speed.flops import Operations
from glance_bench.speed.record import ModelSpeed, SpeedRecord, read_record
from glance_bench.speed.request import Request
from glance_bench.speed.session import measure
from glance_bench.speed.subject import Subject, resolve
from glance_bench.terminal import Progress
from glance_bench.trajectory import Step, Trajectory

BLOCKS = 1
CACHED = "teacher-50-fbcache"
TOO_LARGE = (
    r"flux\.1-dev at 32x32 does not fit this CPU: encode-then-drop needs 4\d\.\d GiB of memory, where 20\.0 are free; "
    r"quanto-int8 needs"
)
SMALL = Operations(forward=1.0, second=0.0, decode=1.0, text_tokens=8, transformer=1000, vae=10)


def request(models: list[str], samplers: list[str], **changes: Any) -> Request:
    settings: dict[str, Any] = {
        "random_weights": True,
        "blocks": BLOCKS,
        "warmup": 1,
        "batch": 1,
        "side": 32,
        "dtype": "",
        "device": "cpu",
        "placement": "auto",
        "limit": None,
    }
    return Request.resolve(models, samplers, **{**settings, **changes})


@pytest.fixture(scope="module")
def record() -> SpeedRecord:
    asked = request(
        ["testbed-flux", "testbed-qwen"], ["uniform-10", "glance-10", "glance-8", CACHED], batch=2
    )
    return measure(asked, Progress(quiet=True))


@pytest.fixture(params=["testbed-flux", "testbed-qwen"])
def measured(record: SpeedRecord, request: pytest.FixtureRequest) -> ModelSpeed:
    found = record.model(request.param)
    assert found is not None
    return found


def test_evaluations_are_counted_and_are_the_nominal_ones(measured: ModelSpeed) -> None:
    passes = 2 if measured.family == "qwen_image" else 1
    counted = {one.sampler: one.evaluations for one in measured.samplers}
    cached = counted.pop(CACHED)
    steps = {"teacher-50": 50, "uniform-10": 10, "glance-10": 10, "glance-8": 8}
    assert counted == {sampler: number * passes for sampler, number in steps.items()}
    assert {one.sampler: one.nfe for one in measured.samplers} == {**counted, CACHED: 50 * passes}
    assert 0 < cached < 50 * passes, "the cache left out a part"
    assert {one.sampler: one.fewer for one in measured.samplers}["glance-8"] == 6.25
    assert {one.sampler: one.switches for one in measured.samplers} == {
        "teacher-50": 0,
        "uniform-10": 0,
        "glance-10": 2,
        "glance-8": 2,
        CACHED: 0,
    }


def test_times_add_up(measured: ModelSpeed) -> None:
    for one in measured.samplers:
        assert len(one.blocks) == one.seconds["total"].n == BLOCKS
        assert len(one.step_seconds) == one.steps and min(one.step_seconds) > 0
        parts = one.seconds["denoise"].median + one.seconds["decode"].median
        assert 0 < parts <= one.seconds["total"].q75
        stepped = one.steps * one.seconds["step"].median + one.seconds["switch"].median
        assert stepped <= one.seconds["denoise"].q75
        assert "encode" not in one.seconds
        assert one.mfu is None and one.joules is None
    teacher = measured.samplers[0]
    assert (teacher.faster.ratio, teacher.faster_denoise.ratio, teacher.fewer) == (1.0, 1.0, 1.0)
    assert measured.overhead.n == BLOCKS and measured.overhead.ratio > 0


def test_operations_are_evaluations_and_a_decoding(record: SpeedRecord) -> None:
    flux = record.model("testbed-flux")
    assert flux is not None and flux.forward_tflop > 0 and flux.decode_tflop > 0
    for one in flux.samplers:
        assert one.tflop == pytest.approx(one.evaluations * flux.forward_tflop + flux.decode_tflop)
    qwen = record.model("testbed-qwen")
    assert qwen is not None
    teacher = qwen.samplers[0]
    second = (teacher.tflop - qwen.decode_tflop) / 50 - qwen.forward_tflop
    assert 0 < second < qwen.forward_tflop, "the negative prompt is shorter"


def test_a_record_says_on_what_and_survives_a_file(record: SpeedRecord) -> None:
    again = SpeedRecord.model_validate_json(record.model_dump_json(by_alias=True))
    assert again == record
    assert record.device.kind == "cpu" and record.device.name in record.device.hardware
    assert {"torch", "diffusers", "glance_bench", "python"} <= record.versions.keys()
    assert record.rehearsed_memory is None and record.batch == 2
    for model in record.models:
        assert (model.weights, model.resolution, model.dtype) == ("random", (32, 32), "float32")


def test_the_table_shows_what_was_measured_and_no_empty_column(record: SpeedRecord) -> None:
    shown = "\n".join(table.lines(record))
    assert "testbed-flux, random weights" in shown and "6.2\u00d7" in shown
    assert "harness overhead against a bare pipeline loop" in shown
    heads = next(line for line in shown.splitlines() if line.startswith("sampler"))
    assert "NFE" in heads and "MFU" not in heads and " J" not in heads and "encode" not in heads
    marked = list(table.markdown(record))
    assert sum(line.startswith("| glance-8 ") for line in marked) == 2


def test_a_model_that_memory_is_not_enough_for_leaves_the_record_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Subject.load

    def too_large(self: Subject, request: Request) -> Any:
        return load(self, request) if self.entry.name == "testbed-flux" else torch.empty(2**50)

    monkeypatch.setattr(Subject, "load", too_large)
    options = ["--random-weights", "--blocks", "1", "--warmup", "1", "--resolution", "32", "--device", "cpu"]
    file = tmp_path / "speed.json"
    done = CliRunner().invoke(app, ["speed", "testbed-flux,testbed-qwen", *options, "-o", str(file), "-q"])
    assert done.exit_code == 3 and "\nteacher-50 " in done.stdout
    assert done.stderr.startswith(
        "error: testbed-qwen in float32 at 32x32, batch 1, placed encode-then-drop, "
    )
    assert "does not fit into this machine's memory: try a smaller --batch" in done.stderr
    assert [model.model for model in read_record(file).models] == ["testbed-flux"]
    file.unlink()
    done = CliRunner().invoke(app, ["speed", "testbed-qwen", *options, "-o", str(file), "-q"])
    assert done.exit_code == 3 and done.stdout == "" and not file.exists()


def test_trained_weights_are_encoded_too() -> None:
    asked = request(["testbed-flux"], ["uniform-4"], random_weights=False, blocks=1)
    (flux,) = measure(asked, Progress(quiet=True)).models
    assert flux.weights == "checkpoint"
    assert flux.sampler("uniform-4").seconds["encode"].median > 0  # type: ignore[union-attr]


@pytest.mark.parametrize("placement", ["quanto-int8", "group-offload"])
def test_a_placement_is_put_into_effect(placement: str) -> None:
    folder = shape_folder(MODELS.get("testbed-flux"))
    plan = placed(placement, "testbed-flux", compute=None)
    model = build(folder, device="cpu", dtype="float32", plan=plan)
    kinds = {type(module).__name__ for module in model.pipe.transformer.modules()}
    assert ("QLinear" in kinds) == (placement == "quanto-int8")
    bare = Trajectory((Step(1.0, 0.0, 1.0),))
    assert model.sample(bare, model.encode(["a cup"]), model.noise([3])).std() > 0


def test_a_bare_loop_makes_the_same_image() -> None:
    model = build(shape_folder(MODELS.get("testbed-qwen")), device="cpu", dtype="float32")
    embeds, noise = model.encode(["a cup"]), model.noise([3])
    steps = load_card("native-8").compile(model.geometry())
    assert (model.sample(steps, embeds, noise) == model.play_stock(8, embeds, noise)).all()


def test_an_adapter_that_is_not_here_is_made_and_serves(tmp_path: Path) -> None:
    folder = shape_folder(MODELS.get("testbed-flux"))
    random_adapter(folder, "float32", tmp_path / "one.safetensors", seed=1)
    model = build(folder, device="cpu", dtype="float32")
    embeds, noise = model.encode(["a cup"]), model.noise([3])
    bare = Trajectory((Step(1.0, 0.0, 1.0),))
    served = Trajectory((Step(1.0, 0.0, 1.0, adapter=str(tmp_path / "one.safetensors")),))
    assert (model.sample(bare, embeds, noise) != model.sample(served, embeds, noise)).any()


def test_a_published_model_gets_random_adapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def noted(folder: Path, dtype: str, file: Path, seed: int) -> None:
        made.append(file)

    monkeypatch.setattr("glance_bench.speed.subject.random_adapter", noted)
    monkeypatch.setattr("glance_bench.speed.subject.count", lambda folder, size, limit: SMALL)
    monkeypatch.setattr("glance_bench.speed.subject.free_ram_gib", lambda: 1000.0)
    subject = resolve("flux.1-dev", request(["flux.1-dev"], ["glance-8"], side=256), tmp_path)
    adapters = [step.adapter for step in subject.samplers[1].trajectory.steps]
    assert adapters == [str(made[0])] * 3 + [str(made[1])] * 5 and len(made) == 2
    assert any("glance-8/slow" in note and "random" in note for note in subject.notes)


def test_what_cannot_be_measured_is_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("glance_bench.speed.subject.free_ram_gib", lambda: 20.0)
    with pytest.raises(GlanceBenchError, match=TOO_LARGE):
        measure(request(["testbed-flux", "flux.1-dev"], []), Progress(quiet=True))
    with pytest.raises(GlanceBenchError, match="needs a GPU; this is a CPU"):
        request(["testbed-flux"], [], limit=16.0)
    with pytest.raises(GlanceBenchError, match="no usable GPU"):
        request(["testbed-flux"], [], device="cuda")
    with pytest.raises(UsageError, match="--dtype half: valid: bfloat16, float16, float32"):
        request(["testbed-flux"], [], dtype="half")
    with pytest.raises(UsageError, match="--placement quanto: .*quanto-int8"):
        measure(request(["testbed-flux"], [], placement="quanto"), Progress(quiet=True))
    with pytest.raises(UsageError, match=r"'flux-schnell-4' brings the weights of flux\.1-schnell"):
        measure(request(["testbed-flux"], ["flux-schnell-4"]), Progress(quiet=True))
    with pytest.raises(UsageError, match="unknown sampler 'uniform-9'"):
        measure(request(["testbed-flux"], ["uniform-9"]), Progress(quiet=True))
    with pytest.raises(UsageError, match="multiples of"):
        measure(request(["testbed-flux"], [], side=33), Progress(quiet=True))
    with pytest.raises(GlanceBenchError, match=r"flux\.1-dev"):
        measure(request(["flux.1-dev"], [], random_weights=False), Progress(quiet=True))


@pytest.mark.gpu
def test_a_gpu_is_timed_by_events_and_its_memory_is_cut_down() -> None:
    measured = measure(
        request(["testbed-flux"], ["uniform-4"], device="cuda", limit=4.0), Progress(quiet=True)
    )
    (flux,) = measured.models
    assert (measured.device.kind, measured.rehearsed_memory, flux.dtype) == ("cuda", 4.0, "float16")
    assert "flash" not in flux.attention and "math" in flux.attention
    for one in flux.samplers:
        assert 0 < one.memory.allocated <= one.memory.reserved <= 4.0 - CONTEXT  # type: ignore[operator]
        assert one.steps * one.seconds["step"].median <= one.seconds["total"].q75
    assert any("MEMORY REHEARSAL" in line for line in table.lines(measured))
