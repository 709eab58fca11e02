"""Bundles: a run comes out of an archive as it went in, or not at all."""

import json
import random
import shutil
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest

from glance_bench import bundle
from glance_bench.baselines import read_baseline, save_baseline
from glance_bench.bundle import choose_images, import_bundle, write_bundle
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.evidence import read_evidence
from glance_bench.packing import read_features
from glance_bench.sealed import Damaged, sha256_bytes
from glance_bench.store import Run
from tests.fake_run import prompts_of
from tests.keeping_fixtures import (
    BLACK,
    SAMPLERS,
    command,
    contents,
    edit_results,
    finished_run,
    kill_at,
    rename,
    sealed,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished_run(tmp_path_factory.mktemp("runs") / "fake", prompts=12)


@pytest.fixture(scope="module")
def packed(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with eight images."""
    return write_bundle(run.folder, tmp_path_factory.mktemp("bundle") / "fake.zip", images=8)[0]


@pytest.fixture
def own(run: Run, tmp_path: Path) -> Run:
    """A copy of the run that a test may spoil."""
    shutil.copytree(run.folder, tmp_path / "fake")
    return Run(tmp_path / "fake")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder ``runs`` of an empty project one is in."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project" / "runs"


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files: Mapping[str, bytes], path: Path, change: Callable[[zipfile.ZipInfo], None] = bool) -> Path:
    """A stored archive of ``files``; ``change`` may alter each member's entry before it is written."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            member = zipfile.ZipInfo(name)
            change(member)
            archive.writestr(member, data)
    return path


def refused(path: Path, runs: Path, says: str, kind: type[GlanceBenchError] = Damaged) -> None:
    """The bundle is refused for this reason, and nothing of it is left."""
    with pytest.raises(kind, match=says):
        import_bundle(path)
    assert not runs.exists() or list(runs.iterdir()) == []


# -- there and back ------------------------------------------------------------------------------------------


def test_what_comes_out_is_what_went_in(run: Run, packed: Path, runs: Path) -> None:
    place, evidence, document = import_bundle(packed)
    theirs = read_evidence(run.folder)
    assert place == Path("runs/fake") and evidence.path == place
    for read in (evidence, read_evidence(place), read_baseline(place)):
        pd.testing.assert_frame_equal(read.samples, theirs.samples)
        pd.testing.assert_frame_equal(read.timing, theirs.timing)
        assert (read.name, read.results, read.prompts) == (theirs.name, theirs.results, theirs.prompts)
        assert (read.suite, read.environment) == (theirs.suite, theirs.environment)
    (shas, features), (known, values) = read_features(place)["fd[fake]-00000000"], run.features("fd[fake]")
    assert shas == known and (features == values).all()
    assert json.loads((place / "run-manifest.json").read_bytes()) == run.manifest
    images = {p.stem: p.read_bytes() for p in (place / "images").iterdir()}
    originals = {sha256_bytes(p.read_bytes()): p.read_bytes() for p in run.folder.rglob("*.png")}
    assert len(images) == 8 and images == {sha: originals[sha] for sha in images}
    assert document["testbed"] is True
    assert sorted(contents(runs)) == sorted(f"fake/{name}" for name in members(packed))


def test_the_same_run_packs_to_the_same_bytes(run: Run, packed: Path, tmp_path: Path, runs: Path) -> None:
    again, _ = write_bundle(run.folder, tmp_path / "again.zip", images=8)
    assert again.read_bytes() == packed.read_bytes()
    place, *_ = import_bundle(packed)
    from_unpacked, _ = write_bundle(place, tmp_path / "third.zip", images=8)
    pictures = [name for name in members(packed) if name.startswith("images/")]
    assert [name for name in members(from_unpacked) if name.startswith("images/")] == pictures
    for name, data in members(from_unpacked).items():
        assert data == members(packed)[name], name


def test_the_archive_is_plain(packed: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    assert {entry.external_attr >> 16 for entry in entries} == {stat.S_IFREG | 0o644}


def test_an_unpacked_bundle_can_be_a_baseline(run: Run, packed: Path, runs: Path) -> None:
    place, *_ = import_bundle(packed)
    first, _ = save_baseline(run.folder, room=Path("one"))
    second, _ = save_baseline(place, room=Path("two"))
    assert contents(first) == contents(second)


def test_an_unpacked_bundle_is_no_run_and_says_so(packed: Path, runs: Path) -> None:
    place, *_ = import_bundle(packed)
    before = contents(place)
    with pytest.raises(GlanceBenchError, match="is a bundle, not a run"):
        Run(place).units()
    with pytest.raises(GlanceBenchError, match="nothing can be made in it"), Run(place).lock():
        pass
    done = command(Path.cwd(), "verify", place)
    assert done.returncode == 0 and "a bundle of the run fake" in done.stdout
    assert contents(place) == before
    (place / "suite.json").write_text("{}")
    done = command(Path.cwd(), "verify", place)
    assert done.returncode == 3 and "suite.json: has 2 bytes" in done.stderr


# -- which images --------------------------------------------------------------------------------------------


def test_failures_come_first_then_the_same_prompts_of_every_sampler(run: Run) -> None:
    evidence = read_evidence(run.folder)
    there = set(evidence.samples["image_sha256"])
    by_key = evidence.samples.set_index(["sampler", "prompt_id"])["image_sha256"]
    black = by_key[BLACK[0]]
    assert [by_key[key] for key in BLACK] == [black] * 3  # one image: black is black
    shown = choose_images(evidence, 1, there)
    assert [(row["sampler"], row["prompt_id"], row["failed"]) for row in shown] == [
        ("uniform-10", "p004", True),
        ("uniform-4", "p001", True),
        ("uniform-4", "p004", True),
    ]
    categories = evidence.samples.drop_duplicates("prompt_id").set_index("prompt_id")["category"]
    strata = len(SAMPLERS) * categories.nunique()
    shown = [row for row in choose_images(evidence, 1 + strata, there) if not row["failed"]]
    taken = Counter((row["sampler"], categories[row["prompt_id"]]) for row in shown)
    assert len(shown) == strata == 12 and set(taken.values()) == {1}
    whole = {p for p in categories.index if p not in ("p001", "p004")}
    prompts = [{row["prompt_id"] for row in shown if row["sampler"] == name} & whole for name in SAMPLERS]
    assert prompts[0] <= prompts[1] and prompts[0] <= prompts[2] and len(prompts[0]) >= 3


def test_as_many_images_as_asked_for(run: Run) -> None:
    evidence = read_evidence(run.folder)
    there = set(evidence.samples["image_sha256"])
    for count, expected in ((0, 0), (5, 5), (1000, 34), (None, 34)):  # 36 images, three of them alike
        assert len({row["image_sha256"] for row in choose_images(evidence, count, there)}) == expected
    few = sorted(there)[:4]
    assert {row["image_sha256"] for row in choose_images(evidence, None, set(few))} == set(few)


def test_several_images_of_a_prompt_are_told_apart(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "fake", prompts=3, images_per_prompt=2, black=())
    place, document = write_bundle(run.folder, tmp_path / "b.zip", images=None)
    rows = {
        (r["sampler"], r["prompt_id"], r["index"]): r["image_sha256"] for r in document["images"]["shown"]
    }
    assert len(rows) == len(set(rows.values())) == len(SAMPLERS) * len(prompts_of(3)) * 2
    assert document["images"] | {"shown": 0} == {"of": 18, "kept": 18, "failed": 0, "shown": 0}


def test_an_image_that_is_not_the_recorded_one_stops_the_packing(own: Run, tmp_path: Path) -> None:
    picture = next(own.folder.rglob("00003.png"))
    data = bytearray(picture.read_bytes())
    data[60] ^= 1
    picture.write_bytes(data)
    with pytest.raises(Damaged, match=r"00003\.png: was altered"):
        write_bundle(own.folder, tmp_path / "out/b.zip", images=None)
    assert list((tmp_path / "out").iterdir()) == []


# -- what is refused -----------------------------------------------------------------------------------------


def test_a_truncated_archive_is_refused(packed: Path, runs: Path, tmp_path: Path) -> None:
    whole, cut = packed.read_bytes(), tmp_path / "cut.zip"
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 200, len(whole) - 1):
        cut.write_bytes(whole[:length])
        refused(cut, runs, r"cut\.zip: is truncated, or no bundle")


def test_whatever_bytes_are_changed_the_content_is_right_or_refused(
    packed: Path, runs: Path, tmp_path: Path
) -> None:
    whole, chance, spoilt = packed.read_bytes(), random.Random(5), tmp_path / "spoilt.zip"
    directory = whole.index(b"PK\x01\x02")
    let_through = 0
    for attempt in range(150):
        data = bytearray(whole)
        data[chance.randrange(0 if attempt % 3 == 0 else directory, len(data))] ^= 1 << chance.randrange(8)
        spoilt.write_bytes(data)
        try:
            place, *_ = import_bundle(spoilt)
        except GlanceBenchError:
            assert not runs.exists() or list(runs.iterdir()) == []
            continue
        let_through += 1  # a date, a version or a mode was hit
        assert {name: (place / name).read_bytes() for name in members(packed)} == members(packed)
        shutil.rmtree(runs)
    assert let_through < 75


@pytest.mark.parametrize(
    "name",
    [
        "../evil.png",
        "/etc/evil",
        "images/../../evil.png",
        "C:\\evil",
        "..\\evil",
        "notes.txt",
        "features/a/b.npz",
    ],
)
def test_members_with_names_of_elsewhere_are_refused(
    packed: Path, runs: Path, tmp_path: Path, name: str
) -> None:
    files = members(packed)
    smuggled = zipped({**files, name: b"evil"}, tmp_path / "unlisted.zip")
    refused(smuggled, runs, r"does not list")
    document = json.loads(files["bundle.json"])
    listed = document["files"] | {name: {"bytes": 4, "sha256": sha256_bytes(b"evil")}}
    files["bundle.json"] = sealed(document, files=listed)
    refused(zipped({**files, name: b"evil"}, tmp_path / "listed.zip"), runs, "has no place in a bundle")
    assert list(tmp_path.rglob("*evil*")) == []


def test_links_folders_and_devices_are_refused(packed: Path, runs: Path, tmp_path: Path) -> None:
    files = members(packed)
    picture = next(name for name in files if name.startswith("images/"))
    for kind in (stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR):

        def change(member: zipfile.ZipInfo, kind: int = kind) -> None:
            if member.filename == picture:
                member.create_system, member.external_attr = 3, (kind | 0o777) << 16

        refused(zipped(files, tmp_path / "b.zip", change), runs, "is not a plain file")
    refused(zipped({**files, "images/": b""}, tmp_path / "b.zip"), runs, "is not a plain file")


def test_compressed_members_are_refused(packed: Path, runs: Path, tmp_path: Path) -> None:
    files = members(packed)
    document = json.loads(files["bundle.json"])
    bomb = bytes(50_000_000)
    listed = document["files"] | {"features/a.npz": {"bytes": len(bomb), "sha256": sha256_bytes(bomb)}}
    files |= {"bundle.json": sealed(document, files=listed), "features/a.npz": bomb}

    def change(member: zipfile.ZipInfo) -> None:
        if member.filename == "features/a.npz":
            member.compress_type = zipfile.ZIP_DEFLATED

    refused(zipped(files, tmp_path / "b.zip", change), runs, "holds a compressed")


def test_two_names_for_the_same_bytes_are_refused(packed: Path, runs: Path, tmp_path: Path) -> None:
    """Entries that overlap: more content than the archive has bytes."""
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for name, data in members(packed).items():
            archive.writestr(zipfile.ZipInfo(name), data)
        first = max(archive.filelist, key=lambda entry: entry.file_size)
        for number in range(200):
            other = zipfile.ZipInfo(f"images/{number:064x}.png")
            other.file_size = other.compress_size = first.file_size
            other.header_offset, other.CRC = first.header_offset, first.CRC
            archive.filelist.append(other)
        archive._didModify = True
    refused(tmp_path / "b.zip", runs, "states more content than it has bytes")


def test_places_outside_the_archive_are_refused(packed: Path, runs: Path, tmp_path: Path) -> None:
    for offset in (10**6, 2**32 - 2, 2**62):
        with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
            for name, data in members(packed).items():
                archive.writestr(zipfile.ZipInfo(name), data)
            archive.filelist[3].header_offset = offset
        refused(tmp_path / "b.zip", runs, "places outside it")


def test_a_file_that_is_there_twice_is_refused(packed: Path, runs: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for name, data in [*members(packed).items(), ("suite.json", b"{}")]:
            if name != "suite.json" or data == b"{}":
                archive.writestr(zipfile.ZipInfo(name), data)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(zipfile.ZipInfo("suite.json"), b"{}")
    refused(tmp_path / "b.zip", runs, "holds a file twice")


def test_sizes_and_digests_other_than_stated_are_refused(packed: Path, runs: Path, tmp_path: Path) -> None:
    files = members(packed)
    picture = next(name for name in files if name.startswith("images/"))
    place = tmp_path / "b.zip"
    refused(
        zipped({**files, picture: files[picture] + b"x"}, place), runs, r"has \d+ bytes, not \d+ as stated"
    )
    altered = files[picture][:-1] + bytes([files[picture][-1] ^ 1])
    refused(zipped({**files, picture: altered}, place), runs, "was altered")
    refused(zipped({k: v for k, v in files.items() if k != picture}, place), runs, "lacks images/")
    refused(zipped({"a.txt": b"a"}, place), runs, "no bundle: it has no bundle.json")
    refused(zipped({**files, "results.json": b"{}"}, place), runs, "results.json has 2 bytes")


def test_results_that_were_edited_by_hand_are_refused(packed: Path, runs: Path, tmp_path: Path) -> None:
    """Even when bundle.json was made to fit them."""
    files = members(packed)
    files["results.json"] = files["results.json"].replace(b'"profile": null', b'"profile": "h1"')
    document = json.loads(files["bundle.json"])
    fits = {"bytes": len(files["results.json"]), "sha256": sha256_bytes(files["results.json"])}
    files["bundle.json"] = sealed(document, files=document["files"] | {"results.json": fits})
    refused(zipped(files, tmp_path / "b.zip"), runs, r"results\.json: was altered")


def test_results_of_another_build_are_refused(packed: Path, runs: Path, tmp_path: Path) -> None:
    """Every digest is right; only nothing that reads results could read these."""
    files = members(packed)
    (tmp_path / "results.json").write_bytes(files["results.json"])
    for boards in ([{}], None, [{"model": 1}], [[]]):
        edit_results(tmp_path, boards=boards)
        data = (tmp_path / "results.json").read_bytes()
        document = json.loads(files["bundle.json"])
        listed = document["files"] | {"results.json": {"bytes": len(data), "sha256": sha256_bytes(data)}}
        origin = document["from"] | {"seal": json.loads(data)["seal"]}
        changed = {"results.json": data, "bundle.json": sealed(document, files=listed, **{"from": origin})}
        refused(zipped(files | changed, tmp_path / "b.zip"), runs, "no bundle")


def test_what_is_no_picture_is_refused(packed: Path, runs: Path, tmp_path: Path) -> None:
    files, script = members(packed), b"#!/bin/sh\n"
    document = json.loads(files["bundle.json"])
    name = f"images/{sha256_bytes(script)}.png"
    listed = document["files"] | {name: {"bytes": len(script), "sha256": sha256_bytes(script)}}
    files |= {name: script, "bundle.json": sealed(document, files=listed)}
    refused(zipped(files, tmp_path / "b.zip"), runs, "is not a PNG file")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": "glance-bench/bundle/2"}, "this version reads 'glance-bench/bundle/1'"),
        ({"schema": "glance-bench/baseline/1"}, "this version reads"),
        ({"from": {"run": "fake", "digest": "0", "seal": "0"}}, "belongs to another run"),
        ({"from": {"run": "../../up", "digest": "0", "seal": "0"}}, "cannot name a run"),
        ({"images": {}}, "no bundle"),
        ({"files": None}, "is not the document of a bundle"),
    ],
)
def test_a_document_that_does_not_fit_is_refused(
    packed: Path, runs: Path, tmp_path: Path, changes: dict, says: str
) -> None:
    files = members(packed)
    files["bundle.json"] = sealed(json.loads(files["bundle.json"]), **changes)
    refused(zipped(files, tmp_path / "b.zip"), runs, says, GlanceBenchError)


def test_a_document_without_its_digest_is_refused(packed: Path, runs: Path, tmp_path: Path) -> None:
    files = members(packed)
    document = json.loads(files["bundle.json"])
    for changed in ({**document, "suite": "other"}, {k: v for k, v in document.items() if k != "digest"}):
        files["bundle.json"] = json.dumps(changed).encode()
        refused(zipped(files, tmp_path / "b.zip"), runs, "does not match its own digest")


def test_documents_that_are_no_documents_are_refused(packed: Path, runs: Path, tmp_path: Path) -> None:
    for data in (b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"null"):
        files = {**members(packed), "bundle.json": data}
        refused(zipped(files, tmp_path / "b.zip"), runs, "is not the document of a bundle")


def test_too_many_members_are_refused(
    packed: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "MEMBERS", 5)
    refused(packed, runs, "more than any bundle")
    monkeypatch.undo()
    monkeypatch.setattr(bundle, "DOCUMENT_LIMIT", 100)
    refused(packed, runs, "has a bundle.json of")


# -- places --------------------------------------------------------------------------------------------------


def test_nothing_is_ever_overwritten(run: Run, packed: Path, runs: Path) -> None:
    import_bundle(packed)
    before = contents(runs)
    with pytest.raises(UsageError, match="--as NAME"):
        import_bundle(packed)
    Path("there").mkdir()
    Path("link").symlink_to("nowhere")
    for place in ("there", "link"):
        with pytest.raises(UsageError, match="is there already"):
            import_bundle(packed, folder=Path(place))
    assert contents(runs) == before
    Path("fake.zip").write_text("something of mine")
    with pytest.raises(UsageError, match="--replace"):
        write_bundle(run.folder)
    assert Path("fake.zip").read_text() == "something of mine"
    write_bundle(run.folder, replace=True, images=8)
    assert Path("fake.zip").read_bytes() == packed.read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        write_bundle(run.folder, Path("there"), replace=True)


def test_it_may_go_under_another_name(packed: Path, runs: Path) -> None:
    assert import_bundle(packed, "theirs")[0] == Path("runs/theirs")
    assert import_bundle(packed, folder=Path("deep/er/here"))[0] == Path("deep/er/here")
    assert read_baseline(Path("deep/er/here")).name == "fake"
    for name in ("../up", "", "A", "a/b", ".a"):
        with pytest.raises(UsageError, match="cannot name a run"):
            import_bundle(packed, name)
    with pytest.raises(UsageError, match="give one of them"):
        import_bundle(packed, "a", Path("b"))


def test_a_testbed_s_numbers_stay_called_so(own: Run, runs: Path) -> None:
    rename(own, "coco-testbed")
    packed, document = write_bundle(own.folder, Path("b.zip"), images=0)
    assert document["testbed"] is True
    for arguments in ({"name": "coco"}, {"folder": Path("coco")}):
        with pytest.raises(UsageError, match="call it coco-testbed"):
            import_bundle(packed, **arguments)
    assert import_bundle(packed, "theirs-testbed")[0] == Path("runs/theirs-testbed")
    place, evidence, _ = import_bundle(packed)
    assert place == Path("runs/coco-testbed") and evidence.results["boards"][0]["testbed"]


def test_an_unpacked_bundle_that_was_altered_is_refused(packed: Path, runs: Path) -> None:
    place, *_ = import_bundle(packed)
    picture = next((place / "images").iterdir())
    data = picture.read_bytes()
    picture.write_bytes(data + b"x")
    with pytest.raises(Damaged, match="images/"):
        read_baseline(place)
    with pytest.raises(Damaged, match="images/"):
        write_bundle(place, Path("again.zip"))
    assert not Path("again.zip").exists()


@pytest.mark.parametrize(
    ("owner", "name"), [("bundle", "_unpack"), ("bundle", "read_packed"), ("pathlib.Path", "rename")]
)
def test_a_killed_import_leaves_nothing_half(packed: Path, runs: Path, owner: str, name: str) -> None:
    kill_at(Path.cwd(), owner, name, 0, "import", packed)
    assert not (runs / "fake").exists() and len(list(runs.iterdir())) == 1
    import_bundle(packed)
    assert [path.name for path in runs.iterdir()] == ["fake"]
    assert contents(runs / "fake") == members(packed)


def test_a_killed_packing_leaves_nothing_half(run: Run, packed: Path, runs: Path) -> None:
    kill_at(Path.cwd(), "bundle", "_zip", 0, "bundle", run.folder, "-o", "out/b.zip")
    assert not Path("out/b.zip").exists() and len(list(Path("out").iterdir())) == 1
    write_bundle(run.folder, Path("out/b.zip"), images=8)
    assert [path.name for path in Path("out").iterdir()] == ["b.zip"]
    assert Path("out/b.zip").read_bytes() == packed.read_bytes()


def test_the_commands_and_their_exit_codes(run: Run, runs: Path) -> None:
    here = Path.cwd()
    done = command(here, "bundle", run.folder, "--images", "3", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["path"], said["images"]["kept"], said["images"]["of"]) == ("fake.zip", 3, 34)
    assert command(here, "bundle", run.folder).returncode == 2
    assert command(here, "bundle", run.folder, "-o", "b.zip", "--images", "-1").returncode == 2
    assert command(here, "bundle", here, "-o", "b.zip").returncode == 3
    shown = command(here, "import", "fake.zip")
    assert shown.returncode == 0, shown.stderr
    assert "3 of 34 images" in shown.stdout and "TESTBED" in shown.stdout and "uniform-4" in shown.stdout
    again = command(here, "import", "fake.zip")
    assert again.returncode == 2 and again.stdout == "" and "runs/fake is there already" in again.stderr
    Path("cut.zip").write_bytes(Path("fake.zip").read_bytes()[:-100])
    for name, says in (("cut.zip", "truncated"), ("nowhere.zip", "No such file"), ("runs", "Is a directory")):
        done = command(here, "import", name, "--as", "other")
        assert done.returncode == 3 and says in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in runs.iterdir()] == ["fake"]


def test_features_can_be_left_out(run: Run, tmp_path: Path) -> None:
    place, document = write_bundle(run.folder, tmp_path / "b.zip", images=0, features=False)
    assert not [name for name in document["files"] if name.startswith(("features/", "images/"))]
    assert set(members(place)) == {*document["files"], "bundle.json"}
