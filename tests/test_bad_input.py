"""Input from people in a hurry or with bad intentions: a one-line error or a safe result; nothing is lost."""

import json
import shutil
from pathlib import Path

import pytest

from glance_bench.engine.verify import verify
from glance_bench.errors import GlanceBenchError, MissingData, UsageError
from glance_bench.prompts import Prompt, PromptSet
from glance_bench.registry import PROMPT_SETS, ModelEntry, Registry
from tests.engine_fixtures import command, fakes, files, make, suite_file

__all__ = ["fakes"]

EVIL = [
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred",
    "../../../../etc/passwd",
    "..\\..\\windows",
    "nul\u0000byte",
    "{{ 7 * 7 }}{% raw %}",
    "\u202eright to left",
    "%s %d {0} $HOME `id`",
]


def error(folder: Path, *arguments: str, code: int = 2) -> str:
    """The one line that the command line answers with."""
    shown = command(folder, "run", "fake.yaml", "-q", *arguments)
    assert shown.returncode == code, shown.stderr
    (line,) = shown.stderr.splitlines()
    assert line.startswith("error: ") and shown.stdout == ""
    return line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--samplers", "unifrom-8"], "unknown sampler 'unifrom-8'; did you mean 'uniform-8'"),
        (["--metrics", "contarst"], "unknown metric 'contarst'; did you mean 'contrast'"),
        (["--samplers", "uniform-8,uniform-8"], "sampler 'uniform-8' is listed twice"),
        (["--profile", "v100"], "no profile 'v100'"),
        (["--prompt", ""], "prompts"),
        (["--prompt", "same", "--prompt", "same"], "twice"),
        (["--samplers", "no/such/card.yaml"], "no sampler card at no/such/card.yaml"),
    ],
)
def test_wrong_names_are_answered_in_one_line(tmp_path: Path, arguments: list[str], expected: str) -> None:
    suite_file(tmp_path)
    assert expected in error(tmp_path, *arguments)
    assert not (tmp_path / "runs").exists()


def test_nothing_made_is_lost_by_a_wrong_request(tmp_path: Path) -> None:
    suite_file(tmp_path)
    assert command(tmp_path, "run", "fake.yaml", "-q").returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")}
    error(tmp_path, "--samplers", "unifrom-8")
    error(tmp_path, "--metrics", "contarst")
    error(tmp_path, "--prompt", "")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")} == before


@pytest.mark.usefixtures("fakes")
def test_evil_prompts_stay_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outside = sorted(path for path in tmp_path.iterdir())
    run = make(tmp_path, prompts=[{"set": "../../evil <b>", "texts": EVIL}], metrics=["contrast"])
    assert [prompt.text for prompt in run.prompts()] == EVIL
    assert len(run.records()) == 2 * len(EVIL) and verify(run) == []
    made = sorted(path for path in tmp_path.iterdir() if path.name not in ("run", "checkpoint"))
    assert made == outside
    for path in run.folder.rglob("*"):
        assert path.resolve().is_relative_to(run.folder.resolve()) and path.name.isascii()
    page = (run.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page and "<img src=x" not in page and "\x1b" not in page
    assert "\x1b" not in capsys.readouterr().err


def test_evil_prompts_on_the_command_line(tmp_path: Path) -> None:
    suite_file(tmp_path)
    arguments = [part for text in EVIL if "\0" not in text for part in ("--prompt", text)]
    shown = command(tmp_path, "run", "fake.yaml", *arguments)
    assert shown.returncode == 0, shown.stderr
    assert "\x1b" not in shown.stdout + shown.stderr and "\x07" not in shown.stdout + shown.stderr


@pytest.mark.usefixtures("fakes")
def test_a_prompt_of_ten_thousand_characters_is_made_and_flagged(tmp_path: Path) -> None:
    long = "a very long prompt " * 527
    run = make(tmp_path, prompts=[{"set": "own", "texts": [long[:10_000], "short"]}])
    assert run.records().groupby("prompt_id")["truncated"].all().tolist().count(True) == 1
    assert run.prompts()[0].text == long[:10_000]


def test_an_empty_prompt_list_is_refused(tmp_path: Path) -> None:
    suite_file(tmp_path, prompts=[{"set": "own", "texts": []}])
    assert "prompts.0.texts" in error(tmp_path)
    suite_file(tmp_path, prompts=[])
    assert "prompts" in error(tmp_path)


@pytest.mark.usefixtures("fakes")
def test_a_prompt_set_that_turns_out_empty_or_repeats_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = {"empty": (), "twice": (Prompt("a", "one", "x"), Prompt("a", "two", "x"))}
    for name, prompts in sets.items():
        loader = lambda limit, name=name, prompts=prompts: PromptSet(name, "r", prompts)  # noqa: E731
        monkeypatch.setitem(PROMPT_SETS._targets, name, loader)
    with pytest.raises(UsageError, match="prompt set 'empty' is empty"):
        make(tmp_path, prompts=[{"set": "empty"}])
    with pytest.raises(UsageError, match="prompt set 'twice' has prompt 'a' twice"):
        make(tmp_path, prompts=[{"set": "twice"}])


@pytest.mark.usefixtures("fakes")
def test_prompt_ids_do_not_become_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = tuple(
        Prompt(name, f"text {n}", "x") for n, name in enumerate(["../../up", "/abs", "a/b", "\x1b[31m"])
    )
    monkeypatch.setitem(PROMPT_SETS._targets, "ids", lambda limit: PromptSet("ids", "r", prompts))
    run = make(tmp_path, prompts=[{"set": "ids"}])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "run"]
    assert list(run.records()["prompt_id"].unique()) == [prompt.id for prompt in prompts]


def test_missing_weights_are_named_before_anything_is_made(tmp_path: Path) -> None:
    suite_file(tmp_path)
    shutil.rmtree(tmp_path / "checkpoint")
    line = error(tmp_path, code=3)
    assert "fake-model" in line and str(tmp_path / "checkpoint") in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["results.json", "manifest.json", "prompts.json", "report/made-from.json"])
def test_a_truncated_document_is_written_again(tmp_path: Path, name: str) -> None:
    suite_file(tmp_path)
    assert command(tmp_path, "run", "fake.yaml", "-q").returncode == 0
    path = tmp_path / "runs/fake" / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    images = {p: p.stat().st_ino for p in (tmp_path / "runs").rglob("*.png")}
    assert command(tmp_path, "run", "fake.yaml", "-q").returncode == 0
    assert json.loads(path.read_bytes()) == json.loads(whole)
    assert {p: p.stat().st_ino for p in (tmp_path / "runs").rglob("*.png")} == images


@pytest.mark.usefixtures("fakes")
def test_a_set_of_files_that_is_not_ours_is_left_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "run" / "units").mkdir(parents=True)
    (tmp_path / "run" / "units" / "diary.txt").write_text("mine")
    (tmp_path / "run" / "notes.md").write_text("mine too")
    run = make(tmp_path)
    assert (run.folder / "units" / "diary.txt").read_text() == "mine"
    assert (run.folder / "notes.md").read_text() == "mine too" and files(run, ".png")


def test_a_run_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    suite_file(tmp_path)
    (tmp_path / "taken").write_text("a file")
    assert "taken" in error(tmp_path, "-o", "taken", code=3)


def test_a_name_is_registered_once() -> None:
    registry = Registry("thing", {"a": "math:pi"}, "glance_bench.none")
    registry.register("b", 2)
    assert registry.names() == ["a", "b"] and registry.get("b") == 2 and registry.get("a") > 3
    with pytest.raises(UsageError, match="thing 'a' is registered twice"):
        registry.register("a", "math:tau")
    with pytest.raises(UsageError, match="unknown thing 'c'"):
        registry.get("c")
    registry.register("broken", "math:nothing")
    registry.register("absent", "no_such_module:x")
    for name in ("broken", "absent"):
        with pytest.raises(GlanceBenchError, match=f"thing '{name}': cannot import"):
            registry.get(name)


def test_models_lie_in_the_package_or_are_asked_for_by_name_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from glance_bench.registry import MODELS

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for name in MODELS.names():
        entry = MODELS.get(name)
        assert isinstance(entry, ModelEntry) and entry.name == name
        if name.startswith("testbed-"):
            assert entry.path.name == name
        else:
            with pytest.raises(
                MissingData, match=rf"waits for {name} \(\d+ GB\): glance-bench prefetch {name}$"
            ):
                _ = entry.path


def test_a_gpu_that_is_not_there_is_one_line_with_a_cure(tmp_path: Path) -> None:
    suite_file(tmp_path, device="cuda", timing={"repeats": 0})
    shown = command(tmp_path, "run", "fake.yaml", "-q", CUDA_VISIBLE_DEVICES="")
    assert shown.returncode == 3 and len(shown.stderr.splitlines()) == 1
    assert "finds no usable GPU" in shown.stderr and "nvidia-smi" in shown.stderr
