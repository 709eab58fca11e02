"""All checks of a gate, corrected for their number, and the verdict on the whole.

Pass needs every check to pass, each at its own level: an intersection-union test, which needs no correction (Berger
1982). One failure is enough to fail, so p-values are corrected for all checks together by Holm's method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from .. import stats
from ..errors import UsageError, near_misses
from .check import Check
from .comparable import Difference, differences, notes
from .failures import drop_checks, flag_checks, image_checks, step_checks
from .pairing import columns_of, pairs
from .quality import metric_checks, set_checks
from .speed import speed_checks

if TYPE_CHECKING:
    from ..evidence import Evidence
    from .settings import GateSettings

__all__ = ["EXIT_CODES", "Judgement", "Overall", "judge"]

Overall = Literal["pass", "fail", "inconclusive", "not comparable", "nothing measured"]
EXIT_CODES: Mapping[Overall, int] = {
    "pass": 0,
    "fail": 1,
    "inconclusive": 4,
    "not comparable": 4,
    "nothing measured": 5,
}
MEASURED = ("metric", "set", "failures", "speed", "latency")


@dataclass(frozen=True)
class Judgement:
    """What the gate found. ``differences`` is empty unless the verdict is "not comparable"; then no check was made."""

    verdict: Overall
    checks: Sequence[Check]
    differences: Sequence[Difference]
    notes: Sequence[str]

    def exit_code(self, on_inconclusive: Literal["warn", "fail", "pass"]) -> int:
        """What the process ends with. Only an inconclusive gate may be let through: what could not be compared at all
        was not judged."""
        if self.verdict == "inconclusive" and on_inconclusive != "fail":
            return 0
        return EXIT_CODES[self.verdict]


def judge(baseline: Evidence, run: Evidence, settings: GateSettings) -> Judgement:
    """The gate of ``run`` against ``baseline``.

    Raises UsageError for a margin of a column that neither side has, GlanceBenchError for tables that list an image
    twice.
    """
    _known(settings, baseline, run)
    paired = list(pairs(baseline, run, paired=settings.noise == "paired"))
    if wrong := differences(baseline, run, paired, settings):
        return Judgement("not comparable", (), wrong, ())
    columns = {name: column for name, column in columns_of(run).items() if name in columns_of(baseline)}
    checks = [
        *metric_checks(paired, columns, settings),
        *set_checks(paired, columns, settings),
        *flag_checks(paired, columns, settings),
        *drop_checks(paired, columns, settings),
        *speed_checks(baseline, run, settings),
        *image_checks(paired),
        *step_checks(paired, settings),
    ]
    checks = _corrected(checks, 1 - settings.level)
    return Judgement(_overall(checks), checks, (), notes(baseline, run, paired, settings))


def _corrected(checks: Sequence[Check], alpha: float) -> list[Check]:
    """The checks with adjusted p-values; failures and improvements where they are at most ``alpha``."""
    adjusted = stats.holm(
        {i: c.p for i, c in enumerate(checks) if c.p is not None and c.verdict != "informational"}
    )
    gains = stats.holm(
        {i: c.gain for i, c in enumerate(checks) if c.gain is not None and c.verdict != "informational"}
    )
    return [
        _final(replace(c, adjusted=adjusted.get(i), improved=gains.get(i, 1.0) <= alpha), alpha)
        for i, c in enumerate(checks)
    ]


def _final(check: Check, alpha: float) -> Check:
    rejected = check.adjusted is not None and check.adjusted <= alpha
    if not rejected or (check.verdict == "pass" and check.kind != "drops"):
        return check if check.verdict == "inconclusive" else replace(check, moved=())
    if check.unconfirmed:
        return replace(check, verdict="inconclusive", message=f"fails, unconfirmed: {check.unconfirmed}")
    return replace(check, verdict="fail")


def _overall(checks: Sequence[Check]) -> Overall:
    gated = [check for check in checks if check.verdict != "informational"]
    if any(check.verdict == "fail" for check in gated):
        return "fail"
    if not any(check.kind in MEASURED and check.n for check in gated):
        return "nothing measured"
    return "inconclusive" if any(check.verdict == "inconclusive" for check in gated) else "pass"


def _known(settings: GateSettings, baseline: Evidence, run: Evidence) -> None:
    """Every column that the settings name must be one, or belong to a metric that this profile does without."""
    names: set[str] = set()
    for evidence in (baseline, run):
        for name, column in columns_of(evidence).items():
            names |= {name, column["metric"]}
        names |= set(evidence.results.get("waiting", {})) | set(evidence.suite.get("left_out", []))
        names |= {str(name) for name in _metrics(evidence.suite)}
    for key, named in (("margins", settings.margins), ("leave_out", settings.leave_out)):
        for name in named:
            if name not in names:
                raise UsageError(f"gate.{key}: no column or metric {name!r}; {near_misses(name, names)}")


def _metrics(suite: Mapping[str, Any]) -> Sequence[Any]:
    judge = suite.get("judge")
    return [str(name).replace("[judge]", f"[{judge}]") for name in suite.get("metrics", [])]
