"""Memory, disks, the hub and the libraries: what a machine has around its GPUs. Judges a record only."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.specifiers import SpecifierSet

from .findings import Finding, pip
from .record import Machine

__all__ = ["surroundings"]

LITTLE = 10.0  # GB of disk below which a run of any size is in danger


def surroundings(machine: Machine) -> Iterator[Finding]:
    """A line about each of them."""
    yield Finding("processor", "ok", f"{machine.processor}, {machine.threads} threads")
    yield Finding("memory", "ok", f"{machine.ram_gib:g} GiB, {machine.ram_free_gib:g} free")
    for disk in machine.disks:
        little = disk.free_gb < LITTLE
        yield Finding(
            "disk", "note" if little else "ok", f"{disk.what}: {disk.free_gb:g} GB free at {disk.path}"
        )
    yield from _hub(machine)
    yield from _libraries(machine)


def _hub(machine: Machine) -> Iterator[Finding]:
    hub = machine.hub
    if hub.offline:
        what = "offline: HF_HUB_OFFLINE is set, prefetch cannot fetch from it"
        yield Finding("hub", "note", what, "unset HF_HUB_OFFLINE")
    elif hub.reachable is None:
        yield Finding("hub", "ok", f"{hub.endpoint}, not asked (--network asks)")
    elif hub.reachable:
        yield Finding("hub", "ok", f"{hub.endpoint} answers")
    else:
        yield Finding("hub", "bad", f"{hub.endpoint} does not answer", f"curl -I {hub.endpoint}")
    if hub.token:
        yield Finding("token", "ok", "there is one")
    else:
        yield Finding("token", "note", "none; gated models such as FLUX.1-dev ask for one", "hf auth login")


def _libraries(machine: Machine) -> Iterator[Finding]:
    """One line for all that are as they should be, one for each that is not."""
    well = []
    for library in machine.libraries:
        asked = f"{library.name}{library.wanted}"
        if library.found is None:
            needed = not library.extra
            what = f"{library.name} is not installed" + (
                "" if needed else f" (glance-bench[{library.extra}])"
            )
            yield Finding("library", "bad" if needed else "note", what, pip(asked))
        elif not SpecifierSet(library.wanted).contains(library.found, prereleases=True):
            yield Finding(
                "library", "bad", f"{library.name} {library.found}, {library.wanted} is asked for", pip(asked)
            )
        else:
            well.append(f"{library.name} {library.found}")
    if well:
        yield Finding("libraries", "ok", ", ".join(well))
