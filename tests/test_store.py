"""The run folder under bad luck: damage is named, moved away and made again, and nothing else is touched."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from glance_bench.engine.verify import verify
from glance_bench.errors import GlanceBenchError
from glance_bench.evidence import TABLES
from glance_bench.sealed import Damaged, find_sealed, parquet_bytes, read_sealed, seal, slug, write_folder
from glance_bench.store import Run
from tests.engine_fixtures import environment, fakes, files, make
from tests.fake_family import FakeFamily

pytestmark = pytest.mark.usefixtures("fakes")
__all__ = ["fakes"]


def images(run: Run) -> list[Path]:
    return sorted((run.folder / "units").rglob("*.png"))


def quarantined(run: Run) -> list[dict[str, str]]:
    log = run.folder / "quarantine" / "log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("pattern", ["units/**/*.png", "units/**/unit.parquet", "units/**/unit.json"])
def test_truncated_file_of_a_unit_is_named_quarantined_and_made_again(
    tmp_path: Path, pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(tmp_path)
    before = files(run, ".png", ".parquet", ".npz")
    results = (run.folder / "results.json").read_bytes()
    victim = sorted(run.folder.glob(pattern))[4]
    whole = victim.read_bytes()
    truncate(victim)
    capsys.readouterr()
    make(tmp_path)
    assert str(victim) in capsys.readouterr().err
    assert victim.read_bytes() == whole
    assert [entry["from"] for entry in quarantined(run)] == [str(victim.relative_to(run.folder))]
    after = files(run, ".png", ".parquet", ".npz")
    changed = {name for name in before if after[name] != before[name]}
    assert changed <= {str(victim.relative_to(run.folder))}
    assert (run.folder / "results.json").read_bytes() == results
    assert verify(run) == []


@pytest.mark.parametrize("pattern", ["scores/**/*.parquet", "features/**/*.npz", "timing/**/*.parquet"])
def test_truncated_score_features_and_timing_are_made_again(
    tmp_path: Path, pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(tmp_path)
    before = files(run, ".png", ".parquet", ".npz")
    digest = json.loads((run.folder / "results.json").read_text())["digest"]
    victim = sorted(run.folder.glob(pattern))[0]
    truncate(victim)
    capsys.readouterr()
    make(tmp_path)
    assert str(victim) in capsys.readouterr().err
    assert len(quarantined(run)) == 1
    after = files(run, ".png", ".parquet", ".npz")
    same = {
        name: value
        for name, value in before.items()
        if not name.startswith(str(victim.relative_to(run.folder))) and name not in TABLES
    }
    assert {name: after[name] for name in same} == same
    assert json.loads((run.folder / "results.json").read_text())["digest"] == digest


def test_altered_image_of_the_same_size_is_found_by_verify_and_repaired(tmp_path: Path) -> None:
    run = make(tmp_path)
    victim = images(run)[3]
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    (damage,) = verify(run)
    assert damage.path == victim and "sha256" in damage.what
    run.quarantine(damage)
    make(tmp_path)
    assert victim.read_bytes() == whole and verify(run) == []


def test_altered_image_is_not_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(tmp_path)
    victim = images(run)[0]
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    run = make(tmp_path, metrics=["brightness"])
    assert str(victim) in capsys.readouterr().err and victim.read_bytes() == whole


def test_foreign_files_are_moved_away_and_the_unit_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(tmp_path)
    before = files(run, ".png", ".parquet", ".npz")
    place = images(run)[0].parent
    (place / "holiday.png").write_bytes(images(run)[0].read_bytes())
    (place / "notes.parquet").write_bytes(b"not ours")
    FakeFamily.calls.clear()
    make(tmp_path)
    said = capsys.readouterr().err
    assert "holiday.png" in said and "notes.parquet" in said
    assert {Path(entry["from"]).name for entry in quarantined(run)} == {"holiday.png", "notes.parquet"}
    assert FakeFamily.calls == [] and files(run, ".png", ".parquet", ".npz") == before


def test_foreign_image_under_a_units_name_is_replaced(tmp_path: Path) -> None:
    run = make(tmp_path)
    first, second = images(run)[:2]
    whole = first.read_bytes()
    first.write_bytes(second.read_bytes())
    (damage,) = verify(run)
    run.quarantine(damage)
    make(tmp_path)
    assert first.read_bytes() == whole


def test_damaged_embedding_is_encoded_again(tmp_path: Path) -> None:
    run = make(tmp_path, timing={"repeats": 0})
    victim = next((run.folder / "embeddings").rglob("*.safetensors"))
    whole = victim.read_bytes()
    truncate(victim)
    assert [damage.path for damage in verify(run)] == [victim]
    FakeFamily.calls.clear()
    make(tmp_path, timing={"repeats": 0}, samplers=["uniform-4"])
    assert FakeFamily.calls.count(("encode", 1)) == 1
    assert victim.read_bytes() == whole


def test_a_folder_that_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(GlanceBenchError, match="is not a run folder"):
        Run(tmp_path).units()


def test_a_file_path_of_a_record_cannot_leave_the_unit(tmp_path: Path) -> None:
    from glance_bench.sealed import digest_of

    run = make(tmp_path)
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"precious")
    unit = run.units()[0]
    path = run.folder / unit.folder / "unit.json"
    document = json.loads(path.read_text())
    document.pop("digest")
    document["images"][0]["file"] = "../" * 6 + "outside.png"
    path.write_text(json.dumps({**document, "digest": digest_of(document)}))
    make(tmp_path)
    assert outside.read_bytes() == b"precious" and verify(run) == []


# -- the lock ------------------------------------------------------------------------------------------------


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    held = Run(tmp_path / "run")
    code = f"from glance_bench.store import Run\nwith Run({str(held.folder)!r}).lock(): pass"
    with held.lock():
        other = subprocess.run(
            [sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True
        )
    assert other.returncode != 0 and f"is in use by process {os.getpid()}" in other.stderr


def test_the_lock_of_a_dead_process_does_not_block(tmp_path: Path) -> None:
    code = (
        f"import os; from glance_bench.store import Run\n"
        f"with Run({str(tmp_path / 'run')!r}).lock(): os.kill(os.getpid(), 9)"
    )
    dead = subprocess.run([sys.executable, "-c", code], env=environment(tmp_path))
    assert dead.returncode == -9 and (tmp_path / "run" / ".lock").read_text()
    with Run(tmp_path / "run").lock():
        assert (tmp_path / "run" / ".lock").read_text() == str(os.getpid())


def test_taking_the_lock_sweeps_what_a_killed_run_left_half(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    half = run.folder / "units" / "m" / ".tmp-1-00000"
    half.mkdir(parents=True)
    (half / "00000.png").write_bytes(b"half")
    (run.folder / ".tmp-1-results.json").write_bytes(b"{")
    with run.lock():
        assert not half.exists() and not (run.folder / ".tmp-1-results.json").exists()


# -- sealed files --------------------------------------------------------------------------------------------


def test_a_sealed_file_proves_itself(tmp_path: Path) -> None:
    path = seal(tmp_path, "key", "parquet", b"content")
    assert find_sealed(tmp_path, "parquet") == {"key": path} and read_sealed(path) == b"content"
    path.write_bytes(b"contents")
    with pytest.raises(Damaged, match="does not match the digest"):
        read_sealed(path)


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_folder(tmp_path / "unit", {"a": b"1", "b": None})  # type: ignore[dict-item]
    assert not (tmp_path / "unit").exists()


def test_parquet_bytes_are_the_same_each_time() -> None:
    rows = [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]
    columns = {"a": "int64", "b": "string"}
    assert parquet_bytes(rows, columns) == parquet_bytes(list(rows), dict(columns))


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "..", ".", "", "a/b", "\x1b[31m", "a" * 10_000, "C:\\x", "-rf", " ", "é", ".hidden"],
)
def test_slugs_are_single_harmless_components(name: str) -> None:
    made = slug(name)
    assert made and Path(made).name == made and len(made) <= 80 and made.isascii() and made[0] not in ".-"
    assert "\x1b" not in made and made not in (".", "..")


def test_slugs_of_different_names_differ() -> None:
    names = ["a/b", "a-b", "a\\b", "a b", "../a", "a", "clip[testbed-clip]", "A"]
    assert len({slug(name) for name in names}) == len(names)
    assert slug("clip[testbed-clip]") == "clip[testbed-clip]"
