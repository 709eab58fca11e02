"""Speed records as files, and the order in which samplers are played."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from glance_bench.errors import GlanceBenchError
from glance_bench.speed.record import Memory, SpeedRecord, read_record, read_records, write_record
from glance_bench.speed.turns import turns
from glance_bench.trajectory import Step, Trajectory

SPREAD = {"median": 2.0, "q25": 1.5, "q75": 2.5, "n": 8}
RATIO = {"ratio": 5.0, "low": 4.9, "high": 5.1, "n": 8}
SAMPLER = {
    "sampler": "uniform-10",
    "steps": 10,
    "nfe": 10,
    "evaluations": 10.0,
    "switches": 0,
    "seconds": {"total": SPREAD},
    "step_seconds": [0.2] * 10,
    "blocks": [2.0] * 8,
    "faster": RATIO,
    "faster_denoise": RATIO,
    "fewer": 5.0,
    "tflop": 750.0,
    "mfu": None,
    "memory": {"resident": 3.0},
    "joules": None,
}
MODEL = {
    "model": "testbed-flux",
    "family": "flux",
    "weights": "random",
    "resolution": [64, 64],
    "dtype": "float32",
    "placement": "all-on-cpu",
    "attention": "torch",
    "text_tokens": 32,
    "parameters": 5_000_000,
    "load_seconds": 0.5,
    "forward_tflop": 0.01,
    "decode_tflop": 0.001,
    "peak_tflops": None,
    "peak_source": "no peak is known for this device",
    "overhead": {"ratio": 1.01, "low": None, "high": None, "n": 3},
    "samplers": [SAMPLER],
}
RECORD = {
    "made": "2026-11-01T00:00:00+00:00",
    "device": {"kind": "cpu", "name": "a processor", "hardware": "a processor, 2 threads", "memory": 24.0},
    "rehearsed_memory": None,
    "versions": {"torch": "2.15.0"},
    "blocks": 8,
    "warmup": 1,
    "batch": 1,
    "models": [MODEL],
}


@dataclass(frozen=True)
class Played:
    trajectory: Trajectory


def played(steps: int, adapter: str | None = None) -> Played:
    return Played(Trajectory((Step(1.0, 0.5, 1.0, adapter=adapter),) * steps))


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = SpeedRecord.model_validate(RECORD)
    write_record(tmp_path / "deep" / "one.json", record)
    assert json.loads((tmp_path / "deep" / "one.json").read_text())["schema"] == "glance-bench/speed/1"
    assert read_records([tmp_path / "absent", tmp_path / "deep"]) == [record]
    model = record.model("testbed-flux")
    assert model is not None and record.model("qwen-image") is None
    assert model.sampler("uniform-10") is not None and model.sampler("glance-8") is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schema": "glance-bench/speed/2"}, "schema"),
        ({"models": [{**MODEL, "load_seconds": "long"}]}, r"models\.0\.load_seconds"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_is_no_record_is_refused_with_its_place(tmp_path: Path, change: dict, complaint: str) -> None:
    (tmp_path / "bad.json").write_text(json.dumps({**RECORD, **change}))
    with pytest.raises(GlanceBenchError, match=rf"bad\.json is no speed record .*{complaint}"):
        read_record(tmp_path / "bad.json")


def test_memory_is_what_a_device_must_have_free() -> None:
    assert Memory(allocated=20.0, reserved=21.0).peak == 21.0
    assert Memory(resident=2.0).peak == 2.0
    assert Memory().peak is None


def test_blocks_go_forth_and_back_after_warming_up() -> None:
    long, short, adapted = played(50), played(8), played(10, adapter="a.safetensors")
    order = turns([long, short, adapted], blocks=4, warmup=2)
    warming, timed = order[:4], order[4:]
    assert warming == [(None, short), (None, adapted)] * 2
    assert [block for block, _ in timed] == [b for b in range(4) for _ in range(3)]
    forth = [long, short, adapted]
    assert [one for _, one in timed] == forth + forth[::-1] + forth + forth[::-1]
