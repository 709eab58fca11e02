"""What is known of a machine: a record that one process gathers and that can be judged, kept and judged elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UsageError
from ..profiles import Gpu
from ..terminal import printable

__all__ = ["Device", "Disk", "Hub", "Library", "Machine", "Torch", "read_machine"]

Amount = Annotated[float, Field(ge=0)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Device(_Record):
    """A GPU as torch sees it. ``error`` is what a small multiplication in float16 raised, "" when it went well."""

    name: str
    compute: float
    error: str = ""


class Torch(_Record):
    """The installed torch. ``version`` None: it is absent or cannot be imported, and ``error`` says why.

    ``cuda`` is the CUDA version that it was built for, None for a build without; ``kernels`` are the architectures
    it has code for ("sm_80", "compute_120"), none when it does not say. ``error`` is also what the driver answered it.
    """

    version: str | None = None
    cuda: str | None = None
    kernels: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    error: str = ""


class Disk(_Record):
    """Free space where ``what`` is written: "cache", "hub cache" or "runs"."""

    what: str
    path: str
    free_gb: Amount


class Hub(_Record):
    """The Hugging Face hub as seen from here. ``token``: whether there is one. ``reachable`` None: nobody asked."""

    endpoint: str
    offline: bool
    token: bool
    reachable: bool | None = None


class Library(_Record):
    """A library that this package asks for: the versions ``wanted``, the one ``found``, None when absent.

    ``extra`` names the optional part of this package that asks for it, "" where every part does.
    """

    name: str
    wanted: str
    found: str | None
    extra: str = ""


class Machine(_Record):
    """One machine. Memory in GiB, disk in GB (10^9 bytes).

    ``driver_error`` is why the GPU driver cannot be asked, with its cure. ``here`` names the weights and published
    prompt sets that are on the machine.
    """

    platform: str
    python: str
    processor: str
    threads: int
    ram_gib: Amount
    ram_free_gib: Amount
    gpus: tuple[Gpu, ...] = ()
    driver_error: str = ""
    torch: Torch = Torch()
    disks: tuple[Disk, ...] = ()
    hub: Hub
    libraries: tuple[Library, ...] = ()
    here: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """JSON data, which ``read_machine`` reads back."""
        return self.model_dump(mode="json")


def read_machine(path: Path) -> Machine:
    """A record that was written alone, or what ``doctor --json`` printed. Raises UsageError for anything else."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"--machine: no file {path}") from error
    except ValueError as error:
        raise UsageError(f"--machine: {path} is not JSON: {error}") from error
    if isinstance(tree, dict) and "machine" in tree:
        tree = tree["machine"]
    try:
        return Machine.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(
            f"--machine: {path} is no record of a machine: {printable(where)}: {first['msg']}; "
            "glance-bench doctor --json writes one"
        ) from error
