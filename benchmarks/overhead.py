"""What `glance-bench run` costs on top of diffusers: its generate pass against a bare loop over the pipeline.

    python benchmarks/overhead.py

Both sides make the quickstart's first prompts with the same loaded pipeline, the same batches, the same noise
and the same number of steps, in one process. The bare loop passes texts to the pipeline with its stock
scheduler and keeps the images in memory. The generate pass starts from an empty run folder: it encodes the
prompts, makes the images, and writes PNG files and records as in any run. Loading is left out on both sides.

Rounds run in the order bare, run, run, bare, after one that is not counted; a round's ratio is its run rate
over its bare rate. Printed: each side's median rate and the median ratio. Exit status 1 below 0.95.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from glance_bench.engine import generate
from glance_bench.engine.plan import PlannedModel, Work, make_plan
from glance_bench.models.qwen_image import NEGATIVE_PROMPT
from glance_bench.store import Run
from glance_bench.suite import Suite, load_suite
from glance_bench.terminal import Progress

REQUIRED = 0.95


def bare_loop(model: Any, works: Sequence[Work]) -> np.ndarray:
    """uint8[N, H, W, 3]: what a user of diffusers would write, batch by batch as the units say."""
    steps = len(works[0].sampler.trajectory)
    height, width = works[0].sampler.model.resolution
    settings = model.settings
    if settings.cfg:
        guidance = {"true_cfg_scale": settings.guidance, "negative_prompt": NEGATIVE_PROMPT}
    else:
        guidance = {"guidance_scale": settings.guidance}
    made = []
    for work in works:
        size = work.made_of["batch_size"]
        for start in range(0, len(work.items), size):
            items = work.items[start : start + size]
            call = dict(guidance)
            if "negative_prompt" in call:
                call["negative_prompt"] = [call["negative_prompt"]] * len(items)
            images = model.pipe(
                prompt=[item.prompt.text for item in items],
                latents=model.noise([item.seed for item in items], resolution=(height, width)),
                num_inference_steps=steps,
                height=height,
                width=width,
                max_sequence_length=settings.max_sequence_length,
                output_type="np",
                **call,
            ).images
            made.append((images * 255).round().astype(np.uint8))
    return np.concatenate(made)


def generate_pass(model: Any, works: Sequence[Work], folder: Path) -> None:
    """The pass itself, handed the model that is already loaded."""
    with patch.object(generate, "load_model", return_value=model):
        generate.generate(Run(folder), works, Progress(quiet=True))


def seconds(function: Any, *arguments: Any) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def measure(planned: PlannedModel, works: Sequence[Work], suite: Suite, rounds: int) -> float:
    """Prints one model's rates and returns the median ratio."""
    model = generate.load_model(planned, suite.device, suite.dtype)
    images = sum(len(work.items) for work in works)
    rates: dict[str, list[float]] = {"bare": [], "run": []}
    ratios = []
    for number in range(rounds + 1):
        took: dict[str, float] = {"bare": 0.0, "run": 0.0}
        for side in ("bare", "run", "run", "bare"):
            if side == "bare":
                took[side] += seconds(bare_loop, model, works)
            else:
                with tempfile.TemporaryDirectory() as folder:
                    took[side] += seconds(generate_pass, model, works, Path(folder))
        if number:
            ratios.append(took["bare"] / took["run"])
            for side in rates:
                rates[side].append(2 * images / took[side])
    ratio = statistics.median(ratios)
    bare, run = (statistics.median(rates[side]) for side in ("bare", "run"))
    spread = f"{min(ratios):.3f} to {max(ratios):.3f} in {rounds} rounds"
    print(
        f"{planned.name}: bare loop {bare:.2f} images/s, run {run:.2f} images/s, ratio {ratio:.3f} ({spread})"
    )
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Rate of the generate pass over the rate of a bare diffusers loop."
    )
    parser.add_argument(
        "--suite", default="quickstart", help="suite whose models, prompts and batches are used"
    )
    parser.add_argument(
        "--steps", type=int, choices=(8, 10, 50), default=10, help="steps of the stock scheduler"
    )
    parser.add_argument("--images", type=int, default=32, help="images in each block (default 32)")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    options = parser.parse_args()
    sampler = "teacher-50" if options.steps == 50 else f"native-{options.steps}"
    suite = load_suite(options.suite).with_overrides(limit=options.images, samplers=[sampler])
    plan = make_plan(suite)
    ratios = []
    for planned, _ in plan.by_model():
        works = [work for work in plan.works if work.sampler.model == planned]
        ratios.append(measure(planned, works, suite, options.rounds))
    print(f"lowest ratio {min(ratios):.3f}, required {REQUIRED}")
    return 0 if min(ratios) >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
