"""Keep finished runs as a showcase: their numbers, one small report of all of them, and pictures of its pages.

    python docs/make_showcase.py runs/quickstart runs/ci --numbers runs/ablation-*

For every run RUN it writes `reports/testbed/<name of the run>/`: its results, tables, prompts and suite as
`glance-bench baseline save` keeps them, without images. `reports/testbed/report/` is a report of those before
`--numbers` that needs none of the runs: small copies of images, failures first, so many that the folder has at most
10 MB. The screenshots in `docs/images/` are made with Chromium from that report. A run that cannot be read is named
and left out.
"""

import argparse
import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from glance_bench.baselines import save_baseline
from glance_bench.errors import GlanceBenchError
from glance_bench.report.model import load
from glance_bench.report.site import Options, write_report

MB = 1_000_000
REPORT_AT_MOST = 10 * MB
SIZE = {"width": 1280, "height": 1000}
VIEWS = {  # picture: address in the report
    "report-overview": "#/overview",  # from the leaderboard on
    "report-prompts": "#/prompts?board=0&sort=loss",
    "report-failures": "#/failures?board=0",
}
SHOWN = """() => [...document.images].every((one) =>
    one.complete || !one.checkVisibility() || one.getBoundingClientRect().top > innerHeight ||
    one.getBoundingClientRect().left > innerWidth)"""


def keep(folders: Sequence[Path], room: Path) -> list[Path]:
    """Write the evidence of each run into ``room``; the runs that could be read. Others are named on stderr."""
    kept = []
    for folder in folders:
        try:
            place, document = save_baseline(folder, room=room, features=False, replace=True)
        except GlanceBenchError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        print(f"{place}: {document['bytes'] / MB:.2f} MB")
        kept.append(folder)
    return kept


def write_small(folders: Sequence[Path], out: Path, at_most: int = REPORT_AT_MOST) -> int:
    """A report of the runs in ``out`` that takes at most so many bytes; how many it has.

    Raises SystemExit when it is larger without any image.
    """
    report = load(folders)
    write_report(report, out, Options(originals=False, room=0))
    left = at_most - size_of(out) - 100 * sum(len(b.rows) * len(b.samplers) for b in report.boards)
    if left < 0:
        raise SystemExit(f"{out}: {size_of(out) / MB:.1f} MB without an image, more than {at_most / MB:g} MB")
    write_report(report, out, Options(originals=False, room=left))
    return size_of(out)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def draw(page: Path, folder: Path) -> list[Path]:
    """A picture of each of VIEWS that the report has."""
    from playwright.sync_api import sync_playwright

    browser = next(
        (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
    )
    if browser is None:
        raise SystemExit("the pictures need a Chromium on PATH")
    drawn = []
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        tab = chromium.new_page(viewport=SIZE, color_scheme="light", reduced_motion="reduce")
        for name, address in VIEWS.items():
            tab.goto("about:blank")  # else the next address would only be another place in the same page
            tab.goto(page.as_uri() + address)
            view = address.removeprefix("#/").partition("?")[0]
            if not tab.locator(f"#view-{view}:visible").count():
                print(f"left out: the report has no view {view!r}", file=sys.stderr)
                continue
            tab.wait_for_timeout(1000)  # pieces of data that the view asked for
            tab.wait_for_function(SHOWN)
            if view == "overview":
                tab.evaluate("document.getElementById('boards').scrollIntoView()")
            with Image.open(io.BytesIO(tab.screenshot())) as shot:
                shot.convert("RGB").save(folder / f"{name}.png", optimize=True)
            drawn.append(folder / f"{name}.png")
        chromium.close()
    return drawn


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="finished runs, the first shown first"
    )
    parser.add_argument(
        "--numbers",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="runs of which only the numbers are kept",
    )
    parser.add_argument("--room", type=Path, default=Path("reports/testbed"), help="default reports/testbed")
    parser.add_argument("--pictures", type=Path, default=Path("docs/images"), help="default docs/images")
    options = parser.parse_args()
    kept = keep(options.runs, options.room)
    if not kept:
        return 3
    others = keep(options.numbers, options.room)
    out = options.room / "report"
    print(f"{out}: {write_small(kept, out) / MB:.2f} MB")
    for picture in draw((out / "index.html").resolve(), options.pictures):
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")
    return 0 if len(kept + others) == len(options.runs + options.numbers) else 1


if __name__ == "__main__":
    sys.exit(main())
