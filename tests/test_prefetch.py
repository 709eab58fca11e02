"""Fetching, against a web server of our own: whole, cut short, wrong, absent; what lock files pin."""

from __future__ import annotations

import dataclasses
import io
import re
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from glance_bench import prefetch
from glance_bench.download import download
from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.locks import LockedRepo, Pins, lock_beside, locked_commit, read_lock, write_lock
from glance_bench.prompts import dpg, geneval
from glance_bench.prompts.sources import SOURCES, Source
from glance_bench.registry import METRICS, PROMPT_SETS
from glance_bench.suite import Suite
from glance_bench.terminal import Progress
from glance_bench.weights import WEIGHTS, Weights, find_weights

from .web import Site, serving

QUIET = Progress(quiet=True)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with serving() as one:
        monkeypatch.setattr(prefetch, "RAW", one.url)
        monkeypatch.setattr(prefetch, "ARCHIVES", one.url)
        yield one


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLANCE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GLANCE_BENCH_DATA", raising=False)
    monkeypatch.delenv("GLANCE_BENCH_LOCK", raising=False)
    return tmp_path / "cache"


def hexes(data: bytes) -> str:
    return sha256(data).hexdigest()


# --- one file -------------------------------------------------------------------------------------------------

DATA = bytes(range(256)) * 4000


def test_a_download_is_whole_and_its_digest_is_returned(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = DATA
    place = tmp_path / "deep" / "a.bin"
    assert download(f"{site.url}/a.bin", place, hexes(DATA)) == hexes(DATA)
    assert place.read_bytes() == DATA and [file.name for file in place.parent.iterdir()] == ["a.bin"]


def test_a_cut_download_goes_on_where_it_stopped(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"], site.cut["/a.bin"] = DATA, [300_000, 200_001]
    download(f"{site.url}/a.bin", tmp_path / "a.bin", hexes(DATA))
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert [wanted for _, _, wanted in site.asked] == [None, "bytes=300000-", "bytes=500001-"]


def test_a_download_that_stops_for_good_leaves_no_file_and_goes_on_later(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"], site.cut["/a.bin"] = DATA, [70_000, 0]
    with pytest.raises(
        GlanceBenchError, match="stopped sending; 70,000 bytes are kept, run it again to go on"
    ):
        download(f"{site.url}/a.bin", tmp_path / "a.bin", hexes(DATA))
    assert not (tmp_path / "a.bin").exists()
    download(f"{site.url}/a.bin", tmp_path / "a.bin", hexes(DATA))
    assert (tmp_path / "a.bin").read_bytes() == DATA and site.asked[-1][2] == "bytes=70000-"


def test_a_server_without_ranges_starts_again(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"], site.cut["/a.bin"], site.ranges = DATA, [70_000], False
    download(f"{site.url}/a.bin", tmp_path / "a.bin", hexes(DATA))
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_a_part_that_is_longer_than_the_file_is_dropped(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = DATA
    (tmp_path / "a.bin.part").write_bytes(DATA + b"more")
    download(f"{site.url}/a.bin", tmp_path / "a.bin", hexes(DATA))
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_wrong_content_is_not_kept(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = DATA
    with pytest.raises(GlanceBenchError) as error:
        download(f"{site.url}/a.bin", tmp_path / "a.bin", "0" * 64)
    assert f"gave sha256 {hexes(DATA)[:12]} where 000000000000 is expected; nothing is kept" in str(
        error.value
    )
    assert list(tmp_path.glob("a.bin*")) == []


def test_an_existing_file_survives_a_failed_download(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"old")
    for path in ("/no.bin", "/a.bin"):
        site.files["/a.bin"] = DATA
        with pytest.raises(GlanceBenchError):
            download(site.url + path, tmp_path / "a.bin", "0" * 64)
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_addresses_that_do_not_answer(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GlanceBenchError, match=r"/no: 404 Not Found$"):
        download(f"{site.url}/no", tmp_path / "no")
    with pytest.raises(GlanceBenchError, match="refused"):
        download("http://127.0.0.1:9/no", tmp_path / "no")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(GlanceBenchError, match="not fetched, HF_HUB_OFFLINE is set"):
        download(f"{site.url}/no", tmp_path / "no")
    assert not any(tmp_path.glob("no*"))


# --- prompt sets ----------------------------------------------------------------------------------------------

LIST = b'{"tag": "colors", "include": [{"class": "cup", "count": 1}], "prompt": "one cup, red"}\n'
GENEVAL = f"/djghosh13/geneval/{SOURCES['geneval'][0].commit}/prompts/evaluation_metadata.jsonl"


def change(monkeypatch: pytest.MonkeyPatch, name: str, **changes: object) -> Source:
    first, *others = SOURCES[name]
    source = dataclasses.replace(first, **changes)  # type: ignore[arg-type]
    monkeypatch.setitem(SOURCES, name, (source, *others))
    return source


def test_a_prompt_set_is_fetched_once_and_then_loads(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    change(monkeypatch, "geneval", sha256=hexes(LIST), count=1)
    site.files[GENEVAL] = LIST
    (one,) = prefetch.fetch(["geneval"], progress=QUIET)
    assert one.new and one.place.read_bytes() == LIST and one.licence == "MIT"
    assert [prompt.text for prompt in geneval.load().prompts] == ["one cup, red"]
    (again,) = prefetch.fetch(["geneval", "geneval"], progress=QUIET)
    assert not again.new and len(site.asked) == 1
    one.place.write_bytes(LIST[:-9])  # damaged since: fetched again
    (mended,) = prefetch.fetch(["geneval"], progress=QUIET)
    assert mended.new and mended.place.read_bytes() == LIST


def test_what_the_data_folder_holds_is_not_fetched(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "data/geneval/evaluation_metadata.jsonl"
    place.parent.mkdir(parents=True)
    place.write_bytes(LIST)
    monkeypatch.setenv("GLANCE_BENCH_DATA", str(tmp_path / "data"))
    (one,) = prefetch.fetch(["geneval"], progress=QUIET)
    assert (one.place, one.new, site.asked) == (place, False, [])


def test_a_failure_says_what_to_do_by_hand_and_does_not_stop_the_rest(
    site: Site, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    change(monkeypatch, "drawbench", sha256=hexes(b"x"))
    site.files[GENEVAL] = LIST  # not the official content
    path = "/xie-lab-ml/Golden-Noise-for-Diffusion-Models/aa7103edd7746dab9793aac9e785515d57316ace/data/drawbench.csv"
    site.files[path] = b"x"
    with pytest.raises(GlanceBenchError) as error:
        prefetch.fetch(["geneval", "partiprompts", "drawbench"], progress=QUIET)
    first, second = str(error.value).split("\n")
    assert "where 5c48e0813e81 is expected; nothing is kept" in first
    assert "put it at <DIR>/geneval/evaluation_metadata.jsonl, with --data DIR" in first
    assert "404" in second and "google-research/parti" in second
    assert (cache / "prompts/aa7103edd774/drawbench/drawbench.csv").read_bytes() == b"x"


def test_unknown_names_are_refused_before_anything_is_fetched(site: Site) -> None:
    with pytest.raises(UsageError, match="nothing to fetch is called 'genevel'; did you mean 'geneval'?"):
        prefetch.fetch(["geneval", "genevel"], progress=QUIET)
    assert site.asked == []
    with pytest.raises(
        GlanceBenchError, match="put coco2014/captions_val2014.json into the folder of --data"
    ):
        prefetch.fetch(["coco-val2014"], progress=QUIET)


def archive(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("ELLA-3c228f1/dpg_bench/prompts/link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    return out.getvalue()


def test_a_folder_comes_out_of_the_repositorys_archive(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = {"1.txt": b"a cup", "vrd2.txt": b"a hat"}
    others = {
        "ELLA-3c228f1/dpg_bench/README.md": b"no",
        "ELLA-3c228f1/dpg_bench/prompts/notes.md": b"no",
        "ELLA-3c228f1/dpg_bench/prompts/deeper/3.txt": b"no",
        "ELLA-3c228f1/../../dpg_bench/prompts/4.txt": b"no",
        "ELLA-3c228f1/assets/3.txt": b"no",
    }
    lines = "".join(f"{hexes(wanted[name])}  {name}\n" for name in sorted(wanted))
    source = change(monkeypatch, "dpg", sha256=hexes(lines.encode()), count=2)
    url = f"/TencentQQGYLab/ELLA/tar.gz/{source.commit}"
    site.files[url] = archive(
        {**{f"ELLA-3c228f1/dpg_bench/prompts/{name}": data for name, data in wanted.items()}, **others}
    )
    (one,) = prefetch.fetch(["dpg"], progress=QUIET)
    assert {file.name: file.read_bytes() for file in one.place.iterdir()} == wanted
    assert not list(one.place.parent.glob("*.tar.gz"))
    assert "without dpg_bench/dpg_bench.csv" in capsys.readouterr().err  # wished for, not needed
    assert {prompt.text for prompt in dpg.load().prompts} == {"a cup", "a hat"}

    (one.place / "1.txt").write_bytes(b"changed")
    (one,) = prefetch.fetch(["dpg"], progress=QUIET)
    assert one.new and (one.place / "1.txt").read_bytes() == b"a cup"
    (one.place / "1.txt").unlink()
    for content, message in [
        (b"no archive", "is no readable archive"),
        (archive(others), "its 0 files have digest"),
    ]:
        site.files[url] = content
        with pytest.raises(GlanceBenchError, match=message):
            prefetch.fetch(["dpg"], progress=QUIET)


# --- weights --------------------------------------------------------------------------------------------------


def test_weights_from_one_address(site: Site, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    entry = Weights("net", "1 MB", "MIT", url=f"{site.url}/net.pt", sha256=hexes(DATA))
    monkeypatch.setitem(WEIGHTS, "net", entry)
    site.files["/net.pt"] = DATA[:-1]
    with pytest.raises(GlanceBenchError) as error:
        prefetch.fetch(["net"], progress=QUIET)
    assert f"cannot fetch net (1 MB): {site.url}/net.pt: gave sha256" in str(error.value)
    assert f"By hand: put it at {cache / 'weights/net/net.pt'}" in str(error.value)
    site.files["/net.pt"] = DATA
    (one,) = prefetch.fetch(["net"], progress=QUIET)
    assert find_weights("net") == one.place and one.new and one.note == ""
    monkeypatch.setitem(WEIGHTS, "net", dataclasses.replace(entry, converted="net.safetensors"))
    (one,) = prefetch.fetch(["net"], progress=QUIET)
    assert (one.new, one.note) == (False, "then: glance-bench convert net")
    (cache / "weights/net/net.safetensors").write_bytes(b"made")
    (one,) = prefetch.fetch(["net"], progress=QUIET)
    assert (one.place.name, one.new, one.note) == ("net.safetensors", False, "")


# --- lock files -----------------------------------------------------------------------------------------------


def test_a_lock_holds_addresses_and_binds_them(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change(monkeypatch, "geneval", sha256=None, count=1)  # nothing in the code pins the content now
    site.files[GENEVAL] = LIST
    lock = lock_beside(tmp_path / "mine.yaml")
    assert lock.name == "mine.lock.yaml"
    prefetch.fetch(["geneval"], lock, QUIET)
    assert read_lock(lock).urls == {site.url + GENEVAL: hexes(LIST)}
    first = lock.read_bytes()
    monkeypatch.setenv("GLANCE_BENCH_CACHE", str(tmp_path / "other"))
    prefetch.fetch(["geneval"], lock, QUIET)
    assert lock.read_bytes() == first
    monkeypatch.setenv("GLANCE_BENCH_CACHE", str(tmp_path / "third"))
    site.files[GENEVAL] = LIST.replace(b"red", b"tan")
    with pytest.raises(GlanceBenchError, match=f"where {hexes(LIST)[:12]} is expected"):
        prefetch.fetch(["geneval"], lock, QUIET)
    assert lock.read_bytes() == first


def test_a_lock_file_is_read_strictly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "a.lock.yaml"
    write_lock(
        lock,
        {"datasets/two/prompts": LockedRepo(commit="b" * 40, files={"x": "1"})},
        {"http://x": "2"},
    )
    assert read_lock(lock).hub["datasets/two/prompts"].commit == "b" * 40
    assert lock.read_text().startswith("# What a suite was fetched with")
    assert locked_commit("datasets/two/prompts") is None
    monkeypatch.setenv("GLANCE_BENCH_LOCK", str(lock))
    assert locked_commit("datasets/two/prompts") == "b" * 40 and locked_commit("one/model") is None
    lock.write_text(lock.read_text().replace("b" * 40, "main"))
    with pytest.raises(UsageError, match=re.escape(f"{lock}:")):
        read_lock(lock)
    lock.write_text("hubs: {}\n")
    with pytest.raises(UsageError, match="hub"):
        read_lock(lock)


def test_only_changed_content_of_a_locked_repository_is_refused() -> None:
    pins = Pins(True, {"one/model": LockedRepo(commit="a" * 40, files={"x": "1" * 64})})
    pins.repo("one/model", "a" * 40, {"y": "2" * 64})
    assert pins.hub["one/model"].files == {"x": "1" * 64, "y": "2" * 64}
    with pytest.raises(
        GlanceBenchError, match="x has sha256 333333333333, but the lock file has 111111111111"
    ):
        pins.repo("one/model", "a" * 40, {"x": "3" * 64})
    with pytest.raises(GlanceBenchError, match="commit bbbbbbbbbbbb, but the lock file has aaaaaaaaaaaa"):
        pins.repo("one/model", "b" * 40, {})


# --- suites ---------------------------------------------------------------------------------------------------


def test_a_suite_is_fetched_until_nothing_waits(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its prompt sets, a profile's too, and the weights of a metric that asks for one after the other."""
    change(monkeypatch, "geneval", sha256=hexes(LIST), count=1)
    change(monkeypatch, "drawbench", sha256=hexes(b"x"), count=1)
    site.files[GENEVAL] = LIST
    commit = "aa7103edd7746dab9793aac9e785515d57316ace"
    site.files[f"/xie-lab-ml/Golden-Noise-for-Diffusion-Models/{commit}/data/drawbench.csv"] = b"x"
    for name in ("net-a", "net-b", "unused"):
        site.files[f"/{name}.pt"] = name.encode()
        monkeypatch.setitem(WEIGHTS, name, Weights(name, "1 kB", "MIT", url=f"{site.url}/{name}.pt"))

    def metric() -> object:
        return find_weights("net-a"), find_weights("net-b")

    monkeypatch.setitem(METRICS._targets, "two-nets", metric)
    for name in ("geneval", "drawbench"):
        monkeypatch.setitem(PROMPT_SETS._targets, name, geneval.load)
    suite = Suite.model_validate(
        {
            "name": "own",
            "prompts": [{"set": "geneval"}, {"set": "mine", "texts": ["a cup"]}],
            "samplers": ["teacher-50"],
            "metrics": ["health", "two-nets"],
            "profiles": {"small": {"models": ["testbed-flux"], "prompts": [{"set": "drawbench"}]}},
        }
    )
    assert prefetch.targets_of(suite) == ["geneval", "drawbench", "net-a"]
    lock = tmp_path / "own.lock.yaml"
    fetched = prefetch.fetch_suite(suite, lock, QUIET)
    assert [one.target for one in fetched] == ["geneval", "drawbench", "net-a", "net-b"]
    assert len(read_lock(lock).urls) == 4
    metric()
    held = lock.read_bytes()
    assert [(one.target, one.new) for one in prefetch.fetch_suite(suite, lock, QUIET)] == [
        (name, False) for name in ("geneval", "drawbench", "net-a", "net-b")
    ]
    lock.unlink()  # where everything is here before, the lock file is the same
    prefetch.fetch_suite(suite, lock, QUIET)
    assert lock.read_bytes() == held


def test_all_that_a_metric_needs_is_fetched_although_the_first_of_it_waits_for_a_conversion(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    names = ["vqascore[clip-flant5-xxl]", "oneig_style", "dreamsim[ensemble]", "oneig_reasoning"]
    suite = Suite.model_validate(
        {
            "name": "own",
            "models": ["testbed-flux"],
            "prompts": [{"set": "mine", "texts": ["a cup"]}],
            "samplers": ["teacher-50"],
            "metrics": names,
            "profiles": {
                "small": {"models": ["testbed-flux"], "metrics": ["fid[inception-2015-12-05,clean-fid]"]},
                "asked": {
                    "models": ["testbed-flux"],
                    "metrics": ["dpg[judge]"],
                    "judge": f"transformers:one/judge@{'a' * 40}",
                },
            },
        }
    )
    wanted = [
        *("flan-t5-xxl-tokenizer", "clip-vit-large-patch14-336", "clip-flant5-xxl"),
        *("csd-vit-l", "oneig-style-encoder", "oneig-style-csd-references", "oneig-style-se-references"),
        *("dino-vit-b-16", "dreamsim-ensemble"),
        "llm2clip-openai-l-14-336",  # and answers that are published nowhere
        "inception-2015-12-05",
        f"one/judge@{'a' * 40}",
    ]
    assert prefetch.targets_of(suite) == wanted
    inception = cache / "weights/inception-2015-12-05/inception-2015-12-05.safetensors"
    inception.parent.mkdir(parents=True)
    inception.write_bytes(b"made")
    for _ in range(2):  # what a process has made before is asked for again
        assert prefetch.targets_of(suite) == wanted
    with pytest.raises(GlanceBenchError, match="oneig-reasoning-answers is published nowhere"):
        prefetch.fetch(["oneig-reasoning-answers"], progress=QUIET)


def test_a_lock_holds_what_converted_weights_were_made_of(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, lock = f"{site.url}/net.pt", tmp_path / "a.lock.yaml"
    entry = Weights("net", "1 MB", "MIT", url=url, converted="net.safetensors")
    monkeypatch.setitem(WEIGHTS, "net", entry)
    site.files["/net.pt"] = DATA
    prefetch.fetch(["net"], lock, QUIET)
    fetched = lock.read_bytes()
    (cache / "weights/net/net.safetensors").write_bytes(b"made")
    lock.unlink()
    prefetch.fetch(["net"], lock, QUIET)
    assert lock.read_bytes() == fetched and read_lock(lock).urls == {url: hexes(DATA)}

    (cache / "weights/net/net.pt").unlink()
    prefetch.fetch(["net"], lock, QUIET)
    assert lock.read_bytes() == fetched and capsys.readouterr().err == ""
    lock.unlink()
    prefetch.fetch(["net"], lock, QUIET)
    assert read_lock(lock).urls == {}
    assert "net: only its converted form is here" in capsys.readouterr().err
    monkeypatch.setitem(WEIGHTS, "net", dataclasses.replace(entry, sha256=hexes(DATA)))
    prefetch.fetch(["net"], lock, QUIET)
    assert lock.read_bytes() == fetched
    assert len(site.asked) == 1  # the download; pinning fetches nothing


def test_a_lock_holds_files_of_the_data_folder(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same as where they were fetched, a folder among them."""
    lines = f"{hexes(b'a cup')}  1.txt\n".encode()
    folder = change(monkeypatch, "dpg", sha256=hexes(lines), count=1)
    monkeypatch.setitem(SOURCES, "dpg", (folder,))
    change(monkeypatch, "geneval", sha256=hexes(LIST), count=1)
    site.files[GENEVAL] = LIST
    site.files[f"/TencentQQGYLab/ELLA/tar.gz/{folder.commit}"] = archive(
        {"ELLA-3c228f1/dpg_bench/prompts/1.txt": b"a cup"}
    )
    lock = tmp_path / "a.lock.yaml"
    prefetch.fetch(["geneval", "dpg"], lock, QUIET)
    fetched = lock.read_bytes()
    assert len(read_lock(lock).urls) == 2

    data = tmp_path / "data"
    for name, content in (("geneval/evaluation_metadata.jsonl", LIST), ("dpg_bench/prompts/1.txt", b"a cup")):
        (data / name).parent.mkdir(parents=True)
        (data / name).write_bytes(content)
    monkeypatch.setenv("GLANCE_BENCH_DATA", str(data))
    asked = len(site.asked)
    lock.unlink()
    prefetch.fetch(["geneval", "dpg"], lock, QUIET)
    assert lock.read_bytes() == fetched and len(site.asked) == asked
    (data / "dpg_bench/prompts/1.txt").write_bytes(b"another")
    lock.unlink()
    prefetch.fetch(["geneval", "dpg"], lock, QUIET)
    assert list(read_lock(lock).urls) == [site.url + GENEVAL]
    assert "dpg_bench/prompts is not the published file" in capsys.readouterr().err
