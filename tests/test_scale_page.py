"""docs/scale.md shows what benchmarks/scale.py prints, and its formula bounds what it counts."""

import re

import pytest

from benchmarks import scale
from tests.documents import DOCS, ROOT


def test_the_page_shows_what_the_script_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DOCS / "scale.md").read_text()
    (shown,) = re.findall(r"<!-- output: scale -->\n```text\n(.*?)```\n<!-- /output -->", page, re.S)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["scale.py"])
    scale.main()
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize("gpus", [1, 3, 8])
def test_no_order_of_units_takes_longer_than_the_bound(gpus: int) -> None:
    hours = [0.1] * 40 + [0.5] * 6 + [2.0]  # the longest comes last, as bad as it can be
    took = scale.makespan(hours, gpus)
    assert max(sum(hours) / gpus, 2.0) <= took <= sum(hours) / gpus + (1 - 1 / gpus) * 2.0 + 1e-9
    assert scale.makespan([3.0, 1.0, 1.0, 1.0], 2) == 3.0  # the second takes all the short ones


def test_units_are_slices_and_a_rest() -> None:
    rows = [{"images": 10, "seconds": 360.0}, {"images": 4, "seconds": 3600.0}]
    assert scale.units(rows, 4) == pytest.approx([0.4, 0.4, 0.2, 4.0])
