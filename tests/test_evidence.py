"""A finished run read back without its images, and every way in which that must be refused."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from glance_bench.errors import GlanceBenchError
from glance_bench.evidence import FILES, read_evidence, results_seal, write_evidence
from glance_bench.prompts import Prompt
from glance_bench.prompts.facets import objects_asked, words_asked
from glance_bench.sealed import Damaged, json_bytes
from glance_bench.store import Run

from .fake_run import METRICS, SAMPLERS, finish, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = make_run(tmp_path_factory.mktemp("run"), images_per_prompt=2, black=[("uniform-4", "p001")])
    finish(made)
    return made


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Path:
    write_evidence(read_evidence(run.folder), tmp_path)
    return tmp_path


def edit(folder: Path, change: dict, *, sealed: bool = False) -> None:
    """Change results.json by hand; with ``sealed`` as another version would have written it."""
    path = folder / "results.json"
    document = json.loads(path.read_text()) | change
    if sealed:
        document["seal"] = results_seal(document)
    path.write_bytes(json_bytes(document))


def test_a_row_an_image_with_every_value(run: Run) -> None:
    evidence = read_evidence(run.folder)
    frame = evidence.samples
    assert len(frame) == 2 * len(SAMPLERS) * 12 * 2
    assert not frame.duplicated(["model", "sampler", "prompt_set", "prompt_id", "index"]).any()
    names = {c["name"] for c in evidence.results["columns"] if c["kind"] != "corpus"}
    assert names <= set(frame.columns)
    scores = run.scores("truth").set_index(["image_sha256", "prompt_id"])["truth"]
    own = frame.set_index(["image_sha256", "prompt_id"])["truth"]
    assert own.to_dict() == scores[own.index].to_dict()
    failed = frame[frame["failed"] == 1]
    assert set(failed["sampler"]) == {"uniform-4"} and set(failed["prompt_id"]) == {"p001"}


def test_means_of_the_rows_are_the_cells(run: Run) -> None:
    evidence = read_evidence(run.folder)
    for board in evidence.results["boards"]:
        for row in board["samplers"]:
            own = evidence.samples.query("model == @board['model'] and sampler == @row['sampler']")
            for name in ("truth", "ocr_word_accuracy", "clip[fake]"):
                mean = own.groupby("prompt_id")[name].mean().dropna().mean()
                assert mean == pytest.approx(row["cells"][name]["value"], rel=1e-9)


def test_what_prompts_ask_for(run: Run) -> None:
    frame = read_evidence(run.folder).samples.drop_duplicates("prompt_id").set_index("prompt_id")
    prompts = {prompt.id: prompt for prompt in run.prompts()}
    for identity, row in frame.iterrows():
        scene = prompts[str(identity)].meta["scene"]
        assert row["objects"] == len(scene["things"]) * scene["count"]
        assert row["wanted_words"] == len(scene["words"])
        assert row["prompt_words"] == len(prompts[str(identity)].text.split())
    plain = Prompt("a", "a sign", "", ("two words", "three"))
    assert (words_asked(plain), objects_asked(plain)) == (3, None)
    counted = Prompt("b", "x", "", meta={"include": [{"class": "cow", "count": 3}, {"class": "dog"}]})
    assert objects_asked(counted) == 4


def test_the_same_run_makes_the_same_bytes(run: Run, tmp_path: Path) -> None:
    before = {name: (run.folder / name).read_bytes() for name in FILES}
    finish(run, METRICS)
    assert {name: (run.folder / name).read_bytes() for name in FILES} == before


def test_it_is_read_without_images_or_torch(copy: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from glance_bench.evidence import read_evidence; "
        f"print(len(read_evidence(Path({str(copy)!r})).samples)); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "288"), done.stderr


def test_results_edited_by_hand(copy: Path) -> None:
    edit(copy, {"run": "better"})
    with pytest.raises(Damaged, match="was altered"):
        read_evidence(copy)


def test_latencies_are_sealed_too(copy: Path) -> None:
    edit(copy, {"timing": []})
    with pytest.raises(Damaged, match="was altered"):
        read_evidence(copy)


def test_a_table_edited_by_hand(copy: Path) -> None:
    import pandas as pd

    frame = pd.read_parquet(copy / "samples.parquet")
    frame.assign(truth=np.ones(len(frame))).to_parquet(copy / "samples.parquet")
    with pytest.raises(Damaged, match=r"samples\.parquet: was altered"):
        read_evidence(copy)


def test_another_schema_version(copy: Path) -> None:
    edit(copy, {"schema": "glance-bench/results/1"}, sealed=True)
    with pytest.raises(GlanceBenchError, match="results/1.*run its suite again"):
        read_evidence(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_missing(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(GlanceBenchError, match=f"not a finished run: it has no {name}"):
        read_evidence(copy)


def test_no_json(copy: Path) -> None:
    (copy / "results.json").write_text("{")
    with pytest.raises(Damaged, match="not a JSON document"):
        read_evidence(copy)
