"""A run's records as two tables: every image with all its values, and every measured latency. No torch.

``samples.parquet`` has a row an image: model, sampler, prompt_set, prompt_id, index, seed, image_sha256,
text_sha256, category, prompt_words, wanted_words, objects (null where unknown), evaluations, and a float64 column
for each value that an image has. Values of metrics that judge a prompt's images together are repeated on each of
them. ``timing.parquet`` is ``Run.timing()``. What compares runs reads these and ``results.json``, see ``evidence``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from glance_bench.cells import prompt_values
from glance_bench.evidence import TABLES
from glance_bench.metrics.base import PromptMetric, UnitMetric
from glance_bench.prompts.facets import objects_asked, words_asked
from glance_bench.results import load_metrics, scored_records
from glance_bench.sealed import sha256_bytes, write_atomic

if TYPE_CHECKING:
    import pandas as pd

    from glance_bench.metrics.base import Metric
    from glance_bench.store import Run

__all__ = ["samples", "write_tables"]

FROM_RECORDS = ("model", "sampler", "prompt_set", "prompt_id", "index", "seed", "image_sha256")
FROM_PROMPTS = ("text_sha256", "category", "prompt_words", "wanted_words", "objects")


def samples(run: Run, metrics: Sequence[Metric] | None = None) -> pd.DataFrame:
    """The table of images. ``metrics`` replaces those that the run's manifest names."""
    metrics = load_metrics(run) if metrics is None else metrics
    records = scored_records(run)
    values: list[str] = []
    for metric in metrics:
        if metric.kind == "corpus":
            continue
        if isinstance(metric, UnitMetric):
            records = records.assign(**metric.flags(records).astype(float))
        elif isinstance(metric, PromptMetric):
            records = _with_prompt_values(run, metric, records)
        values += [column.name for column in metric.columns]
    return _with_prompts(run, records)[[*FROM_RECORDS, *FROM_PROMPTS, "evaluations", *values]].astype(
        dict.fromkeys(values, float)
    )


def write_tables(run: Run, metrics: Sequence[Metric] | None = None) -> dict[str, str]:
    """Write both tables into the run folder; their sha256 by name."""
    digests = {}
    for name, frame in zip(TABLES, (samples(run, metrics), run.timing()), strict=True):
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False, compression="zstd")
        write_atomic(run.folder / name, buffer.getvalue())
        digests[name] = sha256_bytes(buffer.getvalue())
    return digests


def _with_prompt_values(run: Run, metric: PromptMetric, records: pd.DataFrame) -> pd.DataFrame:

    (column,) = metric.columns
    records = records.assign(**{column.name: float("nan")})
    for (model, _), board in records.groupby(["model", "prompt_set"], sort=False):
        groups = {str(name): own for name, own in board.groupby("sampler", sort=False)}
        reference = run.reference_of(str(model), list(groups))
        ((_, by_prompt),) = prompt_values(run, metric, groups, reference)
        for name, own in groups.items():
            found: pd.Series = own["prompt_id"].map(by_prompt[name]).astype(float)
            records.loc[own.index, column.name] = found
    return records


def _with_prompts(run: Run, records: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    rows = [
        (
            *(prompt_set, prompt.id, sha256_bytes(prompt.text.encode()), prompt.category),
            *(len(prompt.text.split()), words_asked(prompt), objects_asked(prompt)),
        )
        for prompt_set in dict.fromkeys(records["prompt_set"])
        for prompt in run.prompts(str(prompt_set))
    ]
    keys = ["prompt_set", "prompt_id"]
    asked = pd.DataFrame(rows, columns=[*keys, *FROM_PROMPTS]).astype({"objects": float})
    return records.merge(asked, how="left", on=keys, validate="m:1")
