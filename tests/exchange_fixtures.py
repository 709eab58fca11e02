"""Runs whose prompts have the shape of each benchmark's, with words of our own."""

from pathlib import Path

from glance_bench.prompts import Prompt
from glance_bench.store import Run
from tests.fake_run import make_run

TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")


def geneval_prompts(count: int = 6) -> list[Prompt]:
    """One prompt of each task in turn, with the metadata object that GenEval keeps a line each."""
    made = []
    for i in range(count):
        tag = TASKS[i % len(TASKS)]
        meta = {
            "tag": tag,
            "include": [{"class": f"thing {i}", "count": 1}],
            "prompt": f"a photo of thing {i}",
        }
        made.append(Prompt(f"{i:05d}", meta["prompt"], tag, meta=meta))
    return made


def dpg_prompts() -> list[Prompt]:
    return [Prompt(name, f"A long text about {name}.", "") for name in ("12", "whoops3", "räum_4")]


def oneig_prompts() -> list[Prompt]:
    wanted = {"text/000": ("Open 24/7", "COVID-19 test"), "text/001": ("Hi",)}
    ids = ("anime/000", "anime/001", "object/000", "text/000", "text/001", "reasoning/004")
    return [
        Prompt(i, f"a picture for {i}", i.split("/")[0], wanted.get(i, ()), {"set": i.split("/")[0]})
        for i in ids
    ]


def longtext_prompts() -> list[Prompt]:
    meta = {"length": "short", "text_length": 2, "language": "en"}
    return [
        Prompt(f"{i:04d}", f"a sign that says {i}", "sign", ("Fresh bread", "daily!"), meta)
        for i in (0, 3, 199)
    ]


def hpsv2_prompts() -> list[Prompt]:
    ids = ("anime/00000", "anime/00001", "concept-art/00000", "photo/00799")
    return [Prompt(i, f"style of {i}", i.split("/")[0]) for i in ids]


def compbench_prompts() -> list[Prompt]:
    ids = {
        "color/000000": "a red door",
        "color/000001": "a blue gate.",
        "non_spatial/000000": "two people talk",
    }
    return [Prompt(i, text, i.split("/")[0]) for i, text in ids.items()]


def plain_run(folder: Path, prompts: list[Prompt], *, images: int = 4, **options: object) -> Run:
    """One model, two samplers, no scores."""
    chosen = {"models": ["testbed-flux"], "samplers": ["teacher-50", "uniform-4"], "metrics": (), **options}
    return make_run(folder, prompts, images_per_prompt=images, **chosen)
