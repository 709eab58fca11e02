"""Baselines: the run's own bytes, verified when read, never half there."""

import io
import json
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from glance_bench import baselines, suite
from glance_bench.baselines import baseline_names, find_baseline, read_baseline, save_baseline, summary
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.evidence import read_evidence
from glance_bench.packing import read_features
from glance_bench.sealed import Damaged, sha256_bytes
from glance_bench.store import Run
from tests.fake_run import METRICS
from tests.keeping_fixtures import (
    ENVIRONMENT,
    OtherFrechet,
    command,
    contents,
    edit_results,
    finished_run,
    kill_at,
    rename,
    sealed,
)

TWO = (*METRICS, OtherFrechet())
VERBATIM = ("results.json", "samples.parquet", "timing.parquet", "prompts.json", "suite.json", "env.json")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished_run(tmp_path_factory.mktemp("runs") / "fake", metrics=TWO)


@pytest.fixture
def own(run: Run, tmp_path: Path) -> Run:
    """A copy of the run that a test may spoil."""
    shutil.copytree(run.folder, tmp_path / "fake")
    return Run(tmp_path / "fake")


def test_a_baseline_is_the_run_s_own_bytes_without_images(run: Run, tmp_path: Path) -> None:
    place, document = save_baseline(run.folder, room=tmp_path)
    held = contents(place)
    features = {"features/fd[fake]-00000000.npz", "features/fd[other]-00000000.npz"}
    assert set(held) == {*VERBATIM, "baseline.json", *features}
    assert all(held[name] == (run.folder / name).read_bytes() for name in VERBATIM)
    assert place == tmp_path / "fake" and document == json.loads(held["baseline.json"])
    results = json.loads(held["results.json"])
    assert document["from"] == {"run": "fake", "digest": results["digest"], "seal": results["seal"]}
    assert document["bytes"] == sum(len(data) for name, data in held.items() if name != "baseline.json")
    assert {name: file["sha256"] for name, file in document["files"].items()} == {
        name: sha256_bytes(data) for name, data in held.items() if name != "baseline.json"
    }


def test_the_same_run_saves_to_the_same_bytes(run: Run, tmp_path: Path) -> None:
    first, _ = save_baseline(run.folder, room=tmp_path / "one")
    second, _ = save_baseline(run.folder, room=tmp_path / "two")
    assert contents(first) == contents(second)


def test_features_are_those_of_the_images_by_extractor(run: Run, tmp_path: Path) -> None:
    place, _ = save_baseline(run.folder, room=tmp_path)
    found = read_features(place)
    records = run.records().drop_duplicates("image_sha256").set_index("image_sha256")["image"]
    for metric in TWO[-1], METRICS[3]:
        shas, values = found[f"{metric.name}-00000000"]
        assert values.dtype == np.float32 and sorted(shas) == sorted(records.index)
        pictures = np.stack([np.asarray(Image.open(run.folder / records[sha])) for sha in shas])
        np.testing.assert_array_equal(values, metric.features(pictures))


def test_metrics_on_one_extractor_share_its_features(own: Run, tmp_path: Path) -> None:
    metrics = own.manifest["metrics"]
    again = {**next(m for m in metrics if m["name"] == "fd[fake]"), "name": "kid[fake]"}
    own.write("manifest.json", {**own.manifest, "metrics": [*metrics, again]})
    place, _ = save_baseline(own.folder, room=tmp_path / "room")
    assert len(list((place / "features").iterdir())) == 2


def test_what_is_read_back_is_the_run_s_evidence(run: Run, tmp_path: Path) -> None:
    place, _ = save_baseline(run.folder, "kept", room=tmp_path)
    read, theirs = read_baseline(place), read_evidence(run.folder)
    pd.testing.assert_frame_equal(read.samples, theirs.samples)
    pd.testing.assert_frame_equal(read.timing, theirs.timing)
    assert (read.name, read.path, read.results, read.prompts) == (
        "fake",
        place,
        theirs.results,
        theirs.prompts,
    )
    assert summary(read) == {
        **{"run": "fake", "suite": "fake", "profile": None, "testbed": True, "date": None},
        "boards": [
            {
                "model": "testbed-flux",
                "prompt_set": "testbed",
                "prompts": 9,
                "samplers": ["teacher-50", "uniform-10", "uniform-4"],
            }
        ],
        **{"version": "0", "hardware": "cpu-2cores-0123abcd"},
    }


def test_the_date_is_that_of_the_last_latency_session(run: Run) -> None:
    evidence = read_evidence(run.folder)
    timing = evidence.timing.assign(session="2026-03-04T10:00:00+00:00")
    timing.loc[0, "session"] = "2026-03-05T00:00:01+00:00"
    object.__setattr__(evidence, "timing", timing)
    assert summary(evidence)["date"] == "2026-03-05"


def test_parquet_of_another_writer_is_kept_as_it_is(own: Run, tmp_path: Path) -> None:
    before = read_evidence(own.folder)
    other = io.BytesIO()
    before.samples.to_parquet(other, index=False, compression="snappy", row_group_size=5)
    data = other.getvalue()
    assert data != (own.folder / "samples.parquet").read_bytes()
    (own.folder / "samples.parquet").write_bytes(data)
    edit_results(own.folder, tables={**before.results["tables"], "samples.parquet": sha256_bytes(data)})
    place, _ = save_baseline(own.folder, room=tmp_path / "room")
    assert (place / "samples.parquet").read_bytes() == data
    pd.testing.assert_frame_equal(read_baseline(place).samples, before.samples)


def test_too_large_says_what_is_large_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    _, document = save_baseline(run.folder, room=tmp_path / "free")
    features = sum(file["bytes"] for name, file in document["files"].items() if name.startswith("features/"))
    limit = (document["bytes"] - features) / 1e6
    with pytest.raises(UsageError, match=r"results\.json 0\.\d\d MB.*--no-features.*--limit-mb"):
        save_baseline(run.folder, room=tmp_path / "room", limit_mb=limit)
    assert list((tmp_path / "room").iterdir()) == []
    place, smaller = save_baseline(run.folder, room=tmp_path / "room", limit_mb=limit, features=False)
    assert smaller["bytes"] == document["bytes"] - features and not (place / "features").exists()
    with pytest.raises(UsageError) as refused:
        save_baseline(run.folder, "b", room=tmp_path / "room", limit_mb=limit / 2, features=False)
    assert "--no-features" not in str(refused.value)


def test_names_are_those_of_suites() -> None:
    (field,) = typing.get_args(suite.Label)[1:]
    assert f"^{baselines.LABEL}$" == field.metadata[0].pattern


@pytest.mark.parametrize("name", ["../x", "a/b", "/x", "", ".x", "-x", "X", "a b", "x\n", "a" * 65])
def test_unsafe_names_are_refused(run: Run, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a baseline"):
        save_baseline(run.folder, name, room=tmp_path / "in" / "room")
    assert list(tmp_path.iterdir()) == []


def test_a_taken_name_is_kept_unless_replaced(run: Run, own: Run, tmp_path: Path) -> None:
    place, _ = save_baseline(run.folder, room=tmp_path / "room")
    before = contents(place)
    with pytest.raises(UsageError, match="--replace"):
        save_baseline(run.folder, room=tmp_path / "room")
    rename(own, "other")
    (place / "notes.md").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.md"):
        save_baseline(own.folder, "fake", room=tmp_path / "room", replace=True)
    assert contents(place) == {**before, "notes.md": b"mine"}
    (place / "notes.md").unlink()
    save_baseline(own.folder, "fake", room=tmp_path / "room", replace=True)
    assert read_baseline(place).name == "other"
    assert [path.name for path in (tmp_path / "room").iterdir()] == ["fake"]


def test_what_is_no_baseline_is_never_replaced(run: Run, tmp_path: Path) -> None:
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="no baseline"):
        save_baseline(run.folder, room=tmp_path, replace=True)
    assert contents(tmp_path) == {"fake/thesis.tex": b"years of work"}


@pytest.mark.parametrize("name", [*VERBATIM, "features/fd[fake]-00000000.npz", "baseline.json"])
def test_an_altered_file_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    place, _ = save_baseline(run.folder, room=tmp_path)
    whole = (place / name).read_bytes()
    for spoilt in (whole[:-3], whole.replace(b"a", b"b", 1), b""):
        assert spoilt != whole
        (place / name).write_bytes(spoilt)
        with pytest.raises(Damaged):
            read_baseline(place)
    (place / name).unlink()
    if name != "baseline.json":  # without it, the folder still is evidence with a seal of its own
        with pytest.raises(Damaged, match="is missing"):
            read_baseline(place)


def test_an_edit_that_knows_about_the_seal_is_found_too(run: Run, tmp_path: Path) -> None:
    place, _ = save_baseline(run.folder, room=tmp_path)
    edit_results(place, profile="h100")
    assert read_evidence(place).results["profile"] == "h100"
    with pytest.raises(Damaged, match=r"results\.json"):
        read_baseline(place)


def test_a_file_that_nobody_wrote_is_not_read(run: Run, tmp_path: Path) -> None:
    place, _ = save_baseline(run.folder, room=tmp_path)
    shutil.copy(place / "features/fd[fake]-00000000.npz", place / "features/fd[more].npz")
    with pytest.raises(Damaged, match="is not one of the files"):
        read_baseline(place)
    (place / "features/fd[more].npz").rename(place / "README.md")
    assert read_baseline(place).name == "fake"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": "glance-bench/baseline/2"}, "schema 'glance-bench/baseline/2'.*make the baseline again"),
        ({"from": {"run": "fake", "digest": "0", "seal": "0"}}, "belongs to another run"),
        ({"from": {}}, "is not the document of a baseline"),
        ({"files": {"../../secret": {"bytes": 1, "sha256": "0"}}}, "no place in a baseline"),
        ({"files": {"results.json": {"bytes": "1", "sha256": "0"}}}, "is not the document of a baseline"),
        ({"files": []}, "is not the document of a baseline"),
    ],
)
def test_a_document_that_does_not_fit_is_refused(run: Run, tmp_path: Path, changes: dict, says: str) -> None:
    place, document = save_baseline(run.folder, room=tmp_path)
    (place / "baseline.json").write_bytes(sealed(document, **changes))
    with pytest.raises(GlanceBenchError, match=says) as refused:
        read_baseline(place)
    assert refused.value.exit_code == 3


def test_runs_that_are_not_finished_or_damaged_are_refused(own: Run, tmp_path: Path) -> None:
    def refused(says: str) -> None:
        with pytest.raises(GlanceBenchError, match=says) as error:
            save_baseline(own.folder, room=tmp_path / "room")
        assert error.value.exit_code == 3
        assert not (tmp_path / "room").exists() or not list((tmp_path / "room").iterdir())

    manifest, results = own.manifest, (own.folder / "results.json").read_bytes()
    more = {**manifest["units"][0], "slice": 1, "folder": "units/more"}
    own.write("manifest.json", {**manifest, "units": [*manifest["units"], more]})
    refused("results are made of 3 units, its manifest lists 4")
    own.write("manifest.json", manifest)
    unit = own.folder / manifest["units"][1]["folder"]
    whole = (unit / "00002.png").read_bytes()
    (unit / "00002.png").write_bytes(whole[:-1])
    refused(r"00002\.png: has \d+ bytes")
    (unit / "00002.png").write_bytes(whole)
    unit.rename(tmp_path / "elsewhere")
    refused("is not a finished run: units/")
    (tmp_path / "elsewhere").rename(unit)
    (own.folder / "results.json").write_bytes(results.replace(b'"profile": null', b'"profile": "x"'))
    refused("was altered")
    (own.folder / "results.json").unlink()
    refused("is not a finished run")
    (own.folder / "results.json").write_bytes(results)
    assert save_baseline(own.folder, room=tmp_path / "room")[0].is_dir()


def test_a_baseline_is_found_by_name_or_path(run: Run, tmp_path: Path) -> None:
    room = tmp_path / "room"
    with pytest.raises(UsageError, match="baseline save"):
        find_baseline("quickstart", room)
    place, _ = save_baseline(run.folder, "quickstart", room=room)
    assert find_baseline("quickstart", room) == place == find_baseline(place, room)
    assert find_baseline(str(run.folder), room) == run.folder
    assert read_baseline(run.folder).name == "fake"
    assert baseline_names(room) == ["quickstart"]
    with pytest.raises(UsageError, match="did you mean 'quickstart'") as refused:
        find_baseline("quikstart", room)
    assert refused.value.exit_code == 2


STOPS = [
    ("packing", "write_atomic", 1),
    ("baselines", "write_listing", 0),
    ("pathlib.Path", "rename", 0),
]


@pytest.mark.parametrize(("owner", "name", "count"), STOPS)
def test_a_killed_save_leaves_nothing_half(
    run: Run, tmp_path: Path, owner: str, name: str, count: int
) -> None:
    kill_at(tmp_path, owner, name, count, "baseline", "save", run.folder)
    room = tmp_path / "reports/baselines"
    assert len(list(room.iterdir())) == 1 and baseline_names(room) == [] and not (room / "fake").exists()
    place, _ = save_baseline(run.folder, room=room)
    assert read_baseline(place).name == "fake"
    assert list(room.iterdir()) == [place]


@pytest.mark.parametrize("renamed", [0, 1])
def test_a_killed_replacement_keeps_the_old_baseline(
    run: Run, own: Run, tmp_path: Path, renamed: int
) -> None:
    room = tmp_path / "reports/baselines"
    place, _ = save_baseline(own.folder, room=room)
    before = contents(place)
    rename(own, "other")
    kill_at(
        tmp_path,
        "pathlib.Path",
        "rename",
        renamed,
        "baseline",
        "save",
        own.folder,
        "--as",
        "fake",
        "--replace",
    )
    assert place.is_dir() == (renamed == 0)
    with pytest.raises(UsageError, match="is there already"):  # having put back what lay there
        save_baseline(run.folder, room=room)
    assert contents(room) == {f"fake/{name}": data for name, data in before.items()}


def test_the_commands_and_their_exit_codes(own: Run, tmp_path: Path) -> None:
    rename(own, "own")
    done = command(tmp_path, "baseline", "save", "fake", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"] == "reports/baselines/own"
    place = tmp_path / "reports/baselines/own"
    assert command(tmp_path, "baseline", "save", "fake").returncode == 2
    assert command(tmp_path, "baseline", "save", "fake", "--as", "b", "--limit-mb", "0").returncode == 2
    quiet = command(tmp_path, "baseline", "save", "fake", "--replace", "-q")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")

    (entry,) = json.loads(command(tmp_path, "baseline", "list", "--json").stdout)
    assert (entry["name"], entry["suite"], entry["testbed"]) == ("own", "fake", True)
    assert entry["bytes"] == sum(len(data) for data in contents(place).values()) - len(
        (place / "baseline.json").read_bytes()
    )
    shown = command(tmp_path, "baseline", "show", "own")
    assert shown.returncode == 0 and "TESTBED" in shown.stdout and "uniform-4" in shown.stdout
    assert "features fd[fake]-00000000: 25 images x 6" in shown.stdout
    assert command(tmp_path, "baseline", "show", "owm").returncode == 2
    results = (place / "results.json").read_text()
    (place / "results.json").write_text(results.replace("uniform-10", "uniform-11"))
    listed = command(tmp_path, "baseline", "list")
    assert listed.returncode == 3 and "own  damaged: " in listed.stdout
    edited = command(tmp_path, "baseline", "show", "own")
    assert edited.returncode == 3 and edited.stderr.startswith("error: ") and "altered" in edited.stderr


def test_what_a_file_says_of_its_machine_cannot_drive_the_terminal(own: Run, tmp_path: Path) -> None:
    own.write("env.json", {"hardware": "GPU\x1b[31m\nof doom"})
    save_baseline(own.folder, room=tmp_path / "reports/baselines")
    listed = command(tmp_path, "baseline", "list")
    assert listed.returncode == 0 and "\x1b" not in listed.stdout and r"GPU\x1b[31m\nof doom" in listed.stdout


def test_saving_and_reading_import_no_torch(run: Run, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from glance_bench.baselines import read_baseline, save_baseline\n"
        "import glance_bench.bundle, glance_bench.commands.keeping\n"
        f"read_baseline(save_baseline(pathlib.Path({str(run.folder)!r}))[0])\n"
        "print(*sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
