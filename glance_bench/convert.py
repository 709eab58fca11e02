"""``glance-bench convert``: weights that are published only as pickles, made into files that hold nothing but arrays.

A pickle is a program. It is opened here and nowhere else, once, and never in this process:

* its sha256 must be the one pinned in ``metrics.weights.WEIGHTS``, or the one that the user vouches for;
* it is read by a child process, ``unpickle``, with an empty environment and limits on time, memory and file size;
* the child reads torch checkpoints with ``torch.load(weights_only=True)``, TorchScript archives by their tables of
  tensors (their code is not loaded), and plain pickles with an unpickler that knows numpy's arrays and Python's
  containers. Whatever else a pickle asks for ends the conversion. A zip file of such files is read file by file.

What comes out is described in ``unpickle``. Names are not changed: what a network's own code calls its weights is the
business of the metric that loads them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from glance_bench.errors import GlanceBenchError, UsageError, near_misses
from glance_bench.sealed import sha256_file
from glance_bench.terminal import printable
from glance_bench.weights import WEIGHTS, weights_folder

__all__ = ["convert"]

SECONDS = 1800  # that the child may take, by the clock and by the processor


def convert(name: str, original: Path, *, sha256: str | None = None) -> Path:
    """Make the file that metrics load as the weights ``name`` of the pickle ``original``; its path.

    ``sha256`` is what the user says the file's digest is: needed where none is pinned, and never enough where another
    one is. The result appears whole or not at all; one that is there already is replaced.

    Raises UsageError for a name that needs no conversion, a file that is not there, and a digest that is not the
    expected one; GlanceBenchError for a file that cannot be read without running code, or not within the limits.
    """
    if name not in WEIGHTS:
        raise UsageError(f"unknown weights {name!r}; {near_misses(name, WEIGHTS)}")
    entry = WEIGHTS[name]
    if entry.converted is None:
        raise UsageError(f"{name} is loaded as it is published: there is nothing to convert")
    if not original.is_file():
        raise UsageError(f"cannot convert {original}: no such file")
    _check_digest(name, original, entry.sha256, sha256)
    target = weights_folder(name) / entry.converted
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tmp-convert-", dir=target.parent) as scratch:
        made = Path(scratch).resolve() / target.name  # the child has another working folder
        _run_child(original, made)
        made.replace(target)
    return target


def _check_digest(name: str, original: Path, pinned: str | None, given: str | None) -> None:
    found = sha256_file(original)
    if pinned is not None and found != pinned:
        raise UsageError(f"{original} is not {name}: its sha256 is {found}, expected {pinned}")
    if given is not None and found != given.lower():
        raise UsageError(f"the sha256 of {original} is {found}, not {given}")
    if pinned is None and given is None:
        raise UsageError(
            f"no digest is pinned for {name}. That of {original} is {found}; if its publisher says the same, "
            f"run again with --sha256 {found}"
        )


def _run_child(original: Path, made: Path) -> None:
    """Raises GlanceBenchError with the child's last line when it fails."""
    root = str(Path(__file__).resolve().parent.parent)
    code = f"import sys; sys.path.insert(0, {root!r}); from glance_bench.unpickle import main; main()"
    folder = str(made.parent)
    environment = {"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "OMP_NUM_THREADS": "1"}
    with original.open("rb") as file:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-c", code, str(made), str(SECONDS)],
                stdin=file,
                capture_output=True,
                env=environment,
                cwd=folder,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise GlanceBenchError(f"{original}: not read after {SECONDS} s; given up") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        said = (
            printable(lines[-1], 300) if lines else f"the reader was stopped (exit status {done.returncode})"
        )
        raise GlanceBenchError(f"{original} is not converted: {said}")
    if not made.is_file():
        raise GlanceBenchError(f"{original} is not converted: the reader ended without a result")
