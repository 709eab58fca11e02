"""The script that drives TwinFlow's own code: as written on its page, with stand-ins for that code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.documents import DOCS, blocks

PAGE = (DOCS / "how-to" / "baselines.md").read_text()
PROJECT = {  # what the script calls, by the signatures that the project has at the commit that the page names
    "diffusers_patch/qwen_image/modeling_qwen_image.py": """\
import torch

class QwenImage:
    def __init__(self, model_id, aux_time_embed=False, device="cuda"):
        assert aux_time_embed and device == "cuda"

    @torch.no_grad()
    def sample(self, prompts, cfg_scale=0.0, seed=42, height=512, width=512, times=1, return_traj=False, sampler=None):
        assert cfg_scale == 0.0
        return sampler(torch.full((len(prompts), 3, height, width), 0.5, dtype=torch.bfloat16), None)
""",
    "unified_sampler.py": """\
class UnifiedSampler:
    def sampling_loop(
        self, inital_noise_z, sampling_model, sampling_steps=20, stochast_ratio=0.0, extrapol_ratio=0.0,
        sampling_order=1, time_dist_ctrl=(1.0, 1.0, 1.0), rfba_gap_steps=(0.0, 0.0), **model_kwargs
    ):
        assert (sampling_steps, stochast_ratio, rfba_gap_steps) == (4, 1.0, [0.001, 0.5])
        return inital_noise_z
""",
}


def test_twinflow_images_lie_where_the_next_command_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (script,) = [block for block in blocks(PAGE) if block.file == "twinflow_images.py"]
    (shell,) = [block.code for block in blocks(PAGE) if "TwinFlow checkout" in block.code]
    for name, code in PROJECT.items():
        file = tmp_path / "TwinFlow" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    run = tmp_path / "runs" / "coco-h100"
    run.mkdir(parents=True)
    prompts = [{"id": "one", "text": "a cup"}, {"id": "two", "text": "a car"}]
    (run / "prompts.json").write_text(json.dumps({"sets": [{"prompts": prompts}]}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "TwinFlow")
    assert "PYTHONPATH=TwinFlow" in shell and f"python {script.file}" in shell
    exec(compile(script.code, script.file, "exec"), {})
    images = tmp_path / shell.partition("glance-bench import-images ")[2].split()[0]
    assert sorted(path.name for path in images.iterdir()) == ["one.png", "two.png"]
    with Image.open(images / "one.png") as picture:
        assert picture.size == (1024, 1024) and picture.getpixel((0, 0)) == (191, 191, 191)
