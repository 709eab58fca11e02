"""Pickles become arrays in a child process, and a pickle that asks for anything else is refused without running."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import pickle
import stat
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from glance_bench import convert as module
from glance_bench.convert import convert
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.weights import WEIGHTS, Weights, find_weights, weights_folder


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A function that puts an entry without a pinned digest into WEIGHTS; the cache is a folder of its own."""
    monkeypatch.setenv("GLANCE_BENCH_CACHE", str(tmp_path / "cache"))

    def add(converted: str | None, sha256: str | None = None) -> str:
        made = Weights(
            "sample", "1 KB", "CC0", url="https://example.org/sample.pt", sha256=sha256, converted=converted
        )
        monkeypatch.setitem(WEIGHTS, "sample", made)
        return "sample"

    return add


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def converted(entry: Any, path: Path, name: str) -> Path:
    made: Path = convert(entry(name), path, sha256=digest(path))
    assert find_weights("sample") == made == weights_folder("sample") / name
    assert os.listdir(made.parent) == [name], "something was left beside the result"
    return made


STATE = OrderedDict(
    [("conv.weight", torch.arange(6.0).view(2, 3)), ("scale", torch.tensor(4.5)), ("seen", torch.tensor(7))]
)


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_checkpoints_become_safetensors(entry: Any, tmp_path: Path, legacy: bool) -> None:
    shared = torch.arange(8, dtype=torch.bfloat16)
    document = {
        "state_dict": STATE,
        "views": [shared[2:6], shared[::2]],
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1, name="run"),
        "nothing": None,
    }
    path = tmp_path / "sample.pt"
    torch.save(document, path, _use_new_zipfile_serialization=not legacy)
    made = converted(entry, path, "sample.safetensors")
    tensors = load_file(made)
    assert set(tensors) == {*(f"state_dict/{name}" for name in STATE), "views/0", "views/1"}
    for name, tensor in STATE.items():
        assert tensors[f"state_dict/{name}"].dtype == tensor.dtype
        assert torch.equal(tensors[f"state_dict/{name}"], tensor)
    assert torch.equal(tensors["views/0"], shared[2:6]) and torch.equal(tensors["views/1"], shared[::2])
    with safe_open(made, "pt") as file:
        scalars = json.loads(file.metadata()["scalars"])
    assert scalars == {"epoch": 3, "args/lr": 0.1, "args/name": "run", "nothing": None}


def test_the_same_file_gives_the_same_bytes(entry: Any, tmp_path: Path) -> None:
    path = tmp_path / "sample.pkl"
    path.write_bytes(pickle.dumps({"b": np.arange(3), "a": 1.5}))
    assert digest(converted(entry, path, "a.npz")) == digest(converted(entry, path, "a.npz"))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_plain_pickles_of_arrays_become_npz(entry: Any, tmp_path: Path, protocol: int) -> None:
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=(2, 4)).astype(np.float32)]
    document = {
        "features": features,
        "mean": rng.normal(size=4),
        "n": np.int64(5),
        "seen": 5,
        "by": {"x": np.eye(2)},
    }
    path = tmp_path / "features.pkl"
    path.write_bytes(pickle.dumps(document, protocol=protocol))
    with np.load(converted(entry, path, "features.npz"), allow_pickle=False) as stored:
        assert set(stored.files) == {"features/0", "features/1", "mean", "n", "seen", "by/x"}
        assert np.array_equal(stored["features/1"], features[1]) and stored["features/1"].dtype == np.float32
        assert np.array_equal(stored["mean"], document["mean"]) and np.array_equal(stored["by/x"], np.eye(2))
        assert stored["n"] == stored["seen"] == 5


def test_embeddings_by_style_become_npz_from_a_torch_file(entry: Any, tmp_path: Path) -> None:
    path = tmp_path / "embeddings.pt"
    torch.save({"line_art": torch.eye(2, dtype=torch.bfloat16) / 3, "lego": np.ones((1, 2))}, path)
    with np.load(converted(entry, path, "embeddings.npz"), allow_pickle=False) as stored:
        expected = (torch.eye(2, dtype=torch.bfloat16) / 3).float().numpy()
        assert np.array_equal(stored["line_art"], expected) and stored["line_art"].dtype == np.float32
        assert np.array_equal(stored["lego"], np.ones((1, 2)))


class Inner(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.sizes = [1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.conv(x))) + torch.tensor([[[2.5]]])


@pytest.mark.filterwarnings("ignore")  # torch deprecates TorchScript, which published weights still come in
@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript_gives_its_tensors_and_runs_no_code(entry: Any, tmp_path: Path, how: str) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(Inner(), torch.nn.Conv2d(4, 2, 3)).eval()
    make = torch.jit.script if how == "script" else lambda m: torch.jit.trace(m, torch.rand(1, 3, 8, 8))
    path = tmp_path / "net.pt"
    make(net).save(str(path))
    broken = tmp_path / "broken.pt"  # the same archive, with code that cannot even be parsed
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(broken, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"os.system(!" if "/code/" in name else old.read(name))
    tensors = load_file(converted(entry, broken, "net.safetensors"))
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensors[name], tensor), name
    if (
        how == "trace"
    ):  # here the number in ``forward`` is a constant of the archive; a script has it in its code
        assert any(
            name.startswith("constants/") and tensor.tolist() == [[[2.5]]] for name, tensor in tensors.items()
        )


# what is refused


class Payload:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.what = (call, arguments)

    def __reduce__(self) -> Any:
        return self.what


def hostile(kind: str, flag: Path) -> bytes:
    payload = Payload(os.system, f"touch {flag}")
    if kind == "plain":
        return pickle.dumps({"x": np.ones(2), "y": payload})
    buffer = io.BytesIO()
    if kind in ("torch", "legacy"):
        torch.save({"x": torch.ones(2), "y": payload}, buffer, _use_new_zipfile_serialization=kind == "torch")
    if kind == "script":
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("net/data.pkl", pickle.dumps(payload))
            archive.writestr("net/constants.pkl", pickle.dumps(()))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["plain", "torch", "legacy", "script"])
def test_a_pickle_that_runs_a_command_is_refused(entry: Any, tmp_path: Path, kind: str) -> None:
    flag = tmp_path / "ran"
    path = tmp_path / "evil.pt"
    path.write_bytes(hostile(kind, flag))
    if kind in ("plain", "legacy"):  # it is a real attack: reading it as pickle does runs the command
        try:
            pickle.loads(path.read_bytes()) if kind == "plain" else torch.load(path, weights_only=False)
        finally:
            assert flag.exists()
            flag.unlink()
    with pytest.raises(GlanceBenchError, match="is not converted") as caught:
        convert(entry("evil.safetensors"), path, sha256=digest(path))
    assert "system" in str(caught.value) and "\n" not in str(caught.value)
    assert not flag.exists()
    assert os.listdir(weights_folder("sample")) == []


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (Payload(eval, "1"), "eval"),
        (Payload(getattr, "x", "y"), "getattr"),
        (Payload(Path, "/"), "pathlib|Path"),
        (Payload(np.load, "x"), "load"),
        ({1, 2}, "set"),
        ({(1, 2): np.ones(1)}, "tuple"),
        ({"a": {"b": np.ones(1)}, "a/b": np.ones(1)}, "two of its entries"),
        ({"a": np.array([{}], dtype=object)}, "arrays of type 'O8'"),
        ({"a": np.zeros(2, dtype=[("x", "f4"), ("y", object)])}, "arrays of type 'V"),
        ({"a": np.zeros(2, dtype=[("x", "f4")])}, "arrays of type 'V"),
        ({"a": np.zeros(2, "datetime64[s]")}, "arrays of type 'M8"),
        (
            Payload(np.ndarray, (1,), np.dtype("f8"), b"\x01" * 8),
            "_Array",
        ),  # with objects for numbers: any address
        ({"n": 1}, "no arrays"),
        ({"a": Payload(bytearray, 1 << 40)}, "bytearray"),
    ],
)
def test_whatever_is_no_array_is_refused(entry: Any, tmp_path: Path, payload: Any, said: str) -> None:
    path = tmp_path / "odd.pkl"
    path.write_bytes(pickle.dumps(payload))
    with pytest.raises(GlanceBenchError, match=said):
        convert(entry("odd.npz"), path, sha256=digest(path))


def test_a_small_file_that_unfolds_into_gigabytes_is_refused(entry: Any, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    torch.save({"x": torch.zeros(1).expand(3 << 28)}, path)  # one number in the file, 3 GiB when written out
    assert path.stat().st_size < 10_000
    with pytest.raises(GlanceBenchError, match="memory"):
        convert(entry("bomb.safetensors"), path, sha256=digest(path))


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04 cut off", b"\x80\x04", b"no pickle at all", b"(" * 100_000]
)
def test_damaged_files_are_refused_in_one_line(entry: Any, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "damaged.pt"
    path.write_bytes(data)
    with pytest.raises(GlanceBenchError, match="is not converted") as caught:
        convert(entry("damaged.npz"), path, sha256=digest(path))
    assert "\n" not in str(caught.value)


def test_a_failed_conversion_leaves_the_earlier_result(entry: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pkl", tmp_path / "bad.pkl"
    good.write_bytes(pickle.dumps({"x": np.ones(3)}))
    bad.write_bytes(pickle.dumps({"x": os.getcwd}))
    made = converted(entry, good, "x.npz")
    before = digest(made)
    with pytest.raises(GlanceBenchError):
        convert("sample", bad, sha256=digest(bad))
    assert digest(made) == before and os.listdir(made.parent) == ["x.npz"]


def test_the_child_has_no_environment_and_a_time_limit(
    entry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = tmp_path / "spy"
    spy.write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\nsleep 20\n")
    spy.chmod(spy.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("SECRET_TOKEN", "abc")
    monkeypatch.setattr(sys, "executable", str(spy))
    monkeypatch.setattr(module, "SECONDS", 1)
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"x": np.ones(3)}))
    with pytest.raises(GlanceBenchError, match="given up"):
        convert(entry("x.npz"), path, sha256=digest(path))
    names = {line.partition("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert (
        {"PATH", "HOME"}
        <= names
        <= {"PATH", "HOME", "TMPDIR", "OMP_NUM_THREADS", "PWD", "SHLVL", "_", "OLDPWD"}
    )


# digests and names


def test_only_the_expected_file_is_opened(
    entry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_run_child", lambda *_: pytest.fail("the file was opened"))
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"x": np.ones(3)}))
    right, wrong = digest(path), "0" * 64
    with pytest.raises(UsageError, match=f"no digest is pinned.*--sha256 {right}"):
        convert(entry("x.npz"), path)
    with pytest.raises(UsageError, match=f"{right}, not {wrong}"):
        convert(entry("x.npz"), path, sha256=wrong)
    for given in (None, right, wrong):  # a pinned digest cannot be talked away
        with pytest.raises(UsageError, match=f"is not sample: .*{right}, expected {wrong}"):
            convert(entry("x.npz", sha256=wrong), path, sha256=given)


def test_a_pinned_digest_is_enough(entry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(
        "GLANCE_BENCH_CACHE", "cache"
    )  # relative, which the child's own folder must not change
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"x": np.ones(3)}))
    assert convert(entry("x.npz", sha256=digest(path)), path).is_file()


def test_names_and_files_that_are_wrong_are_named(entry: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown weights 'smaple'; did you mean 'sample'"):
        convert((entry("x.npz"), "smaple")[1], tmp_path / "x")
    with pytest.raises(UsageError, match="no such file"):
        convert("sample", tmp_path / "absent")
    with pytest.raises(UsageError, match="nothing to convert"):
        convert(entry(None), tmp_path)
