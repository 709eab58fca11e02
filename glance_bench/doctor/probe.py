"""Gathers the record of this machine. Nothing here raises for what is broken: the record says so."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from packaging.requirements import Requirement

from ..errors import GlanceBenchError
from ..machine import free_ram_gib, processor, threads
from ..prefetch import cards_of
from ..profiles import find_gpus
from ..prompts.files import is_here
from ..prompts.sources import SOURCES
from ..resources import cache_dir
from ..samplers.cards import list_cards
from ..suite import load_suite
from ..terminal import printable
from ..weights import WEIGHTS, find_weights
from .record import Disk, Hub, Library, Machine, Torch

__all__ = ["ask_torch", "probe"]

PATIENCE = 120  # seconds for torch: a cold import takes ten, a driver that hangs takes for ever
NEEDED = ("", "train")  # parts of this package whose libraries are listed where they are absent too
EXTRAS = (*NEEDED, "cache", "gpu", "ray")
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")


def probe(suites: Sequence[str] = (), *, network: bool = False) -> Machine:
    """This machine. Of ``suites`` it is also looked whether their own cards' files are here.

    ``network``: also ask the hub whether it can be reached; nothing else leaves the machine. Raises UsageError for a
    suite that is none.
    """
    gpus, driver_error = [], ""
    try:
        gpus = find_gpus()
    except GlanceBenchError as error:
        driver_error = str(error)
    return Machine(
        platform=platform.platform(),
        python=platform.python_version(),
        processor=processor(),
        threads=threads(),
        ram_gib=round(_ram(), 1),
        ram_free_gib=round(free_ram_gib(), 1),
        gpus=tuple(gpus),
        driver_error=driver_error,
        torch=ask_torch(),
        disks=tuple(_disks()),
        hub=_hub(network),
        libraries=tuple(_libraries()),
        here=tuple(_here(suites)),
    )


def ask_torch(patience: float = PATIENCE) -> Torch:
    """What torch says of itself and of the GPUs, asked in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "glance_bench.doctor.ask_torch"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience,
        )
    except subprocess.TimeoutExpired:
        return Torch(error=f"torch did not answer in {patience:g} s: the GPU driver hangs")
    try:
        return Torch.model_validate(json.loads(done.stdout.strip().rpartition("\n")[2]))
    except ValueError:
        lines = done.stderr.strip().splitlines()
        said = printable(lines[-1], 200) if lines else "it said nothing"
        return Torch(error=f"torch ends the process that imports it (exit status {done.returncode}): {said}")


def _ram() -> float:
    """GiB of memory that this process may use; 0 where the system does not say."""
    try:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (OSError, ValueError):
        return 0.0
    limit = MEMORY_LIMIT.read_text().strip() if MEMORY_LIMIT.is_file() else "max"
    return min(pages, int(limit) / 2**30) if limit.isdigit() else pages  # a container has its own limit


def _disks() -> Iterator[Disk]:
    from huggingface_hub.constants import HF_HUB_CACHE

    for what, place in (("cache", cache_dir()), ("hub cache", Path(HF_HUB_CACHE)), ("runs", Path("runs"))):
        there = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())
        yield Disk(what=what, path=str(place), free_gb=round(shutil.disk_usage(there).free / 1e9, 1))


def _hub(network: bool) -> Hub:
    from huggingface_hub import get_token
    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE

    return Hub(
        endpoint=ENDPOINT,
        offline=HF_HUB_OFFLINE,
        token=get_token() is not None,
        reachable=_answers(ENDPOINT) if network else None,
    )


def _answers(address: str) -> bool:
    try:
        with urlopen(Request(address, method="HEAD"), timeout=10):
            return True
    except HTTPError:  # it answered
        return True
    except (URLError, OSError, ValueError):
        return False


def _libraries() -> Iterator[Library]:
    """What the package's own metadata asks for: always, for the extra ``train``, and what is here for the others."""
    try:
        wanted = requires("glance-bench") or []
    except PackageNotFoundError:  # run from a folder, without an installation
        return
    for requirement in map(Requirement, wanted):
        marker, found = requirement.marker, _version(requirement.name)
        extra = next((one for one in EXTRAS if marker is None or marker.evaluate({"extra": one})), None)
        if extra is not None and (found or extra in NEEDED):
            versions = str(requirement.specifier)
            yield Library(name=requirement.name, wanted=versions, found=found, extra=extra)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _here(suites: Sequence[str]) -> Iterator[str]:
    """Weights, prompt sets and cards' LoRA files on this machine, by the names that prefetch takes."""
    for name in WEIGHTS:
        try:
            find_weights(name)
        except GlanceBenchError:
            continue
        yield name
    yield from filter(is_here, SOURCES)
    cards = [*list_cards(), *(card for name in suites for card in cards_of(load_suite(name)))]
    files = {str(file): file for card in cards for file in card.hub_files}
    yield from (name for name, file in files.items() if file.place())
