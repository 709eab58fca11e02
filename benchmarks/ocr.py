"""How fast text is read, and how well: images a second by size, on words drawn for this.

    python benchmarks/ocr.py

Each image has one word, or four lines of words from 256 px on, in one of three fonts of DejaVu, 14 to 18 px high, dark
on a light paper of a random colour. Printed for each size: images a second, CPU seconds an image (which depend less
on what else the machine does), and how many images were read just as drawn. Two images warm the engines first and
are not counted. Exit status 1 when 64 or 96 px images are read at less than 6 a second, or when fewer than 95 % of
them are read as drawn: speed must not be bought with misreadings.
"""

import os
import sys
import time
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from glance_bench.metrics.ocr import DETECTOR_SIDE, read_text

REQUIRED_SPEED, REQUIRED_SHARE = 6.0, 0.95
COUNTS = {64: 48, 96: 48, 256: 24, 512: 12, 1024: 8}  # images by size
REQUIRED_SIZES = (64, 96)
FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf")
_WORDS = """
OPEN bread Menu exit HOTEL plums Taxi river BANK seven Lemon quiet FISH tower Paper amber STOP honey Mango local GATE
storm Night coral
"""
WORDS = _WORDS.split()


def draw(rng: np.random.Generator, size: int) -> tuple[np.ndarray, list[str]]:
    """uint8[size, size, 3] and its lines. Lines fit: they are at most 5 letters, or 3 words from 256 px on."""
    lines = [str(word) for word in rng.choice(WORDS, 1)]
    if size >= 256:
        lines = [" ".join(rng.choice(WORDS, 3)) for _ in range(4)]
    image = Image.new("RGB", (size, size), tuple(int(c) for c in rng.integers(170, 256, 3)))
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    height = int(rng.integers(14, 19)) if size > 64 else 14
    font = ImageFont.truetype(str(fonts / str(rng.choice(FONTS))), height)
    ink = tuple(int(c) for c in rng.integers(0, 70, 3))
    ImageDraw.Draw(image).multiline_text((6, size // 3), "\n".join(lines), fill=ink, font=font, spacing=8)
    return np.asarray(image), lines


def main() -> int:
    print(
        f"detector side {DETECTOR_SIDE}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'size':>6} {'images/s':>9} {'CPU s/image':>12} {'as drawn':>10}")
    rng = np.random.default_rng(20)
    failed = False
    for size, count in COUNTS.items():
        images, lines = zip(*(draw(rng, size) for _ in range(count + 2)), strict=True)
        read_text(np.stack(images[:2]))
        wall, cpu = time.perf_counter(), time.process_time()
        read = read_text(np.stack(images[2:]))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        right = sum(found == wanted for found, wanted in zip(read, lines[2:], strict=True))
        print(f"{size:>6} {count / wall:>9.1f} {cpu / count:>12.3f} {right:>6}/{count}")
        if size in REQUIRED_SIZES and (count / wall < REQUIRED_SPEED or right < REQUIRED_SHARE * count):
            failed = True
    print(f"required at {REQUIRED_SIZES} px: {REQUIRED_SPEED:g} images/s, {REQUIRED_SHARE:.0%} as drawn")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
