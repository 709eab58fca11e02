"""What two adapters in one pipeline cost and save: glance-10 with its slow and fast LoRA.

    python benchmarks/glance_switch.py

Two questions, each answered by a ratio of wall times:

switch: ten steps with the pair against the same ten steps with the fast LoRA throughout, in one pipeline and
one process. A batch with the pair switches twice, to slow before its first step and to fast in its middle; the
other never does. Rounds run in the order one, pair, pair, one, after one that is not counted.

first image: one pipeline that loads the checkpoint once and plays all ten steps, against the way in which the
LoRAs were released: load the checkpoint and the slow LoRA, take five steps, free it, load the checkpoint and
the fast LoRA, take the other five and decode. Both start at the prompt and make the same image. Each repeat is
a process of its own, which first does the same once without being timed, so that imports are left out; the two
ways take turns at going first. For further images nothing is loaded, so the released way holds two pipelines.

Printed are medians, with the range of the ratios. Exit status 1 when switching costs more than 2 % or the first
image comes less than 1.5 times sooner. Where the model's own pair is not there, one is trained for a single
step: only the shapes of its weights matter here.
"""

import argparse
import gc
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glance_bench.models.checkpoints import read_geometry, read_settings
from glance_bench.models.qwen_image import NEGATIVE_PROMPT
from glance_bench.models.scheduler import TrajectoryScheduler
from glance_bench.registry import FAMILIES, MODELS, ModelEntry
from glance_bench.samplers.cards import load_card
from glance_bench.samplers.lora_files import trained_adapters
from glance_bench.training.glance import train
from glance_bench.training.request import Request
from glance_bench.training.samples import noise_pair
from glance_bench.trajectory import Trajectory

ALLOWED, REQUIRED = 1.02, 1.5
CARD, SLOW, FAST = "glance-10", "glance-10/slow", "glance-10/fast"
SLOW_STEPS = 5
PROMPT = "a red circle above a blue square"
FURTHER = 5  # images after the first


def with_pair(name: str, folder: Path) -> ModelEntry:
    """The model and its pair, which is trained into ``folder`` for one step where it has none."""
    entry: ModelEntry = MODELS.get(name)
    if not {SLOW, FAST} <= trained_adapters(entry.adapters).keys():
        quick = {"steps": 1, "base_weights": "float32", "precision": "float32", "optimizer": "adamw"}
        request = Request.resolve(name, None, quick, None, "cpu")
        entry = replace(entry, adapters=folder / name)
        train(entry, request.recipe, [noise_pair(request.resolution, PROMPT)], folder / name / CARD)
    return entry


def ten_steps(entry: ModelEntry) -> Trajectory:
    """What the card plays on the model."""
    return load_card(CARD).compile(
        replace(read_geometry(entry.path), adapters=trained_adapters(entry.adapters))
    )


def seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    """Wall seconds of the call, and what it returned."""
    start = time.perf_counter()
    made = action()
    return time.perf_counter() - start, made


def switching(entry: ModelEntry, batch: int, rounds: int) -> bool:
    """Prints what switching costs; whether it is little enough."""
    model = FAMILIES.get(entry.family).load(entry.path)
    pair = ten_steps(entry)
    fast = str(trained_adapters(entry.adapters)[FAST])
    sides = {"one": Trajectory(tuple(replace(step, adapter=fast) for step in pair.steps)), "pair": pair}
    embeds, noise = model.encode([PROMPT]) * batch, model.noise(range(batch))
    took: dict[str, list[float]] = {"one": [], "pair": []}
    for number in range(rounds + 1):
        total = {"one": 0.0, "pair": 0.0}
        for side in ("one", "pair", "pair", "one"):
            total[side] += seconds(lambda steps=sides[side]: model.sample(steps, embeds, noise))[0]
        if number:
            for side, value in total.items():
                took[side].append(value / 2)
    ratios = [pair / one for pair, one in zip(took["pair"], took["one"], strict=True)]
    met = statistics.median(ratios) <= ALLOWED
    print(
        f"{entry.name:14} switch, batch {batch}   one adapter {statistics.median(took['one']):.3f} s   "
        f"pair {statistics.median(took['pair']):.3f} s   ratio {spread(ratios)}   "
        f"at most {ALLOWED}: {'met' if met else 'not met'}"
    )
    return met


def one_pipeline(entry: ModelEntry) -> Iterator[np.ndarray]:
    """uint8[H, W, 3] for each image that is asked for; the first time it loads."""
    model = FAMILIES.get(entry.family).load(entry.path)
    trajectory = ten_steps(entry)
    while True:
        yield model.sample(trajectory, model.encode([PROMPT]), model.noise([0]))[0]


def two_pipelines(entry: ModelEntry) -> Iterator[np.ndarray]:
    """The same, as a user of diffusers writes it: freed and loaded for the first image, held for the others."""
    settings, steps = read_settings(entry.path), ten_steps(entry).steps
    files = trained_adapters(entry.adapters)
    guidance: dict[str, Any] = {"guidance_scale": settings.guidance}
    if settings.cfg:
        guidance = {"true_cfg_scale": settings.guidance, "negative_prompt": NEGATIVE_PROMPT}

    def load(expert: str) -> Any:
        pipe = FAMILIES.get(entry.family).pipeline_class.from_pretrained(
            entry.path, dtype=torch.float32, local_files_only=True
        )
        pipe.set_progress_bar_config(disable=True)
        pipe.load_lora_weights(str(files[expert].parent), weight_name=files[expert].name)
        played = steps[:SLOW_STEPS] if expert == SLOW else steps[SLOW_STEPS:]
        pipe.scheduler = TrajectoryScheduler.of(Trajectory(played))
        return pipe

    def play(pipe: Any, output_type: str, **start: Any) -> Any:
        height, width = settings.resolution
        return pipe(
            prompt=PROMPT,
            num_inference_steps=len(pipe.scheduler.timesteps),
            height=height,
            width=width,
            max_sequence_length=settings.max_sequence_length,
            output_type=output_type,
            **guidance,
            **start,
        ).images

    def early(pipe: Any) -> Any:
        return play(pipe, "latent", generator=torch.Generator("cpu").manual_seed(0))

    def late(pipe: Any, latents: Any) -> np.ndarray:
        return np.asarray((play(pipe, "np", latents=latents)[0] * 255).round(), np.uint8)

    latents = early(load(SLOW))
    fast = load(FAST)
    yield late(fast, latents)
    slow = load(SLOW)
    while True:
        yield late(fast, early(slow))


WAYS = {"one": one_pipeline, "two": two_pipelines}


def repeat(way: str, entry: ModelEntry) -> dict[str, Any]:
    """One repeat in a fresh process: seconds of the first and of further images, MiB after each, the first image."""
    next(WAYS[way](entry))  # thrown away: libraries import more when the first LoRA and the first image come
    gc.collect()
    gc.freeze()  # or a collection that walks through every imported library falls into some of the repeats
    images = WAYS[way](entry)
    first, image = seconds(lambda: next(images))
    memory = peak()
    next(images)  # the released way loads its first pipeline again
    further = [seconds(lambda: next(images))[0] for _ in range(FURTHER)]
    return {
        "first": first,
        "further": statistics.median(further),
        "memory": memory,
        "held": peak(),
        "image": image,
    }


def peak() -> float:
    """Largest resident set of this process so far, MiB.

    On Linux not by getrusage, whose value in a child starts at what the parent held.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def loading(entry: ModelEntry, repeats: int) -> bool:
    """Prints how soon the first image comes in each way, and in what memory; whether it is soon enough."""
    made: dict[str, list[dict[str, Any]]] = {"one": [], "two": []}
    for number in range(repeats):
        for way in ("one", "two") if number % 2 == 0 else ("two", "one"):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
                made[way].append(fresh.submit(repeat, way, entry).result())
    for way, runs in made.items():
        first, further, memory, held = (
            statistics.median(run[what] for run in runs) for what in ("first", "further", "memory", "held")
        )
        print(
            f"{entry.name:14} {way} pipeline{'s' if way == 'two' else ' '}   load + first image {first:.3f} s, "
            f"peak {memory:.0f} MiB   further image {further:.3f} s, peak {held:.0f} MiB"
        )
    pairs = list(zip(made["two"], made["one"], strict=True))
    apart = max(np.abs(two["image"].astype(int) - one["image"]).max() for two, one in pairs)
    ratios = [two["first"] / one["first"] for two, one in pairs]
    met = statistics.median(ratios) >= REQUIRED
    print(
        f"{entry.name:14} load + first image   ratio {spread(ratios)}   largest difference of a pixel {apart}   "
        f"at least {REQUIRED}: {'met' if met else 'not met'}"
    )
    return met


def spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def main() -> int:
    parser = argparse.ArgumentParser(description="Cost of switching adapters, and time to the first image.")
    parser.add_argument("--model", nargs="+", default=["testbed-flux", "testbed-qwen"], help="whose pairs")
    parser.add_argument("--batch", type=int, default=8, help="images of a batch that switches (default 8)")
    parser.add_argument("--rounds", type=int, default=10, help="counted rounds of switching (default 10)")
    parser.add_argument("--repeats", type=int, default=5, help="processes of each way to load (default 5)")
    options = parser.parse_args()
    met = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.model:
            entry = with_pair(name, Path(folder))
            met += [switching(entry, options.batch, options.rounds), loading(entry, options.repeats)]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
