"""Training-free caches on the testbed's models: what they leave out is counted, and nothing of them is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from glance_bench.errors import GlanceBenchError
from glance_bench.models.caches import Work
from glance_bench.models.recorder import Recorder
from glance_bench.registry import FAMILIES, MODELS
from glance_bench.samplers.cards import load_card
from glance_bench.samplers.lora_files import trained_adapters
from glance_bench.samplers.options import DBCache, FirstBlock, MagCache, TaylorSeer
from glance_bench.trajectory import Phase, Trajectory

PROMPTS = ["a red ring on a grey gradient", "two blue squares left of a green disc"]
STEPS = 8
RATIOS = {"flux": [1.0, 0.9], "qwen_image": [1.0, 0.9]}
FIRST = FirstBlock(kind="first-block", threshold=0.3)
TAYLOR = TaylorSeer(kind="taylorseer", interval=3, first=2)  # full are steps 0, 1, 3, 6
CACHES = {
    "first-block": FIRST,
    "taylorseer": TAYLOR,
    "taylorseer-lite": TAYLOR.model_copy(update={"lite": True}),
    "magcache": MagCache(kind="magcache", ratios=RATIOS, threshold=0.25, skips=2),
    "dbcache": DBCache(kind="dbcache", front=1, threshold=0.3, warmup=3),
}


class Counts(Recorder):
    """The evaluations of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.after: list[float] = []

    def on_step(self, index: int, latents: Any) -> None:
        self.after.append(self.evaluations)

    @property
    def steps(self) -> list[float]:
        return list(np.diff([0.0, *self.after]).round(6))


class Bed:
    """A testbed model with encoded prompts, noise, and what it draws without a cache."""

    def __init__(self, name: str) -> None:
        entry = MODELS.get(name)
        self.model = FAMILIES.get(entry.family).load(entry.path)
        self.shape = replace(self.model.geometry(), adapters=trained_adapters(entry.adapters))
        self.passes = 2 if self.shape.cfg else 1
        self.blocks = sum(len(part) for part in self.model.pipe.transformer.children() if _many(part))
        self.embeds, self.noise = self.model.encode(PROMPTS), self.model.noise([1, 2])
        self.plain = load_card("uniform-8").compile(self.shape)
        self.glance = load_card("glance-8").compile(self.shape)
        self.drawn = self.draw(self.plain)[0]

    def draw(self, plan: Trajectory, images: int = 1) -> tuple[np.ndarray, Counts]:
        watch = Counts()
        return self.model.sample(plan, self.embeds[:images], self.noise[:images], watch), watch


def _many(part: torch.nn.Module) -> bool:
    return isinstance(part, torch.nn.ModuleList)


@pytest.fixture(scope="module", params=["testbed-flux", "testbed-qwen"])
def bed(request: pytest.FixtureRequest) -> Bed:
    return Bed(request.param)


@pytest.fixture
def unchanged(bed: Bed) -> Iterator[None]:
    """After the test the same model draws without a cache what it drew before, bit for bit."""
    yield
    assert np.array_equal(bed.draw(bed.plain)[0], bed.drawn)
    assert not bed.model.pipe.transformer.is_cache_enabled


def needs(kind: str) -> None:
    if kind == "dbcache":
        pytest.importorskip("cache_dit")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("kind", CACHES)
def test_a_cache_saves_and_can_be_repeated(bed: Bed, kind: str) -> None:
    needs(kind)
    plan = replace(bed.plain, cache=CACHES[kind])
    images, watch = bed.draw(plan)
    again, counted = bed.draw(plan)
    assert np.array_equal(images, again) and counted.steps == watch.steps
    assert not np.array_equal(images, bed.drawn)
    assert watch.evaluations < plan.nfe == STEPS * bed.passes
    assert watch.steps[0] == bed.passes and max(watch.steps) == bed.passes


def test_what_each_cache_leaves_out(bed: Bed) -> None:
    """By the caches' own rules: the first block alone, no block, or the blocks without their attention."""
    one = 1 / bed.blocks
    first = set(bed.draw(replace(bed.plain, cache=FIRST))[1].steps)
    either = {1, one} if bed.passes == 1 else {2, 1 + one, 2 * one}  # each pass decides for itself
    assert first <= {round(share, 6) for share in either} and min(first) < bed.passes
    lite = bed.draw(replace(bed.plain, cache=CACHES["taylorseer-lite"]))[1].steps
    assert [step > 0 for step in lite] == [True, True, False, True, False, False, True, False]
    partly = bed.draw(replace(bed.plain, cache=TAYLOR))[1].steps
    assert [step == bed.passes for step in partly] == [step > 0 for step in lite]
    assert 0.5 < min(partly) / bed.passes < 0.9
    mag = bed.draw(replace(bed.plain, cache=CACHES["magcache"]))[1].steps
    assert set(mag) == {0.0, bed.passes} and mag[:2] == [bed.passes] * 2  # the first fifth is retained


@pytest.mark.parametrize("kind", CACHES)
def test_another_adapter_starts_with_a_fresh_cache(bed: Bed, kind: str) -> None:
    """What the slow expert computed is not reused by the fast one: its first step is evaluated in full."""
    needs(kind)
    plan = replace(bed.glance, cache=CACHES[kind])
    assert [phase.start for phase in plan.phases] == [0, 3]
    steps = bed.draw(plan)[1].steps
    assert steps[0] == steps[3] == bed.passes
    if kind.startswith("taylorseer"):  # whose steps are counted from the switch: 0, 1, 3 of the rest
        assert [step == bed.passes for step in steps] == [1, 1, 0, 1, 1, 0, 1, 0]


def test_another_guidance_starts_with_a_fresh_cache(bed: Bed) -> None:
    """There the pipeline is called again."""
    first, rest = bed.plain.steps[:4], bed.plain.steps[4:]
    steps = (*first, *(replace(step, guidance=1.0, passes=1) for step in rest))
    watch = bed.draw(Trajectory(steps, cache=CACHES["taylorseer-lite"]))[1]
    assert watch.steps[4:7] == [1.0, 1.0, 0.0]


@pytest.mark.usefixtures("unchanged")
def test_a_failure_leaves_no_cache_behind(bed: Bed, tmp_path: Path) -> None:
    missing = replace(bed.plain.steps[0], adapter=str(tmp_path / "none.safetensors"))
    plan = Trajectory((*bed.plain.steps[:3], replace(missing, phase="b"), *bed.plain.steps[4:]), cache=FIRST)
    assert plan.phases[1] == Phase("b", 3, 4, missing.adapter)
    with pytest.raises(GlanceBenchError, match="is missing"):
        bed.draw(plan)


def test_the_whole_transformer_counts_one(bed: Bed) -> None:
    """With adapters in it too, whose layers are no work of the blocks' own."""
    transformer = bed.model.pipe.transformer
    work = Work(transformer)
    bed.draw(Trajectory(bed.glance.steps[3:5]), images=2)
    assert work.taken() == pytest.approx(2 * bed.passes) and work.taken() == 0
    work.close()
    bed.draw(Trajectory(bed.plain.steps[:1]))
    assert work.taken() == 0


def test_a_missing_package_is_told(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cache_dit", None)
    with pytest.raises(
        GlanceBenchError, match=r"needs the package cache-dit.*pip install glance-bench\[cache\]"
    ):
        bed.draw(replace(bed.plain, cache=CACHES["dbcache"]))
