"""GenEval: do the named objects stand in the image, as many, in that colour, in that place?

Official code: djghosh13/geneval evaluation/. An image is correct when every clause of its prompt holds. Each task's
score is the share of its images that are correct, all samples pooled, and **the overall score is the mean of the six
tasks**, not of images. Prompts are those whose ``meta`` is a line of GenEval's metadata; others are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.metrics.base import Column, Images, Row, Total
from glance_bench.metrics.colours import ClipColours, clip_colours
from glance_bench.metrics.detectors import Detector, mask2former
from glance_bench.metrics.geneval_results import ResultsFile
from glance_bench.metrics.geneval_rules import TASKS, kept, unmet

if TYPE_CHECKING:
    import pandas as pd

    from glance_bench.prompts import Prompt

__all__ = ["Geneval", "Referee", "WithDetector", "geneval"]

VERSION = 1


class Referee(Protocol):
    """Says what is wrong with an image."""

    @property
    def name(self) -> str: ...

    @property
    def recipe(self) -> str: ...

    def faults(self, image: Any, metadata: Any) -> list[str] | None:
        """What of ``metadata`` uint8[H, W, 3] does not meet; [] for a correct image, None where nothing is known."""
        ...


class WithDetector:
    """GenEval's rules over what ``detector`` finds, with colours by CLIP."""

    def __init__(self, detector: Detector, colours: ClipColours) -> None:
        self._detector = detector
        self._colours = colours

    @property
    def name(self) -> str:
        return self._detector.name

    @property
    def recipe(self) -> str:
        return f"{self._detector.recipe}; {self._colours.recipe}; scores > 0.3, counting > 0.9, at most 16"

    def faults(self, image: Any, metadata: Any) -> list[str] | None:
        """See ``Referee.faults``. Raises GlanceBenchError for metadata of another form."""
        (found,) = self._detector.detect(image[None])
        return unmet(metadata, kept(found, metadata["tag"]), self._colours.of(image))


class Geneval:
    """``geneval[<detector>]``, the overall score, and the scores of the tasks, of prompts, of images.

    ``geneval_prompts`` is the share of prompts with at least one correct image. Overall is NaN unless every task has
    images: a mean of five tasks is another number.
    """

    kind: Literal["sample"] = "sample"

    def __init__(self, referee: Referee) -> None:
        self._referee = referee
        self.name = f"geneval[{referee.name}]"
        self._images, self._uncovered, self._task, self._faults = (
            f"geneval_{part}[{referee.name}]" for part in ("images", "uncovered", "task", "faults")
        )
        self.notes = (self._task, self._faults)
        self.columns = (
            Column(
                self._images,
                "GenEval images",
                "higher",
                "share of images in which every clause of the prompt holds, whatever the task",
                headline=False,
            ),
            Column(
                self._uncovered,
                "GenEval uncovered",
                "lower",
                "share of images without a verdict",
                flag=True,
            ),
        )
        overall = Column(self.name, "GenEval", "higher", f"mean of the six tasks' scores, by {referee.name}")
        prompts = Column(
            f"geneval_prompts[{referee.name}]",
            "GenEval prompts",
            "higher",
            "share of prompts with at least one correct image",
            headline=False,
        )
        self.totals = (
            Total(overall, partial(_overall, value=self._images, task=self._task)),
            *(self._task_total(task) for task in TASKS),
            Total(prompts, partial(_prompts, value=self._images)),
        )

    def _task_total(self, task: str) -> Total:
        title = f"GenEval {task.replace('_', ' ')}"
        column = Column(
            f"geneval_{task}[{self._referee.name}]",
            title,
            "higher",
            f"share of the images of task {task} that are correct",
            headline=False,
        )
        return Total(column, partial(_of_task, value=self._images, task=self._task, name=task))

    @property
    def recipe(self) -> str:
        return f"{self.name}: {self._referee.recipe}; GenEval rules, mean of six tasks, version {VERSION}"

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Row]:
        """See ``SampleMetric.score``. Raises GlanceBenchError naming the prompt for broken metadata."""
        if len(images) != len(prompts):
            raise ValueError(f"{len(images)} images for {len(prompts)} prompts")
        return [self._row(image, prompt) for image, prompt in zip(images, prompts, strict=True)]

    def _row(self, image: Any, prompt: Prompt) -> Row:
        if "include" not in prompt.meta:
            return {}
        if (task := prompt.meta.get("tag")) not in TASKS:
            raise GlanceBenchError(f"prompt {prompt.id}: GenEval has no task {task!r}")
        try:
            faults = self._referee.faults(image, prompt.meta)
        except GlanceBenchError as error:
            raise GlanceBenchError(f"prompt {prompt.id}: {error}") from error
        row: Row = {self._uncovered: float(faults is None), self._task: task}
        if faults is not None:
            row |= {self._images: float(not faults), self._faults: "; ".join(faults)}
        return row


def _of_task(frame: pd.DataFrame, *, value: str, task: str, name: str) -> float:
    return float(frame.loc[frame[task] == name, value].mean())  # NaN when there are none


def _overall(frame: pd.DataFrame, *, value: str, task: str) -> float:
    scores = [_of_task(frame, value=value, task=task, name=name) for name in TASKS]
    return math.nan if any(map(math.isnan, scores)) else sum(scores) / len(scores)


def _prompts(frame: pd.DataFrame, *, value: str) -> float:
    return float(frame.dropna(subset=[value]).groupby("prompt_id")[value].max().mean())


def geneval(source: str) -> Geneval:
    """``geneval[<source>]``: "mask2former-swin-small" looks at the images, "import:FILE" takes the verdicts of the
    official scorer's results file.

    Raises UsageError for another source, MissingData when weights are not on this machine.
    """
    if source == "mask2former-swin-small":
        return Geneval(WithDetector(mask2former(), clip_colours()))
    kind, _, file = source.partition(":")
    if kind == "import" and file:
        return Geneval(ResultsFile(file))
    raise UsageError(f"geneval[{source}]: expected mask2former-swin-small or import:FILE")
