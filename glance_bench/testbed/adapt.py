"""`python -m glance_bench.testbed.adapt`: trains the Glance adapters that ship with the testbed's models.

One sample for each model, made by the model itself: an object of the training split, drawn by teacher-50. The
published recipe of the family is not changed. glance-8's fast adapter is glance-10's: recipe and timesteps are the
same.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys

import numpy as np

from glance_bench.registry import FAMILIES, MODELS, ModelEntry
from glance_bench.samplers.cards import load_card
from glance_bench.sealed import write_json
from glance_bench.testbed.scenes import captions, sample_scene
from glance_bench.training.glance import RECORD, train
from glance_bench.training.recipe import Recipe, load_recipe
from glance_bench.training.samples import Pair

RECIPES = {"flux": "glance-flux", "qwen_image": "glance-qwen"}
SCENE_SEED, NOISE_SEED = 1, 0


def sample_of(entry: ModelEntry) -> Pair:
    """A caption of one training scene and the image that the model's teacher draws for it."""
    caption = captions(sample_scene(np.random.default_rng(SCENE_SEED), "object"))[0]
    model = FAMILIES.get(entry.family).load(entry.path)
    steps = load_card("teacher-50").compile(model.geometry())
    image = model.sample(steps, model.encode([caption]), model.noise([NOISE_SEED]))[0]
    return Pair(image, caption, f"teacher-50 of {entry.name}, seed {NOISE_SEED}")


def adapt(entry: ModelEntry) -> None:
    """Train every shipped adapter of one testbed model, with its training records, in place of those there."""
    assert entry.adapters is not None
    pair = sample_of(entry)
    published = load_recipe(RECIPES[entry.family])
    schedule = {"kind": "slow-fast", "slow": 3, "fast": 5}
    slow3 = Recipe.model_validate({**published.model_dump(), "schedule": schedule})
    shutil.rmtree(entry.adapters, ignore_errors=True)
    for name, recipe, phases in (("glance-10", published, ("slow", "fast")), ("glance-8", slow3, ("slow",))):
        folder = entry.adapters / name
        train(entry, recipe, [pair], folder, phases=phases, say=print)
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        for phase, known in record["experts"].items():
            last = np.mean(known["losses"][-20:])
            print(
                f"{entry.name} {name}/{phase}: {known['seconds']:.1f} s, last 20 losses {last:.4f} on average"
            )
            known["environment"] = {
                "versions": known["environment"]["versions"]
            }  # versions matter to a reader, the machine does not
        write_json(folder / RECORD, record)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m glance_bench.testbed.adapt", description=__doc__)
    parser.add_argument("models", nargs="*", default=["testbed-flux", "testbed-qwen"], help="default: both")
    for name in parser.parse_args().models:
        adapt(MODELS.get(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
