"""The parts of the speed pass against numbers worked out by hand: times, operations, memory, peaks, a GPU's monitor."""

from __future__ import annotations

import inspect
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLQwenImage
from torch import nn

from glance_bench.models.checkpoints import read_geometry
from glance_bench.models.placement import CONTEXT
from glance_bench.models.random_weights import SHAPES, build, parameters
from glance_bench.registry import FAMILIES
from glance_bench.speed.flops import Operations, _counted, count
from glance_bench.speed.gpu import Monitor
from glance_bench.speed.memory import Gauge, largest
from glance_bench.speed.peaks import peak_of
from glance_bench.speed.record import Memory
from glance_bench.speed.request import Request
from glance_bench.speed.stopwatch import Stopwatch
from glance_bench.speed.summary import Taken, ratio, spread, summaries, switches
from glance_bench.training.memory import TRUE_SIZE
from glance_bench.trajectory import FLUX_SHIFT, QWEN_SHIFT, Step, TimeShift, Trajectory, teacher_grid


class Ticks:
    """A clock that is told what time it is."""

    now = 0.0

    def mark(self) -> float:
        return self.now

    def seconds(self, start: float, end: float) -> float:
        return end - start


def test_an_image_is_taken_apart() -> None:
    clock = Ticks()
    watch = Stopwatch(clock)
    with watch.component("encode"):
        clock.now = 5.0
    with watch.component("denoise"):
        for index, (switch, step) in enumerate([(0.5, 2.0), (0.0, 1.0), (0.25, 3.0)]):
            with watch.component("switch"):
                clock.now += switch
            clock.now += step
            watch.on_step(index, None)
    with watch.component("decode"):
        clock.now += 4.0
    assert watch.steps() == [2.0, 1.0, 3.0]
    assert [watch.spent(name) for name in ("encode", "denoise", "switch", "decode")] == [5.0, 6.75, 0.75, 4.0]
    assert watch.spent("upscale") is None


def test_it_never_waits_for_a_gpu() -> None:
    assert not Stopwatch(Ticks()).waits


STEPS = Trajectory((Step(1.0, 0.5, 1.0, passes=2), Step(0.5, 0.0, 0.5, passes=2)))


def taken(
    total: float, evaluations: float = 4.0, joules: float | None = None, gib: float | None = None
) -> Taken:
    components = {"denoise": total - 1.0, "switch": 0.0, "decode": 1.0}
    memory = Memory(resident=gib)
    return Taken(total, components, [total / 4, total / 2], evaluations, memory, joules)


def test_a_line_is_of_one_image_and_of_the_same_blocks() -> None:
    operations = Operations(forward=3.0, second=1.0, decode=0.5, text_tokens=8, transformer=10, vae=2)
    one, two = (
        SimpleNamespace(name=name, trajectory=STEPS, operations=operations) for name in ("teacher-50", "half")
    )
    blocks = {
        "teacher-50": [taken(10.0), taken(20.0), taken(60.0)],
        "half": [taken(4.0, 2.0, 100.0, 1.0), taken(10.0, 2.0, 300.0, 2.0), taken(20.0, 2.0, 200.0, 3.0)],
    }
    _, half = summaries([one, two], blocks, peak=2.0, batch=2)
    assert half.blocks == [2.0, 5.0, 10.0]
    assert (half.seconds["total"].median, half.seconds["decode"].median) == (5.0, 0.5)
    assert half.step_seconds == [1.25, 2.5]
    assert half.faster.ratio == pytest.approx(2.5), "the median of 2.5, 2 and 3, block by block"
    assert half.faster.low is None and half.faster.n == 3
    assert (half.nfe, half.evaluations, half.fewer) == (4, 2.0, 2.0)
    assert half.tflop == pytest.approx((2 * 3.0 + 2 * 1.0) / 2 + 0.5), "half of the evaluations were left out"
    assert half.mfu == pytest.approx(4.0 / 4.5 / 2.0)
    assert half.joules == 100.0 and half.memory.resident == 3.0


def test_intervals_need_six_blocks() -> None:
    assert ratio([2.0] * 5, [1.0] * 5).low is None
    six = ratio([2.0] * 6, [1.0] * 6)
    assert (six.low, six.ratio, six.high, six.n) == pytest.approx((2.0, 2.0, 2.0, 6))
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]).model_dump() == {"median": 3.0, "q25": 2.0, "q75": 4.0, "n": 5}


def test_switches_are_changes_of_who_serves() -> None:
    def of(*served: tuple[str | None, float]) -> int:
        return switches(Trajectory(tuple(Step(1.0, 0.5, 1.0, adapter=a, adapter_scale=s) for a, s in served)))

    assert of((None, 1.0), (None, 1.0)) == 0
    assert of(("slow", 1.0), ("slow", 1.0), ("fast", 1.0)) == 2
    assert of((None, 1.0), ("fast", 1.0), ("fast", 0.5)) == 2


def test_operations_of_a_layer_by_hand() -> None:
    layer, rows = nn.Linear(7, 5, bias=False, device="meta"), torch.empty(3, 7, device="meta")
    assert _counted(lambda: layer(rows)) == pytest.approx(2 * 3 * 7 * 5 / 1e12)


@pytest.mark.parametrize(
    ("name", "shift", "transformer", "forward"),
    [("flux.1-dev", FLUX_SHIFT, 11_901_408_320, 74.4), ("qwen-image", QWEN_SHIFT, 20_430_401_088, 69.3)],
)
def test_true_shapes_are_the_published_models(
    name: str, shift: TimeShift, transformer: int, forward: float
) -> None:
    geometry = read_geometry(SHAPES / name)
    assert geometry.tokens == 4096
    assert np.array_equal(teacher_grid(geometry.shift, 4096), teacher_grid(shift, 4096))
    operations = count(SHAPES / name, (1024, 1024))
    assert operations.transformer == transformer
    assert operations.forward == pytest.approx(forward, abs=0.05)
    expected = defaults(FAMILIES.get(geometry.family).transformer_class) | TRUE_SIZE[geometry.family]
    given = configured(name, "transformer")
    assert given == {key: expected[key] for key in given}


def test_the_autoencoder_of_qwen_image_is_its_class() -> None:
    given, own = configured("qwen-image", "vae"), defaults(AutoencoderKLQwenImage)
    assert given == {key: own[key] for key in given}


def configured(name: str, part: str) -> dict[str, Any]:
    read = json.loads((SHAPES / name / part / "config.json").read_text())
    return {key: value for key, value in read.items() if not key.startswith("_")}


def defaults(kind: Any) -> dict[str, Any]:
    """What a diffusers class is configured as when nothing is said."""
    arguments = list(inspect.signature(kind.__init__).parameters.values())[1:]
    return {
        one.name: list(one.default) if isinstance(one.default, tuple) else one.default for one in arguments
    }


def test_random_weights_are_seeded_and_finite() -> None:
    folder = SHAPES.parent.parent / "testbed" / "checkpoints" / "testbed-flux"
    one, same, other = (build(folder, device="cpu", dtype="float32", seed=seed) for seed in (1, 1, 2))
    weights = [model.pipe.transformer.x_embedder.weight for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert float(weights[0].std()) == pytest.approx(0.02, rel=0.05)
    assert not any(parameter.is_meta for parameter in one.pipe.vae.parameters())
    assert parameters(nn.Linear(3, 4)) == 16
    texts = ["a red cup on a table", "a red car", "a red car"]
    cup, car, again = (one.encode([text])[0]["prompt_embeds"] for text in texts)
    assert torch.equal(car, again) and not torch.equal(cup, car)


def test_a_rehearsed_gpu_has_the_context_within_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    fractions: list[float] = []
    about = SimpleNamespace(total_memory=40 * 2**30)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: about)
    monkeypatch.setattr("torch.cuda.set_per_process_memory_fraction", fractions.append)
    asked = Request(
        models=("testbed-flux",),
        samplers=("teacher-50",),
        random_weights=True,
        blocks=1,
        warmup=1,
        batch=1,
        side=32,
        dtype=None,
        device="cuda",
        placement="auto",
        limit=16.0,
    )
    with asked.rehearsal():
        assert fractions == [pytest.approx((16 - CONTEXT) / 40)]
    assert fractions[1:] == [1.0]


def test_memory_on_a_cpu_is_growth_since_before_the_model() -> None:
    gauge = Gauge("cpu")
    held = np.ones(40 * 2**20, dtype=np.uint8)
    gauge.start()
    first = gauge.peak().resident
    if first is None:
        pytest.skip("this kernel does not tell a process's peak anew")
    more = np.ones(100 * 2**20, dtype=np.uint8)
    second = gauge.peak().resident
    del more
    gauge.start()
    third = gauge.peak().resident
    assert second is not None and third is not None and len(held)
    assert second - first == pytest.approx(100 / 1024, abs=0.02) and third - first == pytest.approx(
        0, abs=0.02
    )


def test_the_largest_of_several_peaks() -> None:
    peaks = [Memory(allocated=1.0, reserved=5.0), Memory(allocated=2.0, reserved=4.0)]
    assert largest(peaks) == Memory(allocated=2.0, reserved=5.0)
    assert largest([Memory(), Memory()]) == Memory()


@pytest.mark.parametrize(
    ("name", "dtype", "tflops"),
    [
        ("Tesla V100-SXM2-32GB", "float16", 125.0),
        ("Tesla V100-SXM2-32GB", "float32", 15.7),
        ("Tesla V100-SXM2-32GB", "bfloat16", None),
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 312.0),
        ("NVIDIA A10", "float16", 125.0),
        ("NVIDIA A10G", "float16", None),
        ("NVIDIA H200", "bfloat16", 989.4),
        ("NVIDIA GH200 480GB", "bfloat16", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "float16", None),
    ],
)
def test_peaks_of_known_gpus_only(name: str, dtype: str, tflops: float | None) -> None:
    found = peak_of("cuda", name, dtype)
    assert found.tflops == tflops and found.source
    assert peak_of("cpu", name, dtype).tflops is None


class Nvml:
    """Stands in for the driver's library."""

    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0

    class NVMLError(Exception):
        pass

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        return 12_345

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:
        return {self.NVML_CLOCK_SM: 1380}[kind]

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        return 61

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        return 0x1 | 0x4 | 0x40  # idle is no reason to worry


class OldNvml(Nvml):
    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        raise self.NVMLError("not supported")


def test_a_gpu_tells_energy_and_state() -> None:
    monitor = Monitor(Nvml(), "handle")
    state = monitor.state()
    assert monitor.joules() == pytest.approx(12.345) and state is not None
    assert (state.sm_mhz, state.celsius) == (1380, 61)
    assert state.throttled == ["power cap", "thermal, by the hardware"]
    assert Monitor(OldNvml(), "handle").joules() is None
