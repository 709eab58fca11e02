"""Ray workers on this machine: the same bytes as one process, whatever happens to a worker, and none left over."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from glance_bench.cli import app
from glance_bench.engine import ray as engine_ray
from glance_bench.engine.base import Team, UnitResult
from glance_bench.engine.placements import Outgrown
from glance_bench.engine.ray import RayEngine
from glance_bench.engine.runner import run_suite
from glance_bench.errors import Failures, GlanceBenchError
from glance_bench.store import Run
from glance_bench.suite import Suite
from glance_bench.terminal import Progress
from tests.engine_fixtures import command, environment, suite_file
from tests.ray_workers import Task, Troubled, processes
from tests.test_kill import outcome

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray on this machine, for all tests here; every worker and this process use one thread."""
    import torch

    threads, given = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    owner = RayEngine(tmp_path_factory.mktemp("cluster"), "cpu", workers=2)
    assert list(owner.map([], lambda: Troubled(Path()), retries=0, timeout=1)) == []
    yield
    owner.close()
    torch.set_num_threads(threads)
    if given is None:
        del os.environ["OMP_NUM_THREADS"]
    else:
        os.environ["OMP_NUM_THREADS"] = given


def tried(folder: Path, *labels: str, workers: int = 2, **patience: Any) -> dict[str, UnitResult]:
    engine = RayEngine(folder, "cpu", workers=workers)
    results = engine.map([Task(label) for label in labels], partial(Troubled, folder), **patience)
    return {result.unit.label: result for result in results}


def seats(*, doing: bool) -> list[int]:
    """The worker processes below this one; only those in the middle of a unit when ``doing``."""
    parents, named = {}, []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            stat = (place / "stat").read_text().rpartition(")")[2].split()
            name = (place / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if stat[0] != "Z":
            parents[int(place.name)] = int(stat[1])
            if name.startswith("ray::Seat.do" if doing else "ray::Seat"):
                named.append(int(place.name))

    def is_ours(process: int) -> bool:
        while process in parents and process != os.getpid():
            process = parents[process]
        return process == os.getpid()

    return [process for process in named if is_ours(process)]


def test_a_worker_killed_in_the_middle_changes_no_byte(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = Suite.model_validate(
        {
            "name": "two-workers",
            "models": ["testbed-flux"],
            "prompts": [{"set": "testbed", "limit": 8}],
            "samplers": ["uniform-8", "uniform-4"],
            "metrics": ["truth", "fd[testbed-clip]", "psnr"],
            "batch_size": 2,
            "slice_size": 2,
            "timing": {"repeats": 0},
        }
    )
    run_suite(suite, tmp_path / "alone" / "run", Progress(quiet=True))
    trace = tmp_path / "trace"
    monkeypatch.setenv("GLANCE_BENCH_TRACE", str(trace))
    killed: list[int] = []

    def kill_one() -> None:
        while not killed and watching.is_set():
            if trace.exists() and trace.read_text().startswith(
                "generate"
            ):  # one unit is done, others are not
                for process in seats(doing=True)[:1]:
                    os.kill(process, signal.SIGKILL)
                    killed.append(process)
            time.sleep(0.01)

    watching = threading.Event()
    watching.set()
    watch = threading.Thread(target=kill_one)
    watch.start()
    try:
        team = Team(RayEngine(tmp_path / "ray" / "run", "cpu", workers=2))
        run_suite(suite, tmp_path / "ray" / "run", Progress(quiet=True), team=team)
    finally:
        watching.clear()
        watch.join()
    assert outcome(tmp_path / "ray") == outcome(tmp_path / "alone")
    assert len(killed) == 1 and seats(doing=False) == []
    (again,) = json.loads((tmp_path / "ray" / "run" / "env.json").read_text())["engine"]["tried_again"]
    assert "ended" in again["why"] and again["unit"].startswith("generate units/testbed-flux/uniform-")
    assert trace.read_text().count("retry generate") == 1
    assert not list((tmp_path / "ray").rglob(".tmp-*"))


def test_every_kind_of_trouble_is_the_result_of_its_unit_alone(cluster: None, tmp_path: Path) -> None:
    results = tried(
        tmp_path, "hang", "fine-1", "die", "corrupt", "memory", "fine-2", "warm", retries=1, timeout=8
    )
    assert {label: result.failed for label, result in results.items() if result.failed} == {
        "corrupt": "transformer/model.safetensors is corrupt",
        "memory": "MemoryError: no room",
    }
    assert results["corrupt"].retried == ("transformer/model.safetensors is corrupt",)
    for label, why in [("hang", "no answer from the worker"), ("die", "ended: Worker unexpectedly exits")]:
        (reason,) = results[label].retried
        assert why in reason and (tmp_path / label).read_text() == "done"
        first, second = processes(tmp_path, label)
        assert first != second
    assert results["fine-1"] == UnitResult(Task("fine-1"), results["fine-1"].made)
    assert results["warm"].made.warnings == ("was warm",)
    assert seats(doing=False) == [] and not list(tmp_path.glob(".tmp-*"))


def test_a_model_that_outgrows_its_placement_ends_the_pass_for_the_runner_to_move_on(
    cluster: None, tmp_path: Path
) -> None:
    with pytest.raises(
        Outgrown, match="out of memory even for one image under placement group-offload"
    ) as raised:
        tried(tmp_path, "outgrown", "fine", workers=1, retries=3, timeout=60)
    assert raised.value.model == "flux.1-dev" and raised.value.plan.dtype == "float16"
    assert len(processes(tmp_path, "outgrown")) == 1
    deadline = time.monotonic() + 20  # a killed process may take a moment to be gone
    while seats(doing=False) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert seats(doing=False) == []


def test_when_nothing_succeeds_the_rest_is_not_tried(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_ray, "GIVE_UP", 2)
    team = Team(RayEngine(tmp_path, "cpu", workers=1), retries=0)
    units = [Task(f"corrupt-{number}") for number in range(4)]
    factory = partial(Troubled, tmp_path)
    assert list(team.each("generate", Run(tmp_path), units, factory, Progress(quiet=True))) == []
    with pytest.raises(Failures) as raised:
        team.settle()
    assert raised.value.exit_code == 3 and raised.value.lines[:3] == (
        "generate corrupt-0: transformer/model.safetensors is corrupt",
        "generate corrupt-1: transformer/model.safetensors is corrupt",
        "generate: 2 more units were not tried, since nothing succeeded any more",
    )


def test_a_worker_of_another_installation_or_without_the_folder_is_refused(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = engine_ray.identity("cpu")
    monkeypatch.setattr(engine_ray, "identity", lambda device: {**ours, "diffusers": "0.1"})
    with pytest.raises(GlanceBenchError, match=rf"diffusers {ours['diffusers']} instead of 0\.1$"):
        tried(tmp_path, "fine", workers=1, retries=0, timeout=60)
    monkeypatch.undo()
    monkeypatch.setattr(RayEngine, "_token", lambda self: nullcontext(tmp_path / "on another machine"))
    with pytest.raises(GlanceBenchError, match="does not see"):
        tried(tmp_path, "fine", workers=1, retries=0, timeout=60)
    assert not (tmp_path / "fine").exists() and seats(doing=False) == []


def test_interrupted_by_the_user_no_process_is_left(tmp_path: Path) -> None:
    """The command itself, which starts a cluster of its own; then the same command ends what it began."""
    trace = tmp_path / "trace"
    suite = suite_file(tmp_path, timing={"repeats": 0}, slice_size=1)
    arguments = ["run", str(suite), "-o", "run", "--engine", "ray", "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "glance_bench", *arguments],
        cwd=tmp_path,
        env=environment(tmp_path, GLANCE_BENCH_TRACE=str(trace), GLANCE_BENCH_FAKE_SLEEP="0.2"),
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with SIGINT ignored, and tests may run in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not trace.exists() and process.poll() is None:
        time.sleep(0.01)
    assert left_of(trace)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said
    until = time.monotonic() + 20
    while left_of(trace) and time.monotonic() < until:
        time.sleep(0.1)
    assert left_of(trace) == []
    assert command(tmp_path, "run", suite, "-o", "run").returncode == 0


def left_of(trace: Path) -> list[str]:
    """Names of the processes that have the trace file in their environment, as all that a command starts do."""
    mark, found = f"GLANCE_BENCH_TRACE={trace}".encode(), []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (place / "environ").read_bytes().split(b"\0"):
                found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:80])
        except OSError:  # it has just ended
            continue
    return found


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--engine", "ray"], 3, "engine ray needs Ray: pip install 'glance-bench[ray]'"),
        (["--engine", "rays"], 2, "unknown engine 'rays'; did you mean 'ray'?"),
        (["--workers", "2"], 2, "--workers is for --engine ray; engine local is one process"),
    ],
)
def test_what_the_command_refuses(
    arguments: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_ray, "find_spec", lambda name: None)  # as where Ray is not installed
    done = CliRunner().invoke(app, ["run", "quickstart", "-o", str(tmp_path / "run"), *arguments])
    assert done.exit_code == code and said in done.output
    assert not (tmp_path / "run").exists()
