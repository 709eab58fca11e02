"""`python -m glance_bench.testbed.quality RUN`: how good the testbed is, as Markdown tables.

RUN is a finished run of suites/testbed.yaml. Printed are the autoencoders' round trip of clean renders, the teacher
by category of prompt, what guidance is worth, and which samplers the metrics tell apart; with n and 95 % intervals.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glance_bench import stats
from glance_bench.prompts import Prompt
from glance_bench.registry import FAMILIES, METRICS, MODELS
from glance_bench.report.text import markdown_table
from glance_bench.results import scored_records
from glance_bench.store import Run
from glance_bench.testbed.scenes import Scene
from glance_bench.testbed.world import render

if TYPE_CHECKING:
    import pandas as pd

TEACHER, UNGUIDED = "teacher-50", "teacher-50-unguided"
LADDER = ("uniform-20", "uniform-10", "uniform-8", "uniform-4")
BY_CATEGORY = (
    ("object", "truth"),
    ("pair", "truth"),
    ("count", "truth"),
    ("sign", "ocr_exact"),
    ("unseen word", "ocr_exact"),
    ("sign+object", "ocr_exact"),
    ("poster", "ocr_word_accuracy"),
)


def _table(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield f"\n### {title}\n"
    yield from markdown_table(head, rows)


def _mean(values: np.ndarray) -> str:
    interval = stats.bootstrap_mean(values)
    return f"{values.mean():.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _pixels_to_images(pixels: np.ndarray) -> np.ndarray:
    """float[N, 3, 64, 64] in -1..1 -> uint8[N, 64, 64, 3]."""
    return np.clip(np.round((pixels + 1) * 127.5), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def round_trip(model_name: str, prompts: list[Prompt], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth (all prompts) and exact text (prompts with text) of clean renders after encoding and decoding."""
    import torch

    entry = MODELS.get(model_name)
    vae = FAMILIES.get(entry.family).load(entry.path).pipe.vae
    rng = np.random.default_rng(seed)
    clean = np.stack([render(Scene.from_json(prompt.meta["scene"]), rng) for prompt in prompts])
    pixels = torch.from_numpy(clean.transpose(0, 3, 1, 2)).float() / 127.5 - 1
    made = []
    with torch.inference_mode():
        for batch in pixels.split(20):
            frames = batch if entry.family == "flux" else batch.unsqueeze(2)
            made.append(vae.decode(vae.encode(frames).latent_dist.mode()).sample.reshape(batch.shape).numpy())
    images = _pixels_to_images(np.concatenate(made))
    truth = METRICS.get("truth")().score(images, prompts)
    text = METRICS.get("ocr")().score(images, prompts)
    exact = [row["ocr_exact"] for row in text if row.get("ocr_exact") is not None]
    return np.array([row["truth"] for row in truth], float), np.array(exact, float)


def _paired(board: pd.DataFrame, first: str, second: str, column: str) -> stats.PairedDifference:
    wide = board.pivot_table(index="prompt_id", columns="sampler", values=column)[[first, second]].dropna()
    return stats.paired_bootstrap(wide[first], wide[second])


def _difference_row(model: str, board: pd.DataFrame, first: str, second: str, column: str) -> tuple[str, ...]:
    delta = _paired(board, first, second, column)
    verdict = "yes" if delta.low > 0 else "no"
    shown = f"{delta.difference:+.3f} [{delta.low:+.3f}, {delta.high:+.3f}]"
    return (model, f"{first} - {second}", column, shown, str(delta.n), verdict)


def report(run: Run, renders: int) -> Iterator[str]:
    """The lines of the report; `renders` clean renders go through each autoencoder."""
    records = scored_records(run)
    prompts = run.prompts()
    records["category"] = records["prompt_id"].map({prompt.id: prompt.category for prompt in prompts})
    boards = {str(name): board for name, board in records.groupby("model", sort=False)}

    rows: list[tuple[str, ...]] = []
    for model in boards:
        truth, exact = round_trip(model, prompts[:renders])
        rows += [(model, "truth", _mean(truth), str(len(truth)))]
        rows += [(model, "exact text", _mean(exact), str(len(exact)))]
    yield from _table("Autoencoders: round trip of clean renders", ("model", "measure", "value", "n"), rows)

    rows = []
    for model, board in boards.items():
        teacher = board[board["sampler"] == TEACHER]
        for category, column in BY_CATEGORY:
            values = teacher.loc[teacher["category"] == category, column].dropna().to_numpy(float)
            if len(values):
                rows.append((model, category, column, _mean(values), str(len(values))))
    yield from _table(f"{TEACHER} by category", ("model", "category", "column", "mean", "n"), rows)

    rows = []
    for model, board in boards.items():
        rows.append(_difference_row(model, board, TEACHER, UNGUIDED, "truth"))
        ladder = [sampler for sampler in LADDER if sampler in set(board["sampler"])]
        for column in ("truth", "ocr_word_accuracy", "ocr_ned_similarity"):
            rows.append(_difference_row(model, board, TEACHER, "uniform-8", column))
            for more, fewer in pairwise(ladder):
                rows.append(_difference_row(model, board, more, fewer, column))
    head = ("model", "paired difference", "column", "mean [95 %]", "n", "above zero")
    yield from _table("Guidance, and samplers told apart", head, rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m glance_bench.testbed.quality", description=__doc__)
    parser.add_argument("run", type=Path, help="a finished run of suites/testbed.yaml")
    parser.add_argument(
        "--renders", type=int, default=300, help="clean renders a model (default: %(default)s)"
    )
    options = parser.parse_args()
    for line in report(Run(options.run), options.renders):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
