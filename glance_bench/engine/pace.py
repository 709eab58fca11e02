"""How long an image takes, by the best that is known: this run's timing, a speed record, else arithmetic. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..machine import hardware_key
from ..profiles import Target
from ..sealed import find_sealed
from ..speed.record import ModelSpeed, SpeedRecord, read_records
from ..store import Run
from .arithmetic import evaluation_flop, rate
from .plan import Plan

__all__ = ["ARITHMETIC", "RECORD", "RECORDS", "TIMED", "Pace", "Pacer", "Subject", "records", "timed_here"]

TIMED, RECORD, ARITHMETIC = "measured", "speed record", "arithmetic"
WHOLE = ("all-on-gpu", "encode-then-drop")  # denoise alike: only where the text encoders are differs
RECORDS = Path("reports/speed")


@dataclass(frozen=True)
class Pace:
    """Seconds of one image. ``source`` is TIMED, RECORD or ARITHMETIC, ``basis`` says what exactly was used."""

    seconds: float
    source: str
    basis: str


@dataclass(frozen=True)
class Subject:
    """A model as it is to be run. ``path`` is None where its weights are not here, ``tokens`` are the image's."""

    name: str
    family: str
    path: Path | None
    resolution: tuple[int, int]
    tokens: int


@dataclass(frozen=True)
class Pacer:
    """Knows the pace of a model's samplers on ``target`` in ``dtype``, placed as ``placement`` says (None: anyhow).

    ``timed`` are this run's own seconds by model and sampler. Of several speed records the latest one counts.
    """

    target: Target
    dtype: str
    timed: Mapping[tuple[str, str], float] = field(default_factory=dict)
    records: Sequence[SpeedRecord] = ()
    placement: str | None = None

    def __call__(self, model: Subject, sampler: str, nfe: int) -> Pace:
        seconds = self.timed.get((model.name, sampler))
        if seconds is not None:
            return Pace(seconds, TIMED, "this run's own timing")
        return self._recorded(model, sampler, nfe) or self._reckoned(model, nfe)

    def _recorded(self, model: Subject, sampler: str, nfe: int) -> Pace | None:
        """From the same model at the same size and precision on the same kind of device."""
        for record in sorted(self.records, key=lambda one: one.made, reverse=True):
            measured = record.model(model.name)
            if measured is None or not self._is_like(record, measured, model):
                continue
            basis = f"{record.device.name}, {record.made[:10]}"
            own = measured.sampler(sampler)
            if own is not None:
                return Pace(own.seconds["total"].median, RECORD, basis)
            other = max(measured.samplers, key=lambda one: one.evaluations, default=None)
            if other is not None:
                each = other.seconds["denoise"].median / other.evaluations
                rest = other.seconds["total"].median - other.seconds["denoise"].median
                return Pace(nfe * each + rest, RECORD, f"{basis}, an evaluation of {other.sampler}")
        return None

    def _is_like(self, record: SpeedRecord, measured: ModelSpeed, model: Subject) -> bool:
        """Whether a record holds for the model here. Its batch need not be the suite's: its seconds are an image's."""
        return (
            record.rehearsed_memory is None
            and self._is_same_device(record)
            and measured.dtype == self.dtype
            and tuple(measured.resolution) == model.resolution
            and self._is_placed_as(measured.placement)
        )

    def _is_placed_as(self, placement: str) -> bool:
        alike = WHOLE if placement in WHOLE else (placement,)
        return self.placement is None or self.placement in alike

    def _is_same_device(self, record: SpeedRecord) -> bool:
        gpu = self.target.gpu
        if gpu is None:
            return record.device.kind == "cpu" and record.device.hardware == hardware_key("cpu")
        if self.target.here:
            return record.device.name == gpu.name
        return record.device.kind == "cuda" and gpu.name.lower() in record.device.name.lower()

    def _reckoned(self, model: Subject, nfe: int) -> Pace:
        operations, counted = evaluation_flop(model.family, model.tokens, model.path)
        speed, whose = rate(self.target.gpu, self.dtype)
        basis = f"{operations / 1e12:.3g} TFLOP an evaluation ({counted}) at {whose}"
        return Pace(nfe * operations / speed, ARITHMETIC, basis)


def records() -> list[SpeedRecord]:
    """The speed records below the working folder. Raises GlanceBenchError for a damaged one."""
    return read_records([RECORDS])


def timed_here(run: Run, plan: Plan) -> dict[tuple[str, str], float]:
    """Median seconds of an image by model and sampler, where this run was timed on this hardware."""
    from ..timing import timing_entries

    entries = timing_entries(plan)
    timed = [e for e in entries if e["key"] in find_sealed(run.folder / e["folder"], "parquet")]
    if not timed or not (run.folder / "manifest.json").is_file():
        return {}
    frame = run.timing()
    totals = frame[frame["component"] == "total"].groupby(["model", "sampler"])["seconds"].median()
    return {(str(model), str(sampler)): float(value) for (model, sampler), value in totals.items()}
