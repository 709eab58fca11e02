"""docs/make_showcase.py keeps what can be read of the runs it is given, small, and takes pictures of it."""

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image

from glance_bench.baselines import read_baseline
from glance_bench.evidence import read_evidence
from glance_bench.store import Run
from tests.browser import find_chromium
from tests.fake_run import finish, make_run, prompts_of
from tests.keeping_fixtures import contents, rename
from tests.report_files import page_of

SCRIPT = Path(__file__).resolve().parent.parent / "docs" / "make_showcase.py"
spec = importlib.util.spec_from_file_location("make_showcase", SCRIPT)
showcase = importlib.util.module_from_spec(spec)
spec.loader.exec_module(showcase)


def finished(folder: Path, name: str, prompts: int) -> Run:
    run = make_run(
        folder, prompts_of(prompts), models=("testbed-flux",), samplers=("teacher-50", "uniform-4")
    )
    finish(run)
    rename(run, name)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    room = tmp_path_factory.mktemp("runs")
    return [finished(room / name, name, 30).folder for name in ("first", "second")]


def test_evidence_is_kept_and_a_run_of_an_older_version_is_named(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    old.joinpath("results.json").write_text(json.dumps({"schema": "glance-bench/results/1"}))
    (tmp_path / "empty").mkdir()
    kept = showcase.keep([runs[0], old, tmp_path / "empty", runs[1]], tmp_path / "room")
    assert kept == runs
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "run its suite again" in said[0] and "not a finished run" in said[1]
    for name, run in zip(("first", "second"), runs, strict=True):
        assert read_baseline(tmp_path / "room" / name).results == read_evidence(run).results
        assert not list((tmp_path / "room" / name).rglob("*.png"))
    before = contents(tmp_path / "room")
    showcase.keep(runs, tmp_path / "room")
    assert contents(tmp_path / "room") == before


def test_a_report_fits_and_every_board_has_images(runs: list[Path], tmp_path: Path) -> None:
    whole = showcase.write_small(runs, tmp_path / "whole")
    assert len(list((tmp_path / "whole").rglob("*.webp"))) == 2 * 2 * 30
    at_most = whole - 150_000
    assert showcase.write_small(runs, tmp_path / "small", at_most) <= at_most
    few = [len(list((tmp_path / f"small/thumbs/b{board}").rglob("*.webp"))) for board in (0, 1)]
    assert all(0 < count < 2 * 30 for count in few)
    assert [board["originals"] for board in page_of(tmp_path / "small").index["boards"]] == [None, None]
    with pytest.raises(SystemExit, match="without an image"):
        showcase.write_small(runs, tmp_path / "none", 10_000)


@pytest.mark.browser
def test_the_whole_of_it(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_chromium()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["make_showcase.py", *map(str, runs)])
    assert showcase.main() == 0
    assert (tmp_path / "reports/testbed/report/index.html").is_file()
    for name in showcase.VIEWS:
        with Image.open(tmp_path / f"docs/images/{name}.png") as picture:
            assert picture.size == (1280, 1000) and len(picture.convert("RGB").getcolors(2**24)) > 20
