"""A small finished run to keep, commands run as processes, and processes that are killed in the midst."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glance_bench.evidence import results_seal
from glance_bench.metrics.base import Column, Images
from glance_bench.sealed import digest_of, json_bytes
from glance_bench.store import Run
from tests.fake_run import METRICS, FakeFrechet, finish, make_run, prompts_of

ROOT = Path(__file__).parent.parent
SAMPLERS = ("teacher-50", "uniform-10", "uniform-4")
BLACK = [("uniform-4", "p001"), ("uniform-4", "p004"), ("uniform-10", "p004")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

STOPPING = """
import pathlib, sys, time
import glance_bench.baselines as baselines, glance_bench.bundle as bundle, glance_bench.packing as packing
real, left = {owner}.{name}, {count}
def stopped(*given, **named):
    global left
    left -= 1
    if left < 0:
        print("here", flush=True)
        time.sleep(60)
    return real(*given, **named)
{owner}.{name} = stopped
from glance_bench.cli import main
sys.argv[1:] = {arguments}
main()
"""


class OtherFrechet(FakeFrechet):
    """The same distance on another extractor: one mean a colour."""

    name, extractor, recipe = "fd[other]", "other: pixel means", "fd[other]: pixel means; renders"
    columns = (Column("fd[other]", "FD other", "lower", "stands for a Frechet distance"),)

    def features(self, images: Images) -> np.ndarray:
        return images.reshape(len(images), -1, 3).mean(1).astype(np.float32) / 255


def finished_run(folder: Path, prompts: int = 9, metrics: Sequence[object] = METRICS, **more: Any) -> Run:
    """A scored run with results and tables: one model, three samplers, three black images."""
    more = {"models": ["testbed-flux"], "samplers": SAMPLERS, "black": BLACK, **more}
    run = make_run(folder, prompts_of(prompts), metrics=metrics, **more)
    finish(run, metrics)
    return run


def rename(run: Run, name: str) -> None:
    """Give a finished run another name, its digests right."""
    run.write("manifest.json", {**run.manifest, "name": name})
    edit_results(run.folder, run=name)


def edit_results(folder: Path, **changes: Any) -> None:
    """Change results.json as somebody would who knows about the seal."""
    document = json.loads((folder / "results.json").read_bytes()) | changes
    (folder / "results.json").write_bytes(json_bytes({**document, "seal": results_seal(document)}))


def sealed(document: dict[str, Any], **changes: Any) -> bytes:
    """A baseline.json or bundle.json with changes and a digest that is right."""
    changed = {key: value for key, value in (document | changes).items() if key != "digest"}
    return json_bytes({**changed, "digest": digest_of(changed)})


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def command(cwd: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """glance-bench in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "glance_bench", *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def kill_at(cwd: Path, owner: str, name: str, count: int, *arguments: object) -> None:
    """Start glance-bench, kill it with SIGKILL when it calls ``owner.name`` after ``count`` other calls of it."""
    code = STOPPING.format(owner=owner, name=name, count=count, arguments=list(map(str, arguments)))
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL
