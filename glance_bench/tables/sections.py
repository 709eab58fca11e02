"""Everything that is shown of filled tables, in its order."""

from __future__ import annotations

from .filled import Filled
from .remarks import claims, empty, findings, suspects
from .sheets import MARK, TESTBED, Section, kept_table, printed_table, testbed_table

__all__ = ["sections"]


def sections(filled: Filled) -> list[Section]:
    """Everything that is shown, in order; a section without sheets says so in its paragraph."""
    given = f"Runs: {', '.join(filled.runs)}." if filled.runs else "No run was given."
    if filled.unused:
        given += f" Nothing in these tables is held by: {', '.join(filled.unused)}."
    kept = [sheet for table in filled.tables if (sheet := kept_table(filled, table)) is not None]
    testbed = [testbed_table(table) for table in filled.testbed]
    found = [findings(filled)] if filled.findings else []
    doubted = suspects(filled)
    return [
        Section(
            "Printed and measured",
            f"{filled.paper.paper.title} ({filled.paper.paper.id}). {given} Measured values have 95 % intervals; "
            f"delta is measured minus printed. {MARK} marks suspect cells.",
            tuple(printed_table(filled, table) for table in filled.tables),
        ),
        Section(
            "Retention",
            "Student / teacher for each benchmark where higher is better: from the printed cells, and measured as "
            "a ratio of means paired by prompt, with its 95 % interval.",
            tuple(kept),
        ),
        Section(
            "Claims",
            "What the text claims, what printed cells give (with what their rounding allows), and what was measured.",
            (claims(filled),) if filled.claims else (),
        ),
        Section(
            "Suspect cells",
            "Named by whoever typed the numbers out; nothing was corrected.",
            (doubted,) if doubted.groups else (),
        ),
        Section(
            "Contradictions found",
            "By rules that read the printed cells and claims and nothing else."
            if found
            else "The rules found none.",
            tuple(found),
        ),
        Section("Empty cells", "Why they are empty, and what would fill them.", tuple(empty(filled))),
        Section(
            TESTBED,
            "Tiny models and drawn scenes in the paper's rows. The columns are the testbed's own; kept is the share "
            "of the teacher's score."
            if testbed
            else "No given run is of the testbed's models, or none has these samplers.",
            tuple(testbed),
        ),
    ]
