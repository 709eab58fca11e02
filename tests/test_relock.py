"""`glance-bench lock`: pins what is here, says what is not, and finds what is no longer as pinned. No network."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from glance_bench.cli import app
from glance_bench.locks import lock_beside, read_lock
from glance_bench.prompts.files import cached
from glance_bench.prompts.sources import SOURCES
from glance_bench.registry import METRICS
from glance_bench.weights import WEIGHTS, Weights, find_weights, weights_folder

COMMIT, OTHER = "a" * 40, "b" * 40
LIGHTNING = "lightx2v/Qwen-Image-Lightning"
FOUR, EIGHT = (f"Qwen-Image-Lightning-{steps}steps-V2.0.safetensors" for steps in (4, 8))
TEXT = (
    "name: own\nmodels: [testbed-flux]\nprompts: [{set: drawbench}]\nsamplers: [uniform-4]\nmetrics: [net]\n"
)


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite with prompts of a GitHub file, weights of a hub repository, and weights of an address; all are here."""
    import dataclasses

    for name in ("GLANCE_BENCH_DATA", "GLANCE_BENCH_LOCK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GLANCE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (source,) = SOURCES["drawbench"]
    source = dataclasses.replace(source, sha256=None)
    monkeypatch.setitem(SOURCES, "drawbench", (source,))
    cached(source).parent.mkdir(parents=True)
    cached(source).write_bytes(b"prompts")
    monkeypatch.setitem(WEIGHTS, "hubbed", Weights("hubbed", "1 kB", "MIT", repo="one/model"))
    monkeypatch.setitem(
        WEIGHTS, "single", Weights("single", "1 kB", "MIT", url="https://example.org/single.npz")
    )
    weights_folder("single").mkdir(parents=True)
    (weights_folder("single") / "single.npz").write_bytes(b"single")
    snapshot(tmp_path / "hub", COMMIT)
    monkeypatch.setitem(METRICS._targets, "net", lambda: (find_weights("hubbed"), find_weights("single")))
    (tmp_path / "own.yaml").write_text(TEXT)
    return tmp_path / "own.yaml"


def snapshot(
    cache: Path, commit: str, name: str = "one/model", files: Sequence[str] = ("model.safetensors",)
) -> Path:
    """What the hub's library leaves of a repository, with main at ``commit``."""
    repo = cache / f"models--{name.replace('/', '--')}"
    folder = repo / "snapshots" / commit
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).write_bytes(b"weights")
    (repo / "refs").mkdir(exist_ok=True)
    (repo / "refs" / "main").write_text(commit)
    return folder


def lock(suite: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["lock", str(suite), *arguments])


def refused(done: Result, *told: str) -> None:
    lines = done.stderr.splitlines()
    assert done.exit_code == 3 and len(lines) == len(told), done.stderr
    for line, part in zip(lines, told, strict=True):
        assert line.startswith("error: ") and part in line


def test_a_lock_is_written_checked_and_stays(suite: Path) -> None:
    refused(lock(suite, "--check"), "own.lock.yaml is missing: glance-bench lock writes it")
    done = lock(suite)
    assert done.exit_code == 0 and "1 repositories, 2 addresses" in done.stdout, done.output
    held = read_lock(lock_beside(suite))
    assert held.hub["one/model"].commit == COMMIT
    assert held.hub["one/model"].files == {"model.safetensors": sha256(b"weights").hexdigest()}
    assert set(held.urls.values()) == {sha256(one).hexdigest() for one in (b"prompts", b"single")}
    before = lock_beside(suite).read_bytes()
    assert lock(suite, "--check").exit_code == 0 and lock(suite).exit_code == 0
    assert lock_beside(suite).read_bytes() == before


def test_what_differs_is_named_by_check_and_taken_by_lock(suite: Path, tmp_path: Path) -> None:
    lock(suite)
    (weights_folder("single") / "single.npz").write_bytes(b"SINGLE")
    model = tmp_path / "hub" / "models--one--model" / "snapshots" / COMMIT / "model.safetensors"
    model.write_bytes(b"WEIGHTS")
    other = sha256(b"SINGLE").hexdigest()
    refused(
        lock(suite, "--check"),
        f"one/model: model.safetensors has sha256 {sha256(b'WEIGHTS').hexdigest()[:12]}, but",
        f"https://example.org/single.npz: has sha256 {other[:12]}, but",
    )
    assert lock(suite).exit_code == 0 and lock(suite, "--check").exit_code == 0
    assert read_lock(lock_beside(suite)).urls["https://example.org/single.npz"] == other


def test_a_newer_commit_is_taken_only_without_a_lock_file(suite: Path, tmp_path: Path) -> None:
    lock(suite)
    snapshot(tmp_path / "hub", OTHER)
    assert lock(suite).exit_code == 0
    assert read_lock(lock_beside(suite)).hub["one/model"].commit == COMMIT
    lock_beside(suite).unlink()
    assert lock(suite).exit_code == 0
    assert read_lock(lock_beside(suite)).hub["one/model"].commit == OTHER


def test_what_is_not_here_is_named_and_its_pins_stay(suite: Path) -> None:
    lock(suite)
    before = lock_beside(suite).read_bytes()
    (weights_folder("single") / "single.npz").unlink()
    for arguments in ((), ("--check",)):
        refused(lock(suite, *arguments), "single.npz")
        assert lock_beside(suite).read_bytes() == before


def test_a_file_that_is_not_here_keeps_its_pin_beside_one_that_is(suite: Path, tmp_path: Path) -> None:
    suite.write_text(
        "name: own\nmodels: [testbed-qwen]\nprompts: [{set: testbed}]\n"
        "samplers: [qwen-lightning-4, qwen-lightning-8]\nmetrics: [health]\n"
    )
    folder = snapshot(tmp_path / "hub", COMMIT, LIGHTNING, (FOUR, EIGHT))
    assert lock(suite).exit_code == 0
    before = lock_beside(suite).read_bytes()
    assert set(read_lock(lock_beside(suite)).hub[LIGHTNING].files) == {FOUR, EIGHT}
    (folder / EIGHT).unlink()
    for arguments in ((), ("--check",)):
        refused(lock(suite, *arguments), f"{LIGHTNING}:{EIGHT} is not on this machine")
        assert lock_beside(suite).read_bytes() == before


def test_pins_that_the_file_lacks_are_named(suite: Path) -> None:
    lock_beside(suite).write_text(f"hub: {{one/model: {{commit: {COMMIT}, files: {{}}}}}}\nurls: {{}}\n")
    refused(
        lock(suite, "--check"),
        "model.safetensors is not in",
        "single.npz: is not in",
        "drawbench.csv: is not in",
    )


def test_everything_published_is_pinned_or_left_to_lock_files() -> None:
    """A branch or a short commit would be neither."""
    commits = [entry.revision for entry in WEIGHTS.values() if entry.repo]
    commits += [source.commit for sources in SOURCES.values() for source in sources]
    assert all(commit is None or (len(commit) == 40 and int(commit, 16)) for commit in commits)


def test_a_suite_that_needs_nothing_published_has_nothing_to_pin(suite: Path) -> None:
    suite.write_text(TEXT.replace("drawbench", "testbed").replace("net", "health"))
    for arguments in ((), ("--check",)):
        done = lock(suite, *arguments)
        assert done.exit_code == 0 and "nothing to pin" in done.stdout
    assert not lock_beside(suite).exists()
