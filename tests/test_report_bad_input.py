"""What a report is asked to do with runs that lack something and with places that it must not touch."""

import json
import resource
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from playwright.sync_api import sync_playwright
from typer.testing import CliRunner

from glance_bench.cli import app
from glance_bench.report.model import load
from glance_bench.report.site import Options, write_report
from glance_bench.store import Run
from tests.browser import ARGUMENTS, Opened, find_chromium
from tests.fake_run import finish, make_run, prompts_of
from tests.keeping_fixtures import ENVIRONMENT, command, contents, rename
from tests.report_files import page_of

SAMPLERS = ("teacher-50", "uniform-8")


def finished(folder: Path, samplers: tuple[str, ...] = SAMPLERS, prompts: int = 3) -> Run:
    run = make_run(folder, prompts_of(prompts), models=("testbed-flux",), samplers=samplers)
    finish(run)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Not to be changed."""
    return finished(tmp_path_factory.mktemp("run"))


def report(cwd: Path, *arguments: object) -> Result:
    """The command in this process."""
    with chdir(cwd):
        done = CliRunner().invoke(app, ["report", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done
    return done


def refused(done: Result, code: int, told: str) -> None:
    assert done.exit_code == code and done.stdout == "", done
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and told in line


def test_folders_that_are_no_finished_run(tmp_path: Path, run: Run) -> None:
    unscored = make_run(tmp_path / "unscored", prompts_of(2))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for folder in (unscored.folder, tmp_path / "empty", tmp_path / "file", tmp_path / "nothing"):
        refused(report(tmp_path, folder), 3, f"{folder} is not a finished run: it has no results.json")
    refused(report(tmp_path, run.folder, unscored.folder), 3, "not a finished run")
    process = command(tmp_path, "report", unscored.folder)
    assert process.returncode == 3 and process.stdout == "" and process.stderr.startswith("error: ")
    assert not (tmp_path / "reports").exists() and not (unscored.folder / "report").exists()
    gone = finished(tmp_path / "gone")
    (gone.folder / "samples.parquet").unlink()
    refused(report(tmp_path, gone.folder), 3, "it has no samples.parquet")
    old = json.loads((run.folder / "results.json").read_text()) | {"schema": "glance-bench/results/1"}
    (gone.folder / "results.json").write_text(json.dumps(old))
    refused(report(tmp_path, gone.folder), 3, "run its suite again")


def test_images_that_are_gone_or_broken_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    images = [run.folder / image for image in run.records()["image"]]
    images[0].unlink()
    images[1].write_bytes(images[1].read_bytes()[:100])
    images[2].write_text("not an image")
    images[3].unlink()
    images[3].mkdir()
    Image.new("1", (30_000, 30_000)).save(images[4])  # 900 megapixels in a few kilobytes
    done = report(tmp_path, run.folder, "-o", "out", "--images", "all")
    assert done.exit_code == 0 and done.stdout == "report: out/index.html\n"
    for image in images[:5]:
        assert len([line for line in done.stderr.splitlines() if f"warning: {image}: " in line]) == 1
    assert len(list((tmp_path / "out").rglob("*.webp"))) == 1
    beside = report(tmp_path, run.folder)
    assert beside.exit_code == 0 and f"warning: {images[0]}: is not there" in beside.stderr
    single = report(tmp_path, run.folder, "--single-file", "--json")
    assert single.exit_code == 0 and Path(json.loads(single.stdout)["page"]).is_file()


@pytest.mark.browser
def test_an_image_that_a_page_cannot_show_is_said_where_it_would_be(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    first = run.records().iloc[0]
    (run.folder / first["image"]).write_text("not an image")
    page = write_report(load([run.folder]), run.folder / "report").page
    with sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        opened = Opened(chromium, page)
        told = opened.page.evaluate(
            """async () => {
              const images = await GB.images(0, 0);
              const room = document.createElement("div");
              document.body.append(room);
              room.append(...images.map((image, sampler) => GB.picture(0, 0, sampler, image)));
              for (const one of room.children) one.loading = "eager";
              await new Promise((done) => setTimeout(done, 500));
              return [...room.children].map((one) => one.textContent || one.naturalWidth);
            }"""
        )
        assert told == ["cannot be read", 64]
        opened.close()
        chromium.close()


@pytest.mark.parametrize("samplers", [("teacher-50",), ("uniform-8",), ("uniform-8", "uniform-4")])
def test_one_sampler_and_no_teacher(tmp_path: Path, samplers: tuple[str, ...]) -> None:
    run = finished(tmp_path / "run", samplers)
    done = report(tmp_path, run.folder)
    assert done.exit_code == 0, done
    (board,) = page_of(run.folder / "report").index["boards"]
    assert board["samplers"] == list(samplers) and board["reference"] == 0


def test_runs_of_one_name_are_told_apart(tmp_path: Path, run: Run) -> None:
    third = finished(tmp_path / "third")
    rename(third, "fake (2)")
    done = report(tmp_path, run.folder, third.folder, run.folder, "-o", "out")
    assert done.exit_code == 0, done
    labels = [board["label"] for board in page_of(tmp_path / "out").index["boards"]]
    assert labels == [f"testbed-flux on testbed, {name}" for name in ("fake", "fake (2)", "fake (3)")]


def test_places_that_cannot_be_written(tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").write_text("x")
    process = command(tmp_path, "report", run.folder, "-o", "/proc/report")
    assert process.returncode == 3 and process.stdout == "" and len(process.stderr.splitlines()) == 1
    for place in ("file/report", "file/deep/report", "/proc/report", "/dev/null/report"):
        for more in ([], ["--publish"]):
            done = report(tmp_path, run.folder, *(more or ["-o"]), place)
            refused(done, 3, place.removesuffix("/report"))
    refused(report(tmp_path, run.folder, "-o", "file"), 2, "file is a file; -o names a folder")
    assert (tmp_path / "file").read_text() == "x"


def test_a_disk_that_fills_up_leaves_a_folder_that_the_next_report_takes_over(
    tmp_path: Path, run: Run
) -> None:
    asked = ["report", str(run.folder), "-o", "out", "-q"]
    full = subprocess.run(
        [sys.executable, "-m", "glance_bench", *asked],
        cwd=tmp_path,
        env=ENVIRONMENT | {"PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000)),
        capture_output=True,
        text=True,
    )
    assert full.returncode == 3 and full.stderr.startswith("error: ") and len(full.stderr.splitlines()) == 1
    assert not (tmp_path / "out/index.html").exists()
    assert command(tmp_path, *asked).returncode == 0
    write_report(load([run.folder]), tmp_path / "fresh")
    fresh, mended = contents(tmp_path / "fresh"), contents(tmp_path / "out")
    assert {name: data for name, data in mended.items() if ".tmp-" not in name} == fresh


def test_folders_that_hold_something_else_are_refused_and_left_alone(tmp_path: Path, run: Run) -> None:
    others = {
        "thesis": {"thesis.tex": "x"},
        "tests": {"report.json": '{"schema": "somebody-else/report/1"}', "index.html": "x"},
        "list": {"report.json": "[1, 2]"},
        "broken": {"report.json": "{", "made-from.json": "{}"},
        "hidden": {".git": "x"},
    }
    for name, files in others.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
        for option in ("-o", "--publish"):
            refused(report(tmp_path, run.folder, option, name), 2, "or add --force")
        assert {file: data.decode() for file, data in contents(tmp_path / name).items()} == files
    refused(report(tmp_path, run.folder, "-o", run.folder), 2, "or add --force")
    done = report(tmp_path, run.folder, "-o", "thesis", "--force")
    assert done.exit_code == 0 and (tmp_path / "thesis/thesis.tex").read_text() == "x"


def test_a_page_of_somebody_else_is_not_overwritten_by_a_single_file(tmp_path: Path, run: Run) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("<title>mine</title>")
    refused(report(tmp_path, run.folder, "--single-file", "-o", "mine.html"), 2, "or add --force")
    assert mine.read_text() == "<title>mine</title>"
    options = Options(single_file=True)
    first = write_report(load([run.folder]), tmp_path / "one.html", options).page.read_bytes()
    assert write_report(load([run.folder]), tmp_path / "one.html", options).page.read_bytes() == first
    assert write_report(load([run.folder]), mine, Options(single_file=True, force=True)).page == mine


def test_gates_that_are_none(tmp_path: Path, run: Run) -> None:
    (tmp_path / "gate.json").write_text("[]")
    refused(report(tmp_path, run.folder, "--gate", "gate.json"), 3, "gate.json is no gate's document")
    refused(report(tmp_path, run.folder, "--gate", "nothing.json"), 3, "nothing.json is not there")
