"""docs/make_pictures.py puts the right image in the right cell, enlarged without blending pixels."""

import importlib.util
import io
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glance_bench.prompts import Prompt
from glance_bench.store import Run
from glance_bench.units import UnitInfo

SCRIPT = Path(__file__).resolve().parent.parent / "docs" / "make_pictures.py"
spec = importlib.util.spec_from_file_location("make_pictures", SCRIPT)
pictures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pictures)

PROMPTS = [Prompt(f"p{i}", f"prompt {i} <b>", "any", ("HI",) if i == 3 else ()) for i in range(6)]
SAMPLERS = ["teacher-50", "uniform-4"]


def pixels(sampler: int, prompt: int) -> np.ndarray:
    return np.random.default_rng([sampler, prompt]).integers(0, 256, (8, 8, 3), dtype=np.uint8)


@pytest.fixture
def run(tmp_path) -> Run:
    made = Run(tmp_path / "run")
    units = []
    for s, sampler in enumerate(SAMPLERS):
        unit = UnitInfo("tiny", sampler, "six", 0, f"key{s}", f"units/tiny/{sampler}/six/0")
        images, rows = [], []
        for number, prompt in enumerate(PROMPTS):
            file = io.BytesIO()
            Image.fromarray(pixels(s, number)).save(file, "PNG")
            images.append(file.getvalue())
            rows.append(
                {"model": "tiny", "sampler": sampler, "prompt_set": "six", "prompt_id": prompt.id, "index": 0}
                | {"seed": 1, "width": 8, "height": 8, "finite": True, "black": False}
                | {"truncated": False, "evaluations": 4, "batch_size": 6}
            )
        made.publish_unit(unit, images, rows, [p.text for p in PROMPTS], {})
        units.append(asdict(unit))
    made.write("manifest.json", {"name": "six", "units": units, "samplers": [], "metrics": [], "timing": []})
    made.write("prompts.json", {"sets": [{"name": "six", "prompts": [asdict(p) for p in PROMPTS]}]})
    return made


def test_each_cell_shows_its_prompt_and_sampler(run):
    scale = 3
    sheet = np.asarray(pictures.grid(run, "tiny", PROMPTS[:2], scale))
    side = 8 * scale
    for row in range(2):
        for column in range(2):
            top = pictures.HEADING + row * (side + pictures.GAP)
            left = pictures.CAPTION_WIDTH + column * (side + pictures.GAP)
            cell = sheet[top : top + side, left : left + side]
            assert np.array_equal(cell, pixels(column, row).repeat(scale, 0).repeat(scale, 1))


def test_rows_keep_their_order_and_include_text():
    chosen = pictures.pick(PROMPTS, 3)
    assert [p.id for p in chosen] == sorted(p.id for p in chosen) and len(chosen) == 3
    assert sum(bool(p.wanted_text) for p in chosen) == 1


def test_asking_for_more_rows_than_prompts_gives_them_all():
    assert pictures.pick(PROMPTS, 100) == PROMPTS


def test_unknown_model_is_named(run):
    with pytest.raises(SystemExit, match="no model other; it has tiny"):
        pictures.picture(run, 2, 1, ["other"])
