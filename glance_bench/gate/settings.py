"""The ``gate`` block of a suite: how much worse a run may be than its baseline before the gate fails it.

::

    gate:
      margins: {truth: 0.03, "fd[testbed-clip]": 8%}
      leave_out: [ocr_exact]
      speed: {margin: 3%}
      failures: {margin: 0.01, drop: 50%}
      noise: fresh

Everything has a default. A suite without the block is gated by the defaults.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "Failures",
    "GateBlock",
    "GateSettings",
    "Margin",
    "Speed",
    "default_margin",
    "margin_amount",
    "margin_text",
]

RATE_MARGIN = 0.02
DISTANCE_MARGIN = "5%"
DECIBEL_MARGIN = 0.5
SCORE_MARGIN = "2%"


def _margin(value: Any) -> float | str:
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?\s?%", value.strip()):
        return value.strip().replace(" ", "")
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    raise ValueError(
        f"a margin is a number such as 0.02, or a share of the baseline such as 2%, not {value!r}"
    )


def _share(value: Any) -> Any:
    """A share of one, written as 3% or as 0.03."""
    number = margin_amount(_margin(value), 1.0)
    if not 0 < number < 1:
        raise ValueError(f"expected a share between 0 and 100%, such as 3%, not {value!r}")
    return number


def _level(level: float) -> float:
    if not 0.5 < level < 1:
        raise ValueError(f"a level is between 0.5 and 1, such as 0.95, not {level}")
    return level


Margin = Annotated[float | str, BeforeValidator(_margin)]
Share = Annotated[float, BeforeValidator(_share, json_schema_input_type=float | str)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Speed(_Strict):
    """Latency: the reference's time over the sampler's, both measured in one process."""

    margin: Share = Field(0.03, description="how much of the speed-up may be lost")
    absolute: Share | None = Field(
        None, description="gate seconds too, on equal hardware only; null: they are only shown"
    )


class Failures(_Strict):
    """Images that are broken, and prompts that fall far."""

    margin: Margin = Field(0.01, description="how much the share of flagged prompts may rise")
    drop: Share = Field(
        0.5, description="a prompt has dropped when it lost so much of the baseline's mean on a metric"
    )


class GateSettings(_Strict):
    """How a run is compared with its baseline."""

    margins: dict[str, Margin] = Field(
        {}, description="by column or metric: 0.02, or 2% of the baseline's value"
    )
    leave_out: list[str] = Field([], description="columns or metrics that are not gated")
    speed: Speed | None = Field(Speed(), description="null: not gated")
    failures: Failures = Failures()
    noise: Literal["paired", "fresh"] = Field(
        "paired", description="paired: the same seeds are required; fresh: pairs prompts, whatever the seeds"
    )
    steps: Literal["same", "any"] = Field(
        "any", description="same: a sampler that plays other steps than the baseline's of its name fails"
    )
    level: Annotated[float, AfterValidator(_level)] = Field(
        0.95, description="of the intervals and the tests"
    )
    on_inconclusive: Literal["warn", "fail", "pass"] = Field(
        "fail", description="what becomes of a gate that can neither pass nor fail"
    )

    def margin_of(self, column: Mapping[str, Any]) -> float | str:
        """The margin of an entry of ``results["columns"]``: its own, its metric's, or the default of its kind."""
        for name in (column["name"], column["metric"]):
            if name in self.margins:
                return self.margins[name]
        return self.failures.margin if column["flag"] else default_margin(column)

    def gates(self, column: Mapping[str, Any]) -> bool:
        """Whether a column is gated: headlines and flags are, and what has a margin of its own."""
        if column["name"] in self.leave_out or column["metric"] in self.leave_out:
            return False
        return bool(column["headline"] or column["flag"] or column["name"] in self.margins)


class GateBlock(BaseModel):
    """A suite, of which only the gate block is looked at."""

    model_config = ConfigDict(extra="ignore")

    gate: GateSettings | None = None

    @property
    def settings(self) -> GateSettings:
        """The block, or the defaults where the suite has none."""
        return self.gate or GateSettings()


def default_margin(column: Mapping[str, Any]) -> float | str:
    """The margin of a column that the suite gives none: by what kind of number it is.

    Shares of images or words, and precision, recall and the like: 0.02. Distances of sets: 5 %. PSNR: 0.5 dB. Other
    scores: 2 % of the baseline's value.
    """
    if column["kind"] == "corpus":
        return DISTANCE_MARGIN if column["better"] == "lower" else RATE_MARGIN
    if column["flag"] or column["description"].startswith("share of"):
        return RATE_MARGIN
    return DECIBEL_MARGIN if column["metric"] == "psnr" else SCORE_MARGIN


def margin_amount(margin: float | str, baseline: float) -> float:
    """A margin in the unit of the values, at the baseline's value."""
    return float(margin[:-1]) / 100 * abs(baseline) if isinstance(margin, str) else margin


def margin_text(margin: float | str) -> str:
    """A margin as the suite writes it."""
    return margin if isinstance(margin, str) else f"{margin:g}"
