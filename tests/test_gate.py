"""The gate's verdicts on evidence whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from glance_bench import stats
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.evidence import Evidence
from glance_bench.gate.check import Check
from glance_bench.gate.judge import Judgement, judge
from glance_bench.gate.settings import GateSettings
from glance_bench.stats import difference_intervals
from tests.gate_fixtures import MODEL, SAMPLERS, edited, evidence, scores, times

FRESH = GateSettings(noise="fresh", margins={"ocr": 0.5})
LATER = ("2026-01-02T00:00:00",)
LAST = ("2026-01-03T00:00:00",)


def check(found: Judgement, sampler: str, column: str) -> Check:
    (one,) = [c for c in found.checks if (c.sampler, c.column) == (sampler, column)]
    return one


def failed(found: Judgement) -> set[tuple[str, str]]:
    return {(c.sampler, c.column) for c in found.checks if c.verdict == "fail"}


@pytest.fixture(scope="module")
def baseline() -> Evidence:
    return evidence()


def lowered(found: Evidence, column: str, by: float, sampler: str = "slowfast-10") -> Evidence:
    samples = found.samples.copy()
    own = samples["sampler"] == sampler
    samples.loc[own, column] -= by
    samples.loc[own, "image_sha256"] = "other " + samples.loc[own, "prompt_id"]
    return replace(found, samples=samples)


def test_a_run_against_itself_passes_whatever_its_size(baseline: Evidence) -> None:
    for one in (baseline, evidence(scores(4))):
        found = judge(one, one, GateSettings())
        assert found.verdict == "pass" and found.exit_code("fail") == 0
        assert {c.verdict for c in found.checks} == {"pass", "informational"}
        assert not any(c.improved for c in found.checks)


def test_a_planted_drop_fails_and_names_sampler_metric_size_and_prompts(baseline: Evidence) -> None:
    samples = baseline.samples.copy()
    hit = (samples["sampler"] == "slowfast-10") & samples["prompt_id"].isin(
        [f"p{i:03d}" for i in range(0, 60, 2)]
    )
    samples.loc[hit, "truth"] -= 0.2
    samples.loc[hit & (samples["prompt_id"] == "p014"), "truth"] -= 0.1
    samples.loc[hit, "image_sha256"] = "changed"
    found = judge(baseline, replace(baseline, samples=samples), GateSettings())
    assert found.verdict == "fail" and found.exit_code("pass") == 1
    assert failed(found) == {("slowfast-10", "truth")}
    one = check(found, "slowfast-10", "truth")
    assert one.difference == pytest.approx(-(30 * 0.2 + 0.1) / 60)
    assert one.high is not None and one.high < -0.02 and one.adjusted is not None and one.adjusted < 0.01
    assert one.moved[0].prompt_id == "p014" and len(one.moved) == 5
    assert one.moved[0].text == "a drawing of thing 14"
    assert {m.prompt_id for m in one.moved} <= {f"p{i:03d}" for i in range(0, 60, 2)}
    assert check(found, "teacher-50", "truth").verdict == "pass"


def test_a_rise_of_what_should_be_low_fails_and_its_fall_is_an_improvement(baseline: Evidence) -> None:
    worse = judge(baseline, lowered(baseline, "lpips", -0.02), GateSettings())
    assert failed(worse) == {("slowfast-10", "lpips")}
    better = judge(baseline, lowered(baseline, "lpips", 0.02), GateSettings())
    assert better.verdict == "pass"
    assert [(c.sampler, c.column) for c in better.checks if c.improved] == [("slowfast-10", "lpips")]


def test_a_loss_within_the_margin_passes_without_any_variance(baseline: Evidence) -> None:
    for loss, verdict in ((0.019, "pass"), (0.021, "fail")):
        found = judge(baseline, lowered(baseline, "truth", loss), GateSettings())
        one = check(found, "slowfast-10", "truth")
        assert one.verdict == verdict
        assert one.low == pytest.approx(one.high) == pytest.approx(-loss)


def test_interval_and_p_are_those_of_stats(baseline: Evidence) -> None:
    run = evidence(scores(seed=1), times(1, LATER))
    one = check(judge(baseline, run, FRESH), "slowfast-10", "clip")
    mine, theirs = (
        e.samples[e.samples["sampler"] == "slowfast-10"].set_index("prompt_id")["clip"]
        for e in (run, baseline)
    )
    interval = stats.difference_interval((mine - theirs).to_numpy())
    assert (one.low, one.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert one.margin == pytest.approx(0.02 * theirs.mean()) and one.margin_text == "2%"


def test_many_intervals_are_the_single_ones() -> None:
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=n) for n in (30, 1, 700, 30, 2)] + [np.full(9, 0.1)]
    for sample, found in zip(samples, difference_intervals(samples, 0.9), strict=True):
        one = stats.difference_interval(sample, level=0.9)
        assert (found.low, found.high) == pytest.approx((one.low, one.high), nan_ok=True, abs=1e-12)
    assert difference_intervals([np.full(9, 0.1)])[0].low == 0.1


def test_too_little_to_see_is_inconclusive_and_says_what_would_do(baseline: Evidence) -> None:
    found = judge(baseline, evidence(scores(seed=1), times(1, LATER)), GateSettings(noise="fresh"))
    one = check(found, "slowfast-10", "ocr")
    assert one.verdict == "inconclusive" and one.n == 20
    assert found.verdict == "inconclusive"
    assert [found.exit_code(w) for w in ("fail", "warn", "pass")] == [4, 0, 0]
    assert one.detectable is not None and one.detectable > 0.02
    assert one.needed is not None and one.needed > 500


def test_images_of_a_prompt_are_averaged_before_prompts_are_compared() -> None:
    base, run = (evidence(scores(30, seed, per_prompt=3), times(seed)) for seed in (0, 1))
    one = check(judge(base, run, FRESH), "slowfast-10", "truth")
    assert one.n == 30
    averaged = [
        e.samples.groupby(["sampler", "prompt_id"])["truth"].mean()["slowfast-10"] for e in (base, run)
    ]
    assert one.difference == pytest.approx((averaged[1] - averaged[0]).mean())


def test_fresh_noise_pairs_prompts_with_other_numbers_of_images() -> None:
    found = judge(evidence(scores(30, 0, per_prompt=2)), evidence(scores(30, 1), times(1, LATER)), FRESH)
    assert check(found, "slowfast-10", "truth").n == 30
    assert check(found, "slowfast-10", "images").verdict == "pass"


# -- failures ------------------------------------------------------------------------------------------------


def test_black_images_fail_by_the_exact_test_though_the_mean_says_little(baseline: Evidence) -> None:
    samples = baseline.samples.copy()
    hit = (samples["sampler"] == "slowfast-10") & samples["prompt_id"].isin([f"p{i:03d}" for i in range(12)])
    samples.loc[hit, "failed"] = 1.0
    samples.loc[hit, "image_sha256"] = "black"
    found = judge(baseline, replace(baseline, samples=samples), GateSettings())
    one = check(found, "slowfast-10", "failed")
    assert failed(found) == {("slowfast-10", "failed")}
    assert one.p == pytest.approx(0.5**12) and (one.baseline, one.run) == (0.0, pytest.approx(0.2))
    assert [m.prompt_id for m in one.moved] == [f"p{i:03d}" for i in range(5)]


def test_prompts_that_drop_far_fail_where_the_mean_rose(baseline: Evidence) -> None:
    samples = baseline.samples.copy()
    own = samples["sampler"] == "slowfast-10"
    samples.loc[own, "truth"] += 0.12
    hit = own & samples["prompt_id"].isin([f"p{i:03d}" for i in range(12)])
    samples.loc[hit, "truth"] -= 0.6
    samples.loc[own, "image_sha256"] = "other"
    found = judge(baseline, replace(baseline, samples=samples), GateSettings())
    assert check(found, "slowfast-10", "truth").difference == pytest.approx(0.0)
    one = check(found, "slowfast-10", "drops")
    assert one.verdict == "fail" and one.p == pytest.approx(0.5**12)
    assert {m.prompt_id for m in one.moved} <= {f"p{i:03d}" for i in range(12)}


# -- numbers of whole sets -----------------------------------------------------------------------------------


def test_distances_gate_from_2048_images_on(baseline: Evidence) -> None:
    for images, column_verdict, verdict in ((2047, "informational", "pass"), (2048, "fail", "fail")):
        base = evidence(distance_images=images)
        run = evidence(distance=10.7, distance_images=images)
        found = judge(base, run, GateSettings())
        assert check(found, "slowfast-10", "fd").verdict == column_verdict
        assert found.verdict == verdict
    fine = judge(
        evidence(distance_images=3000), evidence(distance=10.3, distance_images=3000), GateSettings()
    )
    assert fine.verdict == "pass" and check(fine, "slowfast-10", "fd").margin == pytest.approx(0.5)


# -- speed ---------------------------------------------------------------------------------------------------


def test_one_slow_session_asks_for_another_and_two_fail(baseline: Evidence) -> None:
    once = judge(baseline, replace(baseline, timing=times(1, LATER, speedup=4.5)), GateSettings())
    one = check(once, "slowfast-10", "speed")
    assert once.verdict == "inconclusive" and one.verdict == "inconclusive"
    assert "unconfirmed" in one.message and "glance-bench run ci --time-again" in one.message
    assert one.difference == pytest.approx(-0.1, abs=0.02)
    twice = judge(baseline, replace(baseline, timing=times(1, LATER + LAST, speedup=4.5)), GateSettings())
    assert failed(twice) == {("slowfast-10", "speed")}


def test_a_second_session_that_is_fine_clears_the_first(baseline: Evidence) -> None:
    import pandas as pd

    both = pd.concat([times(1, LATER, speedup=4.5), times(2, LAST, speedup=5.0)], ignore_index=True)
    found = judge(baseline, replace(baseline, timing=both), GateSettings())
    assert check(found, "slowfast-10", "speed").verdict == "pass" and found.verdict == "pass"


def test_a_slow_machine_slows_both_and_seconds_are_only_shown(baseline: Evidence) -> None:
    slow = times(1, LATER)
    slow["seconds"] *= 3
    found = judge(baseline, replace(baseline, timing=slow), GateSettings())
    assert found.verdict == "pass"
    seconds = check(found, "slowfast-10", "seconds")
    assert seconds.verdict == "informational" and seconds.run == pytest.approx(3 * seconds.baseline, rel=0.1)
    gated = GateSettings.model_validate({"speed": {"absolute": "20%"}})
    assert check(judge(baseline, replace(baseline, timing=slow), gated), "teacher-50", "seconds").unconfirmed
    slow["hardware"] = "another"
    elsewhere = check(judge(baseline, replace(baseline, timing=slow), gated), "slowfast-10", "seconds")
    assert elsewhere.verdict == "informational" and "not comparable" in elsewhere.message


def test_few_blocks_and_no_timing_are_no_pass(baseline: Evidence) -> None:
    few = judge(baseline, replace(baseline, timing=times(1, LATER, blocks=3)), GateSettings())
    assert few.verdict == "inconclusive" and "too few" in check(few, "slowfast-10", "speed").message
    none = judge(baseline, replace(baseline, timing=times().iloc[:0]), GateSettings())
    assert none.verdict == "inconclusive"
    untimed = replace(baseline, timing=times().iloc[:0])
    assert judge(untimed, baseline, GateSettings()).verdict == "pass"
    assert judge(baseline, untimed, GateSettings(speed=None)).verdict == "pass"


# -- what is not comparable ----------------------------------------------------------------------------------


def differing(baseline: Evidence, run: Evidence, settings: GateSettings | None = None) -> list[str]:
    found = judge(baseline, run, settings or GateSettings())
    assert found.verdict == "not comparable" and not found.checks
    assert [found.exit_code(word) for word in ("fail", "warn", "pass")] == [4, 4, 4]
    return [str(difference) for difference in found.differences]


def test_other_noise_is_refused_unless_it_is_said_to_be_fresh(baseline: Evidence) -> None:
    run = evidence(scores(seed=1))
    (told, *_) = differing(baseline, run)
    assert (
        "seed 0 for p000 #0" in told and "seed 1000" in told and "60 of 60" in told and "noise: fresh" in told
    )
    assert judge(baseline, run, FRESH).verdict != "not comparable"


def test_other_prompts_checkpoints_recipes_and_suites_are_refused_by_name(baseline: Evidence) -> None:
    samples = baseline.samples.copy()
    samples.loc[samples["prompt_id"] == "p007", "text_sha256"] = "other"
    (told,) = differing(baseline, replace(baseline, samples=samples))
    assert "1 of 60 texts differ" in told and "p007" in told

    def rows(document: dict) -> list[dict]:
        return document["boards"][0]["samplers"]

    cases = {
        "suite: ci in the baseline, nightly in the run": lambda d: d.update(suite="nightly"),
        "profile: none in the baseline, laptop in the run": lambda d: d.update(profile="laptop"),
        "checkpoint: cccccccccccc in the baseline, eeeeeeeeeeee": lambda d: rows(d)[1]["made_of"].update(
            checkpoint="e" * 64
        ),
        "resolution: 64 in the baseline, 128 in the run": lambda d: rows(d)[1]["made_of"].update(
            resolution=128
        ),
        "recipe of clip: clip: version 1 in the baseline, clip: version 2": lambda d: d["recipes"].update(
            clip="clip: version 2"
        ),
        "sampler slowfast-10: present in the baseline, absent": lambda d: rows(d).pop(1),
        "column clip: present in the baseline, absent": lambda d: d["columns"].pop(1),
        "column truth: present in the baseline, absent (it waits for weights)": lambda d: (
            d["columns"].pop(0),
            d.update(waiting={"truth": "weights"}),
        ),
        "kind of model: a testbed model in the baseline": lambda d: d["boards"][0].update(testbed=False),
        "testbed-flux on testbed in the baseline, only flux.1-dev on testbed": lambda d: d["boards"][
            0
        ].update(model="flux.1-dev"),
        "steps of the reference": lambda d: rows(d)[0]["made_of"].update(trajectory="others"),
        "images made elsewhere in the run": lambda d: rows(d)[1].update(made_of=None),
    }
    for expected, change in cases.items():
        told = differing(baseline, edited(baseline, change))
        assert any(expected in line for line in told), (expected, told)


def test_nothing_in_common_is_refused(baseline: Evidence) -> None:
    samples = baseline.samples.copy()
    samples["prompt_id"] = "q" + samples["prompt_id"]
    assert any("none of them" in line for line in differing(baseline, replace(baseline, samples=samples)))


def test_new_samplers_and_columns_are_noted_and_not_gated(baseline: Evidence) -> None:
    more = evidence(scores(samplers=(*SAMPLERS, "uniform-4")))
    found = judge(baseline, more, GateSettings())
    assert found.verdict == "pass"
    assert f"not in the baseline, not gated: uniform-4 on {MODEL}, testbed" in found.notes
    smaller = edited(baseline, lambda d: d["columns"].pop(1))
    assert any(
        "no such columns" in note and "clip" in note
        for note in judge(smaller, baseline, GateSettings()).notes
    )


def test_other_steps_under_the_same_name(baseline: Evidence) -> None:
    run = edited(baseline, lambda d: d["boards"][0]["samplers"][1]["made_of"].update(trajectory="8 steps"))
    shown = judge(baseline, run, GateSettings())
    assert shown.verdict == "pass" and check(shown, "slowfast-10", "steps").verdict == "informational"
    assert failed(judge(baseline, run, GateSettings(steps="same"))) == {("slowfast-10", "steps")}


# -- what is missing -----------------------------------------------------------------------------------------


def test_missing_images_are_counted_and_named_and_never_pass(baseline: Evidence) -> None:
    lost = (baseline.samples["sampler"] == "slowfast-10") & baseline.samples["prompt_id"].isin(
        ["p003", "p004"]
    )
    less = replace(baseline, samples=baseline.samples[~lost])
    for base, run, side in ((baseline, less, "run"), (less, baseline, "baseline")):
        found = judge(base, run, GateSettings())
        one = check(found, "slowfast-10", "images")
        assert one.message == f"2 not in the {side}: p003 #0, p004 #0"
        assert found.verdict == "inconclusive" and one.verdict == "inconclusive"
        assert check(found, "slowfast-10", "truth").n == 58
    worse = lowered(less, "truth", 0.2)
    assert judge(baseline, worse, GateSettings()).verdict == "fail"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_on_one_side_only_is_no_pass(baseline: Evidence, value: float) -> None:
    samples = baseline.samples.copy()
    hit = (samples["sampler"] == "slowfast-10") & (samples["prompt_id"] == "p005")
    samples.loc[hit, "truth"] = value
    found = judge(baseline, replace(baseline, samples=samples), GateSettings())
    one = check(found, "slowfast-10", "truth")
    assert one.verdict == "inconclusive" and one.message == "1 without a value on one side only: p005 #0"
    assert one.n == 59 and found.verdict == "inconclusive"
    samples["truth"] = value
    all_gone = judge(baseline, replace(baseline, samples=samples), GateSettings())
    assert all_gone.verdict == "inconclusive" and check(all_gone, "teacher-50", "truth").n == 0


def test_one_prompt_never_passes() -> None:
    one = evidence(scores(1))
    found = judge(one, one, GateSettings())
    assert found.verdict == "inconclusive"
    assert check(found, "slowfast-10", "truth").verdict == "inconclusive"


def test_a_few_prompts_without_variance_are_too_few_to_pass() -> None:
    base = evidence(scores(6))
    found = judge(base, lowered(base, "truth", 0.001), GateSettings())
    assert "6 prompts are too few" in check(found, "slowfast-10", "truth").message
    assert found.verdict == "inconclusive"


def test_nothing_measured_is_its_own_verdict(baseline: Evidence) -> None:
    settings = GateSettings(leave_out=["truth", "clip", "ocr", "lpips", "fd", "health"], speed=None)
    found = judge(baseline, baseline, settings)
    assert found.verdict == "nothing measured" and found.exit_code("pass") == 5


def test_duplicated_records_are_an_error(baseline: Evidence) -> None:
    import pandas as pd

    twice = replace(baseline, samples=pd.concat([baseline.samples, baseline.samples.iloc[[3]]]))
    for sides in ((twice, baseline), (baseline, twice)):
        with pytest.raises(GlanceBenchError, match="lists 1 images twice, such as teacher-50 on p003 #0"):
            judge(*sides, GateSettings())


def test_settings_name_columns_that_exist(baseline: Evidence) -> None:
    with pytest.raises(UsageError, match="no column or metric 'thruth'; did you mean 'truth'"):
        judge(baseline, baseline, GateSettings(margins={"thruth": 0.1}))


# -- calibration ---------------------------------------------------------------------------------------------


def test_of_200_comparisons_of_equals_at_most_one_in_twenty_fails() -> None:
    # Margins of zero are the hardest case: any loss is one too much.
    hardest = GateSettings(noise="fresh", margins=dict.fromkeys(["truth", "clip", "lpips", "ocr"], 0.0))
    fails = improvements = 0
    for number in range(200):
        base = evidence(scores(40, 2 * number), times(2 * number))
        run = evidence(scores(40, 2 * number + 1), times(2 * number + 1, LATER + LAST))
        found = judge(base, run, hardest)
        fails += found.verdict == "fail"
        improvements += any(c.improved for c in found.checks)
    # 16 is the 98 % quantile of Binomial(200, 0.05).
    assert fails <= 16 and improvements <= 16
