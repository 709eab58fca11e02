"""Names to things: metrics, prompt sets, model families and models.

A target is a string ``"package.module:attribute"``, imported only when the name is asked for, or the object
itself. A name with a star, such as ``dpg[*]``, stands for every name of that form: its target is a callable, which
gets what stands in the star's place before anything else. Other packages add names through entry points of the groups
below. A name registered twice raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from .errors import GlanceBenchError, UsageError, near_misses
from .weights import find_weights

__all__ = ["FAMILIES", "METRICS", "MODELS", "PROMPT_SETS", "ModelEntry", "Registry"]


class Registry:
    """One kind of thing by name. ``group`` is the entry-point group where other packages announce theirs."""

    def __init__(self, kind: str, builtin: dict[str, Any], group: str) -> None:
        self.kind = kind
        self.group = group
        self._targets: dict[str, Any] = dict(builtin)
        self._entry_points_read = False

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        self._read_entry_points()
        return sorted(self._targets)

    def __contains__(self, name: str) -> bool:
        self._read_entry_points()
        return self._find(name) is not None

    def get(self, name: str) -> Any:
        """The thing called ``name``; a string target is imported now.

        Raises UsageError for an unknown name and GlanceBenchError for a target that cannot be imported.
        """
        self._read_entry_points()
        found = self._find(name)
        if found is None:
            raise UsageError(f"unknown {self.kind} {name!r}; {near_misses(name, self._targets)}")
        key, argument = found
        target = self._targets[key]
        if isinstance(target, str):
            module, _, attribute = target.partition(":")
            try:
                target = getattr(import_module(module), attribute)
            except (ImportError, AttributeError) as error:
                raise GlanceBenchError(f"{self.kind} {name!r}: cannot import {target!r}: {error}") from error
        return target if argument is None else partial(target, argument)

    def _find(self, name: str) -> tuple[str, str | None] | None:
        """The registered name that ``name`` is or has the form of, and what stands in the place of its star."""
        if name in self._targets and "*" not in name:
            return name, None
        for key in self._targets:
            before, star, after = key.partition("*")
            if star and len(name) >= len(key) and name.startswith(before) and name.endswith(after):
                return key, name[len(before) : len(name) - len(after)]
        return None

    def register(self, name: str, target: Any) -> None:
        """Add one name. Raises UsageError when it is taken."""
        self._read_entry_points()
        self._add(name, target)

    def _add(self, name: str, target: Any) -> None:
        if name in self._targets:
            held = self._targets[name]
            raise UsageError(f"{self.kind} {name!r} is registered twice: {held!r} and {target!r}")
        self._targets[name] = target

    def _read_entry_points(self) -> None:
        if self._entry_points_read:
            return
        self._entry_points_read = True
        for point in entry_points(group=self.group):
            self._add(point.name, point.value)


@dataclass(frozen=True)
class ModelEntry:
    """A checkpoint and the family that runs it.

    ``source`` is a folder in the diffusers layout, which need not exist: the family's loader says what is missing.
    Published weights are named by a string instead, an entry of ``weights.WEIGHTS``. ``adapters`` is a folder of
    LoRA files trained for this checkpoint, which cards name as ``<folder>/<file without suffix>``; None where there
    are none.
    """

    name: str
    family: str
    source: Path | str
    adapters: Path | None = None

    @property
    def path(self) -> Path:
        """The checkpoint's folder. Raises MissingData for published weights that are not on this machine."""
        return find_weights(self.source) if isinstance(self.source, str) else self.source


def _packaged(name: str, family: str) -> ModelEntry:
    testbed = Path(__file__).parent / "testbed"
    return ModelEntry(name, family, testbed / "checkpoints" / name, testbed / "adapters" / name)


METRICS = Registry(
    "metric",
    {
        "truth": "glance_bench.metrics.truth:Truth",
        "ocr": "glance_bench.metrics.ocr:Ocr",
        "clip[testbed-clip]": "glance_bench.metrics.clip:testbed_clip",
        "fd[testbed-clip]": "glance_bench.metrics.frechet:testbed_frechet",
        "fidelity[testbed-clip]": "glance_bench.metrics.fidelity:testbed_fidelity",
        "diversity[testbed-clip]": "glance_bench.metrics.diversity:testbed_diversity",
        "oneig_text[rapidocr]": "glance_bench.metrics.oneig_text:rapidocr_oneig_text",
        "oneig_text[*]": "glance_bench.metrics.oneig_text:judged_oneig_text",
        "longtext[rapidocr]": "glance_bench.metrics.longtext:rapidocr_longtext",
        "longtext[*]": "glance_bench.metrics.longtext:judged_longtext",
        "dpg[*]": "glance_bench.metrics.dpg:dpg",
        "dsg[*]": "glance_bench.metrics.dsg:dsg",
        "oneig_alignment[*]": "glance_bench.metrics.oneig_alignment:oneig_alignment",
        "geneval[*]": "glance_bench.metrics.geneval:geneval",
        "vqascore[clip-flant5-xxl]": "glance_bench.metrics.vqascore:clip_flant5_xxl",
        "clip[vit-l-14-336-quickgelu/openai]": "glance_bench.metrics.clip:vit_l_14_336",
        "clip_windowed[vit-l-14-336-quickgelu/openai]": "glance_bench.metrics.clip:vit_l_14_336_windowed",
        "hpsv2.1[vit-h-14]": "glance_bench.metrics.hpsv2:vit_h_14",
        "hpsv2.1[vit-h-14-quickgelu]": "glance_bench.metrics.hpsv2:vit_h_14_quickgelu",
        "cmmd[clip-vit-l-14-336]": "glance_bench.metrics.cmmd:vit_l_14_336",
        "psnr": "glance_bench.metrics.psnr:Psnr",
        "ssim": "glance_bench.metrics.ssim:Ssim",
        "lpips[alex]": "glance_bench.metrics.lpips:alex",
        "lpips[vgg]": "glance_bench.metrics.lpips:vgg",
        "dreamsim[ensemble]": "glance_bench.metrics.dreamsim:dreamsim_distance",
        "diversity[dreamsim]": "glance_bench.metrics.diversity:dreamsim_diversity",
        "oneig_diversity[dreamsim]": "glance_bench.metrics.oneig_diversity:oneig_diversity",
        "oneig_style": "glance_bench.metrics.oneig_style:oneig_style",
        "oneig_reasoning": "glance_bench.metrics.oneig_reasoning:oneig_reasoning",
        "fid[*]": "glance_bench.metrics.extractors:fid",
        "fid_inf[*]": "glance_bench.metrics.extractors:fid_inf",
        "pfid[*]": "glance_bench.metrics.extractors:pfid",
        "fd[*]": "glance_bench.metrics.extractors:fd",
        "fd_inf[*]": "glance_bench.metrics.extractors:fd_inf",
        "kid[*]": "glance_bench.metrics.extractors:kid",
        "kid_full[*]": "glance_bench.metrics.extractors:kid_full",
        "precision[*]": "glance_bench.metrics.extractors:precision",
        "recall[*]": "glance_bench.metrics.extractors:recall",
        "density[*]": "glance_bench.metrics.extractors:density",
        "coverage[*]": "glance_bench.metrics.extractors:coverage",
        "health": "glance_bench.metrics.health:Health",
    },
    "glance_bench.metrics",
)
PROMPT_SETS = Registry(
    "prompt set",
    {
        "testbed": "glance_bench.prompts.testbed:load",
        "testbed-balanced": "glance_bench.prompts.testbed:load_balanced",
        "testbed-seen": "glance_bench.prompts.testbed:load_seen",
        "coco-10k": "glance_bench.prompts.coco:load_10k",
        "coco-5k": "glance_bench.prompts.coco:load_5k",
        "coco-30k": "glance_bench.prompts.coco:load_30k",
        "coco-val2014": "glance_bench.prompts.coco:load_val2014",
        "hpsv2": "glance_bench.prompts.hpsv2:load",
        "oneig": "glance_bench.prompts.oneig:load",
        "oneig-zh": "glance_bench.prompts.oneig:load_zh",
        "geneval": "glance_bench.prompts.geneval:load",
        "dpg": "glance_bench.prompts.dpg:load",
        "longtext": "glance_bench.prompts.longtext:load",
        "longtext-zh": "glance_bench.prompts.longtext:load_zh",
        "partiprompts": "glance_bench.prompts.partiprompts:load",
        "drawbench": "glance_bench.prompts.drawbench:load",
        "t2i_compbench": "glance_bench.prompts.t2i_compbench:load",
        "dsg": "glance_bench.prompts.dsg:load",
        "dense-text": "glance_bench.prompts.dense_text:load",
        "file:*": "glance_bench.prompts.listed:load",
    },
    "glance_bench.prompt_sets",
)
FAMILIES = Registry(
    "model family",
    {
        "flux": "glance_bench.models.flux:FluxFamily",
        "qwen_image": "glance_bench.models.qwen_image:QwenImageFamily",
    },
    "glance_bench.families",
)
MODELS = Registry(
    "model",
    {
        "testbed-flux": _packaged("testbed-flux", "flux"),
        "testbed-qwen": _packaged("testbed-qwen", "qwen_image"),
        "flux.1-dev": ModelEntry("flux.1-dev", "flux", "flux.1-dev"),
        "flux.1-schnell": ModelEntry("flux.1-schnell", "flux", "flux.1-schnell"),
        "qwen-image": ModelEntry("qwen-image", "qwen_image", "qwen-image"),
    },
    "glance_bench.models",
)
