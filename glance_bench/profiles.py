"""Which profile of a suite this machine can run, and why. Asks the driver's own tool, not torch."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import GlanceBenchError
from .suite import Needs, Suite

__all__ = ["Gpu", "Target", "choose", "find_gpus", "target_of"]

ROUNDING = 0.95  # a 32 GB card reports a little less than 32 GiB
FREE = 0.96  # of the nominal memory of a card that is not here: driver, error correction and a screen keep the rest


@dataclass(frozen=True)
class Gpu:
    """One GPU: name, memory in MiB (0: any), compute capability, free memory in MiB (None: not reported), driver."""

    name: str
    memory_mib: int
    compute: float
    free_mib: int | None = None
    driver: str = ""

    @property
    def memory_gib(self) -> float:
        return self.memory_mib / 1024

    @property
    def free_gib(self) -> float:
        """What other processes leave; all of it where the driver does not say, no end where the memory is any."""
        if not self.memory_mib and self.free_mib is None:
            return math.inf
        return (self.memory_mib if self.free_mib is None else self.free_mib) / 1024

    def __str__(self) -> str:
        return f"{self.name}, {self.memory_mib / 1024:.0f} GB" if self.memory_mib else self.name


def find_gpus() -> list[Gpu]:
    """The GPUs that this process may use, torch's ``cuda:0`` first; none where CUDA_VISIBLE_DEVICES hides them all.

    Their order is torch's under CUDA_DEVICE_ORDER=PCI_BUS_ID, which ``machine.settle_threads`` sets.

    Raises GlanceBenchError, with the cure, for a GPU that is there and cannot be used.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return []
    tool = shutil.which("nvidia-smi")
    if tool is None:
        if Path("/proc/driver/nvidia/gpus").is_dir():
            raise GlanceBenchError(
                "an NVIDIA GPU is there but nvidia-smi is not: install the driver's utilities"
            )
        return []
    asked = "name,memory.total,compute_cap,memory.free,driver_version,uuid"
    query = [tool, f"--query-gpu={asked}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired as error:
        raise GlanceBenchError(
            "nvidia-smi did not answer in 30 s: restart the machine or the driver"
        ) from error
    if "No devices were found" in answer.stdout + answer.stderr:
        return []
    if answer.returncode != 0:
        said = " ".join((answer.stderr or answer.stdout).split())[:200]
        raise GlanceBenchError(
            f"a GPU driver is installed but does not work ({said}): reinstall or reload it"
        )
    lines = [line for line in answer.stdout.splitlines() if line.strip()]
    return parse_gpus("\n".join(_visible(lines, visible)))


def _visible(lines: list[str], visible: str | None) -> list[str]:
    """Those of the driver's lines that CUDA_VISIBLE_DEVICES names by number or UUID, in its order; all without it.

    As for CUDA, a name that no GPU has hides all that follow it. A slice of a GPU (MIG) has no line: all stay.
    """
    if visible is None or "MIG-" in visible:
        return lines
    uuids = [line.rpartition(",")[2].strip() for line in lines]
    shown = []
    for name in map(str.strip, visible.split(",")):
        by_uuid = (i for i, uuid in enumerate(uuids) if name.startswith("GPU-") and uuid.startswith(name))
        place = int(name) if name.isdecimal() else next(by_uuid, len(lines))
        if place >= len(lines):
            break
        shown.append(lines[place])
    return shown


def parse_gpus(table: str) -> list[Gpu]:
    """GPUs from the driver's CSV: name, MiB, compute capability and, where the driver says them, free MiB and version.

    Raises GlanceBenchError for a line that does not give the first three.
    """
    gpus = []
    for line in filter(None, map(str.strip, table.splitlines())):
        fields = [field.strip() for field in line.split(",")]
        try:
            free = int(fields[3]) if fields[3:] and fields[3].isdecimal() else None
            driver = fields[4] if fields[4:] else ""
            gpus.append(Gpu(fields[0], int(fields[1]), float(fields[2]), free, driver))
        except (IndexError, ValueError) as error:
            raise GlanceBenchError(f"the GPU does not report itself fully ({line!r}): reset it") from error
    return gpus


@dataclass(frozen=True)
class Target:
    """What a suite is planned for: a GPU, or None for this machine's processor, and whether it is ``here``."""

    gpu: Gpu | None
    here: bool

    def __str__(self) -> str:
        return "this machine's processor" if self.gpu is None else str(self.gpu)


def satisfies(gpu: Gpu, needs: Needs) -> bool:
    """Whether a GPU has what a profile needs."""
    named = needs.gpu is None or needs.gpu.lower() in gpu.name.lower()
    return named and gpu.memory_mib >= ROUNDING * 1024 * needs.memory_gb and gpu.compute >= needs.compute


def missing(needs: Needs, gpu: Gpu | None) -> str:
    """What a machine lacks whose ``cuda:0`` this GPU is: "" when nothing, else a clause for the user."""
    if needs.gpu is None and not needs.memory_gb and not needs.compute:
        return ""
    if gpu is not None and satisfies(gpu, needs):
        return ""
    wanted = f"needs a GPU{f' named {needs.gpu}' if needs.gpu else ''}"
    wanted += f" with {needs.memory_gb:g} GB" if needs.memory_gb else ""
    wanted += f" of compute capability {needs.compute}" if needs.compute else ""
    return f"{wanted}, {f'the first visible one is {gpu}' if gpu else 'this machine has none'}"


def target_of(suite: Suite, resolved: Suite) -> Target:
    """What ``resolved``, the suite under one of its profiles, is to run on.

    It is this machine's first visible GPU, the one that torch computes on, where that has what the profile needs, else
    one of just that description, of whose memory the share ``FREE`` is free. A driver that does not
    work is as good as no GPU.
    """
    if resolved.device == "cpu":
        return Target(None, here=True)
    needs = suite.profiles[resolved.profile].needs if resolved.profile in suite.profiles else Needs()
    try:
        gpus = find_gpus()
    except GlanceBenchError:
        gpus = []
    if gpus and satisfies(gpus[0], needs):
        return Target(gpus[0], here=True)
    memory = round(needs.memory_gb * 1024)
    described = f"GPU of compute capability {needs.compute}" if needs.compute else "GPU"
    return Target(
        Gpu(needs.gpu or described, memory, needs.compute, round(FREE * memory) or None), here=False
    )


def choose(
    suite: Suite, wanted: str | None, *, gpus: Sequence[Gpu] | None = None, elsewhere: bool = False
) -> tuple[Suite, str]:
    """The suite as this machine runs it, and the line that says which profile was taken and why.

    ``wanted`` is a profile's name, or None or "auto" for the first one that the machine satisfies. A profile
    that needs no GPU is taken automatically only where there is none at all. ``gpus`` are those of the machine that is
    asked about, this one's where nobody says; the first one counts. ``elsewhere`` lets a profile be forced that
    cannot run here.

    Raises UsageError for an unknown name and GlanceBenchError when no profile, or not the forced one, can run.
    """
    if not suite.profiles:
        if wanted not in (None, "auto"):
            suite.with_profile(str(wanted))
        return suite, f"profile: none ({suite.name} runs on {suite.device} everywhere)"
    forced = None if wanted in (None, "auto") else suite.with_profile(str(wanted))
    if forced and elsewhere and not target_of(suite, forced).here:
        return forced, f"profile: {wanted} (asked for, and planned for another machine than this one)"
    if gpus is None:
        gpus = [] if forced and forced.device == "cpu" else find_gpus()
    gpu = gpus[0] if gpus else None
    if forced:
        lacking = missing(suite.profiles[str(wanted)].needs, gpu)
        if lacking:
            raise GlanceBenchError(f"profile {wanted!r} cannot run here: it {lacking}")
        return forced, f"profile: {wanted} (asked for)"
    reasons = []
    for name, profile in suite.profiles.items():
        needs_gpu = profile.device == "cuda"
        lacking = missing(profile.needs, gpu) if needs_gpu or gpu is None else "is for machines without a GPU"
        if not lacking:
            resolved = suite.with_profile(name)
            if needs_gpu:
                return resolved, f"profile: {name} (the first that this machine satisfies: {gpu})"
            return resolved, (
                f"profile: {name} (THIS MACHINE HAS NO GPU: TINY MODELS AND THEIR OWN CAPTIONS STAND IN; "
                f"everything is written as {resolved.label} and compares with nothing else)"
            )
        reasons.append(f"{name} {lacking}")
    raise GlanceBenchError(f"no profile of {suite.name} can run here: " + "; ".join(reasons))
