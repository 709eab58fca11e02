"""A scored run made without a model: clean renders of the testbed's world, spoilt by the faster samplers."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from glance_bench import results
from glance_bench.metrics.base import FROM_FEATURES, Column, Images, Row
from glance_bench.metrics.frechet import Frechet, Moments
from glance_bench.metrics.health import Health
from glance_bench.metrics.ocr import Ocr
from glance_bench.metrics.truth import Truth
from glance_bench.prompts import Prompt
from glance_bench.samples import write_tables
from glance_bench.sealed import parquet_bytes, seal
from glance_bench.store import Run
from glance_bench.testbed.scenes import KINDS, caption, sample_scene
from glance_bench.testbed.world import render
from glance_bench.units import UnitInfo, read_unit

SAMPLERS = {  # how much each one spoils, 0 to 1
    "teacher-50": 0.0,
    "native-10": 0.3,
    "uniform-10": 0.32,
    "uniform-8": 0.45,
    "uniform-4": 0.9,
    "slowfast-10-base": 0.15,
}
MODELS = ("testbed-flux", "testbed-qwen")
HARDWARE = "cpu-2cores-0123abcd"
TIMING_COLUMNS = {
    **dict.fromkeys(["model", "sampler", "session", "hardware", "prompt_id", "component"], "string"),
    **dict.fromkeys(["repeat", "batch_size", "evaluations"], "int64"),
    "seconds": "float64",
}


class FakeClip:
    """Stands for a CLIP model: the cosine falls with what a sampler spoilt."""

    name, kind, notes = "clip[fake]", "sample", ()
    recipe = "clip[fake]: contrast"
    columns = (
        Column("clip[fake]", "CLIP", "higher", "stands for a cosine"),
        Column("clip_truncated[fake]", "CLIP cut", "lower", "stands for a flag", headline=False),
    )

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Row]:
        values = [0.2 + float(image.std()) / 1000 for image in images]
        cut = [float(len(prompt.text) > 500) for prompt in prompts]
        return [{"clip[fake]": v, "clip_truncated[fake]": c} for v, c in zip(values, cut, strict=True)]


class FakeFrechet(Frechet):
    """The Frechet distance on six moments of the pixels."""

    name, extractor, recipe = "fd[fake]", "fake: pixel moments", "fd[fake]: pixel moments; renders"
    columns = (Column("fd[fake]", "FD", "lower", "stands for a Frechet distance"),)

    def __init__(self) -> None:
        pass

    def features(self, images: Images) -> np.ndarray:
        flat = images.reshape(len(images), -1, 3).astype(np.float32) / 255
        return np.concatenate([flat.mean(1), flat.std(1)], axis=1)

    def reference(self, cache: Path) -> Moments:
        rng = np.random.default_rng(0)
        scenes = [render(sample_scene(rng, KINDS[i % len(KINDS)]), rng) for i in range(120)]
        return Moments.of(self.features(np.stack(scenes)))


def fake_read(images: Images) -> list[list[str]]:
    """Stands for the OCR: what it reads depends on how noisy the image is."""
    noisy = [float(np.abs(np.diff(image.astype(float), axis=0)).mean()) for image in images]
    return [["OPEN"] if noise < 30 else ["0PEM", "x"] for noise in noisy]


METRICS = (Truth(), Ocr(read=fake_read), FakeClip(), FakeFrechet(), Health())


def prompts_of(count: int) -> list[Prompt]:
    """Captions of seeded scenes, every third with the word OPEN."""
    made = []
    for i in range(count):
        rng = np.random.default_rng([7, i])
        kind = "sign" if i % 3 == 2 else ("object", "pair", "count")[i // 3 % 3]
        scene = sample_scene(rng, kind, words=("OPEN",))
        made.append(Prompt(f"p{i:03d}", caption(scene, rng), kind, scene.words, {"scene": scene.to_json()}))
    return made


def spoil(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Noise, and with probability ``strength / 2`` swapped colour channels."""
    shown = image[..., [2, 0, 1]] if rng.random() < strength / 2 else image
    noisy = shown + rng.normal(0, 40 * strength, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def make_run(
    folder: Path,
    prompts: Sequence[Prompt] | None = None,
    *,
    models: Sequence[str] = MODELS,
    samplers: Sequence[str] = tuple(SAMPLERS),
    black: Sequence[tuple[str, str]] = (),
    metrics: Sequence[object] = METRICS,
    images_per_prompt: int = 1,
) -> Run:
    """Write a run folder as the passes would. ``black`` lists (sampler, prompt id) whose images are black."""
    prompts = prompts_of(12) if prompts is None else list(prompts)
    run = Run(folder)
    units, timed = [], []
    for model in models:
        for sampler in samplers:
            tag = hashlib.sha256(f"{model} {sampler}".encode()).hexdigest()[:12]
            place = f"units/{model}/{sampler}-{tag}/testbed/00000-{tag}"
            unit = UnitInfo(model, sampler, "testbed", 0, tag, place)
            units.append(unit)
            _publish(run, unit, prompts, black, images_per_prompt)
            timed.append({"folder": f"timing/{model}", "key": f"{sampler}-{tag}"})
            _time(run, timed[-1], model, sampler)
    folders = {
        m.name: f"{'features' if m.kind in FROM_FEATURES else 'scores'}/{m.name}-00000000" for m in metrics
    }
    run.write("suite.json", {"name": "fake", "title": "A made-up suite", "profile": None, "seed": 0})
    sets = [{**vars(p), "wanted_text": list(p.wanted_text), "meta": dict(p.meta)} for p in prompts]
    run.write("prompts.json", {"sets": [{"name": "testbed", "revision": "r1", "prompts": sets}]})
    run.write("env.json", {"glance_bench": "0", "hardware": HARDWARE})
    run.write(
        "manifest.json",
        {
            "name": "fake",
            "units": [vars(unit) for unit in units],
            "samplers": [_facts(model, sampler) for model in models for sampler in samplers],
            "metrics": [
                {"name": m.name, "recipe": m.recipe, "kind": m.kind, "folder": folders[m.name]}
                for m in metrics
                if m.kind != "unit"
            ],
            "timing": timed,
        },
    )
    for unit in units:
        for metric in metrics:
            if metric.kind != "unit":
                _score(run, unit, prompts * images_per_prompt, metric, folders[metric.name])
    return run


def finish(run: Run, metrics: Sequence[object] = METRICS) -> dict[str, object]:
    """The results of a made run and the tables beside them, written as the report pass does."""
    built = results.build(run, metrics, write_tables(run, metrics))
    run.write("results.json", built)
    return built


def _facts(model: str, sampler: str) -> dict[str, object]:
    steps = int(next(part for part in sampler.split("-") if part.isdigit()))
    passes = 2 if model == "testbed-qwen" else 1
    return {
        "model": model,
        "sampler": sampler,
        "title": sampler.capitalize(),
        "nfe": steps * passes,
        "steps": steps,
        "speedup": 50 / steps,
        "teacher": sampler == "teacher-50",
    }


def _publish(
    run: Run, unit: UnitInfo, prompts: Sequence[Prompt], black: Sequence[tuple[str, str]], count: int
) -> None:
    images, rows = [], []
    for number in range(count * len(prompts)):
        index, i = divmod(number, len(prompts))
        prompt = prompts[i]
        rng = np.random.default_rng([11, i, index] if index else [11, i])
        scene = sample_scene(rng, "object")
        if "scene" in prompt.meta:
            scene = type(scene).from_json(prompt.meta["scene"])
        pixels = spoil(render(scene, rng), SAMPLERS.get(unit.sampler, 0.5), rng)
        dark = (unit.sampler, prompt.id) in black
        buffer = io.BytesIO()
        Image.fromarray(pixels * (not dark)).save(buffer, "PNG")
        images.append(buffer.getvalue())
        rows.append(
            {
                **{"model": unit.model, "sampler": unit.sampler, "prompt_set": "testbed"},
                **{"prompt_id": prompt.id, "index": index, "seed": 1000 + number, "width": 64, "height": 64},
                **{"finite": True, "black": dark, "truncated": False, "batch_size": 8},
                **{"evaluations": _facts(unit.model, unit.sampler)["nfe"]},
            }
        )
    run.publish_unit(unit, images, rows, [prompt.text for prompt in prompts] * count, {})


def _time(run: Run, entry: dict[str, str], model: str, sampler: str) -> None:
    steps = int(_facts(model, sampler)["nfe"])
    rows = [
        {
            **{"model": model, "sampler": sampler, "session": "s1", "hardware": HARDWARE},
            **{"prompt_id": "p000", "repeat": repeat, "batch_size": 1, "evaluations": steps},
            **{"component": name, "seconds": seconds * (1 + 0.02 * repeat)},
        }
        for repeat in range(3)
        for name, seconds in {
            "encode": 0.01,
            "denoise": 0.02 * steps,
            "decode": 0.03,
            "total": 0.04 + 0.02 * steps,
        }.items()
    ]
    seal(run.folder / entry["folder"], entry["key"], "parquet", parquet_bytes(rows, TIMING_COLUMNS))


def _score(run: Run, unit: UnitInfo, prompts: Sequence[Prompt], metric: object, folder: str) -> None:
    document = read_unit(run.folder / unit.folder)
    shas = [image["sha256"] for image in document["images"]]
    pictures = np.stack(
        [np.asarray(Image.open(run.folder / unit.folder / image["file"])) for image in document["images"]]
    )
    if metric.kind in FROM_FEATURES:
        buffer = io.BytesIO()
        np.savez(buffer, image_sha256=np.array(shas), features=metric.features(pictures))
        seal(run.folder / folder, run.score_key(document), "npz", buffer.getvalue())
        return
    columns = {"image_sha256": "string", "prompt_id": "string"}
    columns |= {column.name: "float64" for column in metric.columns} | dict.fromkeys(metric.notes, "string")
    rows = [
        {"image_sha256": sha, "prompt_id": prompt.id, **row}
        for sha, prompt, row in zip(shas, prompts, metric.score(pictures, prompts), strict=True)
    ]
    seal(run.folder / folder, run.score_key(document), "parquet", parquet_bytes(rows, columns))
