"""What the views of images are given when a report is built: choices, readers of text, commands."""

from pathlib import Path

import pytest

from glance_bench.prompts import Prompt
from glance_bench.report.model import Board, Report, load
from glance_bench.report.views import failures, prompt, prompts, text
from glance_bench.store import Run
from tests.fake_run import finish, make_run, prompts_of

MODELS = ["testbed-flux"]
SAMPLERS = ["teacher-50", "uniform-4", "uniform-8"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = make_run(tmp_path_factory.mktemp("run"), prompts_of(6), models=MODELS, samplers=SAMPLERS)
    finish(made)
    return made


@pytest.fixture(scope="module")
def report(run: Run) -> Report:
    return load([run.folder])


def board_with(run: Run, suite: dict[str, object]) -> Board:
    before = run.suite()
    run.write("suite.json", {**before, **suite})
    (board,) = load([run.folder]).boards
    run.write("suite.json", before)
    return board


def test_what_can_be_chosen(report: Report) -> None:
    chosen = prompts.context(report)
    assert [column["name"] for column in chosen["columns"][0]] == [
        *("truth", "truth_all", "ocr_word_accuracy", "ocr_exact", "ocr_ned_similarity", "clip[fake]")
    ]
    assert failures.context(report) == {key: chosen[key] for key in ("columns", "lengths")}
    kinds = [(bin["name"], bin["field"], bin["least"], bin["most"]) for bin in chosen["lengths"][0]]
    assert kinds[:2] == [("no text", "wanted_words", 0, 0), ("1 word", "wanted_words", 1, 1)]
    assert {field for _, field, _, _ in kinds[2:]} <= {"objects"}


def test_failed_images_can_be_chosen_where_there_are_some(tmp_path: Path) -> None:
    made = make_run(tmp_path, prompts_of(3), models=MODELS, samplers=SAMPLERS, black=[("uniform-4", "p001")])
    finish(made)
    assert [column["name"] for column in prompts.headlines(load([tmp_path]))[0]][-1] == "failed"


def test_without_wanted_text_length_is_that_of_the_prompt(tmp_path: Path) -> None:
    asked = [Prompt(f"p{i}", "word " * length, "all") for i, length in enumerate((3, 15, 100))]
    made = make_run(tmp_path, asked, models=MODELS, samplers=SAMPLERS)
    finish(made)
    (bins,) = prompts.lengths(load([tmp_path])).values()
    assert [(bin["title"], bin["field"], bin["least"], bin["most"]) for bin in bins] == [
        ("prompt of 1-10 words", "words", 0, 10),
        ("11-20 words", "words", 11, 20),
        ("81 words or more", "words", 81, "Infinity"),
    ]


def test_columns_of_text_name_the_note_with_what_was_read(report: Report) -> None:
    (columns,) = text.context(report)["columns"].values()
    assert [(column["name"], column["note"]) for column in columns] == [
        (name, "ocr_read") for name in ("ocr_word_accuracy", "ocr_exact", "ocr_ned_similarity")
    ]


def test_a_command_chooses_the_sampler_as_the_suite_names_it(run: Run) -> None:
    start = "glance-bench run fake --samplers"
    assert list(prompt.again(board_with(run, {}))) == [f"{start} {name} -o runs/again" for name in SAMPLERS]
    trained = board_with(
        run, {"samplers": ["teacher-50", {"like": "x", "adapters": "y", "name": "uniform-4"}]}
    )
    assert list(prompt.again(trained))[1] == f"{start} uniform-4 -o runs/again"
    assert prompt._options("uniform-4.s3", trained.source.evidence.suite) == ["--samplers", "uniform-4"]
    suite = {"samplers": [{"lora": "/home/me/my lora.safetensors", "scale": 0.5, "like": "uniform-4"}]}
    assert prompt._options("my-lora@0.5-like-uniform-4", suite) == [
        *("--samplers", "uniform-4", "--lora", "my lora.safetensors", "--scale", "0.5", "--like", "uniform-4")
    ]


def test_prompts_of_the_suite_itself_are_given_as_text(run: Run, report: Report) -> None:
    assert {one["by"] for one in prompt.context(report)["commands"]} == {"limit"}
    own = {"noise": "hashed", "prompts": [{"set": "testbed", "texts": ["a", "b"]}]}
    assert prompt._by(board_with(run, own)) == "prompt"
    assert prompt._by(board_with(run, {**own, "noise": "by-index"})) == "limit"
