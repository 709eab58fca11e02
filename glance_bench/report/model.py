"""What a report is made from: finished runs, and their boards in the order in which a reader meets them.

A *row* of a board is one prompt and one index of its images: what every sampler made from the same noise. Rows
and samplers are numbers everywhere in a report, in its links, its data and the names of its thumbnails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glance_bench.evidence import Evidence, read_evidence
from glance_bench.failures import OVERALL, Grid, document, drops

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from glance_bench.store import Run

__all__ = ["Asked", "Board", "Report", "Source", "load"]


@dataclass(frozen=True)
class Asked:
    """A prompt as a reader needs it; ``wanted_text`` is empty where no text is asked for, or where it is not kept."""

    id: str
    text: str
    category: str
    wanted_text: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """A finished run. ``run`` is None for a baseline or an unpacked bundle, which have none or a few of its images."""

    name: str  # unique in the report
    folder: Path
    evidence: Evidence
    run: Run | None


@dataclass(frozen=True)
class Board:
    """One model on one prompt set of one source. ``number`` is its place in the report."""

    number: int
    source: Source
    results: Mapping[str, Any]
    label: str
    columns: list[Mapping[str, Any]]
    samples: pd.DataFrame
    records: pd.DataFrame | None
    prompts: list[Asked]
    rows: list[tuple[str, int]]

    @property
    def samplers(self) -> list[str]:
        return [str(row["sampler"]) for row in self.results["samplers"]]

    @property
    def reference(self) -> str:
        return str(self.results["reference"])

    @cached_property
    def places(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """For every line of ``samples``: the number of its sampler and of its row."""
        return self.places_of(self.samples)

    def places_of(self, frame: pd.DataFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The numbers of sampler and row for the lines of a frame with ``sampler``, ``prompt_id`` and ``index``."""
        import numpy as np
        import pandas as pd

        samplers = pd.Index(self.samplers).get_indexer(frame["sampler"])
        rows = pd.MultiIndex.from_tuples(self.rows).get_indexer(
            pd.MultiIndex.from_frame(frame[["prompt_id", "index"]])
        )
        return samplers.astype(np.int64), rows.astype(np.int64)

    @cached_property
    def per_image(self) -> list[Mapping[str, Any]]:
        """The columns of which every image has a value of its own."""
        return [column for column in self.columns if column["name"] in self.samples]

    @cached_property
    def _grid(self) -> Grid:
        return Grid.of(self.samples, self.results, self.rows)

    @cached_property
    def overall(self) -> npt.NDArray[np.float64]:
        """float64[samplers, rows]: the overall drop of each image, see ``failures.drops``."""
        return drops(self._grid, self.columns)[OVERALL]

    @cached_property
    def failures(self) -> dict[str, Any]:
        """The document of ``failures``."""
        return document(self._grid, self.columns, records=self.records, prompts=self.prompts)

    @cached_property
    def strips(self) -> dict[int, list[list[dict[str, Any]]]]:
        """By row, and there by sampler, the estimates of its trajectory strip: sigma, step, adapter, file."""
        if self.source.run is None:
            return {}
        frame = _part(self.source.run.strips(), self.results)
        samplers, rows = self.places_of(frame)
        found: dict[int, list[list[dict[str, Any]]]] = {}
        for sampler, row, estimate in zip(samplers, rows, frame.to_dict("records"), strict=True):
            if row >= 0:
                own = found.setdefault(int(row), [[] for _ in self.samplers])
                own[sampler].append({name: estimate[name] for name in ("sigma", "step", "adapter", "file")})
        return found

    def values(self, column: str) -> npt.NDArray[np.float64]:
        """float64[samplers, rows] of a column of ``samples``; NaN for no value."""
        import numpy as np

        grid = np.full((len(self.samplers), len(self.rows)), np.nan)
        grid[self.places] = self.samples[column].to_numpy(float)
        return grid


@dataclass(frozen=True)
class Report:
    """Boards of one or more sources; ``gate`` is the document of ``glance-bench gate --format json``, if given."""

    title: str
    sources: list[Source]
    boards: list[Board]
    gate: Mapping[str, Any] | None = None


def load(folders: Sequence[Path], gate: Mapping[str, Any] | None = None) -> Report:
    """Read finished runs, baselines and bundles' folders.

    Two runs of one name are told apart by a number behind it. Raises what ``read_evidence`` raises.
    """
    from glance_bench.store import Run

    sources: list[Source] = []
    for folder in folders:
        evidence = read_evidence(folder)
        taken = {source.name for source in sources}
        again = (f"{evidence.name} ({i})" for i in range(2, len(folders) + 2))
        name = next(n for n in (evidence.name, *again) if n not in taken)
        run = Run(folder) if (folder / "units").is_dir() else None
        sources.append(Source(name, folder, evidence, run))
    boards: list[Board] = []
    for source in sources:
        boards += _boards(source, len(boards), many=len(sources) > 1)
    title = sources[0].name if len(sources) == 1 else ", ".join(source.name for source in sources)
    return Report(title, sources, boards, gate)


def _boards(source: Source, first: int, many: bool) -> list[Board]:
    from glance_bench.results import scored_records

    results = source.evidence.results
    records = _packed_images(source) if source.run is None else scored_records(source.run)
    made = []
    for number, board in enumerate(results["boards"], first):
        samples = _part(source.evidence.samples, board)
        own = None if records is None else _part(records, board)
        prompts = _asked(source, str(board["prompt_set"]), samples)
        order = {prompt.id: place for place, prompt in enumerate(prompts)}
        found = samples[["prompt_id", "index"]].drop_duplicates().itertuples(index=False, name=None)
        names = {cell for row in board["samplers"] for cell in row["cells"]}
        made.append(
            Board(
                number=number,
                source=source,
                results=board,
                label=f"{board['model']} on {board['prompt_set']}" + (f", {source.name}" if many else ""),
                columns=[column for column in results["columns"] if column["name"] in names],
                samples=samples,
                records=own,
                prompts=prompts,
                rows=sorted(
                    ((str(p), int(i)) for p, i in found), key=lambda row: (order[row[0]], row[1], row[0])
                ),
            )
        )
    return made


def _packed_images(source: Source) -> pd.DataFrame | None:
    """Records of the images that a bundle carries, by their digests; None where there are none."""
    there = {path.stem for path in (source.folder / "images").glob("*.png")}
    samples = source.evidence.samples
    own = samples[samples["image_sha256"].isin(there)]
    if own.empty:
        return None
    named = own[["model", "sampler", "prompt_set", "prompt_id", "index", "seed", "image_sha256"]]
    return named.assign(image="images/" + own["image_sha256"] + ".png", finite=True, black=False)


def _part(frame: pd.DataFrame, board: Mapping[str, Any]) -> pd.DataFrame:
    own = (frame["model"] == board["model"]) & (frame["prompt_set"] == board["prompt_set"])
    return frame[own].reset_index(drop=True)


def _asked(source: Source, prompt_set: str, samples: pd.DataFrame) -> list[Asked]:
    """The prompts of a board that have images, in the order of their set."""
    used = dict(zip(samples["prompt_id"], samples["category"].fillna("").astype(str), strict=True))
    wanted = {}
    if source.run is not None:
        wanted = {prompt.id: tuple(prompt.wanted_text) for prompt in source.run.prompts(prompt_set)}
    texts = source.evidence.prompts.get(prompt_set, {})
    return [Asked(name, texts[name], used[name], wanted.get(name, ())) for name in texts if name in used]
