"""Compose the README's picture from a finished run: prompts down, samplers across, one noise a row.

python docs/make_pictures.py runs/quickstart docs/images/quickstart.png
"""

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from glance_bench.prompts import Prompt
from glance_bench.store import Run

INK, FAINT, PAPER = (28, 30, 34), (110, 114, 122), (255, 255, 255)
GAP, MARGIN, CAPTION_WIDTH, HEADING = 6, 14, 210, 44


def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, from the copy that every matplotlib carries."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def spread(items: Sequence[Prompt], count: int) -> list[Prompt]:
    """``count`` of ``items``, evenly spaced, first one included."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def pick(prompts: Sequence[Prompt], count: int) -> list[Prompt]:
    """Prompts for the rows, in their own order, a third with text if any have it. Scores play no part."""
    with_text = [p for p in prompts if p.wanted_text]
    without = [p for p in prompts if not p.wanted_text]
    texts = min(len(with_text), max(1, count // 3))
    chosen = {p.id for p in spread(with_text, texts) + spread(without, count - texts)}
    return [p for p in prompts if p.id in chosen]


def grid(run: Run, model: str, prompts: Sequence[Prompt], scale: int) -> Image.Image:
    """One model's block. Images are enlarged by repeating pixels, so what is seen is what was scored."""
    records = run.records()
    records = records[(records["model"] == model) & (records["index"] == 0)]
    samplers = list(dict.fromkeys(records["sampler"]))
    files = {(row.prompt_id, row.sampler): run.folder / row.image for row in records.itertuples()}
    sizes = {(row.width * scale, row.height * scale) for row in records.itertuples()}
    if len(sizes) != 1:
        raise SystemExit(f"{model}: images of {len(sizes)} different sizes cannot share a grid")
    ((width, height),) = sizes

    across = CAPTION_WIDTH + len(samplers) * (width + GAP) - GAP
    down = HEADING + len(prompts) * (height + GAP) - GAP
    sheet = Image.new("RGB", (across, down), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((0, 0), model, INK, font(15))
    lines = max(2, (height - 4) // 16)
    for row, prompt in enumerate(prompts):
        top = HEADING + row * (height + GAP)
        wrapped = textwrap.wrap(prompt.text, 30, max_lines=lines, placeholder=" ...")
        draw.multiline_text((0, top + 2), "\n".join(wrapped), FAINT, font(12), spacing=3)
        for column, sampler in enumerate(samplers):
            left = CAPTION_WIDTH + column * (width + GAP)
            if row == 0:
                draw.text((left + width / 2, HEADING - 6), sampler, INK, font(13), anchor="ms")
            with Image.open(files[prompt.id, sampler]) as image:
                enlarged = image.convert("RGB").resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (left, top))
    return sheet


def picture(run: Run, count: int, scale: int, models: Sequence[str] = ()) -> Image.Image:
    """The blocks of all models (or of those named), one below the other."""
    there = list(dict.fromkeys(unit.model for unit in run.units()))
    if unknown := set(models) - set(there):
        raise SystemExit(f"{run.folder} has no model {', '.join(sorted(unknown))}; it has {', '.join(there)}")
    prompts = pick(run.prompts(), count)
    blocks = [grid(run, model, prompts, scale) for model in models or there]
    width = max(block.width for block in blocks) + 2 * MARGIN
    sheet = Image.new("RGB", (width, sum(block.height + 2 * MARGIN for block in blocks)), PAPER)
    top = MARGIN
    for block in blocks:
        sheet.paste(block, (MARGIN, top))
        top += block.height + 2 * MARGIN
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description="Compose a picture of samplers side by side.")
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("output", type=Path, help="PNG to write")
    parser.add_argument("--prompts", type=int, default=6, help="rows for each model (default 6)")
    parser.add_argument("--scale", type=int, default=2, help="whole-number enlargement (default 2)")
    parser.add_argument("--model", action="append", default=[], help="only this model; may be repeated")
    options = parser.parse_args()
    sheet = picture(Run(options.run), options.prompts, options.scale, options.model)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(256).save(options.output, optimize=True)
    print(f"{options.output}: {sheet.width} x {sheet.height}, {options.output.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
