"""Placements as plans: what each needs, what it computes in, which one a machine gets. No torch but to count."""

import sys
from pathlib import Path
from typing import get_args

import pytest

from glance_bench.errors import GlanceBenchError, MissingData, UsageError
from glance_bench.judges import chat
from glance_bench.judges.chat import ChatModel
from glance_bench.machine import free_ram_gib
from glance_bench.metrics import clip_flant5
from glance_bench.metrics.clip_flant5 import ClipFlanT5, Part
from glance_bench.models.placement import (
    PLANS,
    choose,
    pick,
    placement,
    placements,
    refuse_emulation,
    refuse_to_read,
)
from glance_bench.models.sizes import PUBLISHED, sizes_of
from glance_bench.profiles import Gpu, parse_gpus
from glance_bench.registry import MODELS
from glance_bench.suite import PlanName

V100_32 = Gpu("Tesla V100-SXM2-32GB", 32510, 7.0)
V100_16 = Gpu("Tesla V100-SXM2-16GB", 16160, 7.0)
A100_40 = Gpu("NVIDIA A100-SXM4-40GB", 40536, 8.0)
H100_80 = Gpu("NVIDIA H100 80GB HBM3", 81559, 9.0)

# GiB of the GPU at 1024x1024 in 16 bits, from published figures and arithmetic of others.
# FLUX.1 whole on an H100 is a published peak, the other ranges are estimates.
RANGES = {
    "flux": {
        "all-on-gpu": (36.2 * 0.93, 36.2 * 1.07),
        "encode-then-drop": (24, 27),
        "quanto-int8": (13, 16),
        "quanto-float8": (13, 16),
        "bnb-nf4": (9, 11),
        "group-offload": (2, 4),
        "sequential": (1, 3),
    },
    "qwen_image": {
        "all-on-gpu": (56, 60),
        "encode-then-drop": (40, 44),
        "quanto-int8": (22, 24),
        "quanto-float8": (22, 24),
        "bnb-nf4": (13, 15),
        "group-offload": (2, 5),
        "sequential": (1, 3),
    },
}


@pytest.mark.parametrize("family", RANGES)
def test_needs_at_1024_pixels_are_in_the_known_ranges(family: str) -> None:
    for plan in placements(family, 1024, 8.0):
        low, high = RANGES[family][plan.name]
        assert low <= plan.gpu_gib <= high, f"{plan}"
        assert plan.dtype == plan.encoding == "bfloat16" and plan.source.startswith("estimated")


def test_the_published_sizes_are_those_of_the_published_configurations() -> None:
    import torch
    from diffusers import AutoencoderKL, AutoencoderKLQwenImage
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    from glance_bench.registry import FAMILIES
    from glance_bench.training.memory import TRUE_SIZE, on_meta

    def count(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    for family, sizes in PUBLISHED.items():
        transformer = on_meta(FAMILIES.get(family).transformer_class, TRUE_SIZE[family])
        blocks = [count(block) for block in transformer.transformer_blocks]
        layer = max(parameter.numel() for parameter in transformer.parameters())
        assert (count(transformer), max(blocks), layer) == (sizes.transformer, sizes.block, sizes.layer)
    with torch.device("meta"):
        t5 = T5Config(
            vocab_size=32128, d_model=4096, d_ff=10240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu"
        )  # fmt: skip
        clip = CLIPTextConfig(
            hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
        )
        levels = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
        vae = AutoencoderKL(
            **levels, block_out_channels=[128, 256, 512, 512], layers_per_block=2, latent_channels=16,
            use_quant_conv=False, use_post_quant_conv=False,
        )  # fmt: skip
        assert count(T5EncoderModel(t5)) + count(CLIPTextModel(clip)) == PUBLISHED["flux"].encoders
        assert count(vae) == PUBLISHED["flux"].vae
        assert count(AutoencoderKLQwenImage()) == PUBLISHED["qwen_image"].vae


def test_a_local_checkpoint_is_sized_by_its_files() -> None:
    from glance_bench.models.flux import FluxFamily

    sizes = sizes_of("testbed-flux")
    model = FluxFamily.load(MODELS.get("testbed-flux").path)
    pipe = model.pipe
    counted = [sum(p.numel() for p in part.parameters()) for part in (pipe.transformer, pipe.vae)]
    assert [sizes.transformer, sizes.vae] == counted and sizes.pixels == model.default_resolution
    blocks = [*pipe.transformer.transformer_blocks, *pipe.transformer.single_transformer_blocks]
    assert sizes.block == max(sum(p.numel() for p in block.parameters()) for block in blocks)
    assert (
        sizes_of(Path(MODELS.get("testbed-flux").path)) == sizes
        and sizes_of("flux.1-dev") == PUBLISHED["flux"]
    )


@pytest.mark.parametrize(
    ("gpu", "ram", "model", "name", "dtype", "encoding"),
    [
        (V100_32, 64, "flux.1-dev", "encode-then-drop", "float16", "float32"),
        (V100_32, 64, "qwen-image", "quanto-int8", "float32", "float32"),
        (V100_16, 64, "flux.1-dev", "quanto-int8", "float16", "float32"),
        (V100_16, 256, "qwen-image", "group-offload", "float32", "float32"),
        (V100_16, 192, "qwen-image", "sequential", "float32", "float32"),
        (V100_16, 96, "qwen-image", "sequential", "float32", "float32"),
        (A100_40, 64, "flux.1-dev", "all-on-gpu", "bfloat16", "bfloat16"),
        (A100_40, 64, "qwen-image", "quanto-int8", "bfloat16", "bfloat16"),
        (H100_80, 128, "flux.1-dev", "all-on-gpu", "bfloat16", "bfloat16"),
        (H100_80, 128, "qwen-image", "all-on-gpu", "bfloat16", "bfloat16"),
        (None, 64, "testbed-qwen", "all-on-gpu", "float32", "float32"),
    ],
)
def test_auto_takes_the_fastest_that_fits(gpu, ram, model, name, dtype, encoding) -> None:
    plan, reasons = choose(model, gpu, ram, 1024)
    assert plan is not None and (plan.name, plan.dtype, plan.encoding) == (name, dtype, encoding), reasons
    assert plan.device == ("cuda" if gpu else "cpu") and list(reasons) == list(PLANS)
    for faster in PLANS[: plan.speed_rank]:
        assert reasons[faster].startswith("needs ")
    assert reasons[name] == f"fits: {plan}"


def test_what_a_suite_does_not_ask_for_it_does_not_get() -> None:
    plan, said = pick(None, "flux", V100_32, 64, 1024, "float16")
    assert plan is None and list(said) == ["all-on-gpu"]
    assert said["all-on-gpu"].startswith("needs 34.") and "placement: auto" in said["all-on-gpu"]
    assert pick("encode-then-drop", "flux", V100_32, 64, 1024, "float16")[0] == placement(
        "encode-then-drop", "flux", 1024, 7.0, "float16"
    )
    assert pick("auto", "flux", V100_32, 64, 1024) == choose("flux", V100_32, 64, 1024)
    whole, _ = pick(None, "qwen_image", H100_80, 128, 1024, "float16")
    assert whole and (whole.dtype, whole.encoding) == ("float16", "float16")  # nothing widens it


def test_too_little_of_either_memory_is_said_in_numbers() -> None:
    plan, reasons = choose("qwen-image", V100_16, 60, 1024)
    assert plan is None
    assert "GiB of the GPU, where 15.8 are free" in reasons["quanto-int8"]
    assert "GiB of memory, where 60.0 are free" in reasons["group-offload"]
    assert "GPU" not in reasons["sequential"]
    plan, reasons = choose("flux.1-dev", None, 8)
    assert plan is None and "GPU" in reasons["group-offload"]


def test_here_a_plan_whose_package_is_not_installed_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("qwen-image", V100_16, 256, 1024, here=True)[0].name == "group-offload"
    for module, plans in (("optimum", ("quanto-int8", "quanto-float8")), ("bitsandbytes", ("bnb-nf4",))):
        with monkeypatch.context() as patch:
            patch.delitem(sys.modules, "optimum.quanto", raising=False)
            patch.setitem(sys.modules, module, None)
            plan, reasons = choose("flux.1-dev", V100_16, 64, 1024, here=True)
            for name in plans:
                assert "not installed (python -m pip install 'glance-bench[train]')" in reasons[name]
            assert plan.name == ("bnb-nf4" if module == "optimum" else "quanto-int8")
            assert choose("flux.1-dev", V100_16, 64, 1024)[0].name == "quanto-int8"  # of another machine


@pytest.mark.parametrize("family", PUBLISHED)
def test_group_offload_needs_room_for_the_weights_beside_their_pinned_copies(family: str) -> None:
    rounded = placement("group-offload", family).ram_gib - placement("sequential", family).ram_gib
    assert rounded == pytest.approx(PUBLISHED[family].transformer * 2 / 2**30 * 16 / 9)


def test_what_other_processes_hold_is_not_free() -> None:
    assert choose("flux", H100_80, 128)[0].name == "all-on-gpu"
    busy = Gpu(H100_80.name, H100_80.memory_mib, 9.0, free_mib=30_000)
    assert choose("flux", busy, 128)[0].name == "encode-then-drop"
    assert parse_gpus("NVIDIA H100 80GB HBM3, 81559, 9.0, 30000\n") == [busy]
    assert parse_gpus("NVIDIA H100 80GB HBM3, 81559, 9.0, [N/A]\n") == [H100_80]


def test_smaller_pictures_need_less_and_wider_numbers_more() -> None:
    sizes = [placement("quanto-int8", "flux", side).gpu_gib for side in (512, 1024, 2048)]
    assert sizes == sorted(set(sizes)) and sizes[1] - sizes[0] > 1
    wide = placement("encode-then-drop", "flux", 1024, dtype="float32")
    assert wide.gpu_gib > 1.8 * placement("encode-then-drop", "flux", 1024).gpu_gib


def test_dtypes_follow_the_generation_of_the_gpu() -> None:
    flux, qwen = (placement("all-on-gpu", family) for family in PUBLISHED)
    assert [flux.dtype_for(c) for c in (7.0, 7.5, 8.0, 9.0, None)] == [
        "float16", "float16", "bfloat16", "bfloat16", "float32"
    ]  # fmt: skip
    assert [qwen.dtype_for(c) for c in (7.0, 8.0, None)] == ["float32", "bfloat16", "float32"]
    refuse_emulation("bfloat16", 8.0, False)
    refuse_emulation("bfloat16", 7.0, True)
    with pytest.raises(GlanceBenchError, match="capability 7.0 emulates it.*take float16") as caught:
        refuse_emulation("bfloat16", 7.0, False)
    assert caught.value.exit_code == 3


def test_what_reads_images_names_the_dtype_that_the_gpu_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"x")
    part = Part(tmp_path, tmp_path)

    def recipes(*gpus: Gpu) -> list[str]:
        for module in (clip_flant5, chat):
            monkeypatch.setattr(module, "find_gpus", lambda: list(gpus))
        return [ClipFlanT5(part, part, tmp_path).recipe, ChatModel(tmp_path, "Any").recipe]

    for gpus, precision in (
        ((), "float32, CPU"),
        ((V100_32,), "float32, GPU"),
        ((A100_40,), "bfloat16, GPU"),
    ):
        t5, asked = recipes(*gpus)
        assert t5.endswith(f", {precision}") and asked == f"{precision}, sdpa, chat template, greedy"
    monkeypatch.setenv("GLANCE_BENCH_EMULATED_BFLOAT16", "1")
    assert [recipe.count("bfloat16, GPU") for recipe in recipes(V100_32)] == [1, 1]


def test_what_reads_images_waits_for_a_gpu_that_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for gigabytes, gpus in ((23, ()), (23, (A100_40,)), (5, (V100_16,))):
        refuse_to_read("it", gigabytes, gpus)
    with pytest.raises(
        MissingData, match=r"43\.\d GiB, for it in float32; the Tesla V100.*has 31\.7; .*halves"
    ):
        refuse_to_read("it", 23, (V100_32,))
    monkeypatch.setenv("GLANCE_BENCH_EMULATED_BFLOAT16", "1")
    refuse_to_read("it", 23, (V100_32,))
    with pytest.raises(MissingData, match=r"22\.\d GiB, for it in bfloat16; the Tesla V100.*has 15\.8$"):
        refuse_to_read("it", 23, (V100_16,))


def test_plans_that_only_move_the_same_numbers_share_a_class() -> None:
    old = {plan.name: plan.numerics for plan in placements("flux", 1024, 7.0)}
    new = {plan.name: plan.numerics for plan in placements("flux", 1024, 8.0)}
    for name in ("all-on-gpu", "encode-then-drop", "group-offload", "sequential"):
        assert (old[name], new[name]) == ("encoding float32", "")
    assert old["bnb-nf4"] == "weights nf4, encoding float32" and new["bnb-nf4"] == "weights nf4"
    assert len(set(new.values())) == 4
    assert get_args(PlanName) == PLANS


def test_unknown_names_are_answered_with_near_ones() -> None:
    with pytest.raises(UsageError, match="unknown placement 'quanto-int4'; did you mean 'quanto-int8'"):
        placement("quanto-int4", "flux")
    with pytest.raises(UsageError, match="unknown model 'flux.1-deb'; did you mean 'flux.1-dev'"):
        placements("flux.1-deb")


def test_free_memory_is_the_kernels_within_the_cgroups(tmp_path: Path) -> None:
    assert free_ram_gib(tmp_path) == 0.0
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 67108864 kB\nMemAvailable:   33554432 kB\n")
    assert free_ram_gib(tmp_path) == 32.0
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text(f"{12 * 2**30}\n")
    assert free_ram_gib(tmp_path) == 32.0
    (group / "memory.max").write_text(f"{16 * 2**30}\n")
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {2 * 2**30}\n")
    assert free_ram_gib(tmp_path) == 6.0
    assert free_ram_gib() > 0.1
