"""The child process of ``convert``: a file of pickles in, a file of arrays out, and nothing but arrays looked at.

What comes out has one entry for each array. Its name is the way to it: keys of dictionaries and places in lists joined
by "/", modules of TorchScript by ".", so ``{"state_dict": {"a.weight": x}}`` becomes "state_dict/a.weight". Numbers and
strings are kept beside: as arrays of no dimension in an npz, as the JSON text "scalars" in a safetensors' metadata.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import re
import resource
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["main"]

MEMORY = 2 << 30  # bytes that the child may use beyond four times the file's size
LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how checkpoints from before torch 1.6 begin
PICKLES = frozenset(("bin", "pkl", "pt", "pth", "tar"))  # suffixes, in a zip of several files


class _Refused(Exception):
    """A file that asks for more than arrays and containers."""


def main() -> None:
    """Reads standard input, which is a file. Arguments: the file to write, and how many seconds it may take.

    Ends with status 1 and one line on standard error when the file is refused.
    """
    made, seconds = Path(sys.argv[1]), int(sys.argv[2])
    with os.fdopen(0, "rb", closefd=False) as file:
        try:
            read = _reader(file)
            if made.suffix != ".npz" or read is not _read_plain:
                import torch  # noqa: F401  (before the memory is limited: it takes gigabytes of addresses)
            _limit(os.fstat(0).st_size, seconds)
            arrays, scalars = _flatten(read(file))
            (_write_npz if made.suffix == ".npz" else _write_safetensors)(made, arrays, scalars)
        except MemoryError:
            raise SystemExit("it needs more memory than a file of its size should") from None
        except _Refused as error:
            raise SystemExit(str(error)) from None
        except Exception as error:  # the file is hostile until proved otherwise: any failure is a refusal
            first = (str(error).splitlines() or [""])[0]
            raise SystemExit(f"{type(error).__name__}: {first}") from None


def _limit(size: int, seconds: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    room = 4 * size + MEMORY
    for what, most in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + room),
        (resource.RLIMIT_FSIZE, room),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def _reader(file: IO[bytes]) -> Any:
    """The function that reads this sort of file, chosen by its first bytes and, for an archive, its names."""
    head = file.read(len(LEGACY_TORCH))
    file.seek(0)
    if head.startswith(b"PK"):
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
        file.seek(0)
        if not any(name.count("/") == 1 and name.endswith("/data.pkl") for name in names):
            return _read_archive
        return _read_script if any(name.endswith("/constants.pkl") for name in names) else _read_torch
    return _read_torch if head == LEGACY_TORCH else _read_plain


def _read_archive(file: IO[bytes]) -> Any:
    """What the files in a zip hold, by their names: pickles of any sort, safetensors and JSON."""
    from safetensors.torch import load

    found: dict[str, Any] = {}
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            suffix = name.rpartition(".")[2]
            if name.startswith("__MACOSX/") or suffix not in PICKLES | {"safetensors", "json"}:
                continue
            data = archive.read(name)
            if suffix in PICKLES:
                inner = io.BytesIO(data)
                found[name] = _reader(inner)(inner)
            else:
                found[name] = load(data) if suffix == "safetensors" else json.loads(data)
    return found


def _read_torch(file: IO[bytes]) -> Any:
    import torch

    # training scripts store their arguments beside the weights: a Namespace holds values and does nothing
    allowed: list[Any] = [(known, ".".join(where)) for where, known in _numpy_globals().items()]
    allowed.append(argparse.Namespace)
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own text advises to read the file without these checks
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = (
            f"it asks for {asked[1]}, which is no tensor and no container" if asked else "it is no checkpoint"
        )
        raise _Refused(what) from None


def _read_plain(file: IO[bytes]) -> Any:
    return _Plain(file).load()


class _Plain(pickle.Unpickler):
    """Knows what a pickle of dictionaries, lists, numbers, strings and numpy arrays asks for."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = _numpy_globals()
        if (module, name) not in known:
            raise _Refused(f"it asks for {module}.{name}, which is no array and no container")
        return known[module, name]


def _numpy_globals() -> dict[tuple[str, str], Any]:
    """What numpy's arrays are rebuilt with, under the names of both generations of numpy."""
    import numpy as np
    from numpy._core import multiarray, numeric

    known: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _latin1,
    }
    for core in ("numpy.core", "numpy._core"):
        known[f"{core}.multiarray", "_reconstruct"] = multiarray._reconstruct
        known[f"{core}.multiarray", "scalar"] = multiarray.scalar
        known[f"{core}.numeric", "_frombuffer"] = vars(numeric)["_frombuffer"]
    for kind in (np.bool_, np.uint8, np.int32, np.int64, np.float16, np.float32, np.float64):
        known["numpy.dtypes", type(np.dtype(kind)).__name__] = type(np.dtype(kind))
    return known


def _latin1(text: str, encoding: str) -> bytes:
    """How pickles of protocol 2 spell bytes."""
    if encoding != "latin1":
        raise _Refused(f"it asks for bytes in {encoding}")
    return text.encode("latin1")


class _Record:
    """An object of a TorchScript archive: its attributes, and nothing of its class."""

    def __setstate__(self, state: Any) -> None:
        self.attributes = state


class _Script(pickle.Unpickler):
    """Reads data.pkl of a TorchScript archive. ``archive`` and ``root`` say where the bytes of tensors are."""

    def __init__(self, file: IO[bytes], archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(file)
        self._archive = archive
        self._root = root

    def find_class(self, module: str, name: str) -> Any:
        import torch

        if module == "__torch__" or module.startswith("__torch__."):
            return type("Record", (_Record,), {})
        if module == "torch._utils" and name == "_rebuild_tensor_v2":
            return lambda storage, offset, size, stride, *_: torch.as_strided(storage, size, stride, offset)
        if module == "torch.jit._pickle" and name.startswith("build_") and name.endswith("list"):
            return lambda values: values
        if module == "torch.jit._pickle" and name == "restore_type_tag":
            return lambda value, tag: value
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _STORAGES:
            return getattr(torch, _STORAGES[name])
        raise _Refused(f"it asks for {module}.{name}, which is no tensor and no module")

    def persistent_load(self, pid: Any) -> Any:
        import torch

        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise _Refused(f"it holds {kind!r} where tensors are expected")
        data = bytearray(self._archive.read(f"{self._root}/{key}"))
        return torch.frombuffer(data, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)


_STORAGES = {
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
}


def _read_script(file: IO[bytes]) -> Any:
    """The module's attributes and, under "constants", the tensors that its code refers to."""
    with zipfile.ZipFile(file) as archive:
        (main,) = (name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl"))
        top = main.rpartition("/")[0]
        order = f"{top}/byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise _Refused("its numbers are not little-endian")
        with archive.open(main) as data, archive.open(f"{top}/constants.pkl") as constants:
            module = _Script(data, archive, f"{top}/data").load()
            return {"": module, "constants": _Script(constants, archive, f"{top}/constants").load()}


def _flatten(value: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays or tensors, and numbers and strings, by name. Raises _Refused for anything else."""
    import numpy as np

    arrays: dict[str, Any] = {}
    scalars: dict[str, Any] = {}
    for name, leaf in _leaves(value, ""):
        number = isinstance(leaf, np.generic)
        found = arrays if hasattr(leaf, "dtype") and not number else scalars
        if name in arrays or name in scalars:
            raise _Refused(f"two of its entries are called {name!r}")
        found[name] = leaf.item() if number else leaf
    if not arrays:
        raise _Refused("it holds no arrays")
    return arrays, scalars


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, _Record):
        for key, inner in dict(value.attributes).items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str | int):
                raise _Refused(f"one of its keys is a {type(key).__name__}")
            yield from _leaves(inner, f"{name}/{key}" if name and key != "" else name or str(key))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{name}/{place}" if name else str(place))
    elif value is None or isinstance(value, bool | int | float | str) or hasattr(value, "dtype"):
        yield name, value
    else:
        raise _Refused(f"{name or 'it'} is a {type(value).__name__}")


def _as_array(name: str, value: Any) -> np.ndarray[Any, Any]:
    import numpy as np

    if hasattr(value, "detach"):
        value = value.detach()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise _Refused(f"{name} is an array of objects")
    return array


def _write_npz(made: Path, arrays: dict[str, Any], scalars: dict[str, Any]) -> None:
    """np.savez, but with any names, and with the same bytes for the same arrays. bfloat16 becomes float32."""
    import numpy as np

    kept = {name: value for name, value in scalars.items() if value is not None}
    with zipfile.ZipFile(made, "w") as archive:
        for name, value in (arrays | kept).items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, _as_array(name, value), allow_pickle=False)


def _write_safetensors(made: Path, arrays: dict[str, Any], scalars: dict[str, Any]) -> None:
    import torch
    from safetensors.torch import save_file

    tensors, seen = {}, set()
    for name, value in arrays.items():
        tensor = value if isinstance(value, torch.Tensor) else torch.from_numpy(_as_array(name, value))
        tensor = tensor.detach().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    save_file(tensors, made, metadata={"scalars": json.dumps(scalars, sort_keys=True)})
