"""Prefetch with huggingface_hub itself, on a hub of our own: commits, lock files, and no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha1, sha256
from pathlib import Path

import pytest

from glance_bench.locks import read_lock

from .web import Site, serving

DATA = bytes(range(256)) * 4000


def hexes(data: bytes) -> str:
    return sha256(data).hexdigest()


COMMITS = {"one/model": "a" * 40, "two/prompts": "b" * 40}
HUB_FILES = {
    "one/model": {"config.json": b'{"width": 3}', "model.safetensors": DATA, "model.bin": b"pickle"},
    "two/prompts": {"data/train.jsonl": b'{"prompt": "one cup"}\n', "README.md": b"about"},
}


@pytest.fixture
def hub() -> Iterator[Site]:
    """What huggingface_hub asks of a hub for a snapshot: the revision, the tree, and each file's head and body."""
    with serving() as site:
        for repo, files in HUB_FILES.items():
            kind, commit = ("datasets", COMMITS[repo]) if repo == "two/prompts" else ("models", COMMITS[repo])
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": sha1(data).hexdigest()}
                for name, data in files.items()
            ]
            info = {"id": repo, "sha": commit, "siblings": [{"rfilename": name} for name in files]}
            for revision in ("main", commit):
                site.files[f"/api/{kind}/{repo}/revision/{revision}"] = json.dumps(info).encode()
                site.files[f"/api/{kind}/{repo}/tree/{revision}"] = json.dumps(tree).encode()
                for name, data in files.items():
                    path = f"/{'datasets/' if kind == 'datasets' else ''}{repo}/resolve/{revision}/{name}"
                    site.files[path] = data
                    site.headers[path] = {"ETag": f'"{sha1(data).hexdigest()}"', "X-Repo-Commit": commit}
        yield site


SCRIPT = """
import json, sys
from pathlib import Path
from glance_bench import prefetch
from glance_bench.errors import GlanceBenchError
from glance_bench.weights import WEIGHTS, Weights, find_weights
from glance_bench.prompts import coco
from glance_bench.prompts.sources import SOURCES, Source
from glance_bench.terminal import Progress
targets, lock, commit = json.loads(sys.argv[1])
WEIGHTS["net"] = Weights("net", "1 MB", "MIT", repo="one/model", revision=commit, files=("*.json", "*.safetensors"))
place = "coco2014/t2i-prompts-coco-10k"
SOURCES["coco-10k"] = (Source(place, "two/prompts", "", None, 1, 10, "own", host="hub", pattern="*"),)
try:
    found = prefetch.fetch(targets, Path(lock) if lock else None, Progress(quiet=True))
    if "net" in targets:
        assert find_weights("net") == found[targets.index("net")].place
    if "coco-10k" in targets:
        assert [one.text for one in coco.load_10k().prompts] == ["one cup"]
    print(json.dumps([[one.target, str(one.place), one.new] for one in found]))
except GlanceBenchError as error:
    print("error:", error)
"""


SUITE = """
import json, sys
from pathlib import Path
from glance_bench.prefetch import fetch_suite
from glance_bench.prompts.sources import SOURCES, Source
from glance_bench.registry import METRICS
from glance_bench.suite import Suite
from glance_bench.terminal import Progress
from glance_bench.weights import WEIGHTS, Weights, find_weights, weights_folder
_, lock, made = json.loads(sys.argv[1])
patterns = ("*.json", "*.safetensors")
WEIGHTS["net"] = Weights("net", "1 MB", "MIT", repo="one/model", files=patterns, converted="net.npz" if made else None)
place = "coco2014/t2i-prompts-coco-10k"
SOURCES["coco-10k"] = (Source(place, "two/prompts", "", None, 1, 10, "own", host="hub", pattern="*"),)
METRICS.register("own", lambda: find_weights("net"))
if made:
    weights_folder("net").mkdir(parents=True, exist_ok=True)
    (weights_folder("net") / "net.npz").write_bytes(b"made")
uses = [{"set": "coco-10k"}]
suite = Suite.model_validate({"name": "own", "prompts": uses, "samplers": ["teacher-50"], "metrics": ["own"]})
print([[one.target, one.new] for one in fetch_suite(suite, Path(lock), Progress(quiet=True))])
"""


def ask_hub(home: Path, hub: Site | None, targets: list[str], lock: Path | None = None, **more: str) -> str:
    """Run the script in a process of its own: the library reads its settings when it is imported."""
    commit, script = more.pop("commit", None), more.pop("script", SCRIPT)
    own = {
        "HF_HUB_OFFLINE": "",
        "GLANCE_BENCH_DATA": "",
        "GLANCE_BENCH_LOCK": "",
        "GLANCE_BENCH_CACHE": str(home),
        "HF_HOME": str(home),
        "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9",
        "HF_HUB_DISABLE_XET": "1",
    }
    env = {**os.environ, **own, **more}
    argument = json.dumps([targets, str(lock) if lock else None, commit])
    done = subprocess.run(
        [sys.executable, "-c", script, argument], capture_output=True, text=True, env=env, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_hub_repositories_with_the_real_library(hub: Site, tmp_path: Path) -> None:
    home, lock = tmp_path / "home", tmp_path / "suite.lock.yaml"
    (weights, prompts) = json.loads(ask_hub(home, hub, ["net", "coco-10k"], lock))
    assert weights[2] and prompts[2]
    assert Path(weights[1]).name == "a" * 40 and sorted(os.listdir(weights[1])) == [
        "config.json",
        "model.safetensors",
    ]

    held = read_lock(lock)
    assert held.hub["one/model"].files == {
        "config.json": hexes(b'{"width": 3}'),
        "model.safetensors": hexes(DATA),
    }
    assert held.hub["datasets/two/prompts"].commit == "b" * 40

    # The newest commit moves on; with the lock file both the next fetch and the run stay at the locked one.
    before = lock.read_bytes()
    for name in ("revision/main", "tree/main"):
        hub.files[f"/api/models/one/model/{name}"] = b'{"id": "one/model", "sha": "%s", "siblings": []}' % (
            b"c" * 40
        )
    again = json.loads(ask_hub(home, hub, ["net", "coco-10k"], lock, GLANCE_BENCH_LOCK=str(lock)))
    assert [[place, new] for _, place, new in again] == [[weights[1], False], [prompts[1], False]]
    assert lock.read_bytes() == before

    # Another machine, the same lock file: the same commit although main has moved.
    # There no branch is known by name, so a run finds the prompts by the lock file alone.
    other = tmp_path / "other"
    found = json.loads(ask_hub(other, hub, ["one/model", "coco-10k"], lock, GLANCE_BENCH_LOCK=str(lock)))
    assert [Path(place).name for _, place, _ in found] == ["a" * 40, "b" * 40]
    assert "waits for prompts of coco-10k" in ask_hub(other, hub, ["coco-10k"], lock)
    line = ask_hub(tmp_path / "third", hub, ["net", "no/such"], lock, commit="c" * 40)
    pinned, absent = line.removeprefix("error: ").split("\n")
    assert "one/model" in pinned and "cannot fetch no/such from the hub: " in absent

    # No network: what is here still loads; what is not says what to do.
    assert json.loads(ask_hub(home, None, ["coco-10k"], HF_HUB_OFFLINE="1"))[0][2] is False
    line = ask_hub(tmp_path / "empty", None, ["coco-10k"], HF_HUB_OFFLINE="1")
    assert "cannot fetch two/prompts from the hub" in line
    assert "By hand: hf download two/prompts --repo-type dataset" in line
    assert line.endswith("; or put it at <DIR>/coco2014/t2i-prompts-coco-10k, with --data DIR")


def test_a_machine_that_has_everything_writes_the_lock_of_one_that_fetched_it(
    hub: Site, tmp_path: Path
) -> None:
    home, lock = tmp_path / "home", tmp_path / "suite.lock.yaml"
    said = ask_hub(home, hub, [], lock, script=SUITE)
    assert said == "[['coco-10k', True], ['net', True]]"
    fetched = lock.read_bytes()
    assert set(read_lock(lock).hub) == {"one/model", "datasets/two/prompts"}

    lock.unlink()
    said = ask_hub(home, None, [], lock, script=SUITE, HF_HUB_OFFLINE="1")
    assert said == "[['coco-10k', False], ['net', False]]"
    assert lock.read_bytes() == fetched

    # Weights that were converted since: pinned as the snapshot that is here, and nothing newer is fetched for that.
    for name in ("revision/main", "tree/main"):
        hub.files[f"/api/models/one/model/{name}"] = b'{"id": "one/model", "sha": "%s", "siblings": []}' % (
            b"c" * 40
        )
    lock.unlink()
    ask_hub(home, hub, [], lock, script=SUITE, commit="converted")
    assert lock.read_bytes() == fetched
