"""The figures of an analysis, drawn from one model's entry in its document. SVG, text as text, the same bytes again.

Colours are Okabe and Ito's, which remain apart for colour-blind readers (Color Universal Design, 2008), without its
yellow, which does not stand out on white. Markers differ as well.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..terminal import printable

__all__ = ["DRAWN", "losses_svg", "snr_svg", "velocity_svg"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")  # of another number than the colours, so that pairs differ
FAINT = "#777777"
COLUMNS = 3  # panels side by side
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "glance-bench",
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


def velocity_svg(model: Mapping[str, Any]) -> bytes:
    """Relative velocity error of each step against the noise level it starts from, with 95 % intervals.

    A line is broken where one phase hands over to the next.
    """
    with _style():
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        axes = figure.add_subplot()
        handles = []
        measured = [s for s in model["samplers"] if any(step["error"] for step in s["steps"])]
        for number, sampler in enumerate(measured):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            for phase in sampler["phases"]:
                steps = [s for s in sampler["steps"][phase["start"] : phase["stop"]] if s["error"]]
                errors = [step["error"] for step in steps]
                sigmas = [step["sigma"] for step in steps]
                axes.plot(
                    sigmas, [e["value"] for e in errors], color=colour, marker=marker, markersize=4, lw=1.2
                )
                for sigma, error in zip(sigmas, errors, strict=True):
                    if error["low"] is not None:
                        axes.plot([sigma, sigma], [error["low"], error["high"]], color=colour, lw=1)
            look = Line2D([], [], color=colour, marker=marker, markersize=4, lw=1.2, label=_names(sampler))
            handles.append(look)
        axes.set_xlim(1.03, -0.03)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("noise level sigma at the start of the step")
        axes.set_ylabel("|v - v_teacher| / |v_teacher|")
        axes.set_title(
            f"{printable(model['model'], 80)}: velocity error along the teacher's trajectory", loc="left"
        )
        figure.legend(handles=handles, loc="outside lower center", ncols=COLUMNS)
        return _svg(figure)


def snr_svg(model: Mapping[str, Any]) -> bytes:
    """Signal-to-noise ratio at the start of each step, a panel a sampler, with the hand-over between phases.

    The axis is logarithmic down to below the smallest ratio and even from there to the ratio 0 of sigma 1.
    """
    samplers = model["samplers"]
    names = dict.fromkeys(phase["name"] for sampler in samplers for phase in sampler["phases"])
    looks = {name: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)}
    least = min((step["snr"] for s in samplers for step in s["steps"] if step["snr"]), default=1.0)
    handed_over = False
    with _style():
        rows = -(-len(samplers) // COLUMNS)
        figure = Figure(figsize=(7.2, 0.9 + 2.1 * rows), layout="constrained")
        panels = figure.subplots(rows, COLUMNS, sharey=True, squeeze=False)
        for axes, sampler in zip(panels.flat, samplers, strict=False):
            for phase in sampler["phases"]:
                steps = [s for s in sampler["steps"][phase["start"] : phase["stop"]] if s["snr"] is not None]
                colour, marker = looks[phase["name"]]
                axes.plot(
                    [step["step"] for step in steps],
                    [step["snr"] for step in steps],
                    color=colour,
                    marker=marker,
                    markersize=3.5,
                    lw=1,
                )
                if phase["start"]:
                    axes.axvline(phase["start"] - 0.5, color=FAINT, lw=1, ls="--")
                    handed_over = True
            axes.set_yscale("symlog", linthresh=10 ** math.floor(math.log10(least)))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.minorticks_off()
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_xlabel("step")
            axes.set_title(_names(sampler), loc="left", fontsize=9)
        for axes in panels.flat[len(samplers) :]:
            axes.set_visible(False)
        figure.supylabel("SNR ((1 - sigma) / sigma)²", fontsize=9)
        figure.suptitle(f"{printable(model['model'], 80)}: signal-to-noise ratio at each step", fontsize=10)
        handles = [
            Line2D([], [], color=colour, marker=marker, markersize=4, lw=1, label=f"phase {printable(name)}")
            for name, (colour, marker) in looks.items()
        ]
        if handed_over:
            handles.append(Line2D([], [], color=FAINT, lw=1, ls="--", label="hand-over"))
        figure.legend(handles=handles, loc="outside lower center", ncols=COLUMNS)
        return _svg(figure)


def losses_svg(model: Mapping[str, Any]) -> bytes:
    """The loss of every training step, a line an adapter. Levels are drawn at random, hence the unrest."""
    with _style():
        figure = Figure(figsize=(7.2, 3.8), layout="constrained")
        axes = figure.add_subplot()
        handles: list[Line2D] = []
        for number, curve in enumerate(model["losses"]):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            losses = curve["losses"]
            handles += axes.plot(
                range(1, len(losses) + 1),
                losses,
                color=colour,
                marker=marker,
                markevery=max(1, len(losses) // 30),
                markersize=3,
                lw=1,
                label=f"adapter {printable(curve['adapter'], 60)}",
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("training step")
        axes.set_ylabel("training loss")
        axes.set_title(f"{printable(model['model'], 80)}: training of its adapters", loc="left")
        figure.legend(handles=handles, loc="outside lower center", ncols=COLUMNS)
        return _svg(figure)


DRAWN: dict[str, Callable[[Mapping[str, Any]], bytes]] = {
    "velocity": velocity_svg,
    "snr": snr_svg,
    "losses": losses_svg,
}


def _names(sampler: Mapping[str, Any]) -> str:
    """A sampler and those with the same steps, one a line."""
    return "\n= ".join([sampler["sampler"], *sampler["same"]])


def _style() -> Any:
    """A context with matplotlib's defaults and ours, whatever the user's matplotlibrc says."""
    return matplotlib.rc_context({**matplotlib.rcParamsDefault, **SETTINGS})


def _svg(figure: Figure) -> bytes:
    """Without a date, and with ids that depend on the content alone."""
    sink = io.BytesIO()
    figure.savefig(sink, format="svg", metadata={"Date": None})
    return sink.getvalue()
