"""Schedule: each sampler's steps over its model's noise curve, who serves them, and the steps as a table."""

from __future__ import annotations

from typing import Any

from glance_bench.report.charts.sigmas import TOLD, steps_on_curve
from glance_bench.report.model import Board, Report
from glance_bench.report.steps import BASE, Played, geometry_of, played
from glance_bench.trajectory import snr, teacher_grid

__all__ = ["TITLE", "context"]

TITLE = "Schedule"
FIRST = {BASE: 0, "slow": 1, "fast": 2}  # marks of the experts that most samplers have; others come after


def context(report: Report) -> dict[str, Any]:
    """A model of a source at a time: its samplers play the same steps on every prompt set."""
    models: dict[tuple[str, str], list[Board]] = {}
    for board in report.boards:
        models.setdefault((board.source.name, board.results["model"]), []).append(board)
    return {"models": [_model(boards) for boards in models.values()]}


def _model(boards: list[Board]) -> dict[str, Any]:
    board = boards[0]
    known, unknown = played(board)
    curve, of_curve = _curve(board, known)
    experts = list(dict.fromkeys(row["expert"] for one in known for row in one.rows))
    others = [expert for expert in experts if expert not in FIRST]
    looks = FIRST | {expert: len(FIRST) + i for i, expert in enumerate(others)}
    return {
        "boards": boards,
        "title": f"{board.results['model']}, {board.source.name}",
        "of_curve": of_curve,
        "looks": [(looks[expert], expert) for expert in sorted(experts, key=lambda expert: looks[expert])],
        "panels": [_panel(board, one, curve, looks) for one in known],
        "unknown": [(board.samplers[place], why) for place, why in unknown],
        "unnamed": [board.samplers[place] for one in known if not one.named for place in one.places],
    }


def _panel(board: Board, one: Played, curve: list[float], looks: dict[str, int]) -> dict[str, Any]:
    name = ", ".join(board.samplers[place] for place in one.places)
    return {
        "played": one,
        "names": [(place, board.samplers[place]) for place in one.places],
        "drawn": steps_on_curve(curve, one.rows, looks, name),
        "told": sum(abs(row["t_cond"] - row["sigma"]) > TOLD for row in one.rows),
        "steps": [{**row, "snr": None if row["sigma"] == 0 else snr(row["sigma"])} for row in one.rows],
    }


def _curve(board: Board, known: list[Played]) -> tuple[list[float], str]:
    """The sigmas of the model's 50-step grid, or else of the sampler with most steps; and which it is."""
    shape = geometry_of(board)
    if shape is not None:
        return [float(s) for s in teacher_grid(shape.shift, shape.tokens)], "the model's 50-step grid"
    if not known:
        return [], ""
    longest = max(known, key=lambda one: len(one.rows))
    levels = [row["sigma"] for row in longest.rows] + [longest.rows[-1]["sigma_next"]]
    return levels, f"the steps of {board.samplers[longest.places[0]]}"
