"""What `glance-bench run` costs on top of diffusers: its generate pass against a bare loop over the pipeline.

    python benchmarks/overhead.py

Both sides make the quickstart's first prompts with the same loaded pipeline, batches, noise and number of
steps, in one process, for those samplers that the stock scheduler can play. The bare loop passes texts to
the pipeline and keeps the images in memory. The generate pass starts from an empty run folder, as a first
run does: it encodes each prompt once, for the first sampler, makes the images, and writes PNG files and
records. Loading is left out on both sides.

Rounds run in the order bare, run, run, bare, after one that is not counted; a round's ratio is its run
rate over its bare rate. Printed: median rates and ratio of each sampler, and of all images together. Exit
status 1 when a model's ratio over all images is below 0.95.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from glance_bench.engine import generate
from glance_bench.engine.base import Team
from glance_bench.engine.local import LocalEngine
from glance_bench.engine.plan import PlannedModel, Work
from glance_bench.engine.planning import make_plan
from glance_bench.models.qwen_image import NEGATIVE_PROMPT
from glance_bench.store import Run
from glance_bench.suite import load_suite
from glance_bench.terminal import Progress

REQUIRED = 0.95
SAMPLERS = ["teacher-50", "native-10"]  # the stock scheduler asked for so many steps
TOGETHER = "together"


def bare_loop(model: Any, works: Sequence[Work]) -> np.ndarray:
    """uint8[N, H, W, 3]: what a user of diffusers would write, batch by batch as the units say."""
    settings = model.settings
    height, width = works[0].sampler.model.resolution
    made = []
    for work in works:
        size = work.made_of["batch_size"]
        for start in range(0, len(work.items), size):
            items = work.items[start : start + size]
            if settings.cfg:
                guidance = {
                    "true_cfg_scale": settings.guidance,
                    "negative_prompt": [NEGATIVE_PROMPT] * len(items),
                }
            else:
                guidance = {"guidance_scale": settings.guidance}
            images = model.pipe(
                prompt=[item.prompt.text for item in items],
                latents=model.noise([item.seed for item in items], resolution=(height, width)),
                num_inference_steps=len(work.sampler.trajectory),
                height=height,
                width=width,
                max_sequence_length=settings.max_sequence_length,
                output_type="np",
                **guidance,
            ).images
            made.append((images * 255).round().astype(np.uint8))
    return np.concatenate(made)


def generate_pass(model: Any, works: Sequence[Work], folder: Path) -> None:
    """The pass itself, handed the model that is already loaded."""
    with patch.object(generate, "load_model", return_value=model):
        generate.generate(Run(folder), works, Progress(quiet=True), Team(LocalEngine()))


def seconds(side: str, model: Any, samplers: dict[str, list[Work]]) -> dict[str, float]:
    """Wall seconds of one side for each sampler's images, in order."""
    took = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, works in samplers.items():
            start = time.perf_counter()
            if side == "bare":
                bare_loop(model, works)
            else:
                generate_pass(model, works, Path(folder))
            took[name] = time.perf_counter() - start
    took[TOGETHER] = sum(took.values())
    return took


def measure(planned: PlannedModel, samplers: dict[str, list[Work]], rounds: int) -> float:
    """Prints one model's rates; returns the median ratio over all its images."""
    placement = next(iter(samplers.values()))[0].sampler.made_of
    model = generate.load_model(planned, placement["device"], placement["dtype"])
    counts = {name: sum(len(work.items) for work in works) for name, works in samplers.items()}
    counts[TOGETHER] = sum(counts.values())
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        took: dict[tuple[str, str], float] = defaultdict(float)
        for side in ("bare", "run", "run", "bare"):
            for name, value in seconds(side, model, samplers).items():
                took[name, side] += value
        if number:
            for (name, side), value in took.items():
                rates[name, side].append(2 * counts[name] / value)
    for name, count in counts.items():
        bare, run = rates[name, "bare"], rates[name, "run"]
        ratios = [r / b for r, b in zip(run, bare, strict=True)]
        print(
            f"{planned.name:14} {name:12} {count:4} images   bare loop {statistics.median(bare):7.2f}/s   "
            f"run {statistics.median(run):7.2f}/s   ratio {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )
    return statistics.median(ratios)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Rate of the generate pass over that of a bare diffusers loop."
    )
    parser.add_argument("--suite", default="quickstart", help="whose models, prompts and batches are used")
    parser.add_argument("--prompts", type=int, default=32, help="prompts for each sampler (default 32)")
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds (default 3)")
    options = parser.parse_args()
    plan = make_plan(load_suite(options.suite).with_overrides(limit=options.prompts, samplers=SAMPLERS))
    ratios = []
    for planned, chosen in plan.by_model():
        samplers = {s.name: [work for work in plan.works if work.sampler == s] for s in chosen}
        ratios.append(measure(planned, samplers, options.rounds))
    print(f"lowest ratio {min(ratios):.3f}, required {REQUIRED}")
    return 0 if min(ratios) >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
