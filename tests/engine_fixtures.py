"""Suites over the fake family, run in this process or, as a user would, in another one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from glance_bench.engine.runner import run_suite
from glance_bench.registry import FAMILIES, METRICS
from glance_bench.store import Run
from glance_bench.suite import Suite
from glance_bench.terminal import Progress
from tests import fake_family

ROOT = Path(__file__).parent.parent
TEXTS = [f"a picture of {word}" for word in ("one", "two", "three", "black", "broken", "six", "seven")]


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake family and metrics, registered in this process."""
    monkeypatch.setattr(fake_family.FakeFamily, "calls", [])
    for registry, name, target in [
        (FAMILIES, "fake", fake_family.FakeFamily),
        (METRICS, "contrast", fake_family.Contrast),
        (METRICS, "brightness", fake_family.Brightness),
        (METRICS, "distance", fake_family.Distance),
    ]:
        monkeypatch.setitem(registry._targets, name, target)


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """A suite over a fake checkpoint in ``folder``, as plain data."""
    checkpoint = folder / "checkpoint"
    if not checkpoint.exists():
        fake_family.checkpoint(checkpoint)
    return {
        "name": "fake",
        "models": [{"name": "fake-model", "family": "fake", "path": str(checkpoint)}],
        "prompts": [{"set": "own", "texts": list(TEXTS)}],
        "samplers": ["teacher-50", "uniform-8"],
        "metrics": ["contrast", "distance"],
        "batch_size": 2,
        "slice_size": 3,
        "timing": {"repeats": 1, "warmup": 0},
        **changes,
    }


def make(folder: Path, **changes: Any) -> Run:
    """Run the suite in this process; the run folder is ``folder/run``."""
    run_suite(Suite.model_validate(settings(folder, **changes)), folder / "run", Progress(quiet=True))
    return Run(folder / "run")


def files(run: Run, *suffixes: str) -> dict[str, tuple[int, int]]:
    """Inode and modification time of every file of the run with one of these suffixes."""
    found = {}
    for path in sorted(run.folder.rglob("*")):
        if path.suffix in suffixes and "quarantine" not in path.parts:
            found[str(path.relative_to(run.folder))] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def environment(folder: Path, **extra: str) -> dict[str, str]:
    """Of a process in which the fakes are installed."""
    site = folder / "site"
    if not site.exists():
        fake_family.install(site)
    paths = os.pathsep.join([str(site), str(ROOT)])
    cache = str(folder / "cache")
    return {**os.environ, "PYTHONPATH": paths, "GLANCE_BENCH_CACHE": cache, "OMP_NUM_THREADS": "1", **extra}


def suite_file(folder: Path, **changes: Any) -> Path:
    """The suite as a file; JSON is YAML."""
    path = folder / "fake.yaml"
    path.write_text(json.dumps(settings(folder, **changes), indent=1))
    return path


def command(folder: Path, *arguments: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """``glance-bench`` with these arguments, in ``folder``."""
    return subprocess.run(
        [sys.executable, "-m", "glance_bench", *map(str, arguments)],
        cwd=folder,
        env=environment(folder, **extra),
        capture_output=True,
        text=True,
        timeout=600,
    )
