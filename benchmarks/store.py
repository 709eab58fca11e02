"""A run folder of many images: how long it takes to find that nothing is left to do, and to read all records.

    python benchmarks/store.py                    # 100,000 images looked over, 1,000,000 records scanned
    python benchmarks/store.py --keep big-store   # keeps the made-up folders, for the next time

Both folders are what the planner plans for a suite of ten samplers on one testbed model, a unit a hundred prompts; no
model makes them. Every image is a real PNG file of one colour, scores and features are drawn at random, and the report
is made by `glance-bench run` itself before anything is measured. Measured, each in a process of its own:

* `glance-bench run` of the finished suite: wall time from start to end, over some rounds the median. It looks over
  every unit, score and feature file as always. It must find everything done, and must not load torch.
* a scan: every unit's records read and checked, one unit at a time. Wall time and the largest resident set. The units
  of this folder hold records and no images, because a scan reads none.

Prints Markdown, the seconds of processor time beside those of the wall. Exit status 1 when a limit is not met.
"""

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np

from glance_bench import store
from glance_bench.engine.generate import png
from glance_bench.engine.pairs import pending_pairs
from glance_bench.engine.plan import Plan, PlannedMetric, Work
from glance_bench.engine.planning import make_plan
from glance_bench.engine.runner import documents
from glance_bench.metrics.base import FROM_FEATURES
from glance_bench.sealed import json_bytes, parquet_bytes, seal
from glance_bench.store import Run
from glance_bench.suite import load_suite
from glance_bench.terminal import Progress
from glance_bench.units import PAIR_KEYS, read_unit

SAMPLERS = (
    *("teacher-50", "native-8", "native-10", "uniform-4", "uniform-8", "uniform-10"),
    *("slowfast-8-base", "slowfast-10-base", "glance-8", "glance-10"),
)
METRICS = ("clip[testbed-clip]", "fd[testbed-clip]", "psnr")
SLICE = 100
WORDS = "a red blue small large old cat dog house street sign poster bowl river of with under beside near two three"
SIDE = 64
MEBIBYTE = 2**20
LIMITS = {  # name: (at most, unit)
    "run again": (3.0, "s"),
    "scan": (20.0, "s"),
    "peak memory of the scan": (1024, "MiB"),
}
RUN = """
import sys
from glance_bench.cli import main
try:
    main()
finally:
    sys.stdout.flush()
    print("torch loaded:", "torch" in sys.modules, file=sys.stderr)
"""
SCAN = """
import sys
from glance_bench.store import Run
print(sum(table.num_rows for table in Run(sys.argv[1]).record_tables()))
"""


@dataclass(frozen=True)
class Took:
    """What a process took: seconds of the wall and of the processor, its largest resident set in bytes."""

    wall: float
    processor: float
    peak: int
    said: str  # stdout
    told: str  # stderr


def timed(command: Sequence[str], folder: Path) -> Took:
    """Runs a command with its output in files; an exit status other than 0 ends the measurement."""
    out, err = folder / "stdout", folder / "stderr"
    with out.open("wb") as said, err.open("wb") as told:
        start = time.perf_counter()
        process = subprocess.Popen(list(command), stdout=said, stderr=told)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{err.read_text()}")
    return Took(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, out.read_text(), err.read_text())


def write_suite(folder: Path, prompts: int, metrics: Sequence[str]) -> Path:
    """A suite file, and its prompts beside it."""
    folder.mkdir(parents=True)
    rng, words = np.random.default_rng(0), WORDS.split()
    texts = [f"{' '.join(rng.choice(words, 12))}, number {number}" for number in range(prompts)]
    (folder / "prompts.txt").write_text("\n".join(texts) + "\n")
    suite = {
        **{
            "version": 1,
            "name": "many",
            "models": ["testbed-flux"],
            "samplers": SAMPLERS,
            "metrics": metrics,
        },
        **{
            "prompts": [{"set": f"file:{folder / 'prompts.txt'}"}],
            "slice_size": SLICE,
            "timing": {"repeats": 0},
        },
    }
    (folder / "many.yaml").write_bytes(json_bytes(suite))  # JSON is YAML too
    return folder / "many.yaml"


def fill(run: Run, plan: Plan, say: Callable[[str], None]) -> None:
    """Everything that the passes would leave in the run folder, but for the report."""
    for name, value in documents(plan).items():
        run.write(name, value)
    rng = np.random.default_rng(1)
    for number, work in enumerate(plan.works):
        publish(run, work, number * SLICE)
        for metric in plan.metrics:
            if metric.folder is not None and metric.metric.kind != "pair":
                score(run, work, metric, rng)
        if number % 1000 == 999:
            say(f"{number + 1} of {len(plan.works)} units")
    for metric, parts in pending_pairs(run, plan, Progress(quiet=True)):
        columns = dict.fromkeys(PAIR_KEYS, "string") | {c.name: "float64" for c in metric.metric.columns}
        for part in parts:
            rows = [dict(zip(columns, (*row[2:], rng.uniform(10, 40)), strict=True)) for row in part.rows]
            seal(run.folder / str(metric.folder), part.key, metric.suffix, parquet_bytes(rows, columns))


def publish(run: Run, work: Work, first: int) -> None:
    """A unit as the generate pass writes one; the colour of an image is its number, which counts from ``first``."""
    images = []
    for number in range(first, first + len(work.items)):
        colour = np.frombuffer(number.to_bytes(3, "big"), np.uint8)
        images.append(png(np.broadcast_to(colour, (SIDE, SIDE, 3)).copy()))
    info = work.info
    shared = {"model": info.model, "sampler": info.sampler, "prompt_set": info.prompt_set}
    shared |= {"width": SIDE, "height": SIDE, "finite": True, "black": False, "truncated": False}
    shared |= {"evaluations": work.sampler.trajectory.nfe, "batch_size": work.made_of["batch_size"]}
    rows = [{**shared, "prompt_id": i.prompt.id, "index": i.index, "seed": i.seed} for i in work.items]
    made = {"made_of": work.made_of, "sampler_made_of": work.sampler.made_of}
    run.publish_unit(info, images, rows, [item.prompt.text for item in work.items], made)


def score(run: Run, work: Work, metric: PlannedMetric, rng: np.random.Generator) -> None:
    """Scores or features of a unit, at random."""
    document = read_unit(run.folder / work.info.folder)
    shas = [image["sha256"] for image in document["images"]]
    folder, key = run.folder / str(metric.folder), run.score_key(document)
    if metric.metric.kind in FROM_FEATURES:
        wide = len(metric.metric.reference(folder).mean)
        buffer = io.BytesIO()
        features = rng.normal(size=(len(shas), wide)).astype(np.float32)
        np.savez(buffer, image_sha256=np.array(shas), features=features)
        seal(folder, key, metric.suffix, buffer.getvalue())
        return
    columns = {"image_sha256": "string", "prompt_id": "string"}
    columns |= {column.name: "float64" for column in metric.metric.columns}
    rows = [
        {"image_sha256": sha, "prompt_id": item.prompt.id}
        | {column.name: float(rng.uniform()) for column in metric.metric.columns}
        for sha, item in zip(shas, work.items, strict=True)
    ]
    seal(folder, key, metric.suffix, parquet_bytes(rows, columns))


@contextmanager
def without_images() -> Iterator[None]:
    """Units are written without their PNG files."""
    write = store.write_folder

    def records_alone(place: Path, files: Mapping[str, bytes]) -> None:
        write(place, {name: data for name, data in files.items() if not name.endswith(".png")})

    with patch.object(store, "write_folder", records_alone):
        yield


def made(folder: Path, images: int, metrics: Sequence[str], say: Callable[[str], None]) -> tuple[Path, Path]:
    """The suite and the run folder of so many images, made unless they are there whole."""
    suite, run = folder / "suite" / "many.yaml", folder / "run"
    if not (folder / "whole").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        suite = write_suite(folder / "suite", images // len(SAMPLERS), metrics)
        fill(Run(run), make_plan(load_suite(str(suite))), say)
        (folder / "whole").touch()
    return suite, run


def main() -> int:
    parser = argparse.ArgumentParser(description="A finished run looked over again, and its records scanned.")
    parser.add_argument("--images", type=int, default=100_000, help="of the finished run (default 100,000)")
    parser.add_argument("--records", type=int, default=1_000_000, help="to scan (default 1,000,000)")
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds (default 3)")
    parser.add_argument("--keep", type=Path, help="a folder for what is made up, used again when it is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        return measure(options, options.keep or Path(scratch), Path(scratch))


def measure(options: argparse.Namespace, room: Path, scratch: Path) -> int:
    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    found: dict[str, float] = {}
    say(f"{options.images:,} images")
    suite, run = made(room / "images", options.images, METRICS, say)
    command = [sys.executable, "-c", RUN, "run", str(suite), "-o", str(run)]
    say("the report, not measured")
    timed(command, scratch)
    rounds = [timed(command, scratch) for _ in range(options.rounds)]
    for took in rounds:
        if "torch loaded: False" not in took.told or any(
            line.startswith(("generate", "score", "compare", "report", "warning"))
            for line in took.told.splitlines()
        ):
            sys.exit(f"the finished run was not found finished:\n{took.told}")
    found["run again"] = statistics.median(took.wall for took in rounds)
    processor = statistics.median(took.processor for took in rounds)

    say(f"{options.records:,} records")
    with without_images():
        _, run = made(room / "records", options.records, (), say)
    took = timed([sys.executable, "-c", SCAN, str(run)], scratch)
    if int(took.said) != options.records:
        sys.exit(f"{took.said.strip()} records were read, not {options.records}")
    found |= {"scan": took.wall, "peak memory of the scan": took.peak / MEBIBYTE}

    print(f"{options.images:,} images run again, {options.records:,} records scanned\n")
    print("| measured | found | at most |\n|---|---:|---:|")
    for name, (most, unit) in LIMITS.items():
        print(f"| {name} | {found[name]:,.1f} {unit} | {most:,} {unit} |")
    print(f"\nprocessor time: run again {processor:.1f} s, scan {took.processor:.1f} s")
    print(f"peak memory of running again: {max(one.peak for one in rounds) / MEBIBYTE:,.0f} MiB")
    return 0 if all(found[name] <= most for name, (most, _) in LIMITS.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
