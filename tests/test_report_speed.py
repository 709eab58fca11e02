"""The report's Speed page: seconds, ratios and memory are what the evidence holds."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glance_bench import stats
from glance_bench.evidence import Evidence
from glance_bench.report.charts.stages import stages

from .fake_run import make_run, prompts_of
from .made_evidence import HARDWARE
from .view_fixtures import Fragment, report_of, shown, three


def timed(seconds: Mapping[str, list[dict[str, float]]], **changes: Any) -> Evidence:
    """Evidence with components timed; ``seconds`` is a dict of components for each block of a sampler."""
    made = three(seconds=None)
    rows = [
        {"model": "testbed-flux", "sampler": name, "session": "s1", "hardware": HARDWARE, "prompt_id": "p000"}
        | {"repeat": block, "batch_size": 1, "component": part, "seconds": taken, "evaluations": 10}
        for name, blocks in seconds.items()
        for block, parts in enumerate(blocks)
        for part, taken in parts.items()
    ]
    timing = []
    for name, blocks in seconds.items():
        components = {}
        for part in blocks[0]:
            q25, median, q75 = np.quantile([block[part] for block in blocks], [0.25, 0.5, 0.75])
            components[part] = {"median": float(median), "q25": float(q25), "q75": float(q75)}
        timing.append(
            {
                "model": "testbed-flux",
                "sampler": name,
                "hardware": HARDWARE,
                "batch_size": 1,
                "n": len(blocks),
            }
            | {"components": components, "speedup": None}
        )
    return replace(made, timing=pd.DataFrame(rows), results={**made.results, "timing": timing, **changes})


def blocks(count: int, denoise: float) -> list[dict[str, float]]:
    parts = [{"encode": 0.1, "denoise": denoise * (1 + 0.01 * k), "decode": 0.2} for k in range(count)]
    return [{**part, "total": sum(part.values())} for part in parts]


def test_speed_shows_medians_quartiles_and_ratios() -> None:
    times = {"a": blocks(9, 5.0), "b": blocks(9, 1.0)}
    found = shown("speed", report_of(timed(times)))
    (table,) = found.tables
    rows = {row[0]: row for row in table[1:]}
    assert list(rows) == ["a", "b"] and "Not timed: c." in found.text
    for name in rows:
        for place, part in ((2, "encode"), (3, "denoise"), (4, "decode"), (5, "total")):
            q25, median, q75 = np.quantile([block[part] for block in times[name]], [0.25, 0.5, 0.75])
            assert rows[name][place] == f"{median:.3f} {q25:.3f}–{q75:.3f}"
        assert rows[name][6] == f"{np.median([b['denoise'] for b in times[name]]) / 10:.4f}"
    totals = [np.array([b["total"] for b in times[name]]) for name in "ab"]
    ratio = stats.log_ratio(*totals)
    assert rows["b"][7] == f"{ratio.ratio:.2f}× {ratio.low:.2f}–{ratio.high:.2f}, 9 blocks"
    assert rows["a"][7] == "1"


def test_few_blocks_have_a_ratio_without_an_interval() -> None:
    found = shown("speed", report_of(timed({"a": blocks(2, 5.0), "b": blocks(2, 1.0)})))
    assert "too few for an interval, 2 blocks" in found.tables[0][2][7]


def test_bars_are_as_long_as_the_medians() -> None:
    rows = [
        {
            "number": k,
            "sampler": name,
            "components": {p: {"median": m, "q25": m, "q75": m} for p, m in parts.items()},
        }
        for k, (name, parts) in enumerate({"a": blocks(1, 6.0)[0], "b": blocks(1, 1.0)[0]}.items())
    ]
    drawn = Fragment(str(stages(rows)))
    widths = {
        kind: [float(str(a["width"])) for a in drawn.all("rect", kind)]
        for kind in ("encode", "denoise", "decode")
    }
    unit = widths["denoise"][0] / 6
    assert np.allclose(widths["denoise"], [6 * unit, unit], atol=0.1)
    assert np.allclose(widths["decode"], [0.2 * unit] * 2, atol=0.1)
    assert {a["height"] for a in drawn.all("rect", "encode")} != {
        a["height"] for a in drawn.all("rect", "denoise")
    }


def test_a_run_without_timing_says_so() -> None:
    text = shown("speed", report_of(three(seconds=None))).text
    assert "No latency of testbed-flux, made was measured" in text and "timing.repeats" in text


def test_what_others_state_is_set_apart() -> None:
    made = three(seconds=None)
    board = made.results["boards"][0]
    rows = [dict(row) for row in board["samplers"]]
    rows[1] |= {
        "made_of": None,
        "stated": {"nfe": 4, "seconds": {"median": 0.25, "q25": 0.2, "q75": 0.3, "n": 3}},
    }
    made = replace(made, results={**made.results, "boards": [{**board, "samplers": rows}]})
    text = shown("speed", report_of(made)).text
    assert "Stated by whoever made the images, not measured here: b, 4 evaluations, 0.250 s." in text


def test_memory_is_the_most_that_was_held() -> None:
    made = timed({"a": blocks(2, 5.0), "b": blocks(2, 1.0)})
    peaks = made.timing["repeat"] + (made.timing["sampler"] == "a") * 2.0
    found = shown("speed", report_of(replace(made, timing=made.timing.assign(peak_gib=peaks))))
    head, *rows = found.tables[0]
    place = head.index("Memory GiB")
    assert {row[0]: row[place] for row in rows} == {"a": "3.00", "b": "1.00"}
    assert "allocated on the GPU" in found.text


def test_runs_that_recorded_no_memory_say_so() -> None:
    made = timed({"a": blocks(2, 5.0), "b": blocks(2, 1.0)})
    unknown = replace(made, timing=made.timing.assign(peak_gib=float("nan")))
    for older in (made, unknown):
        found = shown("speed", report_of(older))
        assert "Memory GiB" not in found.tables[0][0] and "records memory on a GPU only" in found.text


def test_files_from_before_memory_was_recorded_still_load(tmp_path: Path) -> None:
    run = make_run(tmp_path, prompts_of(2), models=("testbed-flux",), samplers=("teacher-50", "uniform-4"))
    timing = run.timing()
    assert len(timing) and timing["peak_gib"].isna().all()
