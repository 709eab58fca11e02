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
    allowed: list[Any] = [(known, ".".join(where)) for where, known in _KNOWN.items()]
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
        if (module, name) not in _KNOWN:
            raise _Refused(f"it asks for {module}.{name}, which is no array and no container")
        return _KNOWN[module, name]


class _DType:
    """Stands for numpy.dtype while a pickle is read: the name of a plain type, and its byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        if not re.fullmatch(r"[<>=|]?([biufc?]\d{0,2}|[SU]\d{1,9})", code):
            raise _Refused(f"it holds arrays of type {code!r}, which are not numbers or text")
        self.order, self.code = "", code

    def __setstate__(self, state: Any) -> None:
        _, order, subarray, names, fields, *_ = state
        if order not in "<>=|" or any(part is not None for part in (subarray, names, fields)):
            raise _Refused("it holds arrays of a compound type")
        self.order = order

    def of(self, data: bytes) -> np.ndarray[Any, Any]:
        import numpy as np

        return np.frombuffer(data, np.dtype(self.order + self.code))


class _Array:
    """Stands for numpy.ndarray. Made from bytes alone: numpy's own class, called by a pickle, takes addresses too."""

    array: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.array = dtype.of(data).reshape(shape, order="F" if fortran else "C")


def _empty_array(kind: type[_Array], *_: Any) -> _Array:
    return kind()


def _array_of(data: bytes, dtype: _DType, shape: tuple[int, ...], order: Any, *_: Any) -> _Array:
    made = _Array()
    made.array = dtype.of(data).reshape(shape, order=order)
    return made


def _number_of(dtype: _DType, data: bytes) -> Any:
    return dtype.of(data)[0].item()


def _latin1(text: str, encoding: str) -> bytes:
    """How pickles of protocol 2 spell bytes."""
    if encoding != "latin1":
        raise _Refused(f"it asks for bytes in {encoding}")
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _latin1,
}
for _core in ("numpy.core", "numpy._core"):  # numpy 1 and numpy 2
    _KNOWN[f"{_core}.multiarray", "_reconstruct"] = _empty_array
    _KNOWN[f"{_core}.multiarray", "scalar"] = _number_of
    _KNOWN[f"{_core}.numeric", "_frombuffer"] = _array_of


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
    arrays: dict[str, Any] = {}
    scalars: dict[str, Any] = {}
    for name, leaf in _leaves(value, ""):
        if name in arrays or name in scalars:
            raise _Refused(f"two of its entries are called {name!r}")
        (arrays if hasattr(leaf, "dtype") else scalars)[name] = leaf
    if not arrays:
        raise _Refused("it holds no arrays")
    return arrays, scalars


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, _Array):
        value = value.array
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


def _as_array(value: Any) -> np.ndarray[Any, Any]:
    import numpy as np

    if hasattr(value, "detach"):
        value = value.detach()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    return np.asarray(value)


def _write_npz(made: Path, arrays: dict[str, Any], scalars: dict[str, Any]) -> None:
    """np.savez, but with any names, and with the same bytes for the same arrays. bfloat16 becomes float32."""
    import numpy as np

    kept = {name: value for name, value in scalars.items() if value is not None}
    with zipfile.ZipFile(made, "w") as archive:
        for name, value in (arrays | kept).items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, _as_array(value), allow_pickle=False)


def _write_safetensors(made: Path, arrays: dict[str, Any], scalars: dict[str, Any]) -> None:
    import torch
    from safetensors.torch import save_file

    tensors, seen = {}, set()
    for name, value in arrays.items():
        tensor = value if isinstance(value, torch.Tensor) else torch.from_numpy(value.copy())
        tensor = tensor.detach().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    save_file(tensors, made, metadata={"scalars": json.dumps(scalars, sort_keys=True)})
