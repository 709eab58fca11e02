"""`python -m glance_bench.testbed.ablations RUN...`: the paper's tables 3 to 6 as the testbed gives them, in Markdown.

RUN is a finished run of one of suites/ablations/. For the five columns of OneIG-Bench stand here truth (alignment),
word accuracy (text), distance between images of a prompt (diversity), Frechet distance, and fidelity to the teacher.
Samplers that differ by their training seed alone are one row; intervals are over seeds and prompts. With
``--write FOLDER`` the tables go to FOLDER/<suite>.md, with the run's results.json beside them.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glance_bench import stats
from glance_bench.cells import prompt_values
from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.base import CorpusMetric
from glance_bench.report.text import markdown_table
from glance_bench.results import load_metrics, scored_records
from glance_bench.store import Run
from glance_bench.tables.published import load_paper

if TYPE_CHECKING:
    import pandas as pd

TEACHER, PAPER = "teacher-50", "glance"
TRUTH, WORDS, FIDELITY = "truth", "ocr_word_accuracy", "fidelity[testbed-clip]"
NED = "ocr_ned_similarity"
MEANS = (TRUTH, WORDS, "diversity[testbed-clip]", FIDELITY)
FD = "fd[testbed-clip]"


@dataclass(frozen=True)
class Ablation:
    """One suite: the paper's table, the row of each sampler in it, and the differences that answer a question."""

    table: str
    rows: Mapping[str, str]
    questions: Sequence[tuple[str, str, str]]  # question, and the samplers: first minus second


ABLATIONS = {
    "ablation-stages": Ablation(
        "table 3",
        {
            "slow3+fast5": "Slow3 + Fast5",
            "slow3+base5": "Slow3 + Base5",
            "base3+fast5": "Base3 + Fast5",
            "single-identical": "Single (identical)",
            "single-uniform": "Single (uniform)",
        },
        (
            ("does slow-fast beat one LoRA on uniform steps?", "slow3+fast5", "single-uniform"),
            ("does the slow expert matter more than the fast one?", "slow3+base5", "base3+fast5"),
            ("are two experts better than one on the same steps?", "slow3+fast5", "single-identical"),
            ("what the schedule alone gives", "slowfast-8-base", "uniform-8"),
            ("what the adapters add to it", "slow3+fast5", "slowfast-8-base"),
            ("what the slow adapter adds", "slow3+base5", "slowfast-8-base"),
            ("what the fast adapter adds", "base3+fast5", "slowfast-8-base"),
            ("what the uniform adapter adds", "single-uniform", "uniform-8"),
            ("what tuned adapters add to the schedule", "slow3+fast5-tuned", "slowfast-8-base"),
            ("tuned instead of published", "slow3+fast5-tuned", "slow3+fast5"),
        ),
    ),
    "ablation-samples": Ablation(
        "table 4",
        {"samples-1": "1 sample", "samples-10": "10 samples", "samples-100": "100 samples"},
        (
            ("do 10 samples help?", "samples-10", "samples-1"),
            ("do 100 samples help?", "samples-100", "samples-1"),
            ("what the adapters add with 1 sample", "samples-1", "slowfast-10-base"),
            ("what the adapters add with 100 samples", "samples-100", "slowfast-10-base"),
        ),
    ),
    "ablation-timesteps": Ablation(
        "table 5",
        {"slow3+fast5": "Slow3 + Fast5", "slow5+fast5": "Slow5 + Fast5", "slow5+fast10": "Slow5 + Fast10"},
        (
            ("do 10 adapted timesteps beat 8?", "slow5+fast5", "slow3+fast5"),
            ("do 15 adapted timesteps beat 10?", "slow5+fast10", "slow5+fast5"),
            ("what the adapters add to 8", "slow3+fast5", "slowfast-8-base"),
            ("what the adapters add to 10", "slow5+fast5", "slowfast-10-base"),
            ("what the adapters add to 15", "slow5+fast10", "slowfast-15-base"),
            ("what tuned adapters add to 10", "slow5+fast5-tuned", "slowfast-10-base"),
            ("and without adapters, 10 against 8?", "slowfast-10-base", "slowfast-8-base"),
            ("and without adapters, 15 against 10?", "slowfast-15-base", "slowfast-10-base"),
        ),
    ),
    "ablation-sample-identity": Ablation(
        "table 6",
        {
            "sample-object": "Fox",
            "sample-landscape": "Valley landscape",
            "sample-poster": "Bookstore (text-rich)",
            "sample-photograph": "Real-world (OOD)",
            "sample-noise": "Gaussian noise",
        },
        (
            ("a landscape instead of an object", "sample-landscape", "sample-object"),
            ("dense text instead of an object", "sample-poster", "sample-object"),
            ("a photograph instead of an object", "sample-photograph", "sample-object"),
            ("noise instead of an object", "sample-noise", "sample-object"),
            ("noise against no adapters at all", "sample-noise", "slowfast-10-base"),
        ),
    ),
}

Floats = npt.NDArray[np.float64]
Values = dict[str, dict[str, "pd.DataFrame"]]  # by column and group: a row a seed, a column a prompt


def report(run: Run) -> Iterator[str]:
    """The lines of one run's tables. Raises GlanceBenchError when it is no run of an ablation suite."""
    name = run.suite()["name"]
    if name not in ABLATIONS:
        raise GlanceBenchError(f"{run.folder}: {name!r} is none of {', '.join(ABLATIONS)}")
    ablation = ABLATIONS[name]
    records = scored_records(run)
    categories = {prompt.id: prompt.category for prompt in run.prompts()}
    yield f"# {run.suite()['title']}"
    for model in dict.fromkeys(entry["model"] for entry in run.manifest["samplers"]):
        values, frechet = _board(run, model, records[records["model"] == model])
        yield from _rows(model, ablation, values, frechet)
        yield from _answers(model, ablation, values)
        yield from _small_text(model, ablation, values, categories)


def _board(run: Run, model: str, records: pd.DataFrame) -> tuple[Values, dict[str, str]]:
    """What the metrics gave for one model: means as seeds x prompts, and the Frechet distances as text."""
    import pandas as pd

    group = {e["sampler"]: e["group"] for e in run.manifest["samplers"] if e["model"] == model}
    samplers = {str(name): own for name, own in records.groupby("sampler", sort=False)}
    values: Values = {}
    frechet: dict[str, str] = {}
    for metric in load_metrics(run):
        if isinstance(metric, CorpusMetric):
            frechet = _distances(run, model, group)
        if isinstance(metric, CorpusMetric) or metric.kind == "unit":
            continue
        for column, by_prompt in prompt_values(run, metric, samplers, TEACHER):
            members: dict[str, list[pd.Series]] = {}
            for sampler, series in by_prompt.items():
                if len(series):
                    members.setdefault(group[sampler], []).append(series)
            values[column.name] = {
                name: pd.DataFrame(list(rows)).dropna(axis=1) for name, rows in members.items()
            }
    return values, frechet


def _distances(run: Run, model: str, group: Mapping[str, str]) -> dict[str, str]:
    """The mean of each group's Frechet distances; the interval holds the jackknife's variance and the seeds'."""
    results = json.loads((run.folder / "results.json").read_text(encoding="utf-8"))
    board = next(b for b in results["boards"] if b["model"] == model)
    members: dict[str, list[dict[str, Any]]] = {}
    for row in board["samplers"]:
        members.setdefault(group[row["sampler"]], []).append(row["cells"][FD])
    shown = {}
    for name, cells in members.items():
        mean = float(np.mean([cell["value"] for cell in cells]))
        found = [j for cell in cells if (j := stats.Jackknife.of_cell(cell)) is not None]
        averaged = stats.Jackknife.mean_of(found)
        interval = stats.Interval(math.nan, math.nan) if averaged is None else averaged.interval()
        if len(cells) > 1:
            seeds = stats.crossed_interval([[cell["value"] for cell in cells]])  # the t interval of one row
            half = float(np.hypot((interval.high - interval.low) / 2, (seeds.high - seeds.low) / 2))
            interval = stats.Interval(mean - half, mean + half)
        shown[name] = _shown(mean, interval)
    return shown


def _rows(model: str, ablation: Ablation, values: Values, frechet: Mapping[str, str]) -> Iterator[str]:
    paper = load_paper(PAPER)
    (printed,) = (table for table in paper.tables if table.id == ablation.table)
    head = [
        "sampler",
        "seeds",
        "truth",
        "word accuracy",
        "diversity",
        "FD",
        "fidelity",
        f"the paper's {ablation.table}",
    ]
    body = []
    for name, truth in values[TRUTH].items():
        cells = {column: _cell(values[column].get(name)) for column in MEANS}
        seeds = str(len(truth)) if len(truth) > 1 else ""
        theirs = ""
        if name in ablation.rows and (row := printed.row(ablation.rows[name])):
            theirs = " / ".join(f"{value:.3f}" for value in row.values or ()) or "nothing meaningful"
        before = [cells[column] for column in MEANS[:3]]
        body.append([name, seeds, *before, frechet.get(name, ""), cells[FIDELITY], theirs])
    count, text = values[TRUTH][TEACHER].shape[1], values[WORDS][TEACHER].shape[1]
    columns = " / ".join(paper.columns[name].title.lower() for name in printed.columns)
    yield f"\n## {model}\n\n{count} prompts, {text} with text. The paper's columns, for Qwen-Image: {columns}.\n"
    yield from markdown_table(head, body)


def _answers(model: str, ablation: Ablation, values: Values) -> Iterator[str]:
    body = [
        [
            question,
            f"{first} - {second}",
            *(_difference(values[c], first, second) for c in (TRUTH, WORDS, FIDELITY)),
        ]
        for question, first, second in ablation.questions
    ]
    yield f"\n### {model}: differences, paired by prompt\n"
    yield from markdown_table(["question", "difference", "truth", "word accuracy", "fidelity"], body)


def _small_text(
    model: str, ablation: Ablation, values: Values, categories: Mapping[str, str]
) -> Iterator[str]:
    """One-word signs beside posters. NED stands by the words, because a poster is seldom read whole."""
    body = []
    for name in ablation.rows:
        cells = [name]
        for category, column in (("sign", WORDS), ("poster", WORDS), ("sign", NED), ("poster", NED)):
            own = {
                group: matrix.loc[:, [categories[prompt] == category for prompt in matrix.columns]]
                for group, matrix in values[column].items()
            }
            cells.append(f"{own[name].to_numpy().mean():.3f}, {_difference(own, name, TEACHER)}")
        body.append(cells)
    yield f"\n### {model}: one-word signs and posters (small, dense text), each with its difference to {TEACHER}\n"
    yield from markdown_table(
        ["sampler", "words of signs", "words of posters", "NED of signs", "NED of posters"], body
    )


def _cell(values: pd.DataFrame | None) -> str:
    if values is None or not values.size:
        return ""
    matrix = values.to_numpy(float)
    return _shown(float(matrix.mean()), stats.crossed_interval(matrix))


def _difference(groups: Mapping[str, pd.DataFrame], first: str, second: str) -> str:
    """Seeds of two trained samplers are paired by their place; one without seeds stands against each of the other's."""
    if first not in groups or second not in groups:
        return ""
    a, b = groups[first], groups[second]
    both = a.columns.intersection(b.columns)
    matrix: Floats = a[both].to_numpy(float) - b[both].to_numpy(float)
    interval = stats.crossed_interval(matrix)
    return f"{matrix.mean():+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def _shown(value: float, interval: stats.Interval) -> str:
    return f"{value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m glance_bench.testbed.ablations", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="finished runs of suites/ablations/")
    parser.add_argument("--write", type=Path, help="folder for the tables and the runs' results.json")
    options = parser.parse_args()
    for folder in options.runs:
        run = Run(folder)
        try:
            text = "\n".join(report(run)) + "\n"
        except GlanceBenchError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        print(text)
        if options.write:
            options.write.mkdir(parents=True, exist_ok=True)
            name = run.suite()["name"]
            (options.write / f"{name}.md").write_text(text, encoding="utf-8")
            shutil.copyfile(run.folder / "results.json", options.write / f"{name}.results.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
