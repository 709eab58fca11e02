"""A speed record: what ``glance-bench speed`` measured on one device, as a JSON file. No torch.

Seconds, FLOP and joules are those of one image: what a batch took, divided by its images. A value that was not
measured is null, and ``notes`` says why. Records worth keeping lie in ``reports/speed/``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import GlanceBenchError
from ..sealed import write_atomic

__all__ = [
    "SCHEMA",
    "Device",
    "Memory",
    "ModelSpeed",
    "Ratio",
    "SamplerSpeed",
    "SpeedRecord",
    "Spread",
    "State",
    "read_record",
    "read_records",
    "write_record",
]

SCHEMA: Literal["glance-bench/speed/1"] = "glance-bench/speed/1"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Spread(_Strict):
    """Median and quartiles over ``n`` blocks."""

    median: float
    q25: float
    q75: float
    n: int


class Ratio(_Strict):
    """The median of a ratio over ``n`` blocks, with its 95 % interval; without one below six blocks."""

    ratio: float
    low: float | None
    high: float | None
    n: int


class Memory(_Strict):
    """The most memory a sampler held, in GiB.

    On a GPU what torch had allocated and reserved there; on a CPU what the process held in RAM above what it held
    before the model was loaded.
    """

    allocated: float | None = None
    reserved: float | None = None
    resident: float | None = None

    @property
    def peak(self) -> float | None:
        """What a device must have free for it: the memory reserved on a GPU, the growth in RAM on a CPU."""
        return self.resident if self.reserved is None else self.reserved


class State(_Strict):
    """A GPU at a moment: clock of its multiprocessors in MHz, temperature in degrees Celsius, reasons to throttle."""

    sm_mhz: int
    celsius: int
    throttled: list[str]


class Device(_Strict):
    """``kind`` is cpu or cuda, ``hardware`` the key of ``machine.hardware_key``, ``memory`` in GiB."""

    kind: Literal["cpu", "cuda"]
    name: str
    hardware: str
    memory: float


class SamplerSpeed(_Strict):
    """One sampler on one model.

    Attributes:
        steps, nfe: of its trajectory: steps, and model evaluations counting both passes of true guidance.
        evaluations: those really made, counted by a hook.
        switches: how often another adapter is put in during one image, the first one included.
        seconds: by component: ``total`` (from the prompt to the pixels), ``encode``, ``denoise``, ``step`` (the mean of
            an image's steps), ``switch`` (all of them), ``decode``. Random weights have no ``encode``.
        step_seconds: the median of each step, in order.
        blocks: the total of each block, in order.
        faster, faster_denoise: how many times as fast as the teacher, whole and without encoding and decoding.
        fewer: how many times fewer evaluations than the teacher, as counted.
        tflop: 10^12 floating point operations of denoising and decoding.
        mfu: operations of denoising a second, over the device's peak.
    """

    sampler: str
    steps: int
    nfe: int
    evaluations: float
    switches: int
    seconds: dict[str, Spread]
    step_seconds: list[float]
    blocks: list[float]
    faster: Ratio
    faster_denoise: Ratio
    fewer: float
    tflop: float
    mfu: float | None
    memory: Memory
    joules: float | None


class ModelSpeed(_Strict):
    """One model: how it was run, what one evaluation costs, and its samplers.

    Attributes:
        weights: "random" for the true shapes with random numbers, "checkpoint" for the model itself.
        resolution: height and width in pixels.
        text_tokens: tokens of the prompt's embedding.
        parameters: of the transformer.
        load_seconds: from nothing to a model on the device.
        forward_tflop, decode_tflop: one evaluation for one image with its prompt; decoding one image.
        peak_tflops: of the device in this dtype, 10^12 a second; ``peak_source`` says by whom, or why there is none.
        overhead: seconds of an image here over those of a bare loop around the pipeline, the same steps.
        before, after: the GPU's state at the ends of each block.
    """

    model: str
    family: str
    weights: Literal["random", "checkpoint"]
    resolution: tuple[int, int]
    dtype: str
    placement: str
    attention: str
    text_tokens: int
    parameters: int
    load_seconds: float
    forward_tflop: float
    decode_tflop: float
    peak_tflops: float | None
    peak_source: str
    overhead: Ratio
    samplers: list[SamplerSpeed]
    before: list[State] = []
    after: list[State] = []
    notes: list[str] = []

    def sampler(self, name: str) -> SamplerSpeed | None:
        """The sampler of this name, if it was measured."""
        return next((one for one in self.samplers if one.sampler == name), None)


class SpeedRecord(_Strict):
    """What one command measured.

    ``rehearsed_memory`` is the GiB to which the GPU's memory was cut down, CUDA's context included, to see what fits:
    the times of such a record are no smaller card's times. ``made`` is the UTC time in ISO 8601, ``versions`` those of
    ``machine.environment``.
    """

    schema_: Literal["glance-bench/speed/1"] = Field(SCHEMA, alias="schema")
    made: str
    device: Device
    rehearsed_memory: float | None
    versions: dict[str, str]
    blocks: int
    warmup: int
    batch: int
    models: list[ModelSpeed]

    def model(self, name: str) -> ModelSpeed | None:
        """The model of this name, if it was measured."""
        return next((one for one in self.models if one.model == name), None)


def write_record(file: Path, record: SpeedRecord) -> None:
    """Write it whole, with sorted keys."""
    write_atomic(
        file, (json.dumps(record.model_dump(by_alias=True), indent=1, sort_keys=True) + "\n").encode()
    )


def read_record(file: Path) -> SpeedRecord:
    """Raises GlanceBenchError when the file is missing or no speed record of this version."""
    try:
        return SpeedRecord.model_validate_json(file.read_bytes())
    except OSError as error:
        raise GlanceBenchError(f"{file}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise GlanceBenchError(f"{file} is no speed record ({SCHEMA}): {where}: {first['msg']}") from error


def read_records(folders: Sequence[Path]) -> list[SpeedRecord]:
    """Every record in these folders, by file name; a folder that is not there has none."""
    return [read_record(file) for folder in folders for file in sorted(folder.glob("*.json"))]
