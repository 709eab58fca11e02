"""Many GPUs and machines: a Ray actor for each GPU (or each share of a CPU), holding one worker.

Ray places processes and tells when one has died. Which unit goes where, how long it may take and how often it is tried
is decided here, so that it is counted and a unit that hangs is noticed, which Ray's own ``max_restarts`` and
``max_task_retries`` do not do (ray-project/ray#26991). A worker that died, hangs or reports an error is replaced
by a new process, because nothing is known of its GPU any more, and its unit goes to the next worker that is free.
"""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import GlanceBenchError, UsageError
from ..machine import identity, threads
from .base import Halt, Made, UnitResult, Worker

__all__ = ["RayEngine", "Seat"]

START = 600.0  # seconds in which the first worker must stand, and a started process answer
STARTS = 3  # so many starts in a row that fail are no accident
GIVE_UP = 5  # so many units given up, one after the other, and the rest is not tried
ENDING = 30.0  # seconds that a killed process is waited for
OBJECTS = 100_000_000  # bytes; units and answers are a few kilobytes
# Ray reports home unless told not to, warns of its own future, and starts processes that no worker of ours can use.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_metrics_collection": "0",
}
PASSED_ON = (
    "GLANCE_BENCH_CACHE",
    "GLANCE_BENCH_DATA",
    "GLANCE_BENCH_EMULATED_BFLOAT16",
    "GLANCE_BENCH_LOCK",
    "HF_HOME",
    "HF_HUB_CACHE",
)


class Seat:
    """What runs on a worker's machine. The worker is made by the first unit."""

    def __init__(self, factory: Callable[[], Worker], start: Path) -> None:
        if start.is_dir():  # so that relative paths mean what they mean to the user
            os.chdir(start)
        self._factory = factory
        self._worker: Worker | None = None

    def introduce(self, device: str, token: Path) -> dict[str, Any]:
        """Who this is: host, process, whether it sees the run folder, and what its bytes could depend on."""
        return {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "shared": token.exists(),
            "identity": identity(device),
        }

    def do(self, unit: Any) -> tuple[Made, str | Halt | None]:
        """What was made of a unit, or why not."""
        try:
            if self._worker is None:
                self._worker = self._factory()
            return self._worker(unit), None
        except Halt as halt:
            return Made(), halt
        except GlanceBenchError as error:
            return Made(), str(error)
        except Exception as error:  # whatever it is, it is the result of this unit and not the end of the run
            return Made(), f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class _Job:
    """A unit, why its earlier tries ended, and when (monotonic seconds) the present one has taken too long."""

    unit: Any
    retried: tuple[str, ...] = ()
    deadline: float = float("inf")


@dataclass(eq=False)
class _Actor:
    """A handle, and who it introduced itself as."""

    handle: Any
    host: str = ""
    process: int = 0


class RayEngine:
    """See ``Engine``. ``folder`` is the run's, which every machine must see under the same path.

    ``address`` is a cluster's ("auto", "host:6379"); without it, and without RAY_ADDRESS, Ray runs on this machine
    for as long as the engine is open. ``workers`` is how many at most; by default as many as the cluster has room
    for, looked at anew whenever a unit ends, since machines may join and leave. On "cuda" each takes
    ``gpus_per_worker``; on "cpu" as many CPUs as this process uses threads, because the number of threads can change
    an image's low bits.
    """

    def __init__(
        self,
        folder: Path,
        device: str,
        *,
        address: str | None = None,
        workers: int | None = None,
        gpus_per_worker: float = 1.0,
    ) -> None:
        if find_spec("ray") is None:
            raise GlanceBenchError("engine ray needs Ray: pip install 'glance-bench[ray]'")
        if gpus_per_worker <= 0 or (workers is not None and workers < 1):
            raise UsageError("--workers and --gpus-per-worker must be above 0")
        self._folder = folder.resolve()
        self._device = device
        self._address = address or os.environ.get("RAY_ADDRESS")
        self._wanted = workers
        self._gpus = gpus_per_worker if device == "cuda" else 0.0
        self._cpus = 1 if device == "cuda" else threads()
        self._ray: Any = None
        self._started_it = False
        self._size = 0
        self._hosts: set[str] = set()
        self._failed_starts = 0  # in a row
        self._starting: dict[Any, _Actor] = {}
        self._idle: list[_Actor] = []
        self._busy: dict[Any, tuple[_Actor, _Job]] = {}

    def map(
        self, units: Sequence[Any], worker_factory: Callable[[], Worker], *, retries: int, timeout: float
    ) -> Iterator[UnitResult]:
        """See ``Engine.map``. Raises GlanceBenchError when no worker can start, or one differs from this process."""
        self._connect()
        waiting = deque(_Job(unit) for unit in units)
        given_up = 0
        try:
            with self._token() as token:
                while waiting or self._busy:
                    self._hire(worker_factory, token, len(waiting))
                    while waiting and self._idle:
                        self._give(self._idle.pop(), waiting.popleft(), timeout)
                    for job, made, reason in self._next(timeout):
                        if reason is None:
                            given_up = 0
                            yield UnitResult(job.unit, made, retried=job.retried)
                        elif len(job.retried) < retries:
                            waiting.appendleft(replace(job, retried=(*job.retried, reason)))
                        else:
                            given_up += 1
                            yield UnitResult(job.unit, failed=reason, retried=job.retried)
                    if given_up >= GIVE_UP:
                        return
        finally:
            self._dismiss()

    def about(self) -> dict[str, Any]:
        """Its name, how many workers worked at once at most, and on how many machines; nothing when none did."""
        if not self._hosts:
            return {}
        return {"name": "ray", "workers": self._size, "machines": len(self._hosts)}

    def close(self) -> None:
        """End every worker, and Ray itself where it was started here."""
        self._dismiss()
        if self._started_it:
            self._ray.shutdown()
            self._started_it = False

    # -- the cluster -------------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Raises GlanceBenchError when there is no cluster at the address or no room in it."""
        if self._ray is not None and self._ray.is_initialized():
            return
        os.environ.update(QUIET)
        import ray

        self._ray = ray
        if not ray.is_initialized():
            self._init()
        if not self._room():
            what = f"{self._gpus:g} GPU" if self._gpus else f"{self._cpus} CPUs (OMP_NUM_THREADS lowers that)"
            raise GlanceBenchError(f"the Ray cluster has no machine with {what} for a worker")

    def _init(self) -> None:
        here: dict[str, Any] = {"address": self._address}
        if self._address is None:
            cpus = max(len(os.sched_getaffinity(0)), (self._wanted or 1) * self._cpus)
            here = {"address": "local", "num_cpus": cpus, "object_store_memory": OBJECTS}
            here["include_dashboard"] = False
        self._started_it = True  # also where it starts by half
        for attempt in range(1, STARTS + 1):
            try:
                self._ray.init(**here, log_to_driver=False, logging_level=logging.ERROR)
                return
            except Exception as error:  # a bare one is what Ray raises when it took more than 30 s to start
                self._ray.shutdown()
                if attempt == STARTS:
                    where = f"at {self._address}" if self._address else "on this machine"
                    raise GlanceBenchError(f"no Ray cluster {where}: {_one_line(error)}") from error

    def _room(self) -> int:
        """How many workers there may be now."""
        room = sum(self._share(node["Resources"]) for node in self._ray.nodes() if node["Alive"])
        return min(self._wanted or room, room)

    def _share(self, resources: dict[str, float]) -> int:
        """How many workers a machine with these resources has room for."""
        cpus = int(resources.get("CPU", 0) // self._cpus)
        return min(cpus, int(resources.get("GPU", 0) / self._gpus + 1e-9)) if self._gpus else cpus

    @contextmanager
    def _token(self) -> Iterator[Path]:
        """A file in the run folder that workers must see. Its name is one that a later run clears away."""
        token = self._folder / f".tmp-shared-{uuid.uuid4().hex}"
        token.touch()
        try:
            yield token
        finally:
            token.unlink(missing_ok=True)

    # -- the workers -------------------------------------------------------------------------------------

    def _hire(self, factory: Callable[[], Worker], token: Path, waiting: int) -> None:
        """Start processes until there is one for each unit, or no more room; one also where there is none just now."""
        room = max(1, self._room())
        self._size = max(self._size, room)
        there = len(self._starting) + len(self._idle) + len(self._busy)
        for _ in range(min(room, waiting + len(self._busy)) - there):
            passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
            handle = (
                self._ray.remote(Seat)
                .options(
                    num_cpus=self._cpus,
                    num_gpus=self._gpus,
                    runtime_env={
                        "env_vars": {
                            **passed_on,
                            "OMP_NUM_THREADS": str(threads()),
                            "OMP_WAIT_POLICY": "PASSIVE",
                        }
                    },
                )
                .remote(factory, Path.cwd())
            )
            self._starting[handle.introduce.remote(self._device, token)] = _Actor(handle)

    def _give(self, actor: _Actor, job: _Job, timeout: float) -> None:
        job = replace(job, deadline=time.monotonic() + timeout)
        self._busy[actor.handle.do.remote(job.unit)] = actor, job

    def _next(self, timeout: float) -> list[tuple[_Job, Made, str | None]]:
        """Wait until something happens. The jobs that have ended, each with what was made or why it failed."""
        ready = self._wait()
        self._welcome([ref for ref in ready if ref in self._starting])
        ended = []
        for ref in [ref for ref in ready if ref in self._busy]:
            actor, job = self._busy.pop(ref)
            try:
                made, reason = self._ray.get(ref)
            except self._ray.exceptions.RayError as error:
                made, reason = Made(), f"the worker on {actor.host} ended: {_one_line(error)}"
            if reason is None:
                self._idle.append(actor)
            else:
                self._kill(actor)
            if isinstance(reason, Halt):
                raise reason
            ended.append((job, made, reason))
        for ref, (actor, job) in list(self._busy.items()):
            if job.deadline <= time.monotonic():
                del self._busy[ref]
                self._kill(actor)
                ended.append((job, Made(), f"no answer from the worker on {actor.host} in {timeout:g} s"))
        return ended

    def _wait(self) -> list[Any]:
        """What is ready first; nothing when a deadline came before. Raises GlanceBenchError where nobody starts."""
        deadlines = [job.deadline for _, job in self._busy.values()]
        patience = max(0.0, min(deadlines) - time.monotonic()) if deadlines else START
        limit = None if patience == float("inf") else patience  # Ray has no endless number of seconds
        ready, _ = self._ray.wait([*self._busy, *self._starting], num_returns=1, timeout=limit)
        if not ready and not deadlines:
            raise GlanceBenchError(
                f"no Ray worker started in {START:g} s: is the cluster in use by others? `ray status` shows it"
            )
        return list(ready)

    def _welcome(self, refs: Sequence[Any]) -> None:
        """Take on the workers that have introduced themselves, if they are what this process is."""
        for ref in refs:
            actor = self._starting.pop(ref)
            try:
                told = self._ray.get(ref)
            except self._ray.exceptions.RayError as error:
                self._failed_starts += 1
                if self._failed_starts >= STARTS:
                    raise GlanceBenchError(f"Ray workers cannot start: {_one_line(error)}") from error
                continue
            self._failed_starts = 0
            actor.host, actor.process = told["host"], told["process"]
            self._hosts.add(actor.host)
            self._idle.append(actor)
            if not told["shared"]:
                raise GlanceBenchError(
                    f"the Ray worker on {actor.host} does not see {self._folder}: the run folder must be on a "
                    "file system that all machines mount at the same path"
                )
            _refuse_another(actor.host, told["identity"], identity(self._device))

    def _kill(self, actor: _Actor) -> None:
        self._ray.kill(actor.handle, no_restart=True)

    def _dismiss(self) -> None:
        """End all workers, and see those on this machine go: what follows may want their memory."""
        actors = [*self._starting.values(), *self._idle, *(actor for actor, _ in self._busy.values())]
        self._starting, self._idle, self._busy = {}, [], {}
        for actor in actors:
            self._kill(actor)
        until = time.monotonic() + ENDING
        here = [actor.process for actor in actors if actor.host == socket.gethostname()]
        while any(Path(f"/proc/{process}").exists() for process in here) and time.monotonic() < until:
            time.sleep(0.02)


def _refuse_another(host: str, theirs: dict[str, str], ours: dict[str, str]) -> None:
    """Raises GlanceBenchError for a worker whose images could differ in their low bits, naming what is different."""
    different = [
        f"{what} {theirs.get(what, 'absent')} instead of {value}"
        for what, value in ours.items()
        if theirs.get(what) != value
    ]
    if different:
        raise GlanceBenchError(
            f"the Ray worker on {host} is another installation than this one: {'; '.join(different)}"
        )


def _one_line(error: Exception) -> str:
    """What an error of Ray's says in the end, without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[-1] if lines else type(error).__name__
    _, _, detail = said.rpartition("Worker exit detail: ")
    return detail.partition(" Some common causes")[0][:300]
