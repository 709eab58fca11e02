"""A run kept at a URL: written as it goes, read back elsewhere, and whole or made again."""

import shutil
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest

from glance_bench.engine.base import Team
from glance_bench.engine.local import LocalEngine
from glance_bench.engine.runner import run_suite
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.mirror import Mirror
from glance_bench.sealed import sha256_file
from glance_bench.suite import Suite
from glance_bench.terminal import Progress
from tests.engine_fixtures import command, fakes, settings, suite_file
from tests.fake_family import FakeFamily
from tests.test_kill import outcome

__all__ = ["fakes"]


@pytest.fixture
def url() -> str:
    return f"memory://{uuid.uuid4().hex}/run"


def made(folder: Path, url: str) -> Mirror:
    suite = Suite.model_validate(settings(folder, timing={"repeats": 0}))
    mirror = Mirror(url, folder / "run")
    run_suite(suite, folder / "run", Progress(quiet=True), team=Team(LocalEngine(), mirror=mirror))
    return mirror


def there(url: str) -> set[str]:
    fs, root = fsspec.core.url_to_fs(url)
    return {name.removeprefix(root).lstrip("/") for name in fs.find(root)}


def test_a_run_goes_on_elsewhere_from_what_is_kept(fakes: None, tmp_path: Path, url: str) -> None:
    made(tmp_path, url)
    expected = outcome(tmp_path)
    shutil.rmtree(tmp_path / "run" / "embeddings")  # can be made again, and are large
    kept = {
        str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*") if path.is_file()
    }
    assert there(url) == {name for name in kept if not name.startswith(".")}
    shutil.rmtree(tmp_path / "run")
    FakeFamily.calls.clear()
    made(tmp_path, url)
    assert FakeFamily.calls == []  # nothing is made again
    assert outcome(tmp_path) == {name: sha for name, sha in expected.items() if "embeddings" not in name}


def test_a_unit_whose_copy_was_cut_short_is_made_again(fakes: None, tmp_path: Path, url: str) -> None:
    made(tmp_path, url)
    expected = outcome(tmp_path)
    fs, root = fsspec.core.url_to_fs(url)
    record = next(name for name in sorted(there(url)) if name.endswith("unit.json"))
    fs.rm(f"{root}/{record}")
    shutil.rmtree(tmp_path / "run")
    FakeFamily.calls.clear()
    made(tmp_path, url)
    assert sum(count for what, count in FakeFamily.calls if what == "sample") == 3  # one unit
    images = {name: sha for name, sha in expected.items() if "embeddings" not in name}
    assert images.items() <= outcome(tmp_path).items() and record in there(url)
    assert not (tmp_path / "run" / "quarantine").exists()


def test_what_is_repaired_replaces_the_damaged_copy_of_the_same_size(
    fakes: None, tmp_path: Path, url: str
) -> None:
    made(tmp_path, url)
    expected = outcome(tmp_path)
    fs, root = fsspec.core.url_to_fs(url)
    image = next(name for name in sorted(there(url)) if name.endswith(".png"))
    whole = fs.cat_file(f"{root}/{image}")
    fs.pipe_file(f"{root}/{image}", whole[:-1] + bytes([whole[-1] ^ 1]))
    fs.rm(f"{root}/scores", recursive=True)  # so that the images are read again
    shutil.rmtree(tmp_path / "run")
    made(tmp_path, url)
    assert sha256_file(tmp_path / "run" / image) == expected[image]
    assert fs.cat_file(f"{root}/{image}") == whole


def test_what_is_done_is_kept_before_the_run_ends(
    fakes: None, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    sample = FakeFamily.sample

    def watched(self: FakeFamily, *given: Any, **named: Any) -> Any:
        seen.append({name for name in there(url) if name.endswith("unit.json")})
        return sample(self, *given, **named)

    monkeypatch.setattr(FakeFamily, "sample", watched)
    made(tmp_path, url)
    units = len({name for name in there(url) if name.endswith("unit.json")})
    assert not seen[0] and len(seen[-1]) == units - 1


def test_places_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="output nowhere://x: Protocol not known: nowhere"):
        Mirror("nowhere://x", tmp_path)
    (tmp_path / "file").touch()
    mirror = Mirror(f"file://{tmp_path}/file", tmp_path)
    with pytest.raises(GlanceBenchError, match="cannot be written"):
        mirror.push()


def test_the_command_takes_a_url(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/kept"
    suite = suite_file(tmp_path, timing={"repeats": 0})
    done = command(tmp_path, "run", suite, "-o", url)
    assert done.returncode == 0, done.stderr
    assert f"kept at: {url}" in done.stdout
    assert (tmp_path / "kept" / "report" / "index.html").is_file()
    assert command(tmp_path, "verify", "kept").returncode == 0
    shutil.rmtree(tmp_path / "cache")
    again = command(tmp_path, "run", suite, "-o", url)
    assert "files brought from" in again.stderr and "generate" not in again.stderr
