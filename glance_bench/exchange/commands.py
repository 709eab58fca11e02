"""What to run after an export: which repository, which script, which arguments. Paths are relative to the export."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Shape", "command_lines", "next_steps"]

SCORERS = {  # of each category of T2I-CompBench, and the folder that its result lies in
    **dict.fromkeys(("color", "shape", "texture"), ("BLIPvqa_eval/BLIP_vqa.py", "--out_dir")),
    "spatial": ("UniDet_eval/2D_spatial_eval.py", "--outpath"),
    "3d_spatial": ("UniDet_eval/3D_spatial_eval.py", "--outpath"),
    "numeracy": ("UniDet_eval/numeracy_eval.py", "--outpath"),
    "non_spatial": ("CLIPScore_eval/CLIP_similarity.py", "--outpath"),
    "complex": ("3_in_1_eval/3_in_1.py", "--outpath"),
}


@dataclass(frozen=True)
class Shape:
    """What a call depends on.

    ``label`` is OneIG's model folder, ``resolution`` the side of one image in pixels, ``cells`` the images in a
    grid, ``chinese`` the language, ``parts`` the sets, styles or categories that were exported.
    """

    label: str
    resolution: int
    cells: int
    chinese: bool
    parts: tuple[str, ...]


def next_steps(format: str, shape: Shape) -> dict[str, Any]:
    """The official scorer's call as data: ``repository``, ``runs`` (script and arguments), ``results``, ``note``.

    ``results`` are the files that import-scores reads.
    """
    makers = {
        "geneval": _geneval,
        "dpg": _dpg,
        "oneig": _oneig,
        "longtext": _longtext,
        "hpsv2": _hpsv2,
        "t2i-compbench": _compbench,
    }
    return makers[format](shape)


def command_lines(steps: dict[str, Any], folder: Path) -> list[str]:
    """``steps`` as lines to be typed in a checkout of the repository, for an export that lies in ``folder``."""
    lines = []
    for run in steps["runs"]:
        words = [run["script"]]
        for name, value in run["arguments"].items():
            text = str(value)
            if text.startswith(("images", "results")) and name != "--model_names":
                text = shlex.quote(str(folder / text))
            words += ([name] if name.startswith("--") else []) + ([] if value is True else [text])
        lines.append(" ".join(words))
    return lines


def _run(script: str, **arguments: Any) -> dict[str, Any]:
    return {"script": script, "arguments": arguments}


def _geneval(shape: Shape) -> dict[str, Any]:
    options = {"--outfile": "results.jsonl", "--model-path": "<folder of the Mask2Former weights>"}
    return {
        "repository": "djghosh13/geneval",
        "runs": [
            _run("evaluation/evaluate_images.py", imagedir="images", **options),
            _run("evaluation/summary_scores.py", filename="results.jsonl"),
        ],
        "results": ["results.jsonl"],
        "note": "needs mmdet 2.x and a GPU; --model-config names mmdet's Mask2Former Swin-S config when mmdet is "
        "installed without its configs folder",
    }


def _dpg(shape: Shape) -> dict[str, Any]:
    options = {"--image-root-path": "images", "--resolution": shape.resolution, "--pic-num": 4}
    return {
        "repository": "TencentQQGYLab/ELLA",
        "runs": [_run("dpg_bench/compute_dpg_bench.py", **options, **{"--res-path": "results.txt"})],
        "results": ["results.txt"],
        "note": f"--resolution (RESOLUTION in dist_eval.sh) must be {shape.resolution}, the side of a quarter of the "
        "grid: with any other the scorer crops elsewhere, partly outside the image, and does not say so",
    }


def _oneig(shape: Shape) -> dict[str, Any]:
    shared = {"--mode": "ZH" if shape.chinese else "EN", "--model_names": shape.label}
    shared["--image_grid"] = "2,2" if shape.cells == 4 else "1,1"
    aligned = [part for part in shape.parts if part in ("anime", "human", "object", "multilingualism")]
    runs = []
    if aligned:
        options = {**shared, "--image_dirname": "images", "--class_items": " ".join(aligned)}
        runs.append(_run("scripts/alignment/alignment_score.py", **options))
    for part, dimension in (("text", "text"), ("reasoning", "reasoning"), ("anime", "style")):
        if part in shape.parts:
            options = {**shared, "--image_dirname": f"images/{part}"}
            runs.append(_run(f"scripts/{dimension}/{dimension}_score.py", **options))
    if shape.cells == 4:
        options = {**shared, "--image_dirname": "images", "--class_items": " ".join(shape.parts)}
        runs.append(_run("scripts/diversity/diversity_score.py", **options))
    return {
        "repository": "OneIG-Bench/OneIG-Benchmark",
        "runs": runs,
        "results": [f"results/{run['script'].split('/')[1]}_prompt_score_*.csv" for run in runs],
        "note": "run each as a module (python -m scripts.alignment.alignment_score) from the repository's root; its "
        "shell scripts define IMAGE_GRIDS and pass IMAGE_GRID. The scorer drops black cells and saves every other "
        "one as JPEG before a judge sees it; the WebP files here are lossless",
    }


def _longtext(shape: Shape) -> dict[str, Any]:
    options = {"--sample_dir": "images", "--output_dir": "results", "--mode": "zh" if shape.chinese else "en"}
    return {
        "repository": "X-Omni-Team/X-Omni",
        "runs": [_run("textbench/evaluate_text_reward.py", **options)],
        "results": ["results/results_chunk*.jsonl"],
        "note": "start it with torchrun in the folder textbench; the recall over all images is computed when the "
        "files are read back, as summary_scores.py does",
    }


def _hpsv2(shape: Shape) -> dict[str, Any]:
    return {
        "repository": "tgxs002/HPSv2",
        "runs": [_run("hpsv2.evaluate", image_folder="images", hps_version="v2.1")],
        "results": ["scores.csv"],
        "note": "hpsv2.evaluate prints the average of each style and writes no file. To read scores back, call "
        "hpsv2.score(file, prompt, hps_version='v2.1') (its default is v2.0) and write scores.csv with the columns "
        "image (as named in this export) and score (the cosine, not times 100)",
    }


def _compbench(shape: Shape) -> dict[str, Any]:
    runs = []
    for part in shape.parts:
        script, option = SCORERS[part]
        if part == "complex":
            first = ("BLIPvqa_eval/BLIP_vqa.py", "--out_dir"), ("UniDet_eval/2D_spatial_eval.py", "--outpath")
            for before, its in (*first, ("CLIPScore_eval/CLIP_similarity.py", "--outpath")):
                extra = {} if its == "--out_dir" else {"--complex": True}
                runs.append(_run(before, **{its: f"images/{part}"}, **extra))
        runs.append(_run(script, **{option: f"images/{part}"}))
    return {
        "repository": "Karine-Huang/T2I-CompBench",
        "runs": runs,
        "results": [f"images/{part}/**/vqa_result.json" for part in shape.parts],
        "note": "one folder a category, its images numbered through in the order of the prompts; 3_in_1 expects all "
        "300 prompts of complex with ten images each. Give import-scores the vqa_result.json of the last script of "
        "each category",
    }
