"""Records of a run read unit by unit: all of them, in order, each file proved by the record of its unit."""

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from glance_bench.sealed import Damaged, digest_of, json_bytes
from glance_bench.store import Run
from glance_bench.units import RECORD_COLUMNS, read_unit

from .fake_run import make_run, prompts_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("records") / "run"
    return make_run(folder, prompts_of(4), models=("testbed-flux",), samplers=("teacher-50", "uniform-4"))


@pytest.fixture
def run(made: Run, tmp_path: Path) -> Run:
    """A copy that a test may damage."""
    shutil.copytree(made.folder, tmp_path / "run")
    return Run(tmp_path / "run")


def altered(path: Path) -> None:
    """One bit of the file becomes another; its size stays."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_each_unit_is_a_table_and_together_they_are_the_records(made: Run) -> None:
    tables = list(made.record_tables())
    assert [table.num_rows for table in tables] == [4, 4]
    assert all(table.column_names == list(RECORD_COLUMNS) for table in tables)
    for table, unit in zip(tables, made.units(), strict=True):
        listed = [image["sha256"] for image in read_unit(made.folder / unit.folder)["images"]]
        assert table["image_sha256"].to_pylist() == listed
        assert set(table["sampler"].to_pylist()) == {unit.sampler}
    whole = made.records()
    assert whole.columns.tolist() == list(RECORD_COLUMNS)
    assert whole.to_dict("list") == pa.concat_tables(tables).to_pydict()


def test_units_of_an_earlier_version_stand_beside_new_ones(
    made: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluations were whole numbers before caches left parts of them out."""
    first, *others = made.record_tables()
    place = first.schema.get_field_index("evaluations")
    older = first.set_column(place, "evaluations", first["evaluations"].cast(pa.int64()))
    monkeypatch.setattr(made, "record_tables", lambda: iter([older, *others]))
    mixed = made.records()
    monkeypatch.undo()
    assert mixed["evaluations"].tolist() == made.records()["evaluations"].tolist()


def test_only_the_columns_that_are_asked_for_are_read(made: Run) -> None:
    (first, _) = made.record_tables(["prompt_id", "index"])
    assert first.to_pydict() == {"prompt_id": [f"p{i:03d}" for i in range(4)], "index": [0] * 4}


def test_reading_goes_unit_by_unit_and_stops_at_the_damaged_one(run: Run) -> None:
    path = run.folder / run.units()[1].folder / "unit.parquet"
    altered(path)
    tables = run.record_tables()
    assert next(tables).num_rows == 4
    with pytest.raises(Damaged, match="was altered: its sha256 is not the recorded one") as raised:
        next(tables)
    assert raised.value.path == path
    with pytest.raises(Damaged):
        run.records()


def test_a_run_without_units_has_records_without_rows(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write("manifest.json", {"units": []})
    assert run.records().columns.tolist() == list(RECORD_COLUMNS) and len(run.records()) == 0


def test_the_marks_of_a_unit_follow_its_file(run: Run) -> None:
    unit = run.units()[0]
    path = run.folder / unit.folder / "unit.json"
    document = json.loads(path.read_bytes())
    marks = run.unit_marks(unit.folder)
    assert marks.digest == document["digest"] and marks.records == document["records"]["sha256"]
    assert marks.score_key == run.score_key(document)
    assert run.check_unit(unit.folder, unit.key, deep=True) == [] and run.unit_marks(unit.folder) == marks

    del document["digest"]
    document["images"][0]["prompt_id"] = "p999"  # as long as the one before
    path.write_bytes(json_bytes({**document, "digest": digest_of(document)}))
    changed = run.unit_marks(unit.folder)
    assert changed.digest == digest_of(document) and changed.score_key != marks.score_key

    before = path.stat()
    altered(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(Damaged):
        run.unit_marks(unit.folder)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        run.unit_marks(unit.folder)


def test_what_prompts_ask_for_is_looked_up_again_when_it_was_written_anew(run: Run) -> None:
    unit = run.units()[0]
    before = run.unit_marks(unit.folder)
    sets = json.loads((run.folder / "prompts.json").read_bytes())["sets"]
    sets[0]["prompts"][0]["wanted_text"] = ["SHUT"]
    run.write("prompts.json", {"sets": sets})
    after = run.unit_marks(unit.folder)
    assert after.digest == before.digest and after.score_key != before.score_key


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", 7])
def test_a_record_that_names_anything_but_a_file_of_its_unit_is_refused(run: Run, name: object) -> None:
    place = run.folder / run.units()[0].folder
    document = json.loads((place / "unit.json").read_bytes())
    del document["digest"]
    document["images"][0]["file"] = name
    (place / "unit.json").write_bytes(json_bytes({**document, "digest": digest_of(document)}))
    with pytest.raises(Damaged, match="names a file outside the unit"):
        read_unit(place)


def test_a_document_that_says_the_same_is_left_alone(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write("env.json", {"a": [1, 2], "b": None})
    before = (tmp_path / "env.json").stat().st_mtime_ns, (tmp_path / "env.json").read_bytes()
    run.write("env.json", {"b": None, "a": (1, 2)})
    assert ((tmp_path / "env.json").stat().st_mtime_ns, (tmp_path / "env.json").read_bytes()) == before
    for other in (b"{", b"[" * 100_000, b'{"a":[1,2],"b":0}'):
        (tmp_path / "env.json").write_bytes(other)
        run.write("env.json", {"a": [1, 2], "b": None})
        assert (tmp_path / "env.json").read_bytes() == before[1]
