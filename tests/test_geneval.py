"""GenEval: its rules on cases worked out by hand, colours and detector on real classes at random."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from glance_bench.errors import GlanceBenchError, MissingData, UsageError
from glance_bench.metrics.base import TotalledMetric
from glance_bench.metrics.colours import ClipColours, crop
from glance_bench.metrics.detectors import CLASSES, Detections, Found, Mask2Former
from glance_bench.metrics.geneval import Geneval, WithDetector, geneval
from glance_bench.metrics.geneval_rules import COLOURS, TASKS, kept, relations, unmet
from glance_bench.metrics.openclip import OpenClip
from glance_bench.prompts import Prompt

SHARED = Path(os.environ.get("GLANCE_BENCH_SHARED", Path(__file__).parents[2] / "shared"))
GENEVAL = SHARED / "data" / "geneval"


def box(left: float, top: float, right: float, bottom: float, score: float = 0.95) -> Found:
    return Found((left, top, right, bottom), score)


def no_colours(objects: Sequence[Found], name: str) -> list[str]:
    raise AssertionError("no clause asks for a colour")


def faults(metadata: Mapping[str, Any], objects: Detections, colours: Any = no_colours) -> list[str]:
    return unmet(metadata, objects, colours)


# what is kept


def test_thresholds_are_strict_and_higher_for_counting() -> None:
    found = {"dog": [box(0, 0, 1, 1, s) for s in (0.3, 0.31, 0.9, 0.91)], "cat": [box(0, 0, 1, 1, 0.3)]}
    assert [one.score for one in kept(found, "two_object")["dog"]] == [0.91, 0.9, 0.31]
    assert [one.score for one in kept(found, "counting")["dog"]] == [0.91]
    assert "cat" not in kept(found, "colors")


def test_at_most_sixteen_of_a_class_the_most_certain() -> None:
    scores = np.linspace(0.5, 0.9, 20)
    left = kept({"dog": [box(0, 0, 1, 1, s) for s in scores]}, "single_object")["dog"]
    assert [one.score for one in left] == sorted(scores, reverse=True)[:16]


# positions


def test_one_relation() -> None:
    left, right = box(0, 0, 10, 10), box(50, 0, 60, 10)
    assert relations(left, right) == {"left of"} and relations(right, left) == {"right of"}
    high, low = box(0, 0, 10, 10), box(0, 50, 10, 60)
    assert relations(high, low) == {"above"} and relations(low, high) == {"below"}


def test_two_relations_at_once() -> None:
    # centres 100 apart on both axes: (100 - 0.1 * 20) / 141.4 = 0.693 > 0.5 on both
    assert relations(box(0, 0, 10, 10), box(100, 100, 110, 110)) == {"left of", "above"}


def test_the_distance_is_shrunk_but_the_length_is_not() -> None:
    # centres 30 apart, sizes 40 and 40: 30 - 0.1 * 80 = 22, over 30 = 0.73
    assert relations(box(0, 0, 40, 40), box(30, 0, 70, 40)) == {"left of"}
    # 12 apart: 12 - 8 = 4, over 12 = 0.33
    assert relations(box(0, 0, 40, 40), box(12, 0, 52, 40)) == set()
    # 16 apart: 16 - 8 = 8, over 16 = 0.5, which is not beyond 0.5
    assert relations(box(0, 0, 40, 40), box(16, 0, 56, 40)) == set()
    assert relations(box(0, 0, 40, 40), box(16.1, 0, 56.1, 40)) == {"left of"}
    # 8 apart: nothing is left; the same place: no direction at all
    assert (
        relations(box(0, 0, 40, 40), box(8, 0, 48, 40))
        == relations(box(0, 0, 4, 4), box(0, 0, 4, 4))
        == set()
    )


def test_a_slanted_pair_has_the_steeper_relation_only() -> None:
    # offset (60, 20), sizes 10: (58, 18) over 63.2 = 0.92 and 0.28
    assert relations(box(60, 20, 70, 30), box(0, 0, 10, 10)) == {"right of"}


# clauses


def test_an_include_clause_wants_its_count() -> None:
    two = {"include": [{"class": "dog", "count": 2}]}
    assert faults(two, {"dog": [box(0, 0, 1, 1)] * 2}) == faults(two, {"dog": [box(0, 0, 1, 1)] * 3}) == []
    assert faults(two, {"dog": [box(0, 0, 1, 1)]}) == ["dog: 1 of 2"]
    assert faults(two, {}) == ["dog: 0 of 2"]


def test_counting_is_exact_between_include_and_exclude() -> None:
    clocks = {
        "tag": "counting",
        "include": [{"class": "clock", "count": 2}],
        "exclude": [{"class": "clock", "count": 3}],
    }
    for n, correct in ((1, False), (2, True), (3, False), (4, False)):
        found = kept({"clock": [box(0, 0, 1, 1, 0.95)] * n + [box(0, 0, 1, 1, 0.5)]}, "counting")
        assert (faults(clocks, found) == []) is correct, n  # the uncertain one never counts


def test_colours_of_the_most_certain_boxes() -> None:
    red = {"include": [{"class": "cup", "count": 2, "color": "red"}]}
    asked = []

    def colours(objects: Sequence[Found], name: str) -> list[str]:
        asked.append((len(objects), name))
        return ["red" if one.score > 0.5 else "blue" for one in objects]

    sure, unsure = box(0, 0, 1, 1, 0.9), box(0, 0, 1, 1, 0.4)
    assert faults(red, {"cup": [sure, sure, unsure]}, colours) == []
    assert asked == [(2, "cup")]  # the third is not looked at
    assert faults(red, {"cup": [sure, unsure]}, colours) == ["cup: red, blue, not red"]
    assert faults(red, {"cup": [sure]}, colours) == ["cup: 1 of 2"] and len(asked) == 2


def test_a_position_wants_every_pair() -> None:
    rule = {
        "include": [{"class": "dog", "count": 2}, {"class": "cat", "count": 1, "position": ["right of", 0]}]
    }
    dogs = [box(0, 0, 10, 10), box(0, 40, 10, 50)]
    assert faults(rule, {"dog": dogs, "cat": [box(100, 20, 110, 30)]}) == []
    # right of the first dog, but below-ish of the second: (20, 80) is no "right of"
    assert faults(rule, {"dog": [dogs[0], box(80, -60, 90, -50)], "cat": [box(100, 20, 110, 30)]}) == [
        "cat: not right of"
    ]
    # only as many as asked for take part: the third dog, left of nothing, does not matter
    assert faults(rule, {"dog": [*dogs, box(300, 20, 310, 30)], "cat": [box(100, 20, 110, 30)]}) == []


def test_a_position_fails_with_its_target() -> None:
    rule = {"include": [{"class": "dog", "count": 1}, {"class": "cat", "count": 1, "position": ["above", 0]}]}
    assert faults(rule, {"cat": [box(0, 0, 1, 1)]}) == ["dog: 0 of 1", "cat: nothing to be above"]
    tinted = {
        "include": [
            {"class": "dog", "count": 1, "color": "red"},
            {"class": "cat", "count": 1, "color": "red", "position": ["above", 0]},
        ]
    }
    apart = {"dog": [box(0, 50, 10, 60)], "cat": [box(0, 0, 10, 10)]}
    assert faults(tinted, apart, lambda objects, name: ["red"]) == []
    assert faults(tinted, apart, lambda objects, name: ["red" if name == "cat" else "blue"]) == [
        "dog: blue, not red",
        "cat: nothing to be above",
    ]
    assert faults(tinted, {**apart, "cat": [box(0, 100, 10, 110)]}, lambda objects, name: ["red"]) == [
        "cat: not above"
    ]


@pytest.mark.parametrize(
    "metadata",
    [
        {"include": [{"class": "dog"}]},
        {"include": [{"count": 1}]},
        {"include": [{"class": "dog", "count": "two"}]},
        {"include": ["dog"]},
        {"include": [{"class": "dog", "count": 1, "position": ["above", 4]}]},
        {"include": [], "exclude": [{"class": "dog"}]},
    ],
)
def test_metadata_of_another_form_is_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(GlanceBenchError, match="not a line of GenEval's metadata"):
        faults(metadata, {"dog": [box(0, 0, 1, 1)]})


@pytest.mark.skipif(not GENEVAL.is_dir(), reason="the published metadata is not here")
def test_every_published_line_can_be_met_and_missed() -> None:
    lines = [json.loads(line) for line in (GENEVAL / "evaluation_metadata.jsonl").read_text().splitlines()]
    assert list(CLASSES) == (GENEVAL / "object_names.txt").read_text().split("\n")[:80]
    steps = {"left of": (-100, 0), "right of": (100, 0), "above": (0, -100), "below": (0, 100)}
    for line in lines:
        assert line["tag"] in TASKS
        objects: Detections = {}
        wanted = {}
        for clause in line["include"]:
            x, y = steps[clause["position"][0]] if "position" in clause else (0, 0)
            boxes = [box(x, y, x + 10, y + 10) for _ in range(clause["count"])]
            objects.setdefault(clause["class"], []).extend(boxes)
            wanted[clause["class"]] = clause.get("color")
        see = lambda group, name, wanted=wanted: [wanted[name]] * len(group)  # noqa: E731
        assert unmet(line, kept(objects, line["tag"]), see) == [], line
        assert unmet(line, {}, see) != []
        for clause in line.get("exclude", []):
            crowd = {clause["class"]: [box(0, 0, 10, 10)] * clause["count"]}
            assert unmet(line, crowd, see) != []


# scores


class Given:
    """A referee with the faults given by prompt text; None for no verdict."""

    name = "given"
    recipe = "given: 1"

    def __init__(self, faults: Mapping[str, Sequence[list[str] | None]]) -> None:
        self._left = {text: list(each) for text, each in faults.items()}

    def faults(self, image: Any, metadata: Any) -> list[str] | None:
        return self._left[metadata["prompt"]].pop(0)


def task_prompt(id: str, tag: str) -> Prompt:
    return Prompt(id, id, tag, (), {"tag": tag, "include": [{"class": "dog", "count": 1}], "prompt": id})


def frame_of(metric: Geneval, prompts: Sequence[Prompt]) -> pd.DataFrame:
    rows = metric.score(np.zeros((len(prompts), 4, 4, 3), np.uint8), prompts)
    columns = [column.name for column in metric.columns] + list(metric.notes)
    assert all(set(row) <= set(columns) for row in rows)
    assert all(isinstance(row[key], str) == (key in metric.notes) for row in rows for key in row)
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(prompt_id=[prompt.id for prompt in prompts], index=range(len(prompts)))


def totals_of(metric: Geneval, frame: pd.DataFrame) -> dict[str, float]:
    return {total.column.name: total.of(frame) for total in metric.totals}


def test_overall_is_the_mean_of_six_tasks_and_not_of_images() -> None:
    right: list[str] = []
    wrong = ["dog: 0 of 1"]
    verdicts = {
        "a": [right, right, right, wrong],  # single_object 3/4
        "b": [wrong, wrong],  # two_object: with c 1/4
        "c": [right, wrong],
        "d": [right],  # counting 1/1
        "e": [wrong],  # colors 0/1
        "f": [right, wrong],  # position 1/2
        "g": [right, None],  # color_attr 1/1, one image without a verdict
    }
    tags = dict(zip("abcdefg", [TASKS[0], TASKS[1], *TASKS[1:]], strict=True))
    prompts = [task_prompt(id, tags[id]) for id, each in verdicts.items() for _ in each]
    metric = Geneval(Given(verdicts))
    assert isinstance(metric, TotalledMetric)
    frame = frame_of(metric, prompts)
    totals = totals_of(metric, frame)
    tasks = [3 / 4, 1 / 4, 1, 0, 1 / 2, 1]
    assert [totals[f"geneval_{task}[given]"] for task in TASKS] == tasks
    assert totals["geneval[given]"] == pytest.approx(sum(tasks) / 6)
    assert totals["geneval_prompts[given]"] == pytest.approx(5 / 7)  # all but b and e
    assert frame["geneval_images[given]"].mean() == pytest.approx(7 / 13)  # the official "% correct images"
    assert frame["geneval_uncovered[given]"].tolist() == [0.0] * 13 + [1.0]
    assert frame["geneval_faults[given]"][3] == "dog: 0 of 1"
    few = frame[frame["prompt_id"] != "d"]
    assert math.isnan(totals_of(metric, few)["geneval[given]"])
    assert math.isnan(totals_of(metric, few)["geneval_counting[given]"])
    (headline,) = [total.column for total in metric.totals if total.column.headline]
    assert headline.name == metric.name == "geneval[given]"


def test_totals_without_any_verdict_are_nan() -> None:
    metric = Geneval(Given({"a": [None]}))
    frame = frame_of(metric, [task_prompt("a", "colors")])
    assert all(math.isnan(total) for total in totals_of(metric, frame).values())


def test_the_means_of_published_task_scores() -> None:
    """The README's rows for SDXL and IF-XL: six task scores and an overall score, both rounded."""
    for tasks, overall in (
        ([0.98, 0.74, 0.39, 0.85, 0.15, 0.23], 0.55),
        ([0.97, 0.74, 0.66, 0.81, 0.13, 0.35], 0.61),
    ):
        verdicts, prompts = {}, []
        for task, score in zip(TASKS, tasks, strict=True):
            verdicts[task] = [[] if i < round(100 * score) else ["no"] for i in range(100)]
            prompts += [task_prompt(task, task)] * 100
        metric = Geneval(Given(verdicts))
        assert totals_of(metric, frame_of(metric, prompts))["geneval[given]"] == pytest.approx(
            overall, abs=0.01
        )


def test_other_prompts_are_left_alone_and_broken_ones_named() -> None:
    metric = Geneval(Given({}))
    image = np.zeros((1, 4, 4, 3), np.uint8)
    assert metric.score(image, [Prompt("p", "free", "")]) == [{}]
    with pytest.raises(GlanceBenchError, match="prompt 00007: GenEval has no task 'color'"):
        metric.score(image, [task_prompt("00007", "color")])
    with pytest.raises(ValueError, match="1 images for 0 prompts"):
        metric.score(image, [])


# the official scorer's file


def test_verdicts_of_the_official_scorer(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    lines = []
    for i, correct in enumerate((True, False)):
        place = tmp_path / "00003" / "samples" / f"{i:04d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[i]).save(place)
        name = str(place) if i else f"00003/samples/{i:04d}.png"
        entry = {
            "filename": name,
            "tag": "colors",
            "prompt": "p",
            "correct": correct,
            "reason": "expected dog>=1",
        }
        lines.append(entry | {"metadata": "{}", "details": "{}"})
    file = tmp_path / "results.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    metric = geneval(f"import:{file}")
    assert metric.name == "geneval[import:results.jsonl]" and "sha256" in metric.recipe
    rows = metric.score(images, [task_prompt("p", "colors")] * 3)
    key = "geneval_images[import:results.jsonl]"
    assert [row.get(key) for row in rows] == [1.0, 0.0, None]
    assert [row["geneval_uncovered[import:results.jsonl]"] for row in rows] == [0.0, 0.0, 1.0]
    assert rows[1]["geneval_faults[import:results.jsonl]"] == "expected dog>=1"
    lines.append(lines[0] | {"correct": False})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(GlanceBenchError, match="line 3: a second, different verdict"):
        geneval(f"import:{file}").score(images, [task_prompt("p", "colors")] * 3)
    for text in ("{", "[]", '{"filename": "none.png", "correct": true, "prompt": "p"}', '{"correct": true}'):
        file.write_text(text)
        with pytest.raises(GlanceBenchError, match="line 1"):
            geneval(f"import:{file}").score(images[:1], [task_prompt("p", "colors")])


def test_sources() -> None:
    with pytest.raises(UsageError, match="mask2former-swin-small or import:FILE"):
        geneval("yolo")
    with pytest.raises(UsageError, match="cannot be read"):
        geneval("import:/none/results.jsonl")
    with pytest.raises(MissingData, match=r"waits for mask2former-swin-small \(276 MB\)"):
        geneval("mask2former-swin-small")
    code = (
        "import sys\nimport glance_bench.metrics.geneval\n"
        "assert not {'torch', 'transformers', 'open_clip'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# colours


class Painted:
    """A CLIP in which an image lies on the axis of its strongest channel, and a text on that of its colour."""

    image_recipe = "painted"
    name = "painted"

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []
        self.texts: list[str] = []

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        self.seen.append(images[0])
        return np.eye(3, dtype=np.float32)[images.reshape(len(images), -1, 3).mean(axis=1).argmax(axis=1)] * 7

    def encode_texts(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        self.texts += texts
        axes = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
        found = [next((axes[c] for c in axes if f" {c}" in text), (-1, -1, -1)) for text in texts]
        return np.array(found, np.float32), np.zeros(len(texts), bool)


def test_a_crop_is_grey_outside_its_mask() -> None:
    image = np.zeros((6, 8, 3), np.uint8)
    image[..., 0] = 200
    mask = np.zeros((6, 8), bool)
    mask[1:3, 2:4] = True
    seen = crop(image, Found((1.6, 1, 4.4, 3), 0.9, mask))
    assert seen.shape == (2, 2, 3) and (seen == (200, 0, 0)).all()  # 1.6 rounds to 2, 4.4 to 4
    wider = crop(image, Found((1, 0, 5, 4), 0.9, mask))
    by_hand = Image.composite(Image.fromarray(image), Image.new("RGB", (8, 6), "#999"), Image.fromarray(mask))
    assert np.array_equal(wider, np.asarray(by_hand.crop((1, 0, 5, 4))))
    assert (crop(image, Found((1, 0, 5, 4), 0.9)) == (200, 0, 0)).all()  # boxes alone: nothing is painted
    assert crop(image, Found((7.9, 5.9, 8, 6), 0.9)).shape == (1, 1, 3)


def test_colours_by_clip() -> None:
    clip = Painted()
    colours = ClipColours(clip)
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4, :, 0] = 255
    image[4:, :, 2] = 255
    objects = [Found((0, 0, 8, 4), 0.9), Found((0, 4, 8, 8), 0.8)]
    assert colours.of(image)(objects, "cup") == ["red", "blue"]
    assert colours.of(image)(objects[::-1], "cup") == ["blue", "red"]
    assert colours.of(image)([], "cup") == []
    assert len(clip.texts) == 30  # ten colours, three sentences, once
    assert clip.texts[:3] == [
        "a photo of a red cup",
        "a photo of a red-colored cup",
        "a photo of a red object",
    ]


def test_colours_on_a_real_clip_step_by_step(tmp_path: Path) -> None:
    import open_clip

    torch.manual_seed(0)
    vision = {"image_size": 16, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    model = open_clip.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text, quick_gelu=True).eval()
    from safetensors.torch import save_file

    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "open_clip_model.safetensors"
    )
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text, "quick_gelu": True}
    mean = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": mean}))
    image = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    objects = [Found((0, 0, 12, 24), 0.9), Found((12, 0, 24, 20), 0.8), Found((4, 4, 16, 16), 0.7)]
    colours = ClipColours(OpenClip("tiny", tmp_path))
    named = colours.of(image)(objects, "cup")

    loaded, transform = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    weights = []
    with torch.no_grad():
        for colour in COLOURS:
            texts = [
                f"a photo of a {colour} cup",
                f"a photo of a {colour}-colored cup",
                f"a photo of a {colour} object",
            ]
            each = torch.nn.functional.normalize(loaded.encode_text(tokenizer(texts)), dim=-1)
            weights.append(torch.nn.functional.normalize(each.mean(0), dim=0))
        wanted = []
        for one in objects:
            pixels = transform(Image.fromarray(image).crop(one.box))[None]
            cosines = (
                torch.nn.functional.normalize(loaded.encode_image(pixels), dim=-1) @ torch.stack(weights).T
            )
            wanted.append(COLOURS[cosines.argmax().item()])
    assert named == wanted
    assert colours._towards("cup") == pytest.approx(torch.stack(weights).numpy(), abs=1e-6)


# the detector


@pytest.fixture(scope="module")
def tiny_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mask2Former with a Swin backbone and 80 classes, random."""
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    folder = tmp_path_factory.mktemp("mask2former")
    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=6,
        num_labels=80,
    )
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 96}
    Mask2FormerImageProcessor(size=size, size_divisor=32, ignore_index=255).save_pretrained(folder)
    return folder


def boxes_step_by_step(folder: Path, image: np.ndarray) -> list[tuple[str, float, tuple[float, ...]]]:
    """mmdet's rule, pair by pair."""
    from transformers import AutoImageProcessor, Mask2FormerForUniversalSegmentation

    model = Mask2FormerForUniversalSegmentation.from_pretrained(folder).eval()
    pixels = AutoImageProcessor.from_pretrained(folder)(images=Image.fromarray(image), return_tensors="pt")
    with torch.no_grad():
        out = model(pixel_values=pixels["pixel_values"])
    resize = torch.nn.functional.interpolate
    masks = resize(out.masks_queries_logits, pixels["pixel_values"].shape[-2:], mode="bilinear")
    masks = resize(masks, image.shape[:2], mode="bilinear")[0].numpy()
    classes = torch.softmax(out.class_queries_logits[0], -1).numpy()
    assert classes.shape == (6, 81)
    pairs = [(classes[q, c], q, c) for q in range(6) for c in range(80)]
    found = []
    for score, q, c in sorted(pairs, reverse=True)[:100]:
        ys, xs = np.nonzero(masks[q] > 0)
        if len(ys):
            certain = (1 / (1 + np.exp(-masks[q][ys, xs]))).mean()
            found.append((CLASSES[c], score * certain, (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)))
    return found


def test_mask2former_equals_mmdets_rule_step_by_step(tiny_detector: Path) -> None:
    detector = Mask2Former("tiny", tiny_detector)
    images = np.random.default_rng(3).integers(0, 256, (2, 50, 80, 3), dtype=np.uint8)
    for image, found in zip(images, detector.detect(images), strict=True):
        own = sorted((name, one.score, one.box) for name, objects in found.items() for one in objects)
        wanted = sorted(boxes_step_by_step(tiny_detector, image))
        assert len(own) == len(wanted) >= 50
        assert [(name, place) for name, _, place in own] == [(name, place) for name, _, place in wanted]
        assert [score for _, score, _ in own] == pytest.approx([score for _, score, _ in wanted], rel=1e-4)
        for objects in found.values():
            for one in objects:
                assert one.mask is not None and one.mask.shape == (50, 80)
                left, top, right, bottom = (int(side) for side in one.box)
                assert one.mask.sum() == one.mask[top:bottom, left:right].sum() > 0


def test_detector_and_colours_end_to_end(tiny_detector: Path) -> None:
    detector = Mask2Former("tiny", tiny_detector)
    metric = Geneval(WithDetector(detector, ClipColours(Painted())))
    image = np.random.default_rng(3).integers(0, 256, (1, 50, 80, 3), dtype=np.uint8)
    (row,) = metric.score(image, [task_prompt("p", "single_object")])
    assert (
        row["geneval_images[tiny]"] == 0.0 and row["geneval_faults[tiny]"] == "dog: 0 of 1"
    )  # all scores are low
    assert "tiny" in metric.recipe and "painted" in metric.recipe
    (found,) = detector.detect(image)
    name = max(found, key=lambda each: found[each][0].score)
    assert kept({name: [Found(one.box, one.score + 0.5, one.mask) for one in found[name]]}, "colors")


def test_a_detector_of_other_classes_is_refused(tiny_detector: Path, tmp_path: Path) -> None:
    with pytest.raises(GlanceBenchError, match="no .*safetensors"):
        Mask2Former("tiny", tmp_path)
    for file in tiny_detector.iterdir():
        os.link(file, tmp_path / file.name)
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"], config["label2id"] = {"0": "a", "1": "b"}, {"a": 0, "b": 1}
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(GlanceBenchError, match="80 classes|cannot be loaded"):
        Mask2Former("tiny", tmp_path).detect(np.zeros((1, 32, 32, 3), np.uint8))
