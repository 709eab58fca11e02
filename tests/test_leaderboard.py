"""The terminal table: what it says, that it fits, and that names from outside cannot act on the terminal."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from glance_bench import results
from glance_bench.metrics.base import Column, Images, Row
from glance_bench.metrics.health import Health
from glance_bench.prompts import Prompt
from glance_bench.report import flags, leaderboard
from glance_bench.report.text import interval, number, times, visible
from tests.fake_run import METRICS, SAMPLERS, make_run, prompts_of


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict:
    run = make_run(tmp_path_factory.mktemp("run"), black=[("uniform-4", "p001")])
    return results.build(run, METRICS)


def test_lines_are_aligned_and_complete(built: dict) -> None:
    lines = leaderboard.lines(built)
    assert lines[0] == "testbed-flux on testbed (TESTBED, 12 prompts, 4 with text)"
    rows = lines[1 : 3 + len(SAMPLERS)]
    assert [row.split()[0] for row in rows[2:]] == list(SAMPLERS)
    assert {"Truth", "OCR", "CLIP", "FD", "Failed", "s/image", "speed-up"} <= set(rows[0].split())
    assert rows[1].split() == ["n=12", "n=4", "n=12", "n=12", "n=12"]
    assert len({len(row) for row in rows[2:]}) == 1
    assert max(map(len, lines)) <= 120
    cell = built["boards"][0]["samplers"][2]["cells"]["truth"]
    assert f"{cell['value']:.3f}" in rows[4] and f"{cell['low']:.2f}".lstrip("0") in rows[4]
    assert [row.split()[-3] for row in rows[2:]] == [str(int(name == "uniform-4")) for name in SAMPLERS]
    assert "fd[fake]" in " ".join(lines) and built["digest"][:12] in lines[-1]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_table_fits_the_terminal(built: dict, width: int) -> None:
    console = Console(width=width, record=True, color_system=None)
    with console.capture() as capture:
        console.print(leaderboard.table(built))
    text = capture.get()
    assert max(map(len, text.splitlines())) <= width
    assert "slowfast-10-base" in text and "\u2026" not in text  # nothing is cut off


def test_intervals_go_before_anything_is_cut(built: dict) -> None:
    def printed(width: int) -> str:
        console = Console(width=width, color_system=None)
        with console.capture() as capture:
            console.print(leaderboard.table(built))
        return capture.get()

    assert "\u2013" in printed(120) and "\u2013" not in printed(80)


def test_a_board_that_was_not_timed_has_no_latency(built: dict) -> None:
    text = "\n".join(leaderboard.lines({**built, "timing": []}))
    assert "s/image" not in text and "speed-up" not in text


class Judged:
    """Stands for a judge: of p000's four questions one has no answer, or two where the image is noisy; p001 is cut."""

    name, kind, notes, recipe = "judged[fake]", "sample", (), "judged[fake]: made up"
    columns = (
        Column("judged[fake]", "Judged", "higher", "stands for a score"),
        Column("judged_uncovered[fake]", "", "lower", "share of questions without an answer", flag=True),
        Column("judged_cut[fake]", "", "lower", "share of prompts cut", flag=True),
        Column("judged_unread[fake]", "", "lower", "share of images that fake gave no answer for", flag=True),
    )

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Row]:
        rows: list[Row] = []
        for image, prompt in zip(images, prompts, strict=True):
            noisy = float(abs(image[1:].astype(float) - image[:-1]).mean()) > 30
            gaps = {"p000": 2 if noisy else 1}.get(prompt.id, 0) / 4
            values = (0.5, gaps, float(prompt.id == "p001"), 0.0)
            rows.append({column.name: v for column, v in zip(self.columns, values, strict=True)})
        return rows


@pytest.fixture(scope="module")
def flagged(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Six samplers, eight prompts, two images each; uniform-4 is the noisy one."""
    metrics = (Judged(), Health())
    run = make_run(
        tmp_path_factory.mktemp("run"), prompts_of(8), models=["testbed-flux"], metrics=metrics,
        images_per_prompt=2, black=[("uniform-4", "p003"), ("uniform-8", "p003")],
    )  # fmt: skip
    return results.build(run, metrics)


FLAGS = [
    # 1/4 of one prompt's questions in eight prompts is 1/32, 2/4 of them 1/16; the two images have the same
    "! teacher-50, native-10, uniform-10, uniform-8, slowfast-10-base: "
    "3.1 % of questions without an answer (judged_uncovered[fake], n=16)",
    "! uniform-4: 6.2 % of questions without an answer (judged_uncovered[fake], n=16)",
    "! every sampler: 1 of 8 prompts cut (judged_cut[fake], n=16)",
    "! uniform-8, uniform-4: 2 of 16 images non-finite or black (failed, n=16)",
]


def test_every_flag_above_zero_is_a_line_below_its_board(flagged: dict) -> None:
    lines = leaderboard.lines(flagged)
    rows = 1 + 2 + len(SAMPLERS)  # heading, columns, counts
    assert lines[rows : rows + len(FLAGS) + 1] == [*FLAGS, ""]
    assert "judged_unread" not in "\n".join(lines)  # it is zero everywhere
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(leaderboard.table(flagged))
    assert [line.rstrip() for line in capture.get().splitlines() if line.startswith("!")] == FLAGS


def test_a_small_share_is_not_nothing() -> None:
    column = {"name": "x", "flag": True, "description": "share of answers that are neither yes nor no"}
    board = {"samplers": [{"sampler": "a", "cells": {"x": {"value": 1e-5, "n": 900, "prompts": 900}}}]}
    assert flags.flagged({"columns": [column]}, board) == [
        "every sampler: less than 0.1 % of answers that are neither yes nor no (x, n=900)"
    ]


def test_hostile_names_are_spelt_out(tmp_path: Path) -> None:
    run = make_run(
        tmp_path, models=["testbed-flux"], samplers=["teacher-50", "uniform-4"], black=[("uniform-4", "p001")]
    )
    built = results.build(run, METRICS)
    built["boards"][0]["samplers"][1]["sampler"] = "\x1b[31m[bold]evil\u202e"
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(leaderboard.table(built))
    for text in (capture.get(), "\n".join(leaderboard.lines(built))):
        assert "\x1b" not in text and "\u202e" not in text
        assert text.count(r"\x1b[31m[bold]evil\u202e") == 2  # its row, and the line that says what failed


def test_numbers() -> None:
    assert (number(None), number(0.12345), number(1234.5678)) == ("\u2013", "0.123", "1234.6")
    assert [times(value) for value in (None, 1.0, 4.96, 9.96, 12.4)] == [
        "\u2013",
        "1.0×",
        "5.0×",
        "10×",
        "12×",
    ]
    assert interval({"low": 0.1234, "high": 0.5678}) == "0.12\u20130.57"
    assert interval({"low": 0.0012, "high": 0.0056}) == "0.001\u20130.006"
    assert interval({"low": None, "high": None}) == ""
    assert interval({"low": 10.02, "high": 10.5}) == "10.02\u201310.50"


def test_visible_keeps_every_script_and_disarms_control() -> None:
    assert visible("caf\u00e9 \u05d0\u05d1 \u0915\u093f \U0001f468\u200d\U0001f469") == (
        "caf\u00e9 \u05d0\u05d1 \u0915\u093f \U0001f468\u200d\U0001f469"
    )
    assert visible("a\nb\tc\x07\x1b[0m\u202e\ud800\u2028") == r"a b c\x07\x1b[0m\u202e\ud800\u2028"
