"""A loaded model: an unmodified diffusers pipeline that encodes prompts and plays trajectories."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from ..errors import GlanceBenchError, UsageError
from ..samplers.cards import Geometry
from ..trajectory import Step, Trajectory
from .adapters import Adapters
from .caches import StepCache, Work
from .checkpoints import check_weights, checkpoint_digest, read_geometry, read_settings
from .placement import Plan
from .placing import DTYPES, Placing, readable
from .quiet import quiet_libraries
from .recorder import Recorder
from .scheduler import TrajectoryScheduler

Embeds = Mapping[str, Any]


class DiffusersFamily(ABC):
    """What FLUX and Qwen-Image share; a family says how prompts are encoded and passed to its pipeline.

    Attributes:
        name: the family's registered name.
        pipe: the diffusers pipeline, on ``device`` in ``dtype``, its progress bars off.
        settings: resolution, text length and default guidance of the checkpoint.
        placing: what moves the pipeline's parts under a placement; None where all of them are on the device.
    """

    name: ClassVar[str]
    pipeline_class: ClassVar[Any]
    transformer_class: ClassVar[Any]

    def __init__(
        self,
        pipe: Any,
        path: Path,
        device: torch.device,
        dtype: torch.dtype,
        placing: Placing | None = None,
    ) -> None:
        self.pipe = pipe
        self.placing = placing
        self.path = path
        self.settings = read_settings(path)
        self.device = device
        self.dtype = dtype
        self._adapters = Adapters(pipe)
        self._geometries: dict[tuple[int | None, int | None], Geometry] = {}

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        transformer: bool = True,
        placement: Plan | None = None,
    ) -> Self:
        """Load the checkpoint in the folder ``path``; the network is never asked.

        Without ``transformer`` it can only encode prompts and images, in the memory that this takes.
        With a ``placement``, whose dtypes then count, parts are loaded when they are needed: encode all prompts
        first, because encoding another one later drops the transformer and loads it again.

        Raises GlanceBenchError when the folder, weights or a component are missing or damaged or belong to
        another family, and UsageError for a dtype other than float32, float16, bfloat16.
        """
        path = Path(path)
        if dtype not in DTYPES:
            raise UsageError(f"unknown dtype {dtype!r}; expected {', '.join(DTYPES)}")
        if read_settings(path).family != cls.name:
            raise GlanceBenchError(
                f"checkpoint {path} is of family {read_settings(path).family}, not {cls.name}"
            )
        check_weights(path)
        read_geometry(path)
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        where = torch.device(device)
        if placement is not None:
            placing = Placing(placement, (cls.pipeline_class, cls.transformer_class), path, where)
            return cls(placing.pipe, path, where, DTYPES[placement.dtype], placing)
        parts = {} if transformer else {"transformer": None}
        with readable(path):
            pipe = cls.pipeline_class.from_pretrained(
                path, dtype=DTYPES[dtype], use_safetensors=True, local_files_only=True, **parts
            )
        pipe.set_progress_bar_config(disable=True)
        return cls(pipe.to(device), path, where, DTYPES[dtype])

    def ready(self) -> None:
        """Have everything that draws in place: under a placement, the transformer, which ``sample`` else waits for.

        Raises what ``out_of_memory`` knows when it does not fit.
        """
        if self.placing is not None and not self.placing.drawing:
            self._last_encoding()
            self.placing.draw()
            self._adapters = Adapters(self.pipe)

    def release(self) -> None:
        """Give back the memory of what can be loaded again; see ``ready``."""
        if self.placing is not None:
            self.placing.release()

    @property
    def digest(self) -> str:
        """sha256 of everything in the checkpoint folder that can change a pixel."""
        return checkpoint_digest(self.path)

    @property
    def default_resolution(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.settings.resolution

    def geometry(self, height: int | None = None, width: int | None = None) -> Geometry:
        """What a sampler card needs to know; see ``read_geometry``."""
        key = (height, width)
        if key not in self._geometries:
            self._geometries[key] = read_geometry(self.path, height, width)
        return self._geometries[key]

    def encode(self, texts: Sequence[str], max_sequence_length: int | None = None) -> list[dict[str, Any]]:
        """Embeddings of each prompt, on the CPU: tensors without batch dimension, and ``truncated``, a bool.

        Every text is encoded by itself, so that its embedding does not depend on its neighbours in the list.
        A prompt longer than the model's limit, or than ``max_sequence_length`` tokens, is cut, and flagged.
        """
        own = self.settings.max_sequence_length
        limit = own if max_sequence_length is None else min(own, max_sequence_length)
        with torch.no_grad(), quiet_libraries():
            if self.placing is not None:
                self.placing.encode()
            return [self._encode(text, limit) for text in texts]

    def noise(self, seeds: Sequence[int], *, resolution: tuple[int, int] | None = None) -> torch.Tensor:
        """float32[N, tokens, channels] on the CPU: the pipeline's own packed noise, one generator an image.

        Image i depends on ``seeds[i]`` alone. Seeds are integers in [0, 2**63).
        """
        height, width = resolution or self.default_resolution
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        channels = self._in_channels // 4
        made = self.pipe.prepare_latents(
            len(seeds), channels, height, width, torch.float32, torch.device("cpu"), generators
        )
        return made[0] if isinstance(made, tuple) else made

    def sample(
        self,
        trajectory: Trajectory,
        embeds: Sequence[Embeds],
        noise: torch.Tensor,
        recorder: Recorder | None = None,
        *,
        resolution: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """One batch of images: uint8[N, height, width, 3], RGB.

        ``embeds`` are entries of ``encode`` and ``noise`` is float32[N, tokens, channels], N of both. The
        pipeline is called once for each run of steps with the same guidance and number of passes; adapters
        are switched at their boundaries inside the call, where a cache starts afresh. Non-finite values become
        black, and the recorder's finite flags say which images had them.
        Raises UsageError when sizes do not fit and GlanceBenchError for an adapter that cannot be loaded.
        """
        height, width = resolution or self.default_resolution
        if len(embeds) != len(noise) or not len(noise):
            raise UsageError(f"a batch needs as many prompts as noises, got {len(embeds)} and {len(noise)}")
        if noise.shape[1] != self.geometry(height, width).tokens:
            raise UsageError(f"noise of {noise.shape[1]} tokens does not fit {height}x{width}")
        watch = recorder or Recorder()
        watch.on_start()
        legs = [(steps, self._conditioning(embeds, steps[0])) for steps in _legs(trajectory)]
        self.ready()
        latents, done = noise, 0
        component = ExitStack()
        cache = StepCache(self.pipe.transformer, trajectory, self.name)
        switches = {phase.start for phase in trajectory.phases}

        def on_step_end(pipe: Any, i: int, t: Any, state: dict[str, Any]) -> dict[str, Any]:
            nonlocal latents, done
            if pipe.scheduler.midway:
                return {}
            latents, done = state["latents"], done + 1
            watch.on_step(done - 1, latents)
            if done - 1 in watch.estimated:
                watch.on_estimate(done - 1, pipe.scheduler.estimate())
            if done < len(trajectory):
                with watch.component("switch"):
                    self._adapters.serve(trajectory.steps[done])
                    if done in switches:
                        cache.begin(done)
            else:
                self._synchronise(watch)
                component.close()
                component.enter_context(watch.component("decode"))
            return {}

        with component, self._watched_by(watch, len(noise), counting=trajectory.cache is not None):
            component.callback(cache.end)
            self._synchronise(watch)
            component.enter_context(watch.component("denoise"))
            with watch.component("switch"):
                self._adapters.serve(trajectory.steps[0])
            for steps, conditioning in legs:
                self.pipe.scheduler = TrajectoryScheduler.of(replace(trajectory, steps=steps))
                cache.begin(done)
                made = self.pipe(
                    **conditioning,
                    latents=latents,
                    height=height,
                    width=width,
                    num_inference_steps=len(steps),
                    output_type="pt" if steps is legs[-1][0] else "latent",
                    return_dict=False,
                    callback_on_step_end=on_step_end,
                )[0]
            finite = latents.isfinite().flatten(1).all(1) & made.isfinite().flatten(1).all(1)
            pixels = _bytes(made)
        watch.on_finish(finite.tolist())
        return pixels

    def play_stock(
        self,
        steps: int,
        embeds: Sequence[Embeds],
        noise: torch.Tensor,
        *,
        resolution: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """uint8[N, height, width, 3]: the pipeline called bare, its own scheduler asked for ``steps`` steps.

        What ``sample`` is measured against. Arguments as there; it plays whichever adapter is active.
        """
        height, width = resolution or self.default_resolution
        passes = 2 if self.settings.cfg and self.settings.guidance > 1 else 1
        made = self.pipe(
            **self._conditioning(embeds, Step(1.0, 0.0, 1.0, passes=passes)),
            latents=noise,
            height=height,
            width=width,
            num_inference_steps=steps,
            output_type="pt",
            return_dict=False,
        )[0]
        return _bytes(made)

    def decode(self, latents: torch.Tensor, *, resolution: tuple[int, int] | None = None) -> np.ndarray:
        """uint8[N, height, width, 3] of packed latents float[N, tokens, channels], as ``sample`` decodes its own.

        Non-finite values become black.
        """
        with torch.no_grad():
            decoded = self._pixels(self._place(latents), *(resolution or self.default_resolution))
            return _bytes(self.pipe.image_processor.postprocess(decoded, output_type="pt"))

    def encode_image(self, images: np.ndarray) -> torch.Tensor:
        """Packed latents float32[N, tokens, channels] on the CPU, of uint8[N, H, W, 3]: the posterior's mean.

        Raises UsageError when the sides do not fit the packing.
        """
        self.geometry(*images.shape[1:3])
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            latents = self._latents(self._place(pixels)).float().cpu()
        count, channels, height, width = latents.shape
        packed = self.pipe._pack_latents(latents, count, channels, height, width)
        return torch.as_tensor(packed)

    @abstractmethod
    def inputs(self, embeds: Sequence[Embeds], guidance: float | None = None) -> dict[str, torch.Tensor]:
        """What ``velocity`` needs of N prompts (entries of ``encode``), and of the guidance that FLUX is told."""

    @staticmethod
    @abstractmethod
    def velocity(
        transformer: torch.nn.Module,
        latents: torch.Tensor,
        t_cond: torch.Tensor,
        inputs: Mapping[str, torch.Tensor],
        tokens: tuple[int, int],
    ) -> torch.Tensor:
        """One evaluation outside the pipeline: float[N, rows * columns, channels], noise minus image.

        ``latents`` are packed, float[N, rows * columns, channels]; ``t_cond`` is float[N] in [0, 1]; ``inputs`` are
        from ``inputs``; ``tokens`` are (rows, columns).
        """

    @abstractmethod
    def _latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised latents [N, C, H, W] of pixels [N, 3, H, W] in -1..1."""

    @abstractmethod
    def _pixels(self, latents: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Pixels [N, 3, H, W] in -1..1 of packed latents [N, tokens, channels]: what the pipeline ends with."""

    @abstractmethod
    def _encode(self, text: str, limit: int) -> dict[str, Any]:
        """One entry of ``encode``, of at most ``limit`` tokens."""

    @abstractmethod
    def _conditioning(self, embeds: Sequence[Embeds], step: Step) -> dict[str, Any]:
        """The pipeline's keyword arguments for prompts, guidance and text length."""

    @contextmanager
    def _watched_by(self, watch: Recorder, images: int, *, counting: bool) -> Iterator[None]:
        """Counts the rows of each transformer batch over the images; the pipeline is left as it was.

        ``counting`` counts the share of the blocks that really ran, instead of the whole.
        """
        work = Work(self.pipe.transformer) if counting else None

        def count(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
            watch.on_model_call(hidden.shape[0] / images * (work.taken() if work else 1))

        stock = self.pipe.scheduler
        counter = self.pipe.transformer.register_forward_hook(count, with_kwargs=True)
        try:
            yield
        finally:
            counter.remove()
            if work:
                work.close()
            self.pipe.scheduler = stock

    @cached_property
    def _in_channels(self) -> int:
        return int(self.transformer_class.load_config(self.path, subfolder="transformer")["in_channels"])

    @property
    def _encoder_device(self) -> torch.device:
        return self.device if self.placing is None else self.placing.encoder_device

    def _last_encoding(self) -> None:  # noqa: B027 (most families need nothing)
        """Encode what ``sample`` will need besides its prompts, before the encoders go."""

    def _guidance(self, step: Step) -> float:
        return self.settings.guidance if step.guidance is None else step.guidance

    def _place(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(device=self.device, dtype=self.dtype)

    def _synchronise(self, watch: Recorder) -> None:
        if watch.waits and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _bytes(pixels: torch.Tensor) -> np.ndarray:
    """uint8[N, H, W, 3] of float[N, 3, H, W] in 0..1; what is not finite becomes black."""
    rounded = pixels.nan_to_num(0).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu()
    return rounded.contiguous().numpy()


def _legs(trajectory: Trajectory) -> list[tuple[Step, ...]]:
    """The runs of steps with equal guidance and passes: a pipeline call has one of each."""
    return [tuple(group) for _, group in groupby(trajectory.steps, lambda step: (step.guidance, step.passes))]
