"""`python -m glance_bench.testbed.distill`: the few-step LoRAs of the testbed, distilled from many teacher paths.

`samples` lets the teacher draw captions of training scenes and keeps its latents where the students will step; `train`
teaches one LoRA to take each of those steps at once. Both can be stopped and resumed. `check` says how far the paths
end from teacher-50.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from glance_bench.machine import hardware_key, made_with
from glance_bench.models.checkpoints import checkpoint_digest
from glance_bench.registry import FAMILIES, MODELS, ModelEntry
from glance_bench.samplers.cards import Indices, SamplerCard, Uniform, load_card
from glance_bench.sealed import digest_of, sha256_file, write_json
from glance_bench.testbed.scenes import KINDS, Scene, caption, sample_scene
from glance_bench.testbed.train.__main__ import work_folder
from glance_bench.testbed.train.latents import CURRICULUM
from glance_bench.training.distill import distil
from glance_bench.training.lora import add_lora, save_lora
from glance_bench.training.paths import make_shard, play, read_shards
from glance_bench.training.recipe import Recipe
from glance_bench.training.record import RECORD, adapter_file
from glance_bench.trajectory import TEACHER_STEPS, uniform_indices

SALT = 4096  # of the captions' and the noise's random numbers
EVERY = 20  # steps a line of the log
TOKENS = (8, 8)
TARGETS = {  # every linear layer of the blocks and around them, but for those that embed time and text
    "flux": ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]
    + ["net.0.proj", "net.2", "proj_mlp", "proj_out", "linear", "x_embedder"],
    "qwen_image": ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]
    + ["net.0.proj", "net.2", "img_mod.1", "txt_mod.1", "norm_out.linear", "proj_out", "img_in"],
}
SHARD = 64  # paths played at once
LEVELS = (*uniform_indices(8), TEACHER_STEPS)  # where the students step; uniform-4's are among them
PLAYED = [*range(0, 24, 3), *range(25, 49, 3)]  # every third step of teacher-50, and every one of LEVELS
KEEP = [*map(PLAYED.index, LEVELS[:-1]), len(PLAYED)]


def training_prompt(index: int) -> tuple[Scene, str]:
    """Scene number ``index`` of the training split, and its caption; kinds as late in the model's training."""
    rng = np.random.default_rng([SALT, index])
    kind = str(rng.choice(KINDS, p=CURRICULUM[-1][1]))
    scene = sample_scene(rng, kind)
    return scene, caption(scene, rng)


def short_teacher() -> SamplerCard:
    """Every third step of teacher-50, for `play` in second order: as near to it as 26 plain steps, for 16."""
    schedule = Indices(kind="indices", indices=PLAYED)
    return load_card("teacher-50").model_copy(update={"name": "teacher-16", "schedule": schedule})


def make_samples(entry: ModelEntry, folder: Path, count: int) -> None:
    """The first ``count`` teacher paths of a model, in shards below ``folder``."""
    family = FAMILIES.get(entry.family).load(entry.path)
    teacher = short_teacher().compile(family.geometry())
    folder.mkdir(parents=True, exist_ok=True)
    key = digest_of([checkpoint_digest(entry.path), teacher.to_rows(), 2, KEEP, SALT])
    started, made = time.perf_counter(), 0
    for start in range(0, count, SHARD):
        numbers = range(start, start + SHARD)
        captions = [training_prompt(number)[1] for number in numbers]

        def paths(numbers: range = numbers, captions: list[str] = captions) -> torch.Tensor:
            noise = family.noise([SALT * 2**32 + number for number in numbers])
            return play(family, teacher, captions, noise, KEEP, order=2)

        made += SHARD * make_shard(folder / f"{start:06d}.safetensors", key, captions, paths)
        if made:
            rate = made / (time.perf_counter() - started)
            print(
                f"{entry.name}: {start + SHARD} of {count} paths, {rate:.2f}/s, {rate * teacher.nfe:.0f} evaluations/s",
                flush=True,
            )


def recipe_for(family: str, steps: int) -> Recipe:
    """How the student of ``steps`` steps is trained."""
    return Recipe(
        name=f"distilled-{steps}",
        family=family,
        schedule=Uniform(kind="uniform", steps=steps),
        experts="single",
        rank=20,
        alpha=20,
        targets=TARGETS[family],
        steps=240,
        batch=64,
        learning_rate=1.5e-3,
        rate_schedule="cosine",
        warmup=20,
        optimizer="adamw",
        weight_decay=0.0,
        base_weights="float32",
        precision="bfloat16",
    )


def train(
    entry: ModelEntry, recipe: Recipe, samples: Path, count: int, folder: Path, *, compiled: bool = True
) -> None:
    """One student from the first ``count`` teacher paths below ``samples``: its adapter and record into ``folder``.

    Compiled blocks take a minute to make and are twice as fast.
    """
    folder.mkdir(parents=True, exist_ok=True)
    family = FAMILIES.get(entry.family).load(entry.path)
    student = load_card(recipe.name).compile(family.geometry())
    grid = recipe.schedule.levels(family.geometry())[1]
    paths = read_shards(samples, count, [LEVELS.index(index) for index in (*grid, TEACHER_STEPS)])
    embeds = family.encode(paths.captions)
    longest = max(len(embed["prompt_embeds"]) for embed in embeds)
    base = {
        "model": checkpoint_digest(entry.path),
        "recipe": recipe.model_dump(mode="json", exclude={"title"}),
        "samples": len(paths),
        "teacher": paths.key,
    }
    state, key = folder / ".all.state", digest_of(base)
    torch.manual_seed(recipe.seed)  # for the initial weights
    transformer = family.pipe.transformer
    trainable = add_lora(transformer, recipe)
    if compiled:
        transformer.compile_repeated_blocks(fullgraph=True, dynamic=False)
    print(f"{entry.name} {recipe.name}: {len(paths)} paths, {trainable:,} parameters", flush=True)
    AcceleratorState._reset_state(reset_partial_state=True)
    trained = distil(
        transformer,
        family.velocity,
        paths.latents,
        lambda picks: padded(
            family.inputs([embeds[pick] for pick in picks], student.steps[0].guidance), longest
        ),
        student,
        TOKENS,
        recipe,
        state,
        key,
        Accelerator(mixed_precision="bf16", cpu=True),
        on_step=Log(entry.name, recipe),
        clock=time.process_time,  # the machine may be shared
    )
    for parameter in transformer.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.half()
    file = adapter_file(folder, "all")
    save_lora(transformer, family.pipeline_class, file)
    teacher = short_teacher().compile(family.geometry())
    expert = {
        **base,
        "key": key,
        "file": file.name,
        "sha256": sha256_file(file),
        "trainable_parameters": trainable,
        "sources": [],  # their captions are `training_prompt`'s
        "losses": [round(loss, 4) for loss in trained.losses],
        "seconds": trained.seconds,
        "teacher_evaluations": len(paths) * teacher.nfe,
        "teacher_seconds": paths.seconds,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "environment": {"hardware": hardware_key("cpu"), "versions": made_with()["versions"]},
    }
    write_json(folder / RECORD, {"schema": "glance-bench/training/1", "experts": {"all": expert}})
    state.unlink(missing_ok=True)


def padded(inputs: dict[str, torch.Tensor], length: int) -> dict[str, torch.Tensor]:
    """Text of one length for every batch, where a mask tells what is padding: a new shape is compiled anew."""
    for name in ("encoder_hidden_states", "encoder_hidden_states_mask"):
        if name in inputs:
            text = inputs[name]
            inputs[name] = torch.cat(
                [text, text.new_zeros(len(text), length - text.shape[1], *text.shape[2:])], 1
            )
    return inputs


def check(entry: ModelEntry, samples: Path, count: int = 24) -> None:
    """Print how far some paths end from where teacher-50 ends in the pipeline's float32, and how far uniform-8 does."""
    family = FAMILIES.get(entry.family).load(entry.path)
    paths = read_shards(samples, count, [0, len(LEVELS) - 1])
    noise = family.noise([SALT * 2**32 + number for number in range(count)])

    def end(sampler: str) -> torch.Tensor:
        steps = load_card(sampler).compile(family.geometry())
        return play(family, steps, paths.captions, noise, [len(steps)], precision=torch.float32)[:, 0]

    teacher = end("teacher-50")
    for name, latents in (("paths", paths.latents[:, 1].float()), ("uniform-8", end("uniform-8"))):
        distance = float((latents - teacher).norm() / teacher.norm())
        print(f"{entry.name} {name}: {distance:.3f} of teacher-50's norm away from it, {count} captions")


class Log:
    """Prints the mean loss of every EVERY steps."""

    def __init__(self, model: str, recipe: Recipe) -> None:
        self.name, self.steps = f"{model} {recipe.name}", recipe.steps
        self.recent: list[float] = []
        self.started = time.perf_counter()

    def __call__(self, step: int, loss: float) -> None:
        self.recent.append(loss)
        if step % EVERY == 0 or step == self.steps:
            passed = time.perf_counter() - self.started
            mean = np.mean(self.recent)
            print(f"[{passed:6.0f} s] {self.name}: step {step}/{self.steps}  loss {mean:.4f}", flush=True)
            self.recent.clear()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m glance_bench.testbed.distill", description=__doc__)
    parser.add_argument("what", choices=("samples", "train", "check"))
    parser.add_argument("--model", required=True, choices=("testbed-flux", "testbed-qwen"))
    parser.add_argument(
        "--steps", type=int, default=8, choices=(4, 8), help="of the student (default: %(default)s)"
    )
    parser.add_argument("--samples", type=int, default=10240, help="teacher paths (default: %(default)s)")
    parser.add_argument(
        "--work", type=Path, default=work_folder() / "distill", help="the paths (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="adapter folders (default: those of the package)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    entry = MODELS.get(options.model)
    samples = options.work / entry.name
    if options.what == "samples":
        make_samples(entry, samples, options.samples)
    elif options.what == "check":
        check(entry, samples)
    else:
        recipe = recipe_for(entry.family, options.steps)
        train(entry, recipe, samples, options.samples, (options.out or entry.adapters) / recipe.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
