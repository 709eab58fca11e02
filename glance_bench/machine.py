"""What a result was made on: processor, threads, library versions, the state of a checkout. No torch."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from . import __version__

__all__ = [
    "environment",
    "free_ram_gib",
    "hardware_key",
    "identity",
    "made_with",
    "processor",
    "settle_threads",
    "threads",
]

LIBRARIES = ("torch", "diffusers", "transformers", "peft", "numpy", "pillow")


def threads() -> int:
    """How many CPU threads a run uses: OMP_NUM_THREADS, or every core that it may run on."""
    return int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))


def settle_threads() -> None:
    """How torch uses the processor, and that it numbers GPUs as nvidia-smi does; to be called before it is imported.

    Threads that wait sleep instead of spinning: where something else runs too, spinning made images six to eight
    times slower (2 cores, load 6), and asleep they cost no more processor time than one thread alone.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads()))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # else the fastest is cuda:0


def free_ram_gib(root: Path = Path("/")) -> float:
    """Host memory that a new process could fill, GiB: what the kernel calls available, within the cgroup's limit.

    ``root`` is where ``proc`` and ``sys`` are. 0.0 where the kernel does not say.
    """
    meminfo = _numbers(root / "proc/meminfo")
    free = meminfo.get("MemAvailable:", 0) * 1024
    group = root / "sys/fs/cgroup"
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no cgroup of version 2, or one without a limit
        return free / 2**30
    reclaimable = _numbers(group / "memory.stat").get("inactive_file", 0)
    return max(0, min(free, limit - used + reclaimable)) / 2**30


def _numbers(file: Path) -> dict[str, int]:
    """The first number after each name of a kernel's table; empty where there is no such file."""
    try:
        rows = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def made_with() -> dict[str, Any]:
    """What can change the low bits of an image besides its unit's key."""
    return {
        "machine": platform.machine(),
        "threads": threads(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
    }


def identity(device: str) -> dict[str, str]:
    """What has to be equal for two processes to make the same bytes, by what it is called."""
    made = made_with()
    return {
        "glance_bench": __version__,
        "code of glance_bench": _code()[:12],
        "hardware": hardware_key(device),
        **{name: str(made[name]) for name in ("machine", "threads", "python")},
        **made["versions"],
    }


@cache
def _code() -> str:
    """sha256 over this package's source files."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def environment(device: str) -> dict[str, Any]:
    """What ``env.json`` says of the process that last worked on a run."""
    return {
        "glance_bench": __version__,
        "git": _git(),
        "platform": platform.platform(),
        "hardware": hardware_key(device),
        **made_with(),
    }


def hardware_key(device: str) -> str:
    """What an absolute latency is comparable on. ``device`` is "cpu", or "cuda" for the first visible GPU."""
    runs_on = processor() if device == "cpu" else _gpu()
    return f"{runs_on}, {threads()} threads, torch {_version('torch')}"


@cache
def _gpu() -> str:
    from .profiles import find_gpus

    gpus = find_gpus()
    return str(gpus[0]) if gpus else "no GPU"


@cache
def processor() -> str:
    """The name of this machine's processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _git() -> str | None:
    """The commit of a source checkout, with "+" when files differ from it; None for an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    commit = _ask(root, "rev-parse", "HEAD")
    return f"{commit}+" if commit and _ask(root, "status", "--porcelain") else commit


def _ask(root: Path, *question: str) -> str | None:
    answer = subprocess.run(["git", "-C", str(root), *question], capture_output=True, text=True)
    return answer.stdout.strip() if answer.returncode == 0 else None
