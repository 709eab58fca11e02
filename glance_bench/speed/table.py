"""A speed record for a reader: a table a model, and under it what the numbers are of. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from ..report.text import NONE, markdown_table, number, times
from .record import ModelSpeed, Ratio, SamplerSpeed, SpeedRecord

__all__ = ["lines", "markdown"]

WHOLE = "all-on-gpu"  # the placement's name, on whatever device


def lines(record: SpeedRecord) -> Iterator[str]:
    """For the terminal."""
    yield from _about(record)
    for model in record.models:
        yield ""
        yield _title(model, record)
        head, rows = _table(model)
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        for row in (head, *rows):
            name, *cells = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            yield "  ".join([name.strip().ljust(widths[0]), *cells]).rstrip()
        yield from _below(model)


def markdown(record: SpeedRecord) -> Iterator[str]:
    """The same for a document."""
    yield from _about(record)
    for model in record.models:
        yield from ("", _title(model, record), "")
        yield from markdown_table(*_table(model))
        yield ""
        yield from (f"- {line}" for line in _below(model))


def _about(record: SpeedRecord) -> Iterator[str]:
    yield f"{record.device.hardware}, diffusers {record.versions['diffusers']}, {record.made[:10]}"
    if record.rehearsed_memory is not None:
        yield (
            f"MEMORY REHEARSAL: the GPU was cut down to {record.rehearsed_memory:g} GiB to see what fits. "
            "Its times are this GPU's, not a smaller one's."
        )


def _title(model: ModelSpeed, record: SpeedRecord) -> str:
    height, width = model.resolution
    whole = record.device.kind == "cpu" and model.placement == WHOLE
    placed = "all in memory" if whole else model.placement
    return (
        f"{model.model}, {model.weights} weights, {model.parameters / 1e9:.3g} billion parameters, {height}x{width}, "
        f"batch {record.batch}, {model.dtype}, {placed}, attention: {model.attention}"
    )


def _table(model: ModelSpeed) -> tuple[list[str], list[list[str]]]:
    """Columns without a value in any row are left out."""
    columns = {"sampler": [one.sampler for one in model.samplers]}
    for one in model.samplers:
        for head, cell in _cells(one).items():
            columns.setdefault(head, []).append(cell)
    kept = {head: cells for head, cells in columns.items() if set(cells) != {NONE}}
    return list(kept), [list(row) for row in zip(*kept.values(), strict=True)]


def _cells(one: SamplerSpeed) -> dict[str, str]:
    median = {name: spread.median for name, spread in one.seconds.items()}
    total = one.seconds["total"]
    return {
        "NFE": f"{one.evaluations:.4g}",
        "s/image": number(total.median),
        "quartiles": f"{number(total.q25)}{NONE}{number(total.q75)}",
        "encode s": number(median.get("encode")),
        "denoise s": number(median["denoise"]),
        "step ms": number(1000 * median["step"], 1),
        "switch ms": number(1000 * median["switch"], 1) if one.switches else NONE,
        "decode s": number(median["decode"]),
        "faster": _times(one.faster),
        "denoise faster": _times(one.faster_denoise),
        "fewer NFE": times(one.fewer),
        "GiB": number(one.memory.peak, 2),
        "TFLOP": f"{one.tflop:.3g}",
        "MFU %": number(None if one.mfu is None else 100 * one.mfu, 1),
        "J": number(one.joules, 0),
    }


def _times(ratio: Ratio) -> str:
    if ratio.low == ratio.high == ratio.ratio == 1:
        return "1"
    if ratio.low is None or ratio.high is None:
        return f"{ratio.ratio:.2f}\u00d7"
    return f"{ratio.ratio:.2f}\u00d7 ({ratio.low:.2f}{NONE}{ratio.high:.2f})"


def _below(model: ModelSpeed) -> Iterator[str]:
    blocks = model.overhead.n
    yield (
        f"loading: {model.load_seconds:.1f} s; one evaluation: {model.forward_tflop:.4g} TFLOP; "
        f"decoding: {model.decode_tflop:.4g} TFLOP"
    )
    yield f"harness overhead against a bare pipeline loop: {_percent(model.overhead)}, {blocks} blocks"
    if model.peak_tflops is None:
        yield f"MFU: none, {model.peak_source}"
    else:
        yield f"MFU: of {model.peak_tflops:g} TFLOP/s ({model.peak_source})"
    if model.after:
        hot = max(state.celsius for state in model.after)
        clocks = [state.sm_mhz for state in (*model.before, *model.after)]
        reasons = sorted({reason for state in model.after for reason in state.throttled})
        yield (
            f"GPU: {min(clocks)}{NONE}{max(clocks)} MHz at the ends of blocks, up to {hot} degrees Celsius, "
            f"throttled: {', '.join(reasons) or 'no'}"
        )
    yield from model.notes


def _percent(ratio: Ratio) -> str:
    shown = f"{100 * (ratio.ratio - 1):+.1f} %"
    if ratio.low is None or ratio.high is None:
        return f"{shown} (too few blocks for an interval)"
    return f"{shown} ({100 * (ratio.low - 1):+.1f} to {100 * (ratio.high - 1):+.1f})"
