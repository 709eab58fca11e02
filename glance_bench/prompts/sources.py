"""Where published prompt sets come from: repository, commit, digest, count and licence of every file.

Nothing of others is part of this package; ``glance-bench prefetch`` fetches the files, or the user has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["SOURCES", "Source"]


@dataclass(frozen=True)
class Source:
    """One published file, or with ``pattern`` one folder of files, that a prompt set is read from.

    Attributes:
        file: its place below the data folder and below our cache.
        repo: ``owner/name`` on ``host``.
        path: where it is in the repository; "" is the whole repository.
        commit: full; None is the newest until a lock file pins it.
        count: prompts in it (of a side file: 0).
        size: about how many bytes, for a reader.
        licence: as its publisher states it.
        sha256: of the official content; of a folder, over its lines ``<sha256>  <name>`` sorted by name. None
            where the official file could not be looked at: then only the count is checked.
        host: "by hand" where no program can fetch it alone; ``hint`` says what to do.
        pattern: names of the folder's files.
        needed: False for files that add to the prompts (questions, answers).
    """

    file: str
    repo: str
    path: str
    commit: str | None
    count: int
    size: int
    licence: str
    sha256: str | None = None
    host: Literal["github", "hub", "by hand"] = "github"
    pattern: str | None = None
    needed: bool = True
    hint: str = ""


_GENEVAL = "af4902f24d3ca90ebbb446dd9891a59e0f82725f"
_ELLA = "3c228f1dc6c4d3cad0a47493816151a419f14db3"
_ONEIG = "41b49831e79e6dde5323618c164da1c4cf0f699d"
_XOMNI = "2b8237bb3789638c290eeda3e83ed81bd3652c3b"
_COMPBENCH = "1b7094991a57f3c22abdd4f6e8ba6c1a15517073"
_NC = "CC BY-NC 4.0"
_NONE_STATED = "none stated"


def _oneig(name: str, path: str, size: int, count: int = 0, sha256: str | None = None) -> Source:
    licence = _NC if count else _NONE_STATED
    repo = "OneIG-Bench/OneIG-Benchmark"
    return Source(f"oneig/{name}", repo, path, _ONEIG, count, size, licence, sha256, needed=bool(count))


def _oneig_side_files(tail: str) -> tuple[Source, ...]:
    """Questions, rendered text and answers; ``tail`` is "" or "_zh". The repository states no licence for them."""
    names = ["anime", "human", "object", *(["multilingualism"] if tail else [])]
    return (
        *(
            _oneig(f"Q_D/{one}{tail}.json", f"scripts/alignment/Q_D/{one}{tail}.json", 500_000)
            for one in names
        ),
        _oneig(f"text_content{tail}.csv", f"scripts/text/text_content{tail}.csv", 40_000),
        _oneig(f"gt_answer{tail}.json", f"scripts/reasoning/gt_answer{tail}.json", 100_000),
    )


def _hpsv2(style: str) -> Source:
    path, licence = f"benchmark/{style}.json", "Apache-2.0"
    return Source(f"hpsv2/{style}.json", "ymhao/HPDv2", path, None, 800, 100_000, licence, host="hub")


def _compbench(category: str, size: int, sha256: str) -> Source:
    path = f"examples/dataset/{category}_val.txt"
    return Source(
        f"t2i_compbench/{category}_val.txt",
        "Karine-Huang/T2I-CompBench",
        path,
        _COMPBENCH,
        300,
        size,
        "MIT",
        sha256,
    )


SOURCES: dict[str, tuple[Source, ...]] = {
    "coco-10k": (
        Source(
            file="coco2014/t2i-prompts-coco-10k",
            repo="Lakonik/t2i-prompts-coco-10k",
            path="",
            commit=None,
            count=10_000,
            size=1_000_000,
            licence=_NONE_STATED,
            host="hub",
            pattern="*",
        ),
    ),
    "coco-5k": (
        Source(
            file="coco2014/captions_source.tsv",
            repo="mlcommons/inference",
            path="text_to_image/coco2014/captions/captions_source.tsv",
            commit="b66003e10e2db4b8c36a448b0545ec90fcc6e9e9",
            count=5000,
            size=862_324,
            licence="Apache-2.0; captions CC BY 4.0",
            sha256="2eeb95637b30fe5af26dd644bafa7affe4e5472ad0bda32d0feb1bd261280d5e",
        ),
    ),
    "coco-30k": (
        Source(
            file="coco2014/captions.txt",
            repo="mingyuanzhou/SiD-LSG",
            path="prompts/captions.txt",
            commit="709fc22e7c27c7715c111315992f747077ea84aa",
            count=30_000,
            size=1_595_018,
            licence="Apache-2.0; captions CC BY 4.0",
            sha256="edabd2a556026cbf5d36a5fffa35ad43d7ba71b72f6d640b727c1edefb7f1945",
        ),
    ),
    "coco-val2014": (
        Source(
            file="coco2014/captions_val2014.json",
            repo="cocodataset.org",
            path="annotations_trainval2014.zip",
            commit=None,
            count=202_654,
            size=33_000_000,
            licence="CC BY 4.0",
            host="by hand",
            hint="it is in annotations_trainval2014.zip of cocodataset.org",
        ),
    ),
    "hpsv2": tuple(_hpsv2(style) for style in ("anime", "concept-art", "paintings", "photo")),
    "oneig": (
        _oneig(
            "OneIG-Bench.csv",
            "OneIG-Bench.csv",
            378_082,
            1120,
            "e06c65b32252d82406fb1a27f13022b38d432c899a2486eb49ab0c100f83b3e1",
        ),
        *_oneig_side_files(""),
    ),
    "oneig-zh": (
        _oneig(
            "OneIG-Bench-ZH.csv",
            "OneIG-Bench-ZH.csv",
            375_669,
            1320,
            "8fc4ae1403db32dbb1203cc457361c3215500b34e741194a53f5002c9d824700",
        ),
        *_oneig_side_files("_zh"),
    ),
    "geneval": (
        Source(
            file="geneval/evaluation_metadata.jsonl",
            repo="djghosh13/geneval",
            path="prompts/evaluation_metadata.jsonl",
            commit=_GENEVAL,
            count=553,
            size=85_209,
            licence="MIT",
            sha256="5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13",
        ),
    ),
    "dpg": (
        Source(
            file="dpg_bench/prompts",
            repo="TencentQQGYLab/ELLA",
            path="dpg_bench/prompts",
            commit=_ELLA,
            count=1065,
            size=470_000,
            licence="Apache-2.0",
            sha256="317085a5cddf9620595bb38cba7b9fa25ecfb081846bc91b840c98366d46f56e",
            pattern="*.txt",
        ),
        Source(
            file="dpg_bench/dpg_bench.csv",
            repo="TencentQQGYLab/ELLA",
            path="dpg_bench/dpg_bench.csv",
            commit=_ELLA,
            count=0,
            size=2_000_000,
            licence="Apache-2.0",
            needed=False,
        ),
    ),
    "longtext": (
        Source(
            file="longtext_bench/text_prompts.jsonl",
            repo="X-Omni-Team/X-Omni",
            path="textbench/text_prompts.jsonl",
            commit=_XOMNI,
            count=160,
            size=203_974,
            licence="Apache-2.0",
            sha256="a2130769e72bd8560470a066114cdac87f80f1eb071ba6bc0f7033225a9be0d8",
        ),
    ),
    "longtext-zh": (
        Source(
            file="longtext_bench/text_prompts_zh.jsonl",
            repo="X-Omni-Team/X-Omni",
            path="textbench/text_prompts_zh.jsonl",
            commit=_XOMNI,
            count=160,
            size=169_494,
            licence="Apache-2.0",
            sha256="6512cd121ac093e8113e114d76eb2c0ce967c220b18e2049e1063554ce496758",
        ),
    ),
    "partiprompts": (
        Source(
            file="partiprompts/PartiPrompts.tsv",
            repo="google-research/parti",
            path="PartiPrompts.tsv",
            commit="5a657978134374ce28973948331b319adef164bd",
            count=1632,
            size=123_107,
            licence="Apache-2.0",
            sha256="fab29e41bb512a169b56acab4cf2a41dcb675e285df2efcde6640c7dd3c440eb",
        ),
    ),
    "drawbench": (
        Source(
            file="drawbench/drawbench.csv",
            repo="xie-lab-ml/Golden-Noise-for-Diffusion-Models",
            path="data/drawbench.csv",
            commit="aa7103edd7746dab9793aac9e785515d57316ace",
            count=200,
            size=15_717,
            licence="Apache-2.0 (repository); the original sheet states none",
            sha256="e120fd4d8aa8f6c44b0b3ee92d9dfb7463c67f5b2d427d23a2bf388f80a0c0c1",
        ),
    ),
    "t2i_compbench": (
        _compbench("color", 11_871, "1634259756dbc77d13093d907d414480080ec9790a8c97ad09efaea7b2534f2d"),
        _compbench("shape", 15_935, "37e1a276906c7ea9516cbd7ac8501be896006c0c17ca7344f260562834455bae"),
        _compbench("texture", 14_211, "fbb5363515b4a28009e360afaaaf389d2dd2289e50dbb0c6ef4ea0c7fe4f3d4f"),
        _compbench("spatial", 9_213, "8707a1d7e42ce3002d95363cf55f74bd043c843ae27108f5125aaaa7840ca988"),
        _compbench("3d_spatial", 7_851, "c9953597315f36a5fcb41291bb19bdc6ab5f64a0fa760d691b4854a73f5d1fe9"),
        _compbench("numeracy", 10_863, "dad8df141604b70ba7554bec724e3db0a80023680769b5c514854ea2d2527bbe"),
        _compbench("non_spatial", 17_750, "04c56cc9ac441dc9ea6c5157652058bd1635b5308526dd31bb29a1caab9a758d"),
        _compbench("complex", 22_724, "1b808018b8d9916db3d47d5aa2ef18377a3549a56901a474156f799824cdf3b4"),
    ),
    "dsg": (
        Source(
            file="dsg/dsg-1k-anns.csv",
            repo="j-min/DSG",
            path="dsg/data/dsg-1k-anns.csv",
            commit="7330119a39f76ff90e619a8bd3ff321e71aa986b",
            count=1060,
            size=1_906_040,
            licence="Apache-2.0",
            sha256="b7ce06ea8a0478ccfd8fba105ecd26d7d301eb99d5c412987546c4cc8e08917a",
        ),
    ),
}
