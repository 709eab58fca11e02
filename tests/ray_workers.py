"""Workers that do next to nothing and go wrong in every way, for tests of engines. A task's name says how."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from glance_bench.engine.base import Made
from glance_bench.engine.placements import Outgrown
from glance_bench.errors import GlanceBenchError
from glance_bench.models.placement import placement


@dataclass(frozen=True)
class Task:
    label: str


class Troubled:
    """Writes a file of the task's name into ``folder``; each try leaves its process in ``<name>.tries``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, task: Task) -> Made:
        tries = self._folder / f"{task.label}.tries"
        first = not tries.exists()
        with tries.open("a") as file:
            file.write(f"{os.getpid()}\n")
        if task.label.startswith("hang") and first:
            time.sleep(1000)
        if task.label.startswith("die") and first:
            os.kill(os.getpid(), signal.SIGKILL)
        if task.label.startswith("meet"):  # ends when another such task has begun
            until = time.monotonic() + 60
            while len(list(self._folder.glob("meet*.tries"))) < 2:
                if time.monotonic() > until:
                    raise GlanceBenchError("nobody came")
                time.sleep(0.05)
        if task.label.startswith("corrupt"):
            raise GlanceBenchError("transformer/model.safetensors is corrupt")
        if task.label.startswith("memory"):
            raise MemoryError("no room")
        if task.label.startswith("outgrown"):
            raise Outgrown("flux.1-dev", placement("group-offload", "flux.1-dev", None, 7.0, "float16"))
        (self._folder / task.label).write_text("done")
        return Made(task.label, ("was warm",) if task.label.startswith("warm") else ())


def processes(folder: Path, label: str) -> list[int]:
    """The processes that tried a task, in order."""
    return [int(line) for line in (folder / f"{label}.tries").read_text().split()]
