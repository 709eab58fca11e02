"""Kill -9 at random points of every pass; the next run must end where an undisturbed one does."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from glance_bench.sealed import sha256_file
from glance_bench.store import Run
from tests.engine_fixtures import command, environment, suite_file

PASSES = ("generate", "score", "report")
TEXTS = [f"a picture of number {n}" for n in range(8)]
SUITE = {
    "prompts": [{"set": "own", "texts": TEXTS}],
    "metrics": ["contrast", "brightness", "distance"],
    "slice_size": 2,
    "timing": {"repeats": 0},
}


def outcome(folder: Path) -> dict[str, str]:
    """Digest of every image, record and score by its path, and the digest of the results."""
    run = folder / "run"
    found = {
        str(path.relative_to(run)): sha256_file(path)
        for room in ("units", "scores", "features", "embeddings")
        for path in sorted((run / room).rglob("*"))
        if path.is_file()
    }
    found["results"] = json.loads((run / "results.json").read_text())["digest"]
    return found


def events(trace: Path) -> list[str]:
    """The passes of the units finished so far, in order."""
    if not trace.exists():
        return []
    return [line.split(" ", 1)[0] for line in trace.read_text().splitlines()]


def undisturbed(folder: Path) -> tuple[dict[str, str], dict[str, int]]:
    folder.mkdir()
    trace = folder / "trace"
    done = command(
        folder, "run", suite_file(folder, **SUITE), "-o", "run", "-q", GLANCE_BENCH_TRACE=str(trace)
    )
    assert done.returncode == 0, done.stderr
    finished = events(trace)
    return outcome(folder), {name: finished.count(name) for name in PASSES}


def kill_inside(folder: Path, name: str, after: int, delay: float) -> str:
    """Start a run, kill it ``delay`` seconds after unit number ``after`` of pass ``name``. How far it came."""
    trace = folder / "trace"
    trace.unlink(missing_ok=True)
    arguments = ["run", str(suite_file(folder, **SUITE)), "-o", "run", "-q"]
    environ = environment(folder, GLANCE_BENCH_TRACE=str(trace), GLANCE_BENCH_FAKE_SLEEP="0.03")
    process = subprocess.Popen([sys.executable, "-m", "glance_bench", *arguments], cwd=folder, env=environ)
    deadline = time.monotonic() + 60
    while events(trace).count(name) < after and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return f"{name} {events(trace).count(name)}"


def killed_and_resumed(tmp_path: Path, a_pass: int, seed: int) -> None:
    expected, units = undisturbed(tmp_path / "undisturbed")
    assert all(count >= 3 for count in units.values()), units
    chance = random.Random(seed)
    inside = dict.fromkeys(PASSES, 0)
    log = []
    for name in PASSES:
        for attempt in range(4 * a_pass):
            if inside[name] >= a_pass:
                break
            folder = tmp_path / f"{name}-{attempt}"
            folder.mkdir()
            os.symlink(tmp_path / "undisturbed" / "checkpoint", folder / "checkpoint")
            after = chance.randint(1, units[name] - 2)
            delay = chance.uniform(0, 0.01 if name == "report" else 0.05)
            came = kill_inside(folder, name, after, delay)
            finished = int(came.split()[1])
            hit = 1 <= finished < units[name]
            inside[name] += hit
            log.append(
                f"{name}: killed {delay * 1000:.0f} ms after unit {after} of {units[name]}, "
                f"{finished} finished, {'inside' if hit else 'outside'} the pass"
            )
            done = command(folder, "run", suite_file(folder, **SUITE), "-o", "run", "-q")
            assert done.returncode == 0, done.stderr
            assert outcome(folder) == expected, log[-1]
            assert not list((folder / "run").rglob(".tmp-*"))
    print(*log, sep="\n")
    assert all(count >= a_pass for count in inside.values()), "\n".join(log)


def test_killed_once_inside_each_pass(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, 1, seed=1)


@pytest.mark.slow
def test_killed_at_twelve_points(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, 4, seed=2)


def test_killed_while_timing_again(tmp_path: Path) -> None:
    """A session is there whole or not at all, and what was measured before it stays."""
    timed = {**SUITE, "timing": {"repeats": 3, "warmup": 0}}
    arguments = ["run", suite_file(tmp_path, **timed), "-o", "run"]
    assert command(tmp_path, *arguments).returncode == 0
    run = Run(tmp_path / "run")
    results = (run.folder / "results.json").read_bytes()
    once = run.timing()
    process = subprocess.Popen(
        [sys.executable, "-m", "glance_bench", *map(str, arguments), "--time-again"],
        cwd=tmp_path,
        env=environment(tmp_path, GLANCE_BENCH_FAKE_SLEEP="0.2"),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert any("time: 2 samplers" in line for line in process.stderr)
    time.sleep(0.3)  # of at least 6 x 0.2 s
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL

    assert command(tmp_path, *arguments).returncode == 0
    assert run.timing().equals(once) and (run.folder / "results.json").read_bytes() == results
    assert command(tmp_path, *arguments, "--time-again").returncode == 0
    twice = run.timing()
    assert twice["session"].nunique() == 2 and len(twice) == 2 * len(once)
    assert command(tmp_path, "verify", "run").returncode == 0


def test_interrupted_by_the_user(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    environ = environment(tmp_path, GLANCE_BENCH_TRACE=str(trace), GLANCE_BENCH_FAKE_SLEEP="0.1")
    process = subprocess.Popen(
        [sys.executable, "-m", "glance_bench", "run", str(suite_file(tmp_path, **SUITE)), "-o", "run"],
        cwd=tmp_path,
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with SIGINT ignored, and tests may run in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not events(trace) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said
