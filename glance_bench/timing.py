"""Latency, measured in a pass of its own: one image at a time, samplers interleaved, by component.

Never a by-product of generation, and outside every digest. The samplers of a model are played in turn in each
round, every other round backwards, so that a machine that slows down slows all of them. When a sampler is
added later, its session plays the teacher too, so that there is something to compare it with. Samplers can be timed
again, in a new session: its files stand beside the earlier ones, and all of them count. A sampler with weights of its
own is timed between the others all the same, so both checkpoints are loaded then. Where memory does not hold both, it
is left without times, and the user told.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from .engine.generate import load_model
from .engine.plan import TEACHER, Plan, PlannedModel, PlannedSampler
from .engine.trace import trace
from .errors import out_of_memory
from .machine import hardware_key
from .models.recorder import Recorder
from .sealed import Damaged, digest_of, parquet_bytes, read_sealed, seal, slug
from .speed.memory import Gauge
from .speed.record import Memory
from .speed.turns import turns
from .store import Run
from .terminal import Progress

__all__ = ["pending_timing", "timing_entries", "time_samplers"]

COLUMNS = {
    "model": "string",
    "sampler": "string",
    "session": "string",
    "hardware": "string",
    "prompt_id": "string",
    "repeat": "int64",
    "batch_size": "int64",
    "component": "string",
    "seconds": "float64",
    "evaluations": "float64",
    "peak_gib": "float64",
}
COMPONENTS = ("encode", "denoise", "decode")


def timing_entries(plan: Plan) -> list[dict[str, str]]:
    """The timing files of a plan: model, sampler, folder and key, as the manifest lists them."""
    if plan.suite.timing.repeats == 0:
        return []
    return [_entry(plan, sampler) for sampler in plan.samplers]


def _entry(plan: Plan, sampler: PlannedSampler) -> dict[str, str]:
    settings = plan.suite.timing.model_dump()
    key = digest_of([sampler.key, settings, _hardware(plan, sampler.model)])[:12]
    return {
        "model": sampler.model.name,
        "sampler": sampler.name,
        "folder": f"timing/{slug(sampler.model.name)}",
        "key": f"{slug(sampler.name)}-{key}",
    }


def _hardware(plan: Plan, model: PlannedModel) -> str:
    """What the model's latencies are comparable on: the machine, and where the parts lie if that was chosen."""
    placed = f", {model.placement.name}" if model.placement else ""
    return hardware_key(plan.suite.device) + placed


def pending_timing(run: Run, plan: Plan, progress: Progress) -> list[PlannedSampler]:
    """The samplers not yet timed on this hardware. Damaged files are quarantined and count as missing."""
    missing = []
    entries = timing_entries(plan)
    for sampler, entry in zip(plan.samplers, entries, strict=bool(entries)):
        whole = False
        for path in run.timing_files(entry).values():
            try:
                read_sealed(path)
                whole = True
            except Damaged as damage:
                progress.warn(f"{damage}; moved to quarantine")
                run.quarantine(damage)
        if not whole:
            missing.append(sampler)
    return missing


def time_samplers(run: Run, plan: Plan, pending: Sequence[PlannedSampler], progress: Progress) -> None:
    """Time ``pending``, one session a model, and write one file a sampler, beside those of earlier sessions.

    Out of memory, samplers with weights of their own are left out, then the model; a warning names them.
    """
    groups = []
    for _, samplers in plan.by_model():
        wanted = [sampler for sampler in samplers if sampler in pending]
        anchor = next((s for s in samplers if s.name == TEACHER), samplers[0])
        if wanted:
            groups.append((anchor, wanted))
    images = sum(len(_prompts(plan)) * len(_played(plan, anchor, wanted)) for anchor, wanted in groups)
    with progress.task("time", images) as advance:
        for anchor, wanted in groups:
            while wanted:
                try:
                    _session(run, plan, anchor, wanted, advance)
                    break
                except (MemoryError, RuntimeError) as error:
                    if not out_of_memory(error):
                        raise
                gc.collect()
                own = [sampler for sampler in wanted if sampler.weights != anchor.weights]
                left = own or wanted
                wanted = [sampler for sampler in wanted if sampler not in left]
                why = f", whose own weights have no room beside those of {anchor.name}" if own else ""
                names = ", ".join(sampler.name for sampler in left)
                progress.warn(f"{anchor.model.name}: out of memory, not timed: {names}{why}")


def _prompts(plan: Plan) -> Sequence[Any]:
    return plan.prompt_sets[0][2][: plan.suite.timing.prompts]


def _played(
    plan: Plan, anchor: PlannedSampler, wanted: Sequence[PlannedSampler]
) -> list[tuple[int | None, PlannedSampler]]:
    timing = plan.suite.timing
    return turns(list(dict.fromkeys([anchor, *wanted])), timing.repeats, timing.warmup)


def _session(
    run: Run,
    plan: Plan,
    anchor: PlannedSampler,
    wanted: Sequence[PlannedSampler],
    advance: Callable[[int, str], None],
) -> None:
    """Time ``wanted``, all of one model, and its ``anchor``."""
    prompts, played = _prompts(plan), _played(plan, anchor, wanted)
    gauge = Gauge(plan.suite.device)
    loaded = {
        weights: load_model(weights, plan.suite.device, plan.suite.dtype)
        for weights in dict.fromkeys(sampler.weights for _, sampler in played)
    }
    encoded = _encoded_before(loaded, [sampler for _, sampler in played], prompts)
    session = datetime.now(UTC).isoformat(timespec="milliseconds")
    rows: list[dict[str, Any]] = []
    for repeat, sampler in played:
        for prompt in prompts:
            gauge.start()
            measured = _measure(loaded[sampler.weights], sampler, prompt, repeat or 0, encoded)
            if repeat is not None:
                rows += _rows(sampler, session, plan, prompt, repeat, measured, gauge.peak())
            advance(1, f"{sampler.model.name} {sampler.name}")
    for sampler in wanted:
        entry = _entry(plan, sampler)
        kept = [row for row in rows if row["sampler"] in (sampler.name, anchor.name)]
        number = max(run.timing_files(entry), default=0) + 1
        key = entry["key"] + (f"+{number}" if number > 1 else "")
        seal(run.folder / entry["folder"], key, "parquet", parquet_bytes(kept, COLUMNS))
        trace("time", key)


Encoded = dict[
    tuple[PlannedModel, int | None, str], tuple[Any, float]
]  # an embedding, and the seconds it took


def _encoded_before(
    loaded: Mapping[PlannedModel, Any], samplers: Sequence[PlannedSampler], prompts: Sequence[Any]
) -> Encoded:
    """For a placement that has no encoders while it draws: then encoding is timed once, before."""
    encoded: Encoded = {}
    for sampler in samplers:
        weights, limit = sampler.weights, sampler.card.max_sequence_length
        if (
            weights.placement
            and weights.placement.drops_encoders
            and (weights, limit, prompts[0].id) not in encoded
        ):
            loaded[weights].encode([prompts[0].text])  # loads the encoders
            for prompt in prompts:
                encoded[weights, limit, prompt.id] = _encode(loaded[weights], prompt, limit)
    return encoded


def _encode(model: Any, prompt: Any, limit: int | None) -> tuple[Any, float]:
    started = time.perf_counter()
    embeds = model.encode([prompt.text], *([] if limit is None else [limit]))
    return embeds, time.perf_counter() - started


def _measure(model: Any, sampler: PlannedSampler, prompt: Any, seed: int, encoded: Encoded) -> Recorder:
    recorder = Recorder()
    size = sampler.model.resolution
    noise = model.noise([seed], resolution=size)
    limit = sampler.card.max_sequence_length
    before = encoded.get((sampler.weights, limit, prompt.id))
    embeds, recorder.seconds["encode"] = before or _encode(model, prompt, limit)
    started = time.perf_counter()
    model.sample(sampler.trajectory, embeds, noise, recorder, resolution=size)
    recorder.seconds["total"] = recorder.seconds["encode"] + time.perf_counter() - started
    return recorder


def _rows(
    sampler: PlannedSampler,
    session: str,
    plan: Plan,
    prompt: Any,
    repeat: int,
    measured: Recorder,
    memory: Memory,
) -> list[dict[str, Any]]:
    shared = {
        "model": sampler.model.name,
        "sampler": sampler.name,
        "session": session,
        "hardware": _hardware(plan, sampler.model),
        "prompt_id": prompt.id,
        "repeat": repeat,
        "batch_size": 1,
        "evaluations": round(measured.evaluations, 6),
        # A CPU's is left to `glance-bench speed`: after the passes before this one, the process has grown already.
        "peak_gib": memory.allocated,
    }
    return [
        {**shared, "component": component, "seconds": measured.seconds[component]}
        for component in (*COMPONENTS, "total")
    ]
