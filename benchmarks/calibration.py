"""How often the gate raises a false alarm, which losses it sees, and how often intervals hold the truth.

    glance-bench run suites/calibration.yaml          # 18,000 images, about half an hour on two cores
    python benchmarks/calibration.py runs/calibration

The run has two images of each prompt, from fresh noise. Its prompts are taken for the population: a sample of n prompts
is drawn with replacement, so the population's means are known exactly.

* A/A: the second images against the first, the same prompts and samplers, latencies of one half of the blocks against
  the other half. The gate as it is, and with all margins 0, the hardest case: a false alarm is a gate that fails.
* Power: a loss planted in one sampler, uniform-8, on the same noise and on fresh noise, at the default margins.
  "spread": every value of a metric falls by the share. "concentrated": so large a share of the prompts falls to 0.
  Power is the share of gates in which that sampler's check of that metric fails, after Holm's correction. Latency: all
  seconds x 1.05, confirmed in a second session. FD: noise added to the features until the distance of the whole
  population has risen by 5 %; at n = 1,000 the gate shows it without judging, so what is printed is the share of
  one-sided jackknife tests below 0.05.
* Coverage: the share of 95 % intervals that hold the population's difference: of the paired bootstrap for means, of
  the paired group jackknife for FD, whose truth at n is the mean over all samples of n (the bias in n is part of it).

Prints Markdown. Exit status 1 when false alarms exceed 5 %, or a coverage leaves its range.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glance_bench import stats
from glance_bench.evidence import Evidence, read_evidence
from glance_bench.gate.judge import judge
from glance_bench.gate.settings import GateSettings
from glance_bench.metrics.frechet import frechet_distance, testbed_frechet
from glance_bench.metrics.moments import Moments
from glance_bench.store import Run

SPOILT = "uniform-8"
FD = "fd[testbed-clip]"
PLANTED = {"clip[testbed-clip]": "CLIP", "ocr_word_accuracy": "OCR", "truth": "truth"}
LOSSES = (0.02, 0.05, 0.10)
KINDS = ("spread", "concentrated")
SIZES = (100, 300, 1000)
MEANS, DISTANCE = (0.93, 0.97), (0.90, 0.98)
POPULATION: Population | None = None  # of the processes that gates are spread over; set before they fork
Frame = pd.DataFrame
Sides = tuple[Frame, Frame]


@dataclass(frozen=True)
class Population:
    """The run: rows of the first and of the second images by (sampler, prompt), and latencies."""

    evidence: Evidence
    sides: Mapping[str, Sides]  # by sampler: rows of index 0 and of index 1, prompts in the same order
    blocks: pd.DataFrame

    @property
    def prompts(self) -> int:
        return len(next(iter(self.sides.values()))[0])

    def values(self, sampler: str, column: str) -> tuple[np.ndarray, np.ndarray]:
        first, second = self.sides[sampler]
        return first[column].to_numpy(float), second[column].to_numpy(float)


def population(folder: Path) -> Population:
    evidence = read_evidence(folder)
    frame = evidence.samples.sort_values(["prompt_id", "index"])
    sides = {}
    for sampler, own in frame.groupby("sampler", sort=False):
        first, second = (own[own["index"] == i].reset_index(drop=True) for i in (0, 1))
        sides[str(sampler)] = (first, second.assign(index=0))
    total = evidence.timing[evidence.timing["component"] == "total"]
    return Population(evidence, sides, total)


@dataclass(frozen=True)
class Trial:
    """One gate: ``n`` prompts, what is planted in SPOILT (column, kind, loss), and under which settings."""

    n: int
    seed: int
    settings: GateSettings
    planted: tuple[str, str, float] | None = None
    slower: float = 1.0


def pair(of: Population, trial: Trial) -> tuple[Evidence, Evidence]:
    """A baseline and a run. On fresh noise, whose images are whose is drawn for each prompt."""
    rng = np.random.default_rng([trial.n, trial.seed])
    draw = rng.integers(0, of.prompts, trial.n)
    turned = rng.random(trial.n) < 0.5
    names = [f"{i:05d}" for i in range(trial.n)]
    fresh = trial.settings.noise == "fresh"
    tables: tuple[list[Frame], list[Frame]] = ([], [])
    for sampler, sides in of.sides.items():
        a, b = (side.iloc[draw].reset_index(drop=True).assign(prompt_id=names) for side in sides)
        if fresh:
            for name in a.select_dtypes("float64").columns:
                a[name], b[name] = np.where(turned, b[name], a[name]), np.where(turned, a[name], b[name])
        else:
            b = a.copy()
        if sampler == SPOILT and trial.planted is not None:
            b = spoilt(b, rng, *trial.planted)
        tables[0].append(a)
        tables[1].append(b)
    times = halves(of.blocks, rng, trial.slower)
    made = []
    for rows, timing in zip(tables, times, strict=True):
        frame = pd.concat(rows, ignore_index=True)
        made.append(replace(of.evidence, samples=frame, timing=timing, results=bare(of.evidence)))
    return made[0], made[1]


def spoilt(frame: Frame, rng: np.random.Generator, column: str, kind: str, loss: float) -> Frame:
    """A loss of the share ``loss`` of a column's mean."""
    if kind == "spread":
        values = frame[column] * (1 - loss)
    else:
        values = frame[column].where(rng.random(len(frame)) >= loss, 0.0)
    return frame.assign(**{column: values}, image_sha256="spoilt")


def outcome(trial: Trial) -> tuple[str, frozenset[str]]:
    """The gate's verdict, and the columns on which it fails SPOILT."""
    assert POPULATION is not None
    found = judge(*pair(POPULATION, trial), trial.settings)
    failed = {c.column for c in found.checks if c.sampler == SPOILT and c.verdict == "fail"}
    return found.verdict, frozenset(failed)


def bare(evidence: Evidence) -> dict[str, Any]:
    """The results without cells: the gate takes them for numbers of whole sets, which are studied apart."""
    boards = [
        {**board, "samplers": [{**row, "cells": {}} for row in board["samplers"]]}
        for board in evidence.results["boards"]
    ]
    return {**evidence.results, "boards": boards}


def halves(blocks: Frame, rng: np.random.Generator, slower: float) -> tuple[Frame, Frame]:
    """The measured blocks dealt to both sides; the run's to two sessions, as a confirmed failure needs."""
    keys = ["session", "prompt_id", "repeat"]
    distinct = blocks[keys].drop_duplicates()
    place = rng.permutation(len(distinct))
    dealt = blocks.merge(distinct.assign(_place=place), on=keys)
    middle, three = len(distinct) // 2, 3 * len(distinct) // 4
    before, after = dealt[dealt["_place"] < middle], dealt[dealt["_place"] >= middle]
    after = after.assign(session=np.where(after["_place"] < three, "a", "b"))
    spoilt = after["sampler"] == SPOILT
    return before, after.assign(seconds=after["seconds"] * np.where(spoilt, slower, 1.0))


def settings(
    of: Population, noise: str, margin: str | None = None, speed: float | None = None
) -> GateSettings:
    """The gate's own margins, or the same one everywhere."""
    block: dict[str, Any] = {"noise": noise, "speed": {"margin": speed} if speed else None}
    if margin is not None:
        named = [c["name"] for c in of.evidence.results["columns"] if c["headline"] or c["flag"]]
        block["margins"] = dict.fromkeys(named, margin)
    return GateSettings.model_validate(block)


def false_alarms(of: Population, pool: Executor, gates: int, n: int) -> float:
    """Prints the A/A table; returns the worst share of false alarms."""
    print(
        f"| A/A, {n} prompts, fresh noise | gates | failed | inconclusive | passed |\n|---|---|---|---|---|"
    )
    worst = 0.0
    for title, margin, speed in (("default margins", None, 0.03), ("all margins 0", "0%", 1e-9)):
        chosen = settings(of, "fresh", margin, speed)
        found = Counter(
            v for v, _ in pool.map(outcome, [Trial(n, i, chosen) for i in range(gates)], chunksize=5)
        )
        told = " | ".join(str(found[name]) for name in ("fail", "inconclusive", "pass"))
        print(f"| {title} | {gates} | {told} |", flush=True)
        worst = max(worst, found["fail"] / gates)
    return worst


def power(of: Population, pool: Executor, gates: int) -> None:
    """Prints, for each planted loss, how often the gate fails the spoilt sampler on the spoilt metric."""

    def found(column: str, chosen: GateSettings, n: int, **planted: Any) -> float:
        trials = [Trial(n, i, chosen, **planted) for i in range(gates)]
        return sum(column in failed for _, failed in pool.map(outcome, trials, chunksize=5)) / gates

    for noise in ("paired", "fresh"):
        chosen = settings(of, noise)
        told = "same noise" if noise == "paired" else "fresh noise"
        print(f"\n| planted, {told} | kind | " + " | ".join(f"n = {n}" for n in SIZES) + " |")
        print("|---|---|" + "---|" * len(SIZES))
        for column, name in PLANTED.items():
            for loss in LOSSES:
                for kind in KINDS:
                    shares = [found(column, chosen, n, planted=(column, kind, loss)) for n in SIZES]
                    cells = " | ".join(f"{share:.0%}" for share in shares)
                    print(f"| {name} - {loss:.0%} | {kind} | {cells} |", flush=True)
    shares = [
        found("speed", settings(of, "fresh", None, margin), 100, slower=1.05) for margin in (0.03, 1e-9)
    ]
    count = len(of.blocks[["session", "prompt_id", "repeat"]].drop_duplicates())
    print(
        f"\nLatency x 1.05, {count // 2} blocks a side: found by {shares[0]:.0%} at a margin of 3 %, ", end=""
    )
    print(f"{shares[1]:.0%} at a margin of 0.")


def coverage(of: Population, pool: Executor, draws: int) -> bool:
    """Prints the coverage of intervals of mean differences between samplers, and of A/A."""
    print("\n| interval of a mean difference | " + " | ".join(f"n = {n}" for n in SIZES) + " |")
    print("|---|" + "---|" * len(SIZES))
    samplers = list(of.sides)
    held = True
    for column, name in PLANTED.items():
        contrasts = [((a, 0), (b, 0)) for a, b in zip(samplers, samplers[1:], strict=False)]
        contrasts += [((a, 0), (a, 1)) for a in samplers]
        deltas = [of.values(a, column)[i] - of.values(b, column)[j] for (a, i), (b, j) in contrasts]
        jobs = [(delta[~np.isnan(delta)], n, draws) for n in SIZES for delta in deltas]
        shares = np.reshape(list(pool.map(_covered, jobs)), (len(SIZES), -1)).mean(axis=1)
        held &= all(MEANS[0] <= share <= MEANS[1] for share in shares)
        print(
            f"| {name}, {len(contrasts)} contrasts | " + " | ".join(f"{s:.1%}" for s in shares) + " |",
            flush=True,
        )
    return held


def _covered(job: tuple[np.ndarray, int, int]) -> float:
    delta, n, draws = job
    truth = delta.mean()
    count = 0
    for i in range(draws):
        own = delta[np.random.default_rng([3, n, i]).integers(0, len(delta), n)]
        interval = stats.difference_interval(own, i)
        count += interval.low <= truth <= interval.high
    return count / draws


def distances(of: Population, pool: Executor, folder: Path, draws: int) -> bool:
    """Prints the coverage of the jackknife interval of FD differences, and the power against FD + 5 %."""
    metric = testbed_frechet()
    compared = metric.reference(folder)
    shas, rows = Run(folder).features(FD)
    place = {sha: i for i, sha in enumerate(shas)}
    features = {
        (sampler, side): rows[[place[sha] for sha in of.sides[sampler][side]["image_sha256"]]].astype(
            np.float64
        )
        for sampler in of.sides
        for side in (0, 1)
    }
    a, b = list(of.sides)[0], list(of.sides)[-1]
    contrasts = {f"{a} - {b}, same noise": (features[a, 0], features[b, 0])}
    contrasts[f"{SPOILT}, A/A"] = (features[SPOILT, 0], features[SPOILT, 1])
    worse, strength = _five_percent_worse(features[SPOILT, 1], compared)
    contrasts[f"{SPOILT} + 5 %, fresh noise"] = (worse, features[SPOILT, 0])
    same, _ = _five_percent_worse(features[SPOILT, 0], compared)
    contrasts[f"{SPOILT} + 5 %, same noise"] = (same, features[SPOILT, 0])
    sizes = (1000, 3000)
    print("\n| FD difference | " + " | ".join(f"n = {n}: covered, found worse" for n in sizes) + " |")
    print("|---|" + "---|" * len(sizes))
    held = True
    for name, (first, second) in contrasts.items():
        told = []
        for n in sizes:
            shares, found = _fd_covered(pool, first, second, compared, n, draws)
            held &= DISTANCE[0] <= shares <= DISTANCE[1]
            told.append(f"{shares:.1%}, {found:.0%}")
        print(f"| {name} | " + " | ".join(told) + " |", flush=True)
    print(f"\nFD + 5 % is noise of {strength:.3f} of each feature's spread.")
    return held


def _five_percent_worse(features: np.ndarray, reference: Moments) -> tuple[np.ndarray, float]:
    noise = np.random.default_rng(4).normal(size=features.shape) * features.std(axis=0)
    wanted, low, high = 1.05 * frechet_distance(features, reference), 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if frechet_distance(features + middle * noise, reference) < wanted:
            low = middle
        else:
            high = middle
    return features + high * noise, high


def _fd_covered(
    pool: Executor, first: np.ndarray, second: np.ndarray, reference: Moments, n: int, draws: int
) -> tuple[float, float]:
    """The share of intervals that hold the mean difference at n, and of one-sided tests that find ``first`` worse."""
    drawn = partial(_drawn, first, second, reference, n)
    made = list(pool.map(drawn, range(draws), chunksize=25))
    truth = float(np.mean([one.value for one in made]))
    held = found = 0
    for one in made:
        interval = one.interval()
        held += interval.low <= truth <= interval.high
        found += one.p(alternative="greater") < 0.05
    return held / draws, found / draws


def _drawn(first: np.ndarray, second: np.ndarray, reference: Moments, n: int, i: int) -> stats.Jackknife:
    """The difference of the distances on one sample."""
    labels = stats.group_labels([f"{i:05d}" for i in range(n)])
    draw = np.random.default_rng([5, n, i]).integers(0, len(first), n)
    above, below = (
        stats.group_jackknife(lambda keep, rows=side[draw]: frechet_distance(rows[keep], reference), labels)
        for side in (first, second)
    )
    return above - below


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Calibrates the gate on a finished run.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--gates", type=int, default=1000, help="A/A comparisons (default 1000)")
    parser.add_argument("--planted", type=int, default=50, help="gates for each planted loss (default 50)")
    parser.add_argument(
        "--draws", type=int, default=1000, help="samples for coverage of means (default 1000)"
    )
    parser.add_argument("--distances", type=int, default=400, help="samples for that of FD (default 400)")
    options = parser.parse_args(arguments)
    global POPULATION
    of = POPULATION = population(options.run)
    print(f"{of.prompts} prompts x {len(of.sides)} samplers x 2 images\n", flush=True)
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        alarms = false_alarms(of, pool, options.gates, 300)
        power(of, pool, options.planted)
        held = coverage(of, pool, options.draws)
        held &= distances(of, pool, options.run, options.distances)
    print(f"\nfalse alarms {alarms:.1%}, allowed 5 %: {'met' if alarms <= 0.05 else 'NOT MET'}")
    print(
        f"coverage {MEANS[0]:.0%} to {MEANS[1]:.0%} for means, {DISTANCE[0]:.0%} to {DISTANCE[1]:.0%} for FD: ",
        end="",
    )
    print("met" if held else "NOT MET")
    return 0 if held and alarms <= 0.05 else 1


if __name__ == "__main__":
    sys.exit(main())
