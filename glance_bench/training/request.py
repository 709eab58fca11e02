"""What a `train` command asks for, made whole: model, recipe with its changes, resolution, device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..errors import UsageError
from ..machine import settle_threads
from ..models.checkpoints import family_geometry, read_geometry, read_settings
from ..registry import FAMILIES, MODELS, ModelEntry
from ..samplers.cards import Geometry, SlowFast
from ..terminal import Progress
from .recipe import PUBLISHED, Recipe, changed, load_recipe

if TYPE_CHECKING:
    from .glance import Expert

__all__ = ["Request"]

PUBLISHED_WEIGHTS = Path()  # where they would lie is not known


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
        settle_threads()
        folder = Path(model)
        if model in FAMILIES:  # the published model, of which only the shape is known
            entry = ModelEntry(model, model, PUBLISHED_WEIGHTS)
        elif (folder / "model_index.json").is_file():
            entry = ModelEntry(folder.resolve().name, read_settings(folder).family, folder)
        else:
            entry = MODELS.get(model)
        chosen = load_recipe(recipe or PUBLISHED.get(entry.family, entry.family))
        if chosen.family != entry.family:
            raise UsageError(
                f"recipe {chosen.name!r} is for {chosen.family}, but {entry.name} is {entry.family}"
            )
        if device not in ("", "cpu", "cuda"):
            raise UsageError(f"--device {device}: expected cpu or cuda")
        wanted = changed(chosen, {name: value for name, value in changes.items() if value is not None})
        made = cls(entry, wanted, (side or 1024, side or 1024), device or _default_device())
        if made.checkpoint and not side:
            made = replace(made, resolution=read_settings(made.checkpoint).resolution)
        made.geometry()
        return made

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint's folder; None for a family's published model."""
        return None if self.entry.path == PUBLISHED_WEIGHTS else Path(self.entry.path)

    def geometry(self) -> Geometry:
        """At the request's resolution. Raises UsageError when it does not fit the packing."""
        if self.checkpoint is None:
            return family_geometry(self.entry.family, self.resolution[0])
        return read_geometry(self.checkpoint, *self.resolution)

    def train(
        self,
        sample: str | None,
        caption: str | None,
        phases: Sequence[str],
        output: Path | None,
        progress: Progress,
    ) -> list[Expert]:
        """Read the samples and train; see ``glance.train``."""
        from .samples import read_pairs

        if self.checkpoint is None:
            raise UsageError(
                f"--model {self.entry.name} is a family: training needs a checkpoint's name or folder"
            )
        if sample is None:
            raise UsageError("--sample is missing: an image, a folder of images, or 'noise'")
        pairs = read_pairs(sample, caption, self.resolution)
        self.recipe.chosen(list(phases), self.geometry())
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

        geometry = self.geometry()
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
            **predict(self.entry.family, self.checkpoint, self.recipe, geometry.tokens).document(),
        }

    def plan_lines(self, document: Mapping[str, Any]) -> list[str]:
        """``plan`` for a reader."""
        memory = document["memory_gib"]
        lines = [
            f"{document['model']}: recipe {document['recipe']}, {self.resolution[0]}x{self.resolution[1]}, "
            f"base weights {document['base_weights']}, precision {self.recipe.precision}",
            f"trainable parameters: {document['trainable_parameters']:,} an expert",
            f"memory while training: {memory['total']:.1f} GiB = weights {memory['weights']:.1f} + adapter "
            f"{memory['adapter']:.2f} + activations {memory['activations']:.2f} + overhead {memory['overhead']:.1f}",
        ]
        for expert in document["experts"]:
            times = ", ".join(f"{t:.4f}" for t in expert["t"])
            lines.append(f"expert {expert['phase']}: {expert['steps']} steps at t = {times}")
        return lines


def _default_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
