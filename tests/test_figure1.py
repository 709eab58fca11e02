"""The paper's Figure 1 for the testbed: what adapters cost, and the drawing made from a run's results."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from glance_bench.registry import MODELS
from glance_bench.samplers.cards import load_card
from glance_bench.suite import load_suite
from glance_bench.testbed import figure1

RESULTS = (
    Path(__file__).parent.parent / "reports" / "testbed" / "ablations" / "ablation-distilled.results.json"
)


def test_a_samplers_cost_is_that_of_all_its_adapters() -> None:
    def seconds(folder: str, phase: str) -> float:
        known = json.loads((MODELS.get("testbed-qwen").adapters / folder / "training.json").read_text())
        expert = known["experts"][phase]
        return float(expert["seconds"] + expert.get("teacher_seconds", 0))

    glance = figure1.cost_of("glance-8", "testbed-qwen")
    assert glance is not None and (glance.samples, glance.seen) == (1, 120)
    assert glance.seconds == pytest.approx(seconds("glance-8", "slow") + seconds("glance-10", "fast"))
    distilled = figure1.cost_of("distilled-8", "testbed-qwen")
    assert distilled is not None and distilled.samples >= 10_000
    assert distilled.seconds == pytest.approx(seconds("distilled-8", "all"))
    assert distilled.seconds > 10 * glance.seconds
    assert figure1.cost_of("uniform-8", "testbed-qwen") is None


def test_the_suite_has_what_the_table_compares() -> None:
    suite = load_suite("ablations/distilled")
    assert {name for pair in figure1.DIFFERENCES for name in pair} <= set(suite.samplers)
    assert {*figure1.COLUMNS} <= {*suite.metrics, "ocr_word_accuracy"} and suite.samplers[0] == "teacher-50"
    assert all(load_card(name) for name in suite.samplers)


def test_the_committed_results_draw_one_panel_a_model_and_the_same_bytes_again() -> None:
    evidence = SimpleNamespace(results=json.loads(RESULTS.read_text()))
    drawn = figure1.draw(evidence, "svg")
    assert drawn == figure1.draw(evidence, "svg") and len(drawn) < 200_000
    text = drawn.decode()
    for shown in ("testbed-flux", "distilled, 10,240 samples", "glance, 1 sample", "uniform-8, untrained"):
        assert text.count(f"<!-- {shown} -->") >= 1, shown
