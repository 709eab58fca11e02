"""`python -m glance_bench.testbed.figure1 RUN`: the paper's Figure 1 for the testbed, training against quality.

RUN is a finished run of suites/ablations/distilled.yaml. What each sampler's adapters cost comes from the training.json
beside them. Prints the table that the figure draws and the differences at equal cost; ``-o FILE`` draws it, and
``--write FOLDER`` puts the table into FOLDER/<suite>.md with the run's results.json beside it.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glance_bench.comparison.effects import effect_of
from glance_bench.comparison.pairing import pair
from glance_bench.comparison.sides import two_samplers
from glance_bench.evidence import Evidence, read_evidence
from glance_bench.registry import MODELS
from glance_bench.report.text import markdown_table
from glance_bench.samplers.cards import load_card
from glance_bench.training.record import read_record

TRUTH = "truth"
COLUMNS = {  # those that the run has are shown
    TRUTH: "truth",
    "ocr_word_accuracy": "word accuracy",
    "fd[testbed-clip]": "FD",
    "fidelity[testbed-clip]": "fidelity",
}
DIFFERENCES = (  # second less first
    ("uniform-8", "distilled-8"),
    ("uniform-4", "distilled-8"),
    ("uniform-4", "distilled-4"),
    ("teacher-50", "distilled-8"),
    ("glance-8", "distilled-8"),
    ("glance-8", "distilled-4"),
    ("uniform-8", "glance-8"),
)
COLOURS = {"glance": "#d1495b", "distilled": "#31688e"}
LINES = {"teacher-50": "-", "uniform-8": "--", "uniform-4": ":"}
STYLE = {"svg.hashsalt": "glance-bench", "font.size": 8}


@dataclass(frozen=True)
class Cost:
    """What training a sampler's adapters took: teacher's images, images seen, seconds for the two of them together."""

    samples: int
    seen: int
    seconds: float


def cost_of(sampler: str, model: str) -> Cost | None:
    """The cost of all adapters of a sampler; None for one without adapters."""
    folder = MODELS.get(model).adapters
    costs = [
        _recorded(read_record(folder / name.split("/")[0])["experts"][name.split("/")[1]])
        for expert in load_card(sampler).experts
        if folder and (name := expert.adapter)
    ]
    if not costs:
        return None
    return Cost(max(c.samples for c in costs), sum(c.seen for c in costs), sum(c.seconds for c in costs))


def _recorded(expert: Mapping[str, Any]) -> Cost:
    samples, recipe = expert["samples"], expert["recipe"]
    count = samples if isinstance(samples, int) else len(samples)
    return Cost(
        count, recipe["steps"] * recipe["batch"], expert["seconds"] + expert.get("teacher_seconds", 0.0)
    )


def report(evidence: Evidence) -> Iterator[str]:
    """The lines of both tables."""
    yield f"# {evidence.suite['title']}"
    for board in evidence.results["boards"]:
        model = board["model"]
        shown = [name for name in COLUMNS if any(name in row["cells"] for row in board["samplers"])]
        titles = [COLUMNS[name] for name in shown]
        body = []
        for row in board["samplers"]:
            cost = cost_of(row["sampler"], model)
            paid = [f"{cost.samples:,}", f"{cost.seen:,}", f"{cost.seconds:,.0f}"] if cost else ["", "", ""]
            cells = [_cell(row["cells"].get(name)) for name in shown]
            body.append([row["sampler"], str(row["nfe"]["nominal"]), *paid, *cells])
        yield f"\n## {model}\n\n{board['prompts']} prompts, {board['with_text']} with text.\n"
        yield from markdown_table(["sampler", "NFE", "samples", "images seen", "seconds", *titles], body)
        yield f"\n### {model}: differences, paired by prompt\n"
        yield from markdown_table(["difference", "NFE", *titles], list(_differences(evidence, model, shown)))


def _cell(cell: Mapping[str, Any] | None) -> str:
    """The value and its interval; nothing for the teacher's fidelity to itself."""
    return f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" if cell else ""


def _differences(evidence: Evidence, model: str, columns: Sequence[str]) -> Iterator[list[str]]:
    for first, second in DIFFERENCES:
        for a, b in two_samplers(evidence, first, second):
            if a.model == model:
                pairing = pair(a, b)
                both = [column in a.cells and column in b.cells for column in columns]
                effects = [effect_of(pairing, c) if ok else None for c, ok in zip(columns, both, strict=True)]
                yield [
                    f"{second} - {first}",
                    f"{b.row['nfe']['nominal']} and {a.row['nfe']['nominal']}",
                    *(f"{e.delta:+.3f} [{e.low:+.3f}, {e.high:+.3f}]" if e else "" for e in effects),
                ]


def draw(evidence: Evidence, format: str) -> bytes:
    """One panel a model: seconds of making samples and training against truth; more samples, larger marks."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    boards: Sequence[Mapping[str, Any]] = evidence.results["boards"]
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE}):
        figure = Figure(figsize=(3.6 * len(boards), 3.3), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(boards), squeeze=False)[0]
        for axis, board in zip(axes, boards, strict=True):
            _panel(axis, board)
        figure.supxlabel("seconds of one core: the teacher's samples and training", fontsize=8)
        handles, labels = axes[0].get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        figure.legend(
            unique.values(), unique.keys(), loc="outside upper center", ncols=3, frameon=False, fontsize=7
        )
        sink = io.BytesIO()
        figure.savefig(sink, format=format, dpi=150, metadata={"Date": None} if format == "svg" else {})
    return sink.getvalue()


def _panel(axis: Any, board: Mapping[str, Any]) -> None:
    axis.margins(x=0.35)
    beside: dict[str, int] = {}
    for row in board["samplers"]:
        name, truth = row["sampler"], row["cells"][TRUTH]
        cost, nfe = cost_of(name, board["model"]), f"{row['nfe']['nominal']} NFE"
        if cost is None:
            if name in LINES:
                axis.axhline(truth["value"], color="0.45", lw=0.9, ls=LINES[name], label=f"{name}, untrained")
            continue
        kind = name.partition("-")[0]
        left = beside.setdefault(kind, 0) % 2 == 1  # the second of a kind is named to the left
        beside[kind] += 1
        ends = [[truth["value"] - truth["low"]], [truth["high"] - truth["value"]]]
        axis.errorbar(cost.seconds, truth["value"], yerr=ends, color=COLOURS[kind], lw=0.9, capsize=2)
        many = f"{kind}, {cost.samples:,} {'sample' if cost.samples == 1 else 'samples'}"
        size = 25 * len(str(cost.samples))
        axis.scatter(cost.seconds, truth["value"], s=size, color=COLOURS[kind], zorder=3, label=many)
        axis.annotate(
            f"{name}\n{nfe}",
            (cost.seconds, truth["value"]),
            xytext=(-9 if left else 9, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=6,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
        )
    axis.set_xscale("log")
    axis.set_title(board["model"], fontsize=8)
    axis.set_ylabel("truth")
    axis.spines[["top", "right"]].set_visible(False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m glance_bench.testbed.figure1", description=__doc__)
    parser.add_argument("run", type=Path, help="a finished run of suites/ablations/distilled.yaml")
    parser.add_argument("-o", "--output", type=Path, help="the figure: a .svg or .png file")
    parser.add_argument("--write", type=Path, help="folder for the table and the run's results.json")
    options = parser.parse_args()
    evidence = read_evidence(options.run)
    text = "\n".join(report(evidence)) + "\n"
    print(text)
    if options.output:
        options.output.write_bytes(draw(evidence, options.output.suffix.lstrip(".")))
    if options.write:
        name = evidence.suite["name"]
        options.write.mkdir(parents=True, exist_ok=True)
        (options.write / f"{name}.md").write_text(text, encoding="utf-8")
        shutil.copyfile(options.run / "results.json", options.write / f"{name}.results.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
