"""Metrics whose values were computed elsewhere, by a benchmark's own scorer, and read back from its files.

Their names end in ``[official]`` (``[official-zh]`` where the Chinese half of a benchmark has another formula);
beside a score that this package computes they are columns of their own. ``official_metric`` knows them all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from glance_bench.errors import GlanceBenchError, UsageError, near_misses
from glance_bench.exchange.layouts import CATEGORIES
from glance_bench.metrics.base import Column, Images, Row, Total
from glance_bench.sealed import digest_of, slug

if TYPE_CHECKING:
    import pandas as pd

    from glance_bench.prompts import Prompt
    from glance_bench.store import Run

__all__ = ["ImportedScores", "official_metric", "official_names", "with_official"]

ED_LIMIT = {"": 100.0, "-zh": 50.0}  # edit distance from which OneIG's text score falls no further


@dataclass(frozen=True)
class ImportedScores:
    """A ``TotalledMetric`` whose rows come from ``import_scores``; it never sees an image."""

    name: str
    recipe: str
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()
    totals: tuple[Total, ...] = ()
    kind: Literal["sample"] = "sample"

    @property
    def folder(self) -> str:
        """Where its scores lie, relative to the run folder; as for any metric, named by the recipe."""
        return f"scores/{slug(self.name)}-{digest_of(self.recipe)[:8]}"

    @property
    def outputs(self) -> list[str]:
        """The keys of its rows: columns, then notes."""
        return [*(column.name for column in self.columns), *self.notes]

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Row]:
        """Raises GlanceBenchError: there is nothing to compute here."""
        raise GlanceBenchError(
            f"{self.name} is computed by the official scorer; read its files with import-scores"
        )


def official_names() -> list[str]:
    """The names that ``official_metric`` knows."""
    return list(_ALL)


def official_metric(name: str) -> ImportedScores:
    """The metric of this name. Raises UsageError for an unknown one."""
    if name not in _ALL:
        raise UsageError(f"no official scorer's metric is called {name!r}; {near_misses(name, _ALL)}")
    return _ALL[name]


def with_official(run: Run, entry: Mapping[str, Any], records: pd.DataFrame) -> pd.DataFrame:
    """``records`` with the outputs of one imported metric, which is listed as ``entry`` in the manifest.

    Null for the samplers whose images its scorer never had, also where their image is equal to one that it had (as
    all black ones are), and for images that it passed over.
    """
    metric = official_metric(entry["name"])
    scores = run.scores(metric.name).reindex(columns=["image_sha256", "prompt_id", *metric.outputs])
    scores = scores.astype({column.name: float for column in metric.columns})
    found = records.merge(scores, how="left", on=["image_sha256", "prompt_id"], validate="m:1")
    had = {(s["model"], s["sampler"], s["prompt_set"]) for s in entry["imported"]}
    keys = zip(found["model"], found["sampler"], found["prompt_set"], strict=True)
    found.loc[[key not in had for key in keys], metric.outputs] = None
    return found


def _geneval() -> ImportedScores:
    def mean_of_tasks(rows: pd.DataFrame) -> float:
        right = rows.dropna(subset=["geneval_image[official]"])
        return float(right.groupby("geneval_task[official]")["geneval_image[official]"].mean().mean())

    overall = Column(
        "geneval[official]", "GenEval", "higher", "mean of the tasks' shares of images that are right"
    )
    image = Column("geneval_image[official]", "images right", "higher", "share of images that are right")
    return ImportedScores(
        "geneval[official]",
        "geneval[official]: by djghosh13/geneval evaluate_images.py (Mask2Former Swin-S, CLIP ViT-L/14), "
        "read back; mean over tasks of the share of right images",
        (image,),
        ("geneval_task[official]", "geneval_reason[official]"),
        (Total(overall, mean_of_tasks),),
    )


def _single(name: str, title: str, what: str, recipe: str, decimals: int = 3) -> ImportedScores:
    return ImportedScores(name, f"{name}: {recipe}", (Column(name, title, "higher", what, decimals),))


def _oneig_text(language: str) -> ImportedScores:
    tag = f"[official{language}]"
    ed, cr, wac, words = (f"oneig_text_{part}{tag}" for part in ("ed", "cr", "wac", "words"))
    limit = ED_LIMIT[language]

    def pooled(rows: pd.DataFrame) -> float:
        read = rows.dropna(subset=[wac, words])
        weights = read[words].astype(float)
        return float((read[wac] * weights).sum() / weights.sum()) if weights.sum() else math.nan

    def score(rows: pd.DataFrame) -> float:
        distance = min(limit, float(rows[ed].mean()))
        return 1 - distance / limit * (1 - float(rows[cr].mean())) * (1 - pooled(rows))

    unit = "characters" if language else "words"
    return ImportedScores(
        f"oneig_text{tag}",
        f"oneig_text{tag}: by OneIG-Bench/OneIG-Benchmark scripts/text (Qwen2.5-VL-7B reads), read back by prompt; "
        f"1 - min({limit:g}, ED)/{limit:g} x (1 - CR) x (1 - WAC), WAC weighted by the wanted {unit}",
        (
            Column(ed, "OneIG ED", "lower", "edit distance in characters, mean over images", 1),
            Column(cr, "OneIG CR", "higher", "share of images whose text is right to the letter"),
            Column(
                wac, "WAC by prompt", "higher", f"share of the wanted {unit} that were read, mean of prompts"
            ),
        ),
        (words,),
        (
            Total(
                Column(f"oneig_text{tag}", "OneIG text", "higher", "product of ED, CR and WAC, 0 to 1"), score
            ),
            Total(
                Column(f"oneig_text_wac_pooled{tag}", "WAC", "higher", f"share of all wanted {unit} read"),
                pooled,
            ),
        ),
    )


def _longtext(language: str) -> ImportedScores:
    tag = f"[official{language}]"
    image, counts = f"longtext_image{tag}", f"longtext_counts{tag}"

    def pooled(rows: pd.DataFrame) -> float:
        pairs = [str(value).split("/") for value in rows[counts].dropna()]
        wanted = sum(int(pair[1]) for pair in pairs)
        return sum(int(pair[0]) for pair in pairs) / wanted if wanted else math.nan

    unit = "characters" if language else "words"
    return ImportedScores(
        f"longtext{tag}",
        f"longtext{tag}: read by X-Omni-Team/X-Omni textbench/evaluate_text_reward.py (Qwen2.5-VL-7B), "
        f"its answers read back; matched {unit} / wanted {unit} over all images",
        (Column(image, "LongText by image", "higher", f"share of the wanted {unit} that were read, mean"),),
        (counts, f"longtext_read{tag}"),
        (Total(Column(f"longtext{tag}", "LongText", "higher", f"share of all wanted {unit} read"), pooled),),
    )


def _compbench() -> ImportedScores:
    columns = [
        Column(f"t2i_{name}[official]", name.replace("_", " "), "higher", f"T2I-CompBench {name}, 0 to 1")
        for name in CATEGORIES
    ]
    return ImportedScores(
        "t2i_compbench[official]",
        "t2i_compbench[official]: by Karine-Huang/T2I-CompBench (BLIP-VQA, UniDet, CLIP, 3-in-1 as each category "
        "has it), read back; mean over images",
        tuple(columns),
    )


def _every() -> dict[str, ImportedScores]:
    oneig = "by OneIG-Bench/OneIG-Benchmark"
    found = [
        _geneval(),
        _single(
            "dpg[official]",
            "DPG",
            "graph-filtered share of yes answers, mean over prompts, times 100",
            "by TencentQQGYLab/ELLA compute_dpg_bench.py (mPLUG-large), read back by crop; mean over prompts, x100",
            2,
        ),
        _oneig_text(""),
        _oneig_text("-zh"),
        _longtext(""),
        _longtext("-zh"),
        _single(
            "hpsv2.1[official]",
            "HPSv2.1",
            "cosine of image and prompt, mean over prompts",
            "by tgxs002/HPSv2 hpsv2.score at v2.1 (ViT-H-14, plain GELU), read back; raw cosine",
            4,
        ),
        _compbench(),
    ]
    for name, what, how in (
        (
            "alignment",
            "share of questions answered yes, after the graph",
            "scripts/alignment (Qwen2.5-VL-7B)",
        ),
        (
            "diversity",
            "mean DreamSim distance between images of a prompt",
            "scripts/diversity (DreamSim ensemble)",
        ),
        ("style", "closeness to the style's references", "scripts/style (CSD and OneIG-StyleEncoder)"),
        ("reasoning", "cosine with the answer", "scripts/reasoning (LLM2CLIP)"),
    ):
        recipe = f"{oneig} {how}, read back by prompt; mean over prompts"
        found.append(_single(f"oneig_{name}[official]", f"OneIG {name}", what, recipe))
    return {metric.name: metric for metric in found}


_ALL = _every()
