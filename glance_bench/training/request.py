"""What a `train` command asks for, made whole: model, recipe with its changes, resolution, device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError

from ..errors import UsageError
from ..models.checkpoints import read_geometry, read_settings
from ..registry import MODELS, ModelEntry
from ..samplers.cards import SlowFast
from ..terminal import Progress
from .recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from .glance import Expert

__all__ = ["Request"]

PUBLISHED = {"flux": "glance-flux", "qwen_image": "glance-qwen"}


@dataclass(frozen=True)
class Request:
    """A model, a recipe, a resolution (height, width) and a device: ``cpu`` or ``cuda``."""

    entry: ModelEntry
    recipe: Recipe
    resolution: tuple[int, int]
    device: str

    @classmethod
    def resolve(
        cls, model: str, recipe: str | None, changes: Mapping[str, Any], side: int | None, device: str
    ) -> Self:
        """From names and settings; None in ``changes`` leaves the recipe's own. ``slow`` and ``fast`` are step counts.

        Raises UsageError for unknown names, a size that does not fit the packing, or a change that is out of range.
        """
        folder = Path(model)
        if (folder / "model_index.json").is_file():
            entry = ModelEntry(folder.resolve().name, read_settings(folder).family, folder)
        else:
            entry = MODELS.get(model)
        chosen = load_recipe(recipe or PUBLISHED.get(entry.family, entry.family))
        if chosen.family != entry.family:
            raise UsageError(
                f"recipe {chosen.name!r} is for {chosen.family}, but {entry.name} is {entry.family}"
            )
        resolution = (side, side) if side else read_settings(Path(entry.path)).resolution
        read_geometry(Path(entry.path), *resolution)
        if device not in ("", "cpu", "cuda"):
            raise UsageError(f"--device {device}: expected cpu or cuda")
        return cls(entry, _changed(chosen, changes), resolution, device or _default_device())

    def train(
        self, sample: str, caption: str | None, phases: Sequence[str], output: Path | None, progress: Progress
    ) -> list[Expert]:
        """Read the samples and train; see ``glance.train``."""
        from .samples import read_pairs

        pairs = read_pairs(sample, caption, self.resolution)
        self.recipe.chosen(list(phases), read_geometry(Path(self.entry.path), *self.resolution))
        from .glance import train

        folder = output or Path("adapters") / self.entry.name / self.default_name
        count = len(phases or self.recipe.phase_names)
        with progress.task("train", self.recipe.steps * count, "steps") as advance:
            return train(
                self.entry,
                self.recipe,
                pairs,
                folder,
                phases=phases,
                device=self.device,
                say=progress.say,
                on_step=lambda phase, step, loss: advance(1, f"{phase} loss {loss:.4f}"),
            )

    @property
    def default_name(self) -> str:
        """What the cards call this pair: glance-10 for Slow5 + Fast5; the recipe's name for others."""
        schedule = self.recipe.schedule
        if isinstance(schedule, SlowFast) and self.recipe.experts == "pair":
            return f"glance-{schedule.slow + schedule.fast}"
        return self.recipe.name

    def plan(self, phases: Sequence[str]) -> dict[str, Any]:
        """What the training needs, read off the checkpoint's configuration: no weights are loaded."""
        from .memory import predict

        geometry = read_geometry(Path(self.entry.path), *self.resolution)
        levels = self.recipe.chosen(list(phases), geometry)
        return {
            "model": self.entry.name,
            "recipe": self.recipe.name,
            "resolution": list(self.resolution),
            "device": self.device,
            "base_weights": self.recipe.base_weights,
            "experts": [
                {
                    "phase": phase.name,
                    "t": [1000 * sigma for sigma in phase.sigmas],
                    "steps": self.recipe.steps,
                }
                for phase in levels
            ],
            **predict(self.entry, self.recipe, geometry.tokens).document(),
        }

    def plan_lines(self, document: Mapping[str, Any]) -> list[str]:
        """``plan`` for a reader."""
        memory = document["memory_gib"]
        lines = [
            f"{document['model']}: recipe {document['recipe']}, {self.resolution[0]}x{self.resolution[1]}, "
            f"base weights {document['base_weights']}, {self.device}",
            f"trainable parameters: {document['trainable_parameters']:,} an expert",
            f"memory while training: {memory['total']:.1f} GiB = weights {memory['weights']:.1f} + adapter "
            f"{memory['adapter']:.2f} + activations {memory['activations']:.2f} + overhead {memory['overhead']:.1f}",
        ]
        for expert in document["experts"]:
            times = ", ".join(f"{t:.4f}" for t in expert["t"])
            lines.append(f"expert {expert['phase']}: {expert['steps']} steps at t = {times}")
        return lines


def _changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    data = recipe.model_dump()
    given = {name: value for name, value in changes.items() if value is not None}
    for part in ("slow", "fast"):
        if part in given:
            if not isinstance(recipe.schedule, SlowFast):
                raise UsageError(f"--{part}: recipe {recipe.name!r} has no slow-fast schedule")
            data["schedule"][part] = given.pop(part)
    try:
        return Recipe.model_validate({**data, **given})
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"recipe {recipe.name!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from error


def _default_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
