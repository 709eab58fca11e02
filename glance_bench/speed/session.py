"""The pass itself: each model loaded, its samplers played in turn, block by block, and what came of it as a record."""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from ..errors import Failures, out_of_memory
from ..machine import environment, hardware_key, threads
from ..terminal import Progress
from .gpu import Monitor, open_monitor
from .memory import Gauge
from .peaks import peak_of
from .record import Device, ModelSpeed, SpeedRecord, State
from .request import TEACHER, Request
from .stopwatch import Clock, Stopwatch, clock_of
from .subject import Played, Subject, resolve
from .summary import Taken, ratio, summaries
from .turns import turns

__all__ = ["Unfinished", "measure"]

GIB = 2**30
PROMPT = "a red bicycle leaning against a blue wooden door, with a basket of flowers, in the morning light"
COMPONENTS = ("encode", "denoise", "switch", "decode")


class Unfinished(Failures):
    """A line for each model that memory was not enough for; ``record`` has the others."""

    def __init__(self, lines: Sequence[str], record: SpeedRecord) -> None:
        super().__init__(lines)
        self.record = record


def measure(request: Request, progress: Progress) -> SpeedRecord:
    """Every model of a request, one after another. All are looked at before the first is loaded.

    Raises what ``subject.resolve`` raises, and Unfinished when memory was not enough for a model.
    """
    device = _device(request)
    with tempfile.TemporaryDirectory() as scratch, request.rehearsal():
        subjects = [resolve(name, request, Path(scratch)) for name in request.models]
        models: list[ModelSpeed] = []
        too_small: list[str] = []
        for subject in subjects:
            try:
                models.append(_Session(subject, request, device).measure(progress))
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                too_small.append(_too_small(subject, request))
            gc.collect()
            if request.device == "cuda":
                torch.cuda.empty_cache()
    about = environment(request.device)
    versions = {"glance_bench": about["glance_bench"], "python": about["python"], **about["versions"]}
    record = SpeedRecord(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        device=device,
        rehearsed_memory=request.limit,
        versions=versions,
        blocks=request.blocks,
        warmup=request.warmup,
        batch=request.batch,
        models=models,
    )
    if too_small:
        raise Unfinished(too_small, record)
    return record


class _Session:
    """One model's turns."""

    def __init__(self, subject: Subject, request: Request, device: Device) -> None:
        self.subject = subject
        self.request = request
        self.device = device
        self.clock: Clock = clock_of(request.device)
        self.gauge = Gauge(request.device)
        self.peak = peak_of(request.device, device.name, subject.plan.dtype)
        self.monitor, why = _monitor(request.device)
        self.notes = [*subject.notes, *filter(None, [why, _busy()])]

    def measure(self, progress: Progress) -> ModelSpeed:
        request, subject = self.request, self.subject
        started = time.perf_counter()
        self.model = subject.load(request)
        self.embeds = self._encoded_before()
        self._synchronise()
        load_seconds = time.perf_counter() - started
        taken: dict[str, list[Taken]] = defaultdict(list)
        bare: list[tuple[float, float]] = []
        states: list[tuple[State | None, State | None]] = []
        order = turns(subject.samplers, request.blocks, request.warmup)
        with progress.task("speed", len(order), "turns") as advance:
            for block, played in groupby(order, key=lambda turn: turn[0]):
                before = self._state()
                for _, sampler in played:
                    one = self._take(sampler)
                    if block is not None:
                        taken[sampler.name].append(one)
                    if sampler.name == TEACHER and block is not None:
                        bare.append(self._beside_a_bare_loop(block))
                    advance(1, f"{subject.entry.name} {sampler.name}")
                if block is not None:
                    states.append((before, self._state()))
        return ModelSpeed(
            model=subject.entry.name,
            family=subject.entry.family,
            weights="random" if request.random_weights else "checkpoint",
            resolution=subject.resolution,
            dtype=subject.plan.dtype,
            placement=subject.plan.name,
            attention=_attention(request.device),
            text_tokens=subject.operations.text_tokens,
            parameters=subject.operations.transformer,
            load_seconds=load_seconds,
            forward_tflop=subject.operations.forward,
            decode_tflop=subject.operations.decode,
            peak_tflops=self.peak.tflops,
            peak_source=self.peak.source,
            overhead=ratio([one for one, _ in bare], [one for _, one in bare]),
            samplers=summaries(subject.samplers, taken, self.peak.tflops, request.batch),
            before=[before for before, _ in states if before],
            after=[after for _, after in states if after],
            notes=self.notes,
        )

    def _take(self, sampler: Played) -> Taken:
        """One batch, from the prompt to the pixels, or from the embedding where that was made before."""
        noise = self._noise()
        watch = Stopwatch(self.clock)
        embeds = self.embeds[sampler.limit] if self.embeds else None
        self._synchronise()
        self.gauge.start()
        energy = self.monitor.joules() if self.monitor else None
        started = time.perf_counter()
        if embeds is None:
            with watch.component("encode"):
                embeds = self._encode(sampler.limit)
        self.model.sample(sampler.trajectory, embeds, noise, watch, resolution=self.subject.resolution)
        total = time.perf_counter() - started
        spent = self.monitor.joules() if self.monitor else None
        components = {name: watch.spent(name) for name in COMPONENTS}
        return Taken(
            total=total,
            components={name: seconds for name, seconds in components.items() if seconds is not None},
            steps=watch.steps(),
            evaluations=watch.evaluations,
            memory=self.gauge.peak(),
            joules=None if energy is None or spent is None else spent - energy,
        )

    def _beside_a_bare_loop(self, block: int) -> tuple[float, float]:
        """Seconds of the same steps here and in a bare pipeline, each first in every other block.

        The teacher was played before, so no adapter is active.
        """
        noise, embeds = self._noise(), self.embeds.get(None) or self._encode()
        size = self.subject.resolution
        bare = self.subject.bare

        def ours() -> None:
            self.model.sample(bare, embeds, noise, Stopwatch(self.clock), resolution=size)

        def alone() -> None:
            self.model.play_stock(len(bare), embeds, noise, resolution=size)

        seconds = {}
        for play in (ours, alone)[:: -1 if block % 2 else 1]:
            self._synchronise()
            started = time.perf_counter()
            play()
            seconds[play] = time.perf_counter() - started
        return seconds[ours], seconds[alone]

    def _encoded_before(self) -> dict[int | None, list[dict[str, Any]]]:
        """Embeddings that are made once, by text limit: random ones, or a placement's, which lets the encoders go."""
        limits = {None, *(sampler.limit for sampler in self.subject.samplers)}
        if self.request.random_weights:
            return {limit: self._encode(limit) for limit in limits}
        if self.model.placing is None:
            return {}
        started = time.perf_counter()
        embeds = {limit: self._encode(limit) for limit in limits}
        self._synchronise()
        each = (time.perf_counter() - started) / self.request.batch / len(limits)
        self.notes.append(
            f"encoding: {each:.3f} s a prompt, loading the encoders included, before the rest was loaded"
        )
        self.model.ready()
        return embeds

    def _encode(self, limit: int | None = None) -> list[dict[str, Any]]:
        embeds: list[dict[str, Any]] = self.model.encode(
            [PROMPT] * self.request.batch, *([] if limit is None else [limit])
        )
        return embeds

    def _noise(self) -> torch.Tensor:
        noise: torch.Tensor = self.model.noise(range(self.request.batch), resolution=self.subject.resolution)
        return noise

    def _synchronise(self) -> None:
        if self.request.device == "cuda":
            torch.cuda.synchronize()

    def _state(self) -> State | None:
        return self.monitor.state() if self.monitor else None


def _device(request: Request) -> Device:
    hardware = hardware_key(request.device)
    if request.device == "cuda":
        about = torch.cuda.get_device_properties(0)
        return Device(kind="cuda", name=about.name, hardware=hardware, memory=about.total_memory / GIB)
    name = hardware.rsplit(", ", 2)[0]
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Device(kind="cpu", name=name, hardware=hardware, memory=ram / GIB)


def _monitor(device: str) -> tuple[Monitor | None, str]:
    if device != "cuda":
        return None, "energy and clocks: read on a GPU only"
    return open_monitor(f"GPU-{torch.cuda.get_device_properties(0).uuid}")


def _busy() -> str:
    """Whether something else runs here, which makes every time longer."""
    load, own = os.getloadavg()[0], threads()
    return (
        f"the machine was busy when this began: load average {load:.1f}, {own} threads" if load > own else ""
    )


def _attention(device: str) -> str:
    """Which of torch's kernels it may take."""
    if device != "cuda":
        return "torch"
    cuda = torch.backends.cuda
    kernels = {
        "flash": cuda.flash_sdp_enabled(),
        "cudnn": cuda.cudnn_sdp_enabled(),
        "memory-efficient": cuda.mem_efficient_sdp_enabled(),
        "math": cuda.math_sdp_enabled(),
    }
    return f"torch: {', '.join(name for name, on in kernels.items() if on)}"


def _too_small(subject: Subject, request: Request) -> str:
    room = "the GPU's memory" if request.device == "cuda" else "this machine's memory"
    room = room if request.limit is None else f"{request.limit:g} GiB (--limit-memory)"
    height, width = subject.resolution
    return (
        f"{subject.entry.name} in {subject.plan.dtype} at {height}x{width}, batch {request.batch}, placed "
        f"{subject.plan.name}, does not fit into {room}: try a smaller --batch or --resolution, or the next --placement"
    )
