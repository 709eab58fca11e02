"""Who serves the steps of a sampler: LoRA files, by path, by name or on the hub, from where to where. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ..weights import HubFile
from .schedules import Geometry

__all__ = ["Boundary", "Expert", "HubLora"]

ADAPTER_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+@=-]*/[A-Za-z0-9][A-Za-z0-9._+@=-]*$"
PATH, ON_HUB = "a path", "a file on the hub"  # blanks: these are no keys of a file


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class HubLora(_Strict):
    """A published LoRA file. ``prefetch`` fetches it; a run only looks for it."""

    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    file: Annotated[str, Field(pattern=r"^(\w[\w.+=@-]*/)*\w[\w.+=@-]*\.safetensors$")]
    revision: Annotated[str, Field(pattern=r"^[\w.-]+$")] | None = Field(
        None, description="commit or tag; default: the newest, until a lock file pins it"
    )
    size: str = Field("", description="of the download, for a reader")

    @property
    def published(self) -> HubFile:
        """The same for ``weights`` and ``prefetch``."""
        return HubFile(self.repo, self.file, self.revision, self.size)


class Boundary(_Strict):
    """Where an expert hands over: after ``step`` steps, or at the first step at or past a sigma or an SNR."""

    step: Annotated[int, Field(ge=0)] | None = None
    sigma: Annotated[float, Field(ge=0, le=1)] | None = None
    snr: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Boundary:
        if [self.step, self.sigma, self.snr].count(None) != 2:
            raise ValueError("expected exactly one of step, sigma, snr")
        return self


def _sort_of_lora(given: Any) -> str:
    return ON_HUB if isinstance(given, dict | HubLora) else PATH


Lora = Annotated[
    Annotated[str, Tag(PATH)] | Annotated[HubLora, Tag(ON_HUB)],
    Discriminator(_sort_of_lora),
]


class Expert(_Strict):
    """Who serves a phase: a LoRA file, an adapter trained for the model, or neither: the base model."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    lora: Lora | None = Field(None, description="a LoRA file: a path relative to the card, or one on the hub")
    adapter: str | None = Field(None, pattern=ADAPTER_NAME, description="an adapter of the model, by name")
    scale: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None, description="times the file's own alpha / rank; must be given for a file without alpha"
    )
    until: Boundary | None = Field(None, description="absent for the last expert")

    @field_validator("lora")
    @classmethod
    def _absolute(cls, lora: str | HubLora | None, info: ValidationInfo) -> str | HubLora | None:
        return str((Path(info.context or ".") / lora).absolute()) if isinstance(lora, str) else lora

    @model_validator(mode="after")
    def _one_source(self) -> Expert:
        if self.lora and self.adapter:
            raise ValueError("expected lora or adapter, not both")
        return self

    @property
    def weight(self) -> float:
        """The scale, 1 where it is the file's own."""
        return 1.0 if self.scale is None else self.scale

    def file(self, geometry: Geometry) -> str | None:
        """The LoRA file that serves on a model: its path, or its bare name where it is not trained or fetched yet."""
        if isinstance(self.lora, HubLora):
            return str(self.lora.published.place() or self.lora.published)
        if self.adapter is None:
            return self.lora
        return str(geometry.adapters.get(self.adapter, self.adapter))
