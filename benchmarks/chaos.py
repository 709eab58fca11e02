"""A small testbed run that is killed, starved, damaged and disturbed, held against one that is left alone.

    python benchmarks/chaos.py --kills 50 --seed 0

After every fault the same command is given again, as a user would. Then nothing may be lost, made twice or different:
the units on the disk are those of the manifest, no record stands twice, and every image, record, score and feature,
the table of samples and the digest of the results equal the undisturbed run's; `glance-bench verify` finds nothing.

The kills are SIGKILL at random moments. A round begins an empty folder and is killed once in each pass, going on
after each kill, which counts for the pass whose files were incomplete when it struck. Rounds go on until there were as
many kills as asked for, a third of them in each pass. What was whole at a kill must be the same file at the end.

Full disks and read-only folders are mounts, which need root; the clock jumps with Debian's `faketime`. A fault that
this machine cannot have is listed as skipped, with the reason. Prints fault, times and outcome, and how commands that
met the fault ended. Exit status 1 when an outcome is not the undisturbed run's.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from glance_bench.engine.verify import verify
from glance_bench.errors import GlanceBenchError
from glance_bench.sealed import sha256_file
from glance_bench.store import Run

SUITE = """\
name: chaos
models: [testbed-flux]
prompts: [{set: testbed, limit: 8}]
samplers: [uniform-8, uniform-4]
metrics: [truth, "clip[testbed-clip]", "fd[testbed-clip]", psnr]
batch_size: 2
slice_size: 2
timing: {repeats: 0}
"""
# By pass, the files that it makes; and in the trace, the lines that it writes.
FILES = {
    "generate": ("units/*/*/*/*/unit.json",),
    "score": ("scores/*/*.parquet", "features/*/*.npz"),
    "report": ("report/made-from.json",),
}
LINES = {"generate": ("generate",), "score": ("score", "compare"), "report": ("report",)}
ROOMS = ("units", "scores", "features", "embeddings")
PATIENCE = 1800  # seconds for one command; a busy machine is no fault
ROUNDS = 3  # times as many as are needed, before kills that keep missing their pass are an error


class Skipped(Exception):
    """This machine cannot have the fault."""


@dataclass
class Told:
    """What became of one fault: how often it struck, what was different afterwards, how commands ended."""

    times: int = 0
    wrong: list[str] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)


class Bench:
    """One suite and the undisturbed run of it, in a working folder; other runs of it are processes."""

    def __init__(self, room: Path) -> None:
        self.room = room
        self.suite = room / "chaos.yaml"
        self.suite.write_text(SUITE)
        self.trace = room / "trace"
        self._folders = 0
        self.whole = self.folder()
        status, said = self.run(self.whole)
        if status:
            raise SystemExit(f"the undisturbed run ended with {status}: {said}")
        self.contents = contents(self.whole)
        self.made = {name: made(self.whole, name) for name in FILES}
        self.page_seconds = self._page_seconds()

    def folder(self, copy: bool = False) -> Path:
        """A place for another run, or a copy of the undisturbed one."""
        self._folders += 1
        place = self.room / f"run-{self._folders}"
        return Path(shutil.copytree(self.whole, place)) if copy else place

    def start(self, folder: Path, **environment: str) -> subprocess.Popen[str]:
        """The run as a process; the trace starts anew."""
        self.trace.unlink(missing_ok=True)
        return subprocess.Popen(
            [sys.executable, "-m", "glance_bench", "run", self.suite, "-o", folder, "-q"],
            env={
                **os.environ,
                "GLANCE_BENCH_TRACE": str(self.trace),
                "GLANCE_BENCH_CACHE": str(self.room / "cache"),
                "OMP_NUM_THREADS": "1",
                "PYTHONWARNINGS": "ignore",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, folder: Path) -> tuple[int, str]:
        """Exit status of a run left alone, and what it said on stderr."""
        return end(self.start(folder))

    def wait(self, process: subprocess.Popen[str], name: str, count: int) -> None:
        """Until the process has finished ``count`` units of a pass, or has ended."""
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            lines = self.trace.read_text().splitlines() if self.trace.exists() else []
            if sum(line.startswith(LINES[name]) for line in lines) >= count:
                return
            time.sleep(0.001)

    def missing(self, folder: Path, name: str) -> int:
        return self.made[name] - made(folder, name)

    def standing_in(self, folder: Path) -> str | None:
        """The first pass that is not complete in a folder; None when the run is done."""
        return next((name for name in FILES if self.missing(folder, name)), None)

    def compare(self, folder: Path, told: Told) -> None:
        """Finish the run and add to ``told`` whatever is not as in the undisturbed one."""
        status, said = self.run(folder)
        if status:
            told.wrong.append(f"{folder.name}: run again, it ended with {status}: {said}")
        else:
            told.wrong += [f"{folder.name}: {what}" for what in differences(folder, self.contents)]

    def _page_seconds(self) -> float:
        """How long results and report take."""
        folder = self.folder(copy=True)
        (folder / "report" / "made-from.json").unlink()
        process = self.start(folder)
        self.wait(process, "report", 1)
        begun = time.monotonic()
        self.wait(process, "report", 3)
        took = time.monotonic() - begun
        end(process)
        return took


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=PATIENCE)
    return process.returncode, said.strip()


def made(folder: Path, name: str) -> int:
    """How many files of a pass are there; those under temporary names do not count."""
    found = [path.relative_to(folder) for pattern in FILES[name] for path in folder.glob(pattern)]
    return sum(not any(part.startswith(".tmp-") for part in path.parts) for path in found)


def contents(folder: Path) -> dict[str, str]:
    """Digest of every image, record, score, feature and table by its path, and the results' own digest."""
    paths = [path for room in ROOMS for path in (folder / room).rglob("*") if path.is_file()]
    found = {
        str(path.relative_to(folder)): sha256_file(path) for path in [*paths, folder / "samples.parquet"]
    }
    return found | {"results": str(json.loads((folder / "results.json").read_text())["digest"])}


def differences(folder: Path, expected: dict[str, str]) -> list[str]:
    """What of a finished run is lost, there twice, or not as expected."""
    found, run = contents(folder), Run(folder)
    wrong = [f"lost {name}" for name in expected.keys() - found.keys()]
    wrong += [f"extra {name}" for name in found.keys() - expected.keys()]
    wrong += [f"other {name}" for name in expected.keys() & found.keys() if found[name] != expected[name]]
    listed = {unit.folder for unit in run.units()}
    there = {str(path.relative_to(folder)) for path in folder.glob("units/*/*/*/*")}
    wrong += [f"unit {name} is not both listed and there" for name in sorted(listed ^ there)]
    if run.records().duplicated(["model", "sampler", "prompt_set", "prompt_id", "index"]).any():
        wrong.append("a record stands twice")
    wrong += [f"left over: {path.name}" for path in folder.rglob(".tmp-*")]
    return wrong + [str(damage) for damage in verify(run)]


def kill_rounds(bench: Bench, kills: int, chance: random.Random) -> dict[str, Told]:
    """As many kills as asked for, a third in each pass."""
    told = {name: Told() for name in FILES}
    for number in range(ROUNDS * kills):
        left = kills - sum(one.times for one in told.values())
        short = [name for name, one in told.items() if one.times < -(-kills // 3)]
        if left <= 0 and not short:
            return told
        kept: dict[Path, int] = {}
        folder, struck = bench.folder(), []
        for name in FILES:
            if name in short and (landed := kill_inside(bench, folder, name, chance)):
                told[landed].times += 1
                struck.append(landed)
                whole = [path for room in ROOMS for path in (folder / room).rglob("*") if path.is_file()]
                whole = [path for path in whole if ".tmp-" not in str(path)]
                kept |= {path: path.stat().st_ino for path in whole}
        last = told[struck[-1]] if struck else told["report"]
        bench.compare(folder, last)
        remade = [path for path, inode in kept.items() if not path.exists() or path.stat().st_ino != inode]
        last.wrong += [f"round {number}: {path.relative_to(folder)} was made again" for path in remade]
        print(f"round {number + 1}: killed in {', '.join(struck)}", file=sys.stderr)
        shutil.rmtree(folder)
    raise SystemExit("the kills keep missing their pass")


def kill_inside(bench: Bench, folder: Path, name: str, chance: random.Random) -> str | None:
    """Go on with a run and kill it in a pass. The pass that it was in, None when it had not begun or was done."""
    process = bench.start(folder)
    if name == "report":
        bench.wait(process, "score", bench.missing(folder, "score"))
        delay = chance.uniform(0, bench.page_seconds)
    else:
        bench.wait(process, name, chance.randint(1, max(1, bench.missing(folder, name) - 1)))
        delay = chance.uniform(0, 0.05)
    time.sleep(delay)
    process.kill()
    begun = bench.trace.exists()
    status, _ = end(process)
    return bench.standing_in(folder) if begun and status == -signal.SIGKILL else None


def started(bench: Bench, name: str, count: int) -> Path:
    """A run that was killed when it had done ``count`` units of a pass."""
    folder = bench.folder()
    process = bench.start(folder)
    bench.wait(process, name, count)
    process.kill()
    end(process)
    return folder


def failed(told: Told, status: int, said: str) -> None:
    """Note how a command that met a fault ended; anything but one line and exit status 3 is wrong."""
    lines = said.splitlines()
    told.times += 1
    told.said[f"exit {status}: {lines[-1] if lines else ''}"] += 1
    if status != 3 or len(lines) != 1 or not lines[0].startswith("error: "):
        told.wrong.append(f"ended with {status} and {len(lines)} lines: {said[-300:]}")


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[None]:
    """``place`` as a mount of its own. Raises Skipped where that is not allowed."""
    place.mkdir(exist_ok=True)
    if os.geteuid():
        raise Skipped("mounts need root")
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True)
    if done.returncode:
        raise Skipped(f"mounts are not allowed here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def full_disk(bench: Bench) -> Told:
    """A disk that is full in the first, the second and the third pass, and is then made larger."""
    told = Told()
    blocks = sum(-(-path.stat().st_size // 4096) for path in bench.whole.rglob("*") if path.is_file())
    for share in (0.3, 0.5, 0.9):
        place = bench.folder()
        with mounted(place, "-t", "tmpfs", "-o", f"size={int(share * blocks) * 4096}", "none"):
            status, said = bench.run(place / "run")
            failed(told, status, said.replace(str(place), "..."))
            told.said[f"at {share:.0%} of what it takes, in {bench.standing_in(place / 'run')}"] += 1
            remount(place, "size=64m")
            bench.compare(place / "run", told)
    return told


def read_only(bench: Bench) -> Told:
    """A run folder that cannot be written: one begun, one finished."""
    told = Told()
    for place in (started(bench, "generate", 3), bench.folder(copy=True)):
        with mounted(place, "--bind", str(place)):
            remount(place, "bind,ro")
            status, said = bench.run(place)
            failed(told, status, said.replace(str(place), "..."))
        bench.compare(place, told)
    return told


def damaged(bench: Bench, pattern: str, spoil: Callable[[Path], None], repair: bool = False) -> Told:
    """Every file of a finished run that fits ``pattern`` spoilt; with ``repair``, `verify --repair` comes first."""
    told, place = Told(), bench.folder(copy=True)
    for path in sorted(place.glob(pattern)):
        spoil(path)
        told.times += 1
    if repair:
        command = [sys.executable, "-m", "glance_bench", "verify", "--repair", str(place)]
        found = subprocess.run(command, capture_output=True, text=True)
        told.said[f"verify: exit {found.returncode}"] += 1
    bench.compare(place, told)
    return told


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """One bit in the middle, the length as it was."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit(path: Path) -> None:
    """A number of the results changed by hand."""
    document = json.loads(path.read_text())
    document["boards"][0]["samplers"][0]["cells"]["truth"]["value"] = 1.0
    path.write_text(json.dumps(document))


def clock_jump(bench: Bench) -> Told:
    """Ten years ahead, killed, files dated 1970 and 2100, then on twenty years back."""
    told = Told()
    if not shutil.which("faketime"):
        raise Skipped("needs faketime (Debian: apt-get install faketime)")
    asked = subprocess.run(["faketime", "now", "printenv", "LD_PRELOAD"], capture_output=True, text=True)
    folder, library = bench.folder(), asked.stdout.strip()
    for name, clock in (("generate", "+10y"), ("score", "-20y")):
        process = bench.start(folder, LD_PRELOAD=library, FAKETIME=clock)
        bench.wait(process, name, 3)
        process.kill()
        end(process)
        for number, path in enumerate(sorted(folder.rglob("*"))):
            stamp = 4102444800 if number % 2 else 0
            os.utime(path, (stamp, stamp))
        told.times += 1
    bench.compare(folder, told)
    return told


def at_once(bench: Bench) -> Told:
    """Three runs started in the same folder: one does the work, the others say who does it."""
    told, folder = Told(), bench.folder()
    ends = [end(process) for process in [bench.start(folder) for _ in range(3)]]
    for status, said in sorted(ends)[1:]:
        failed(told, status, _without_numbers(said))
    if sorted(ends)[0][0]:
        told.wrong.append("none of them finished")
    bench.compare(folder, told)
    return told


def hanging(bench: Bench) -> Told:
    """A process that stops answering: others are refused; it wakes up and finishes, or is killed."""
    told = Told()
    for wakes in (True, False):
        folder = bench.folder()
        process = bench.start(folder)
        bench.wait(process, "generate", 3)
        process.send_signal(signal.SIGSTOP)
        status, said = end(bench.start(folder))
        failed(told, status, _without_numbers(said))
        process.send_signal(signal.SIGCONT if wakes else signal.SIGKILL)
        status, said = end(process)
        if status != (0 if wakes else -signal.SIGKILL):
            told.wrong.append(f"the stopped process ended with {status}: {said}")
        bench.compare(folder, told)
    return told


def _without_numbers(said: str) -> str:
    """The same line for every run: without the process and its folder."""
    return " ".join("N" if word.isdecimal() else Path(word).name for word in said.split())


FAULTS: dict[str, Callable[[Bench], Told]] = {
    "disk full": full_disk,
    "folder read-only": read_only,
    "PNG cut short": lambda bench: damaged(bench, "units/**/*.png", cut),
    "PNG altered, found by verify": lambda bench: damaged(bench, "units/**/*.png", flip, repair=True),
    "record (unit.json) cut short": lambda bench: damaged(bench, "units/**/unit.json", cut),
    "records (unit.parquet) altered": lambda bench: damaged(bench, "units/**/unit.parquet", flip),
    "scores (Parquet) altered": lambda bench: damaged(bench, "scores/**/*.parquet", flip),
    "features (npz) cut short": lambda bench: damaged(bench, "features/**/*.npz", cut),
    "results.json cut short": lambda bench: damaged(bench, "results.json", cut),
    "results.json edited": lambda bench: damaged(bench, "results.json", edit),
    "samples.parquet altered": lambda bench: damaged(bench, "samples.parquet", flip),
    "clock jumps": clock_jump,
    "three runs at once": at_once,
    "a process that hangs": hanging,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Faults in a small run, against one that is left alone.")
    parser.add_argument("--kills", type=int, default=50, help="in all; a third in each pass (default 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills (default 0)")
    options = parser.parse_args()
    begun, good = time.monotonic(), True

    def row(fault: str, told: Told) -> bool:
        outcome = f"{len(told.wrong)} differences" if told.wrong else "as undisturbed"
        print(f"{fault:32} {told.times:5}  {outcome}", flush=True)
        for line in [*told.said, *told.wrong[:5]]:
            print(f"    {line}", flush=True)
        return not told.wrong

    with tempfile.TemporaryDirectory(prefix="chaos-") as room:
        bench = Bench(Path(room))
        print(f"{'fault':32} {'times':>5}  outcome")
        for name, told in kill_rounds(bench, options.kills, random.Random(options.seed)).items():
            good &= row(f"killed in {name}", told)
        for name, fault in FAULTS.items():
            try:
                good &= row(name, fault(bench))
            except Skipped as reason:
                print(f"{name:32} {0:5}  skipped: {reason}", flush=True)
            except GlanceBenchError as error:
                good = row(name, Told(1, [str(error)]))
        print(f"undisturbed digest {bench.contents['results'][:12]}, {time.monotonic() - begun:.0f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
