"""What a run says while it works: a bar on a terminal, plain lines elsewhere, always on stderr.

Prompts, names and OCR output are untrusted: ``printable`` takes the control characters out of them.
"""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Progress", "printable"]

PLAIN_EVERY = 5.0  # seconds between lines where there is no terminal
Advance = Callable[[int, str], None]


def printable(text: str, limit: int = 2000) -> str:
    """``text`` on one line: control, format and lone surrogate characters as escapes; cut after ``limit``."""
    shown = text if len(text) <= limit else text[:limit] + "..."
    return "".join(
        c
        if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else c.encode("unicode_escape").decode()
        for c in shown
    )


class Progress:
    """Says what a run is doing. ``quiet`` leaves only warnings."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.live = sys.stderr.isatty() and not quiet and not os.environ.get("CI")

    def say(self, text: str) -> None:
        """One line of news."""
        if not self.quiet:
            print(printable(text), file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """One line that is shown even when quiet."""
        print(f"warning: {printable(text)}", file=sys.stderr, flush=True)

    @contextmanager
    def task(self, name: str, total: int, unit: str = "images") -> Iterator[Advance]:
        """A stretch of work of ``total`` units; call what it yields with how many were done, and on what."""
        if self.live:
            with self._bar(name, total, unit) as advance:
                yield advance
        else:
            yield self._lines(name, total, unit)

    @contextmanager
    def _bar(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()]
        rate = TextColumn("{task.fields[rate]}", markup=False)
        with Bar(*columns, rate, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
            task = bar.add_task(name, total=total, rate="")
            started, done = time.monotonic(), 0

            def advance(count: int, what: str) -> None:
                nonlocal done
                done += count
                rate = f"{done / max(time.monotonic() - started, 1e-9):.1f} {unit}/s"
                bar.update(task, advance=count, rate=rate, description=printable(f"{name} {what}", 80))

            yield advance

    def _lines(self, name: str, total: int, unit: str) -> Advance:
        started = last = time.monotonic()
        done = 0

        def advance(count: int, what: str) -> None:
            nonlocal last, done
            done += count
            now = time.monotonic()
            if now - last >= PLAIN_EVERY or done == total:
                last = now
                rate = done / max(now - started, 1e-9)
                eta = (total - done) / rate if rate else 0.0
                self.say(f"{name} {what}: {done}/{total} {unit}, {rate:.1f} {unit}/s, ETA {eta:.0f} s")

        return advance
