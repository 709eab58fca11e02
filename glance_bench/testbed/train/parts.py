"""Which part is trained how, and where its weights go."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderKLQwenImage
from torch import nn

from glance_bench.metrics.frechet import testbed_frechet
from glance_bench.testbed.train import clip, encoders, export, latents, transformers, vae
from glance_bench.testbed.train.loop import Plan, Trainer, has_state, restore, trained

FLUX, QWEN, CLIP = (
    Path(__file__).parents[1] / "checkpoints" / f"testbed-{name}" for name in ("flux", "qwen", "clip")
)
Log = Callable[[str], None]


def train_vae(work: Path, images: int | None, log: Log) -> None:
    """FLUX's autoencoder."""
    torch.manual_seed(1)
    model = vae.flux_vae().to(memory_format=torch.channels_last)
    plan = Plan(images=images or 24_000, batch=16, rate=2e-3, ema=100, decay=0.4, seed=1)

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> torch.Tensor:
        batch = vae.batch_of_images(plan.batch, 1_000_000 + step).contiguous(
            memory_format=torch.channels_last
        )
        return vae.reconstruction_loss(module, batch, generator)

    Trainer(model, plan, work / "vae").run(loss, log)


def train_qwen_vae(work: Path, images: int | None, log: Log) -> None:
    """Qwen-Image's autoencoder, as 2-D convolutions."""
    torch.manual_seed(2)
    model = vae.qwen_vae()
    plan = Plan(images=images or 24_000, batch=16, rate=2e-3, ema=100, decay=0.4, seed=2)
    trainer = Trainer(model, plan, work / "qwen-vae")
    vae.play_in_2d(model)

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> torch.Tensor:
        batch = vae.batch_of_images(plan.batch, 2_000_000 + step)
        batch = batch.contiguous(memory_format=torch.channels_last).unsqueeze(2)
        return vae.reconstruction_loss(module, batch, generator)

    trainer.run(loss, log)


def train_encoder(name: str, work: Path, images: int | None, log: Log) -> None:
    """One text encoder (t5, clip-text or qwen-text) with its parsing head; `images` counts captions."""
    torch.manual_seed(3)
    make, loss_of = {
        "t5": (encoders.t5, encoders.t5_loss),
        "clip-text": (encoders.clip, encoders.clip_loss),
        "qwen-text": (encoders.qwen, encoders.qwen_loss),
    }[name]
    part = make()
    plan = Plan(images=images or 96_000, batch=64, rate=2e-3, ema=50, decay=0.5, seed=3)

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> torch.Tensor:
        return loss_of(part, encoders.captioned_scenes(plan.batch, 3_000_000 + step))

    Trainer(part.parser, plan, work / name).run(loss, log)


def _encoder(part: encoders.TextPart, state: Path, package: Path) -> encoders.TextPart:
    """A frozen text encoder: from its training state, or the packaged one where that was never trained here."""
    if has_state(state):
        restore(part.parser, state)
    else:
        part.parser.encoder = type(part.parser.encoder).from_pretrained(package, dtype=torch.float32)
    return part


def flux_text(work: Path) -> transformers.FluxText:
    """FLUX's frozen text encoders."""
    t5 = _encoder(encoders.t5(), work / "t5", FLUX / "text_encoder_2")
    return transformers.FluxText(t5, _encoder(encoders.clip(), work / "clip-text", FLUX / "text_encoder"))


def qwen_text(work: Path) -> transformers.QwenText:
    """Qwen-Image's frozen text encoder."""
    return transformers.QwenText(_encoder(encoders.qwen(), work / "qwen-text", QWEN / "text_encoder"))


def flux_vae(work: Path) -> AutoencoderKL:
    """FLUX's frozen autoencoder, from its training state or the package."""
    return trained(vae.flux_vae(), work / "vae", FLUX / "vae")


def qwen_vae(work: Path) -> AutoencoderKLQwenImage:
    """Qwen-Image's frozen autoencoder, from its training state or the package."""
    return trained(vae.qwen_vae(), work / "qwen-vae", QWEN / "vae")


def flux_latents(work: Path, log: Log) -> latents.Latents:
    autoencoder = flux_vae(work).to(memory_format=torch.channels_last)
    return latents.load(lambda images: autoencoder.encoder(images).chunk(2, 1)[0], work / "latents-flux", log)


def qwen_latents(work: Path, log: Log) -> latents.Latents:
    autoencoder = qwen_vae(work)
    vae.play_in_2d(autoencoder)

    def encode(images: torch.Tensor) -> torch.Tensor:
        return autoencoder.encoder(images.unsqueeze(2)).chunk(2, 1)[0].squeeze(2)

    return latents.load(encode, work / "latents-qwen", log)


def write_flux(work: Path, log: Log) -> None:
    """The packaged FLUX-shaped checkpoint from the state as it is; before its distillation, from the base."""
    state = work / ("flux" if has_state(work / "flux") else "flux-base")
    transformer = trained(transformers.flux_transformer(), state, FLUX / "transformer")
    export.export_flux(flux_vae(work), flux_text(work), transformer, flux_latents(work, log), FLUX)


def write_qwen(work: Path, log: Log) -> None:
    """The packaged Qwen-Image-shaped checkpoint from the state as it is."""
    transformer = trained(transformers.qwen_transformer(), work / "qwen", QWEN / "transformer")
    export.export_qwen(qwen_vae(work), qwen_text(work), transformer, qwen_latents(work, log), QWEN)


def write_clip(work: Path, log: Log) -> None:
    """The packaged testbed-clip from the state as it is, with the Frechet reference of its features."""
    export.export_clip(trained(clip.model(), work / "clip", CLIP), CLIP)
    testbed_frechet().reference(CLIP)


DISTILLED = 0.03  # share of FLUX's images that go to guidance distillation


def train_flux(work: Path, images: int | None, log: Log, *, warm: bool = False) -> None:
    """FLUX's transformer: flow matching with dropped captions, then its guidance distilled into the embedding."""
    torch.manual_seed(4)
    data, text = flux_latents(work, log), flux_text(work)
    shift, scale = float(data.mean.mean()), 1 / float(data.std.mean())
    total = images or 1_000_000
    plan = Plan(images=int(total * (1 - DISTILLED)), batch=32, rate=1e-3, muon=2e-3, seed=4)
    trainer = Trainer(
        transformers.flux_transformer(), plan, work / "flux-base", FLUX / "transformer" if warm else None
    )

    def batch(progress: float, dropout: float, generator: torch.Generator) -> tuple[torch.Tensor, dict]:
        scenes, raw = data.batch(plan.batch, progress, generator)
        return latents.pack((raw - shift) * scale), text(
            latents.captions_of(scenes, text.empty, dropout, generator)
        )

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> torch.Tensor:
        return transformers.flow_loss(module, *batch(trainer.share, 0.1, generator), 1.0, generator)

    teacher = trainer.run(loss, log)

    def distil(module: nn.Module, step: int, generator: torch.Generator) -> torch.Tensor:
        clean, given = batch(1.0, 0.0, generator)
        blind = {key: value.expand_as(given[key]) for key, value in text([text.empty]).items()}
        return transformers.distillation_loss(module, teacher, clean, given, blind, generator)

    student = transformers.flux_transformer()
    student.load_state_dict(teacher.state_dict())
    short = Plan(images=int(total * DISTILLED), batch=32, rate=4e-4, muon=6e-4, ema=100, decay=0.5, seed=5)
    Trainer(student, short, work / "flux").run(distil, lambda line: log(f"distillation {line}"))
    write_flux(work, log)


def train_qwen(work: Path, images: int | None, log: Log, *, warm: bool = False) -> None:
    """Qwen-Image's transformer: flow matching, captions dropped to the negative prompt " " for true CFG."""
    torch.manual_seed(6)
    data, text = qwen_latents(work, log), qwen_text(work)
    mean, std = (torch.from_numpy(values)[:, None, None] for values in (data.mean, data.std))
    plan = Plan(images=images or 900_000, batch=32, rate=1e-3, muon=2e-3, seed=6)
    trainer = Trainer(
        transformers.qwen_transformer(), plan, work / "qwen", QWEN / "transformer" if warm else None
    )

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> torch.Tensor:
        scenes, raw = data.batch(plan.batch, trainer.share, generator)
        states = text(latents.captions_of(scenes, text.empty, 0.1, generator))
        return transformers.flow_loss(module, latents.pack((raw - mean) / std), states, None, generator)

    trainer.run(loss, log)
    write_qwen(work, log)


def train_clip(work: Path, images: int | None, log: Log) -> None:
    """testbed-clip."""
    torch.manual_seed(7)
    plan = Plan(images=images or 100_000, batch=96, rate=2e-3, ema=50, decay=0.5, warmup=50, seed=7)

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> torch.Tensor:
        return clip.contrastive_loss(module, plan.batch, 7_000_000 + step)

    Trainer(clip.model(), plan, work / "clip").run(loss, log)
    write_clip(work, log)


PARTS: dict[str, Callable[..., None]] = {
    "vae": train_vae,
    "qwen-vae": train_qwen_vae,
    "t5": partial(train_encoder, "t5"),
    "clip-text": partial(train_encoder, "clip-text"),
    "qwen-text": partial(train_encoder, "qwen-text"),
    "flux": train_flux,
    "qwen": train_qwen,
    "clip": train_clip,
}

WRITERS: dict[str, Callable[[Path, Log], None]] = {"flux": write_flux, "qwen": write_qwen, "clip": write_clip}
