"""A report of many images: how long it takes to build, what a browser has to load and hold.

    python benchmarks/report.py                    # 10,000 prompts x 10 samplers x 8 metrics
    python benchmarks/report.py --keep big-run     # keeps the made-up run, for the next time

The run is made up: records and scores of 100,000 images in units of 40 as a suite over COCO's prompts has them, values
drawn at random, and images only for the prompts whose thumbnails a report takes along by default. Measured:

* `glance-bench report` without thumbnails, in a process of its own on two processors: wall time from start to end, and
  the largest resident set. With thumbnails it is timed too; that has no limit.
* In Chromium, from the disk: bytes of all files that the overview loads; milliseconds until the document is ready;
  sorting the prompts by another column, and without a limit the time until the first page of them is drawn; and
  after every view was opened and every column sorted, the resident set of the tab's process, its garbage collected.

Prints Markdown. Exit status 1 when a limit is not met. Needs playwright and a Chromium.
"""

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
from PIL import Image

from glance_bench import results, samples
from glance_bench.metrics.base import Column
from glance_bench.prompts import Prompt
from glance_bench.report.model import load
from glance_bench.report.thumbs import choose_rows
from glance_bench.sealed import digest_of, json_bytes, parquet_bytes, seal, sha256_bytes, write_folder
from glance_bench.store import Run
from glance_bench.units import RECORD_COLUMNS

SLICE = 40
SAMPLERS = (
    "teacher-50",
    *(f"{kind}-{steps}" for kind in ("native", "uniform", "glance") for steps in (4, 8, 10)),
)
CATEGORIES = ("animal", "poster", "scene", "portrait", "food", "street", "sign", "object")
WORDS = "a red blue small large old cat dog house street sign poster bowl river of with under beside near two three"
MEBIBYTE = 2**20
LIMITS = {  # name: (at most, unit)
    "build without thumbnails": (60, "s"),
    "peak memory of the build": (2048, "MiB"),
    "overview with all it loads": (1.0, "MB"),
    "document ready": (1000, "ms"),
    "sorting the prompts": (50, "ms"),
    "memory of the tab": (300, "MB"),
}
CHILD = """
import re, sys, time
from glance_bench.cli import app
try:
    app(sys.argv[1:])
finally:
    peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
    print(peak, time.process_time(), file=sys.stderr)
"""
SORT = """async (address) => {
    const [section, ranked, start] = [document.querySelector("#view-prompts"), GB.ranked, performance.now()];
    let [sorting, drawn] = [NaN, start];
    GB.ranked = (...given) => {
        const before = performance.now();
        const found = ranked(...given);
        sorting = performance.now() - before;
        return found;
    };
    new MutationObserver(() => { drawn = performance.now(); }).observe(section, { childList: true, subtree: true });
    location.hash = address;
    await new Promise((done) => setTimeout(done, 700));
    GB.ranked = ranked;
    return [sorting, drawn - start];
}"""


class Made:
    """A metric of one value an image, drawn at random; a note beside the first."""

    kind = "sample"

    def __init__(self, number: int) -> None:
        self.name = self.recipe = f"metric{number}"
        self.notes = ("metric0_read",) if number == 0 else ()
        self.columns = (
            Column(self.name, f"Metric {number}", "higher" if number % 3 else "lower", "made up"),
        )


def make_run(folder: Path, prompts: int, metrics: Sequence[Made]) -> Run:
    """The files that the passes of a real run would leave, but for most images."""
    rng = np.random.default_rng(0)
    run, words = Run(folder), WORDS.split()
    asked = [
        Prompt(
            f"p{i:05d}", " ".join(rng.choice(words, 12)), CATEGORIES[i % 8], ("OPEN",) if i % 8 == 6 else ()
        )
        for i in range(prompts)
    ]
    sets = [{**vars(p), "wanted_text": list(p.wanted_text), "meta": {}} for p in asked]
    run.write("suite.json", {"name": "big", "title": "Made up", "profile": None, "seed": 0})
    run.write("prompts.json", {"sets": [{"name": "set", "revision": "r", "prompts": sets}]})
    units, frames = [], []
    for number, sampler in enumerate(SAMPLERS):
        values = rng.normal(0.8 - 0.02 * number, 0.1, (len(metrics), prompts))
        for start in range(0, prompts, SLICE):
            unit, frame = made_unit(run, sampler, start, asked[start : start + SLICE])
            for metric, own in zip(metrics, values, strict=True):
                frame[metric.name] = own[start : start + SLICE]
                frame |= {note: [f"reads {i}" for i in range(len(frame["index"]))] for note in metric.notes}
                keys = ["image_sha256", "prompt_id", metric.name, *metric.notes]
                rows = pd.DataFrame({key: frame[key] for key in keys}).to_dict("records")
                columns = {k: "float64" if k == metric.name else "string" for k in keys}
                seal(
                    folder / f"scores/{metric.name}",
                    unit["score_key"],
                    "parquet",
                    parquet_bytes(rows, columns),
                )
            units.append(unit["info"])
            frames.append(pd.DataFrame(frame))
    facts = {"model": "made-up", "nfe": 10, "steps": 10, "speedup": 5.0}
    run.write(
        "manifest.json",
        {
            **{"name": "big", "units": units, "timing": []},
            "samplers": [{**facts, "sampler": s, "title": s, "teacher": s == "teacher-50"} for s in SAMPLERS],
            "metrics": [
                {"name": m.name, "recipe": m.recipe, "kind": m.kind, "folder": f"scores/{m.name}"}
                for m in metrics
            ],
        },
    )
    records = pd.concat(frames, ignore_index=True)
    given = {"scored_records": lambda run: records.copy()}
    with patch.multiple(results, **given), patch.multiple(samples, **given):
        run.write("results.json", results.build(run, metrics, samples.write_tables(run, metrics)))
    return run


def made_unit(
    run: Run, sampler: str, start: int, prompts: Sequence[Prompt]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Writes a unit's record and table; how the manifest and the scores name it, and its rows as columns."""
    tag, key = (hashlib.sha256(of.encode()).hexdigest()[:12] for of in (sampler, f"{sampler} {start}"))
    place = f"units/made-up/{sampler}-{tag}/set/{start // SLICE:05d}-{key}"
    shas = [sha256_bytes(f"{sampler} {prompt.id}".encode()) for prompt in prompts]
    images = [
        {
            "file": f"{i:05d}.png",
            "sha256": sha,
            "bytes": 1,
            "prompt_id": p.id,
            "text_sha256": sha256_bytes(p.text.encode()),
        }
        for i, (sha, p) in enumerate(zip(shas, prompts, strict=True))
    ]
    count = len(prompts)
    frame: dict[str, Any] = {
        **{"model": ["made-up"] * count, "sampler": [sampler] * count, "prompt_set": ["set"] * count},
        **{
            "prompt_id": [p.id for p in prompts],
            "index": [0] * count,
            "seed": list(range(start, start + count)),
        },
        **{"image": [f"{place}/{image['file']}" for image in images], "image_sha256": shas},
        **{"width": [64] * count, "height": [64] * count, "finite": [True] * count, "black": [False] * count},
        **{"truncated": [False] * count, "evaluations": [10] * count, "batch_size": [8] * count},
    }
    rows = [dict(zip(frame, row, strict=True)) for row in zip(*frame.values(), strict=True)]
    table = parquet_bytes(rows, RECORD_COLUMNS)
    info = {"model": "made-up", "sampler": sampler, "prompt_set": "set", "slice": start // SLICE, "key": key}
    document: dict[str, Any] = {"schema": "glance-bench/unit/1", **info, "folder": place, "images": images}
    document["records"] = {"file": "unit.parquet", "sha256": sha256_bytes(table), "bytes": len(table)}
    document["digest"] = digest_of(document)
    write_folder_of(run.folder / place, {"unit.parquet": table, "unit.json": json_bytes(document)})
    return {"info": {**info, "folder": place}, "score_key": run.score_key(document)}, frame


def write_folder_of(place: Path, files: dict[str, bytes]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    write_folder(place, files)


def draw_images(run: Run) -> int:
    """Small PNG files where a report looks for the images of its sample; how many."""
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(50):
        buffer = io.BytesIO()
        patches = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(patches).resize((64, 64), Image.Resampling.BICUBIC).save(buffer, "PNG")
        drawn.append(buffer.getvalue())
    (board,) = load([run.folder]).boards
    assert board.records is not None
    _, rows = board.places_of(board.records)
    wanted = board.records["image"][np.isin(rows, choose_rows(board, "sample"))]
    for number, image in enumerate(wanted):
        (run.folder / image).write_bytes(drawn[number % len(drawn)])
    return len(wanted)


def build(*arguments: object) -> tuple[float, float, float]:
    """`glance-bench report` in a process of its own on two processors: seconds, processor seconds, MiB."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "report", *map(str, arguments), "-q"],
        preexec_fn=lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2]),
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stderr)
    peak, busy = done.stderr.splitlines()[-1].split()
    return seconds, float(busy), int(peak) / 1024


def browse(page: Path) -> Iterator[tuple[str, float]]:
    """What is measured in Chromium, by its name in LIMITS."""
    from playwright.sync_api import sync_playwright

    browser = next(
        path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))
    )
    with sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        ready = []
        for _ in range(5):
            tab = chromium.new_page(viewport={"width": 1280, "height": 900})
            asked: set[str] = set()
            tab.on("request", lambda request, asked=asked: asked.add(request.url))
            tab.goto(page.as_uri(), wait_until="networkidle")
            ready.append(
                tab.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
            )
            files = {Path(unquote(urlsplit(url).path)) for url in asked if url.startswith("file:")}
            tab.close()
        yield "overview with all it loads", sum(file.stat().st_size for file in files) / 1e6
        yield "document ready", statistics.median(ready)
        tab = chromium.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(page.as_uri())
        index = tab.evaluate("GB.index.boards[0]")
        names = [column["name"] for column in index["columns"] if column["images"]]
        addresses = [f"#/prompts?board=0&sort=worst&sampler={s}&metric={n}" for s in ("", 1) for n in names]
        for address in addresses[: len(names)]:  # loads the columns
            tab.evaluate(SORT, address)
        sorted_in, drawn_in = zip(*(tab.evaluate(SORT, address) for address in addresses), strict=True)
        yield "sorting the prompts", statistics.median(sorted_in)
        yield "sorted and drawn", statistics.median(drawn_in)
        for view in tab.locator("nav a").evaluate_all("all => all.map((one) => one.getAttribute('href'))"):
            tab.evaluate("(address) => { location.hash = address; }", view)
            tab.wait_for_timeout(700)
            tab.mouse.wheel(0, 4000)
            tab.wait_for_timeout(300)
        tab.context.new_cdp_session(tab).send("HeapProfiler.collectGarbage")
        tab.wait_for_timeout(500)
        told = chromium.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
        yield "memory of the tab", max(resident(one["id"]) for one in told if one["type"] == "renderer")
        chromium.close()


def resident(process: int) -> float:
    """MB."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--metrics", type=int, default=8)
    parser.add_argument(
        "--keep", type=Path, help="make the run in this folder, or take the one that is there"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        folder = (options.keep or Path(room) / "run").resolve()
        if not (folder / "results.json").is_file():
            draw_images(make_run(folder, options.prompts, [Made(i) for i in range(options.metrics)]))
        beside, elsewhere = folder / "report", Path(room) / "report"
        shutil.rmtree(beside, ignore_errors=True)  # of the last time
        seconds, busy, memory = build(folder, "-o", beside)
        found = {"build without thumbnails": seconds, "peak memory of the build": memory}
        with_thumbs, *_ = build(folder, "-o", elsewhere, "--images", "sample")
        found |= dict(browse(elsewhere / "index.html"))
        files = [path for path in elsewhere.rglob("*") if path.is_file()]
        small = [path for path in files if path.suffix == ".webp"]
        size = sum(path.stat().st_size for path in files) / 1e6
        index = json.loads((elsewhere / "report.json").read_bytes())
    asked = f"{options.prompts:,} prompts, {len(SAMPLERS)} samplers, {options.metrics} metrics"
    print(f"{asked}: {len(index['files'])} files and {len(small):,} thumbnails, {size:.1f} MB.")
    print(f"The build kept a processor busy for {busy:.1f} s; with thumbnails it took {with_thumbs:.1f} s.")
    print(f"Sorted prompts are drawn after {found.pop('sorted and drawn'):.0f} ms.\n")
    print("| measured | found | at most |  |\n| --- | --- | --- | --- |")
    met = True
    for name, (limit, unit) in LIMITS.items():
        value = found.get(name)
        good = value is not None and value <= limit
        met = met and good
        shown = (
            "not measured"
            if value is None
            else f"{value:.3g} {unit}"
            if value < 100
            else f"{value:.0f} {unit}"
        )
        print(f"| {name} | {shown} | {limit:g} {unit} | {'met' if good else 'NOT MET'} |")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
