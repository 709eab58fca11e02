"""Latency, measured in a pass of its own: one image at a time, samplers interleaved, by component.

Never a by-product of generation, and outside every digest. The samplers of a model are played in turn in each
round, every other round backwards, so that a machine that slows down slows all of them. When a sampler is
added later, its session plays the teacher too, so that there is something to compare it with. Samplers can be timed
again, in a new session: its files stand beside the earlier ones, and all of them count.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from .engine.generate import load_model
from .engine.plan import TEACHER, Plan, PlannedSampler
from .engine.trace import trace
from .machine import hardware_key
from .models.recorder import Recorder
from .sealed import Damaged, digest_of, parquet_bytes, read_sealed, seal, slug
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
    "evaluations": "int64",
}
COMPONENTS = ("encode", "denoise", "decode")


def timing_entries(plan: Plan) -> list[dict[str, str]]:
    """The timing files of a plan: model, sampler, folder and key, as the manifest lists them."""
    if plan.suite.timing.repeats == 0:
        return []
    return [_entry(plan, sampler) for sampler in plan.samplers]


def _entry(plan: Plan, sampler: PlannedSampler) -> dict[str, str]:
    settings = plan.suite.timing.model_dump()
    key = digest_of([sampler.key, settings, hardware_key(plan.suite.device)])[:12]
    return {
        "model": sampler.model.name,
        "sampler": sampler.name,
        "folder": f"timing/{slug(sampler.model.name)}",
        "key": f"{slug(sampler.name)}-{key}",
    }


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
    """Time ``pending``, one session a model, and write one file a sampler, beside those of earlier sessions."""
    timing = plan.suite.timing
    prompts = plan.prompt_sets[0][2][: timing.prompts]
    groups = []
    for model, samplers in plan.by_model():
        wanted = [sampler for sampler in samplers if sampler in pending]
        anchor = next((s for s in samplers if s.name == TEACHER), samplers[0])
        if wanted:
            groups.append(
                (
                    model,
                    wanted,
                    anchor,
                    turns(list(dict.fromkeys([anchor, *wanted])), timing.repeats, timing.warmup),
                )
            )
    with progress.task("time", len(prompts) * sum(len(played) for *_, played in groups)) as advance:
        for model, wanted, anchor, played in groups:
            loaded = load_model(model, plan.suite.device, plan.suite.dtype)
            session = datetime.now(UTC).isoformat(timespec="milliseconds")
            rows: list[dict[str, Any]] = []
            for repeat, sampler in played:
                for prompt in prompts:
                    measured = _measure(loaded, sampler, prompt, repeat or 0)
                    if repeat is not None:
                        rows += _rows(sampler, session, plan, prompt, repeat, measured)
                    advance(1, f"{model.name} {sampler.name}")
            for sampler in wanted:
                entry = _entry(plan, sampler)
                kept = [row for row in rows if row["sampler"] in (sampler.name, anchor.name)]
                number = max(run.timing_files(entry), default=0) + 1
                key = entry["key"] + (f"+{number}" if number > 1 else "")
                seal(run.folder / entry["folder"], key, "parquet", parquet_bytes(kept, COLUMNS))
                trace("time", key)


def _measure(model: Any, sampler: PlannedSampler, prompt: Any, seed: int) -> Recorder:
    recorder = Recorder()
    size = sampler.model.resolution
    noise = model.noise([seed], resolution=size)
    started = time.perf_counter()
    with recorder.component("encode"):
        embeds = model.encode([prompt.text])
    model.sample(sampler.trajectory, embeds, noise, recorder, resolution=size)
    recorder.seconds["total"] = time.perf_counter() - started
    return recorder


def _rows(
    sampler: PlannedSampler, session: str, plan: Plan, prompt: Any, repeat: int, measured: Recorder
) -> list[dict[str, Any]]:
    shared = {
        "model": sampler.model.name,
        "sampler": sampler.name,
        "session": session,
        "hardware": hardware_key(plan.suite.device),
        "prompt_id": prompt.id,
        "repeat": repeat,
        "batch_size": 1,
        "evaluations": round(measured.evaluations),
    }
    return [
        {**shared, "component": component, "seconds": measured.seconds[component]}
        for component in (*COMPONENTS, "total")
    ]
