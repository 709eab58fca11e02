"""A check of the gate's document in words, the same in every format. Nothing here is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..report.text import number

__all__ = ["ARROW", "change", "headline", "numbers", "place", "sentence", "summary"]

ARROW = "\u2192"
SPEED = ("speed", "latency")
UNITS = {"metric": "prompts", "set": "images", "failures": "prompts", "drops": "prompts", "images": "images"}
VERDICTS = {
    "pass": "PASS",
    "fail": "FAIL",
    "inconclusive": "INCONCLUSIVE",
    "not comparable": "NOT COMPARABLE",
    "nothing measured": "NOTHING MEASURED",
}


def headline(gate: Mapping[str, Any]) -> str:
    """The verdict and how it came about, in one line."""
    counts = gate["counts"]
    told = f"{VERDICTS[gate['verdict']]}: {gate['run']['name']} against {gate['baseline']['name']}"
    if gate["differences"]:
        return f"{told}: {len(gate['differences'])} of what must be equal differs"
    parts = [f"{counts[name]} {word}" for name, word in (("fail", "failed"), ("inconclusive", "inconclusive")) if
             counts[name]]  # fmt: skip
    return f"{told}: {', '.join([*parts, str(counts['pass']) + ' passed'])}"


def summary(gate: Mapping[str, Any]) -> str:
    """What the exit code says where the verdict alone does not."""
    if gate["verdict"] != "inconclusive" or gate["on_inconclusive"] == "fail":
        return ""
    return "inconclusive: nothing failed, but what did not pass was not shown to be as good as the baseline"


def place(check: Mapping[str, Any]) -> str:
    """Where a check was made: sampler, model and prompt set."""
    return ", ".join(part for part in (check["sampler"], check["model"], check["prompt_set"]) if part)


def sentence(check: Mapping[str, Any]) -> str:
    """What was found, in words and numbers: without sampler, model and prompt set."""
    return f"{check['title']}: {numbers(check)}"


def numbers(check: Mapping[str, Any]) -> str:
    """The numbers of a check and its message."""
    parts = []
    if check["kind"] in ("metric", "set", "failures", *SPEED) and check["difference"] is not None:
        unit = "blocks" if check["kind"] in SPEED else UNITS[check["kind"]]
        parts.append(f"{values(check)}, {change(check)}, {check['n']} {unit}")
        if check["margin"] is not None:
            parts.append(f"margin {margin(check)}")
        if check["verdict"] == "inconclusive" and check["detectable"]:
            parts.append(f"so many find a change of {size(check, check['detectable'])}")
            if check["needed"] is not None and check["needed"] > check["n"]:
                loss = check["difference"] * (-1 if check["better"] == "higher" else 1)
                would = "show" if loss > check["margin"] else "rule out"
                parts.append(f"about {check['needed']} would {would} a loss beyond the margin")
    if check["message"]:
        parts.append(check["message"])
    if check["adjusted"] is not None and check["verdict"] == "fail":
        parts.append(f"p {check['adjusted']:.2g}")
    elif check["adjusted"] is not None and _beyond(check):
        parts.append(f"beyond the margin, but p {check['adjusted']:.2g} when corrected for all checks")
    return "; ".join(parts) or f"{check['n']} {UNITS.get(check['kind'], '')}".strip()


def _beyond(check: Mapping[str, Any]) -> bool:
    """Whether an inconclusive check's whole interval lies beyond the margin."""
    if check["verdict"] != "inconclusive" or None in (check["low"], check["high"], check["margin"]):
        return False
    return bool(
        check["high"] < -check["margin"] if check["better"] == "higher" else check["low"] > check["margin"]
    )


def values(check: Mapping[str, Any]) -> str:
    """``baseline -> run``."""
    suffix = {"speed": "\u00d7", "latency": " s"}.get(check["kind"], "")
    if check["kind"] == "failures":
        return f"{check['baseline']:.1%} {ARROW} {check['run']:.1%}"
    shown = [number(check[side], check["decimals"]) + suffix for side in ("baseline", "run")]
    return f"{shown[0]} {ARROW} {shown[1]}"


def change(check: Mapping[str, Any]) -> str:
    """The difference with its sign and its interval."""
    told = signed(check, check["difference"])
    if check["low"] is None or check["high"] is None:
        return told
    return f"{told} [{signed(check, check['low'])}, {signed(check, check['high'])}]"


def margin(check: Mapping[str, Any]) -> str:
    """The margin as the suite has it, and in the unit of the values where that says more."""
    if check["kind"] in SPEED:
        return f"{100 * check['margin']:g}%"
    if check["margin_text"].endswith("%"):
        return f"{check['margin_text']} = {size(check, check['margin'])}"
    return str(check["margin_text"])


def signed(check: Mapping[str, Any], value: float) -> str:
    if check["kind"] in SPEED or check["kind"] in ("failures", "drops"):
        return f"{100 * value:+.1f}%"
    return f"{value:+.{_decimals(check)}f}"


def size(check: Mapping[str, Any], value: float) -> str:
    return f"{100 * value:.1f}%" if check["kind"] in ("failures", *SPEED) else f"{value:.{_decimals(check)}f}"


def _decimals(check: Mapping[str, Any]) -> int:
    """Of differences: as many as the values have, more where the margin would otherwise be rounded away."""
    decimals: int = check["decimals"]
    small = check["margin"]
    while small and decimals < 6 and small < 2 * 10.0**-decimals:
        decimals += 1
    return decimals
