"""What must be equal before two runs may be compared, and how they differ where it is not.

A difference found here ends the gate: no statistic of numbers that mean different things is a verdict. What differs
without making numbers incomparable, such as a new version of the program, is a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .pairing import Pair, boards, columns_of

if TYPE_CHECKING:
    from ..evidence import Evidence
    from .settings import GateSettings

__all__ = ["Difference", "differences", "notes"]

FIXED = ("checkpoint", "resolution")  # of what a sampler is made of
NOTED = ("device", "dtype", "placement", "generation_version")
NAMED = 3  # examples in a message


@dataclass(frozen=True)
class Difference:
    """Why two runs cannot be compared: ``what`` differs, ``where``, and what each side says."""

    what: str
    where: str
    baseline: str
    run: str

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}: {self.baseline} in the baseline, {self.run} in the run"


def differences(
    baseline: Evidence, run: Evidence, pairs: Sequence[Pair], settings: GateSettings
) -> list[Difference]:
    """Everything that forbids the comparison, the most general first; empty when it may be made.

    ``pairs`` are those of ``pairing.pairs``. Where suites or boards differ nothing below them is looked at.
    """
    found = list(_suites(baseline, run)) or list(_boards(baseline, run))
    if found:
        return found
    found += _columns(baseline, run, settings)
    found += _samplers(baseline, run)
    for pair in pairs:
        found += _made_of(pair)
        found += _prompts(pair)
        found += _noise(pair) if settings.noise == "paired" else ()
        found += _recipes(baseline, run, pair, settings)
    return _once(found)


def notes(baseline: Evidence, run: Evidence, pairs: Sequence[Pair], settings: GateSettings) -> list[str]:
    """What a reader should know that forbids nothing."""
    said = []
    if run.results.get("seal") and baseline.results.get("seal") == run.results.get("seal"):
        said.append("the run is the baseline itself")
    for name, label in (("glance_bench", "glance-bench"), ("hardware", "hardware")):
        mine, theirs = run.environment.get(name), baseline.environment.get(name)
        if mine != theirs and isinstance(mine, str) and isinstance(theirs, str):
            said.append(f"{label}: {theirs} in the baseline, {mine} in the run")
    for name in NOTED:
        changed = {(_made(p.baseline_row, name), _made(p.run_row, name)) for p in pairs}
        for theirs, mine in sorted(changed, key=str):
            if theirs != mine:
                said.append(f"{name}: {theirs} in the baseline, {mine} in the run")
    cards = [p.sampler for p in pairs if _made(p.baseline_row, "card") != _made(p.run_row, "card")]
    if cards:
        said.append(f"another card or other adapters: {_listed(dict.fromkeys(cards))}")
    if elsewhere := [p.sampler for p in pairs if p.paired and p.run_row.get("made_of") is None]:
        said.append(f"made elsewhere, noise unknown, paired by index: {_listed(dict.fromkeys(elsewhere))}")
    if run.suite.get("gate") != baseline.suite.get("gate"):
        said.append("the gate block of the run's suite is not that of the baseline's")
    if unpaired := sorted({p.sampler for p in pairs if not p.paired}):
        said.append(f"noise: fresh, so prompts are paired and images are not ({len(unpaired)} samplers)")
    there = {(place, row["sampler"]) for place, b in boards(baseline).items() for row in b["samplers"]}
    new = [
        f"{row['sampler']} on {place[0]}, {place[1]}"
        for place, board in boards(run).items()
        for row in board["samplers"]
        if (place, row["sampler"]) not in there
    ]
    if new:
        said.append(f"not in the baseline, not gated: {_listed(new)}")
    if added := [name for name in columns_of(run) if name not in columns_of(baseline)]:
        said.append(f"no such columns in the baseline, not gated: {_listed(added)}")
    return said


def _suites(baseline: Evidence, run: Evidence) -> Iterator[Difference]:
    for name in ("suite", "profile"):
        theirs, mine = baseline.results.get(name), run.results.get(name)
        if theirs != mine:
            yield Difference(name, "", str(theirs or "none"), str(mine or "none"))


def _boards(baseline: Evidence, run: Evidence) -> Iterator[Difference]:
    theirs, mine = boards(baseline), boards(run)
    for place in theirs:
        if place not in mine:
            there = _listed([f"{model} on {prompt_set}" for model, prompt_set in mine]) or "nothing"
            yield Difference("model and prompt set", "", f"{place[0]} on {place[1]}", f"only {there}")
        elif theirs[place]["testbed"] != mine[place]["testbed"]:
            kinds = {True: "a testbed model", False: "a published model"}
            yield Difference(
                "kind of model", place[0], kinds[theirs[place]["testbed"]], kinds[mine[place]["testbed"]]
            )
        elif theirs[place]["reference"] != mine[place]["reference"]:
            yield Difference(
                "reference sampler",
                f"{place[0]}, {place[1]}",
                theirs[place]["reference"],
                mine[place]["reference"],
            )


def _columns(baseline: Evidence, run: Evidence, settings: GateSettings) -> Iterator[Difference]:
    mine, waiting = columns_of(run), run.results.get("waiting", {})
    for name, column in columns_of(baseline).items():
        if not settings.gates(column):
            continue
        if name not in mine:
            why = (
                f"absent (it waits for {waiting[column['metric']]})"
                if column["metric"] in waiting
                else "absent"
            )
            yield Difference(f"column {name}", "", "present", why)
        elif mine[name]["better"] != column["better"]:
            yield Difference(f"direction of {name}", "", column["better"], mine[name]["better"])


def _samplers(baseline: Evidence, run: Evidence) -> Iterator[Difference]:
    mine = {place: {row["sampler"] for row in board["samplers"]} for place, board in boards(run).items()}
    for place, board in boards(baseline).items():
        for row in board["samplers"]:
            if row["sampler"] not in mine[place]:
                yield Difference(f"sampler {row['sampler']}", f"{place[0]}, {place[1]}", "present", "absent")


def _made_of(pair: Pair) -> Iterator[Difference]:
    where = f"{pair.model}, {pair.sampler}"
    theirs, mine = pair.baseline_row.get("made_of"), pair.run_row.get("made_of")
    if (theirs is None) != (mine is None):
        made = {True: "images made elsewhere", False: "images made by glance-bench"}
        yield Difference("origin", where, made[theirs is None], made[mine is None])
    for name in FIXED:
        if _made(pair.baseline_row, name) != _made(pair.run_row, name):
            yield Difference(
                name, where, _short(_made(pair.baseline_row, name)), _short(_made(pair.run_row, name))
            )
    if pair.is_reference and _made(pair.baseline_row, "trajectory") != _made(pair.run_row, "trajectory"):
        yield Difference(
            "steps of the reference", where, f"NFE {pair.baseline_row['nfe']['nominal']}, others",
            f"NFE {pair.run_row['nfe']['nominal']}",
        )  # fmt: skip


def _prompts(pair: Pair) -> Iterator[Difference]:
    where = f"{pair.model}, {pair.prompt_set}, {pair.sampler}"
    if not len(pair.run):
        yield Difference(
            "prompts", where, f"{len(pair.gone)} images", f"none of them, {len(pair.new)} others"
        )
        return
    theirs = pair.baseline.groupby(level=0)["text_sha256"].first()
    mine = pair.run.groupby(level=0)["text_sha256"].first()
    changed = mine.index[mine.to_numpy() != theirs.to_numpy()]
    if len(changed):
        told = f"{len(changed)} of {len(mine)} texts differ under the same id ({_listed(changed)})"
        yield Difference("prompts", f"{pair.model}, {pair.prompt_set}", "its own texts", told)


def _noise(pair: Pair) -> Iterator[Difference]:
    theirs, mine = pair.baseline["seed"].to_numpy(), pair.run["seed"].to_numpy()
    changed = theirs != mine
    if changed.any():
        first = int(changed.argmax())
        prompt, index = pair.run.index[first]
        yield Difference(
            "noise", f"{pair.model}, {pair.prompt_set}",
            f"seed {theirs[first]} for {prompt} #{index}",
            f"seed {mine[first]} ({int(changed.sum())} of {len(changed)} differ; gate: {{noise: fresh}} compares "
            "different noise)",
        )  # fmt: skip


def _recipes(baseline: Evidence, run: Evidence, pair: Pair, settings: GateSettings) -> Iterator[Difference]:
    columns = columns_of(baseline)
    for name, cell in pair.baseline_row["cells"].items():
        other = pair.run_row["cells"].get(name)
        if other is None or name not in columns or not settings.gates(columns[name]):
            continue
        theirs = baseline.results["recipes"].get(cell["recipe"], cell["recipe"])
        mine = run.results["recipes"].get(other["recipe"], other["recipe"])
        if theirs != mine:
            left, right = ([part.strip() for part in text.split(";")] for text in (theirs, mine))
            yield Difference(
                f"recipe of {name}", "",
                "; ".join(part for part in left if part not in right) or theirs,
                "; ".join(part for part in right if part not in left) or mine,
            )  # fmt: skip


def _made(row: Mapping[str, Any], name: str) -> Any:
    return (row.get("made_of") or {}).get(name)


def _short(value: Any) -> str:
    """A digest by its first 12 digits; anything else as it is."""
    text = str(value)
    return text[:12] if len(text) == 64 else text


def _listed(names: Any) -> str:
    known = [str(name) for name in names]
    more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
    return ", ".join(known[:NAMED]) + more


def _once(found: Sequence[Difference]) -> list[Difference]:
    """One difference is told once, though it shows in many samplers."""
    once: dict[tuple[str, str, str], Difference] = {}
    for difference in found:
        once.setdefault((difference.what, difference.baseline, difference.run), difference)
    return list(once.values())
