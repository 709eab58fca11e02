"""The Inception network of FID: the TensorFlow graph of 2015-12-05 as ported by pytorch-fid, up to its 2048 features.

Szegedy et al. 2015 (arXiv 1512.00567), with the three details in which that graph differs from torchvision's
Inception v3: average pooling does not count the padding, the last block pools by maximum, and the classifier has
1008 outputs (not built here). Inputs are (pixel - 128) / 128.

Loaded networks run *fused*: batch normalisation is folded into the convolutions, the averaging branches convolve
before they average (both are linear, and the average runs over fewer channels), tensors are channels-last, and the
first layers take few images at a time. The features equal the plain network's to about 1e-6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from glance_bench.errors import GlanceBenchError

__all__ = ["SIDE", "InceptionNetwork", "load_network", "published_keys", "save_random_weights"]

SIDE = 299
# Images that go through the first layers together. Their tensors are the largest: of more images, they would be above
# the 32 MiB from which malloc takes fresh, zeroed pages from the system each time, a third of these layers' time.
STEM = 2
Kernel = int | tuple[int, int]
Layer = tuple[int, Kernel] | tuple[int, Kernel, int]  # outputs, kernel and, where it is not 1, stride


class Fork(NamedTuple):
    """The end of a branch with two outputs."""

    first: Layer
    second: Layer


Branches = dict[str, list[Layer | Fork]]


class Convolution(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, layer: Layer, padding: int | None = None) -> None:
        super().__init__()
        outputs, kernel, stride = layer if len(layer) == 3 else (*layer, 1)
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        same = (height // 2, width // 2) if stride == 1 else (0, 0)
        self.conv = nn.Conv2d(
            inputs, outputs, (height, width), stride, same if padding is None else padding, bias=False
        )
        self.bn: nn.Module = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).relu_()

    def linear(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))

    def fuse(self) -> None:
        self.conv, self.bn = fuse_conv_bn_eval(self.conv, self.bn), nn.Identity()


class Block(nn.Module):
    """Branches side by side, and one that pools: "average" and "max" keep the size and convolve, "halve" does not."""

    def __init__(self, inputs: int, branches: Branches, pool: str, pooled: int = 0) -> None:
        super().__init__()
        self.names: list[list[tuple[str, ...]]] = []  # branch by branch, step by step; a fork has two names
        self.pool = pool
        self.convolve_first = False
        for branch, layers in branches.items():
            self.names.append([])
            width = inputs
            for number, step in enumerate(layers, start=1):
                name = f"{branch}_{number}" if len(layers) > 1 else branch
                parts = (
                    {f"{name}a": step.first, f"{name}b": step.second}
                    if isinstance(step, Fork)
                    else {name: step}
                )
                for part, layer in parts.items():
                    self.add_module(part, Convolution(width, layer))
                self.names[-1].append(tuple(parts))
                width = layer[0]
        if pooled:
            self.branch_pool = Convolution(inputs, (pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        parts = []
        for *first, last in self.names:
            y = x
            for (name,) in first:
                y = getattr(self, name)(y)
            parts += [getattr(self, name)(y) for name in last]
        return torch.cat([*parts, self._pooled(x)], 1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "halve":
            return F.max_pool2d(x, 3, stride=2)
        if self.pool == "max":
            return self.branch_pool(F.max_pool2d(x, 3, stride=1, padding=1))
        if self.convolve_first:
            return _average(self.branch_pool.linear(x)).relu_()
        return self.branch_pool(_average(x))


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _a(inputs: int, pooled: int) -> Block:
    branches: Branches = {
        "branch1x1": [(64, 1)],
        "branch5x5": [(48, 1), (64, 5)],
        "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
    }
    return Block(inputs, branches, "average", pooled)


def _b(inputs: int) -> Block:
    return Block(
        inputs, {"branch3x3": [(384, 3, 2)], "branch3x3dbl": [(64, 1), (96, 3), (96, 3, 2)]}, "halve"
    )


def _c(inputs: int, width: int) -> Block:
    flat, tall = (width, (1, 7)), (width, (7, 1))
    branches: Branches = {
        "branch1x1": [(192, 1)],
        "branch7x7": [(width, 1), flat, (192, (7, 1))],
        "branch7x7dbl": [(width, 1), tall, flat, tall, (192, (1, 7))],
    }
    return Block(inputs, branches, "average", 192)


def _d(inputs: int) -> Block:
    branches: Branches = {
        "branch3x3": [(192, 1), (320, 3, 2)],
        "branch7x7x3": [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2)],
    }
    return Block(inputs, branches, "halve")


def _e(inputs: int, pool: str) -> Block:
    fork = Fork((384, (1, 3)), (384, (3, 1)))
    branches: Branches = {
        "branch1x1": [(320, 1)],
        "branch3x3": [(384, 1), fork],
        "branch3x3dbl": [(448, 1), (384, 3), fork],
    }
    return Block(inputs, branches, pool, 192)


class InceptionNetwork(nn.Module):
    """float32[N, 3, 299, 299] in [-1, 1) to float32[N, 2048]. Parameters are named as in pytorch-fid."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, (32, 3, 2))
        self.Conv2d_2a_3x3 = Convolution(32, (32, 3), padding=0)
        self.Conv2d_2b_3x3 = Convolution(32, (64, 3))
        self.Conv2d_3b_1x1 = Convolution(64, (80, 1))
        self.Conv2d_4a_3x3 = Convolution(80, (192, 3), padding=0)
        self.Mixed_5b = _a(192, 32)
        self.Mixed_5c = _a(256, 64)
        self.Mixed_5d = _a(288, 64)
        self.Mixed_6a = _b(288)
        self.Mixed_6b = _c(768, 128)
        self.Mixed_6c = _c(768, 160)
        self.Mixed_6d = _c(768, 160)
        self.Mixed_6e = _c(768, 192)
        self.Mixed_7a = _d(768)
        self.Mixed_7b = _e(1280, "average")
        self.Mixed_7c = _e(2048, "max")
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self._stem(x) if self.training else torch.cat([self._stem(part) for part in x.split(STEM)])
        for block in self.blocks().values():
            x = block(x)
        return x.mean(dim=(2, 3))

    def _stem(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        return F.max_pool2d(x, 3, stride=2)

    def blocks(self) -> dict[str, Block]:
        return {name: child for name, child in self.named_children() if isinstance(child, Block)}

    def fuse(self) -> InceptionNetwork:
        """The same function, faster. In place."""
        for module in self.modules():
            if isinstance(module, Convolution):
                module.fuse()
            elif isinstance(module, Block):
                module.convolve_first = True
        return self.to(memory_format=torch.channels_last)


def load_network(file: Path) -> InceptionNetwork:
    """The fused network with the weights of a safetensors file in either published layout (``published_keys``).

    Raises GlanceBenchError, naming the file, for weights that are damaged or of another network.
    """
    try:
        weights = published_keys(load_file(file))
    except (OSError, SafetensorError) as error:
        raise GlanceBenchError(f"{file}: cannot be read as safetensors ({error})") from error
    except GlanceBenchError as error:
        raise GlanceBenchError(f"{file}: {error}") from error
    network = InceptionNetwork()
    try:
        network.load_state_dict(
            weights, strict=False
        )  # published_keys has every name; shapes are checked here
    except RuntimeError as error:
        raise GlanceBenchError(f"{file}: {str(error).splitlines()[-1].strip()}") from error
    return network.fuse()


def published_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a published state dict under this network's names; the classifier is left out.

    Two layouts are known: pytorch-fid's ``pt_inception-2015-12-05-6726825d.pth``, which torch-fidelity ships
    byte for byte, and the TorchScript ``inception-2015-12-05.pt`` of StyleGAN2-ADA, which clean-fid and pi-Flow
    use: TensorFlow's own layer names, each with ``weight``, ``beta``, ``mean`` and ``var``, and no scale. Raises
    GlanceBenchError when a tensor of either is missing.
    """
    network = InceptionNetwork()
    script = "layers.conv.weight" in state
    parts = {"conv.weight": "weight", "bn.bias": "beta", "bn.running_mean": "mean", "bn.running_var": "var"}
    found = {}
    for ours, theirs in _script_names(network):
        for key, part in parts.items():
            name = f"{theirs}.{part}" if script else f"{ours}.{key}"
            if name not in state:
                raise GlanceBenchError(f"is no Inception of 2015-12-05 in a known layout: {name} is missing")
            found[f"{ours}.{key}"] = state[name]
        scale = state.get(f"{ours}.bn.weight")
        found[f"{ours}.bn.weight"] = torch.ones_like(found[f"{ours}.bn.bias"]) if scale is None else scale
    return found


def _script_names(network: InceptionNetwork) -> Iterator[tuple[str, str]]:
    """Each convolution's name here and in the TorchScript file."""
    stem = [name for name, child in network.named_children() if isinstance(child, Convolution)]
    for number, name in enumerate(stem):
        yield name, f"layers.conv{_numbered(number)}"
    for number, (name, block) in enumerate(network.blocks().items()):
        place = f"layers.mixed{_numbered(number)}"
        forked = any(len(step) > 1 for branch in block.names for step in branch)
        tower = 0
        for branch in block.names:
            if len(branch) == 1:
                yield f"{name}.{branch[0][0]}", f"{place}.conv"
                continue
            inside = f"{place}.tower{_numbered(tower)}{'_' if forked else '.'}"
            for step, names in enumerate(branch):
                if len(names) == 2:
                    yield f"{name}.{names[0]}", f"{inside}mixed_conv"
                    yield f"{name}.{names[1]}", f"{inside}mixed_conv_1"
                else:
                    yield f"{name}.{names[0]}", f"{inside}conv{_numbered(step)}"
            tower += 1
        if block.pool != "halve":
            yield f"{name}.branch_pool", f"{place}.tower_2{'_' if forked else '.'}conv"


def _numbered(number: int) -> str:
    return f"_{number}" if number else ""


def save_random_weights(file: Path, seed: int = 0) -> None:
    """A safetensors file in pytorch-fid's layout with random weights, for tests and benchmarks.

    The normalisations are set from a batch of smooth noise, so that features differ from image to image.
    """
    generator = torch.Generator().manual_seed(seed)
    network = InceptionNetwork()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.8, 1.2, generator=generator)
            module.bias.uniform_(-0.3, 0.3, generator=generator)
            module.momentum = None  # the statistics of all batches seen in training mode: of the one below
    noise = torch.rand(6, 3, 24, 24, generator=generator) * 2 - 1
    with torch.inference_mode():
        network.train()(F.interpolate(noise, (SIDE, SIDE), mode="bicubic"))
    state = {key: value.clone() for key, value in network.state_dict().items()}
    state["fc.weight"] = (
        torch.randn(1008, 2048, generator=generator) * 0.02
    )  # the packages ask for a classifier
    state["fc.bias"] = torch.zeros(1008)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, file)
