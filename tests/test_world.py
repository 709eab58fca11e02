"""The testbed's world: scenes, captions, renders, and the truth checker against them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from glance_bench.prompts.testbed import load, load_balanced
from glance_bench.testbed.scenes import (
    KINDS,
    SEEN_WORDS,
    UNSEEN_WORDS,
    Scene,
    Thing,
    caption,
    captions,
    is_held_out,
    sample_scene,
)
from glance_bench.testbed.truth import check, find_background, find_objects
from glance_bench.testbed.world import render


def scenes(count: int, split: str = "heldout", seed: int = 0) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, KINDS[index % len(KINDS)], split) for index in range(count)]


def share(verdicts: list[dict[str, bool]]) -> float:
    return float(np.mean([np.mean(list(verdict.values())) for verdict in verdicts]))


def test_truth_holds_on_clean_renders():
    rng = np.random.default_rng(1)
    verdicts = [check(scene, render(scene, rng)) for scene in scenes(600)]
    assert share(verdicts) >= 0.99
    for attribute in {key for verdict in verdicts for key in verdict}:
        assert np.mean([verdict[attribute] for verdict in verdicts if attribute in verdict]) >= 0.97, (
            attribute
        )


def test_truth_is_at_chance_on_shuffled_pairs():
    """Pictures of other scenes of the same kind: each attribute holds about as often as two draws agree."""
    rng = np.random.default_rng(2)
    drawn = scenes(900, "train")
    images = [render(scene, rng) for scene in drawn]
    shuffled = [check(scene, images[(index + 6 * 31) % 900]) for index, scene in enumerate(drawn)]
    chance = {
        "background": 1 / 9,
        "colour": 1 / 6,
        "shape": 1 / 5,
        "size": 1 / 2,
        "count": 1 / 60,
        "paper": 1 / 3,
    }
    for attribute, expected in chance.items():
        seen = [verdict[attribute] for verdict in shuffled if attribute in verdict]
        assert abs(np.mean(seen) - expected) < 0.12, attribute


def test_wrong_attributes_are_named():
    rng = np.random.default_rng(3)
    drawn = Scene("object", "mint", (Thing("red", "circle", "large"),))
    image = render(drawn, rng)
    asked = Scene("object", "rose", (Thing("blue", "circle", "small"),))
    assert check(asked, image) == {"background": False, "colour": False, "shape": True, "size": False}
    pair = Scene("pair", "grey", (Thing("red", "ring", "small"), Thing("blue", "cross", "large")), "left of")
    mirrored = Scene("pair", "grey", pair.things, "right of")
    wrong = check(mirrored, render(pair, rng))
    assert [key for key, holds in wrong.items() if not holds] == ["relation"]


@pytest.mark.parametrize("fill", [0, 255, 128])
def test_blank_images_show_no_objects(fill):
    image = np.full((64, 64, 3), fill, np.uint8)
    assert find_objects(image) == []
    verdict = check(Scene("count", "sea", (Thing("green", "ring"),), count=3), image)
    assert not (verdict["colour"] or verdict["shape"] or verdict["count"])


def test_noise_does_not_pass_for_a_scene():
    rng = np.random.default_rng(4)
    noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert share([check(scene, noise) for scene in scenes(60) if scene.things]) < 0.5


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="64x64"):
        check(scenes(1)[0], np.zeros((128, 128, 3), np.uint8))


def test_background_is_found_behind_objects():
    rng = np.random.default_rng(5)
    drawn = [scene for scene in scenes(300) if scene.kind == "pair"]
    assert np.mean([find_background(render(scene, rng)) == scene.background for scene in drawn]) >= 0.99


def test_render_is_a_function_of_scene_and_generator():
    for scene in scenes(12):
        first, again, other = (render(scene, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert first.dtype == np.uint8 and first.shape == (64, 64, 3)
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


def test_splits_share_no_combination():
    assert not any(is_held_out(scene) for scene in scenes(600, "train"))
    assert all(is_held_out(scene) for scene in scenes(600, "heldout"))
    words = {word for scene in scenes(900, "train") for word in scene.words}
    assert words <= set(SEEN_WORDS) and not words & set(UNSEEN_WORDS)
    with pytest.raises(ValueError, match="unknown split"):
        sample_scene(np.random.default_rng(0), "object", "test")
    with pytest.raises(ValueError, match="unknown kind"):
        sample_scene(np.random.default_rng(0), "portrait")


def test_captions_say_every_attribute():
    rng = np.random.default_rng(6)
    for scene in scenes(120):
        for text in captions(scene):
            assert all(thing.phrase() in text for thing in scene.things)
            assert all(f'"{word}"' in text for word in scene.words)
            assert scene.background in text and scene.relation in text
        assert caption(scene, rng) in captions(scene)


def test_scenes_survive_json():
    for scene in scenes(60):
        assert Scene.from_json(json.loads(json.dumps(scene.to_json()))) == scene


def test_the_balanced_prompts_are_the_same_ones_half_of_them_with_text():
    every, balanced = {prompt.id: prompt for prompt in load().prompts}, load_balanced()
    assert len({prompt.id for prompt in balanced.prompts}) == 600
    assert all(prompt == every[prompt.id] for prompt in balanced.prompts)
    assert [bool(prompt.wanted_text) for prompt in balanced.prompts] == [False, True] * 300
    assert load_balanced(200).prompts == balanced.prompts[:200]


def test_prompt_set_is_nested_unique_and_held_out():
    small, large = load(48), load(None)
    assert large.prompts[:48] == small.prompts and len(large.prompts) == 900
    assert (
        len({prompt.id for prompt in large.prompts}) == len({prompt.text for prompt in large.prompts}) == 900
    )
    assert small.revision != large.revision and load(48).revision == small.revision
    assert sum(bool(prompt.wanted_text) for prompt in small.prompts) == 16
    for prompt in large.prompts:
        scene = Scene.from_json(prompt.meta["scene"])
        assert is_held_out(scene) or set(scene.words) & set(UNSEEN_WORDS)
        assert prompt.wanted_text == scene.words and prompt.text in captions(scene)
