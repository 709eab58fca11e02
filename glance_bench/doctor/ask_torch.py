"""The child process of the probe: asks torch, prints JSON on the last line. A driver that hangs hangs nobody else."""

from __future__ import annotations

import json
import warnings
from typing import Any

from ..machine import settle_threads

__all__ = ["main"]


def main() -> None:
    """Never raises for what torch or the driver raise: that is the answer."""
    answer: dict[str, Any] = {"version": None, "cuda": None, "kernels": [], "devices": [], "error": ""}
    settle_threads()
    try:
        import torch

        answer |= {"version": str(torch.__version__), "cuda": torch.version.cuda}
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            answer["kernels"] = list(torch.cuda.get_arch_list())
            if torch.cuda.is_available():
                answer["devices"] = [_device(torch, index) for index in range(torch.cuda.device_count())]
            elif torch.version.cuda:
                answer["error"] = _line(*(warning.message for warning in said))
    except Exception as error:  # whatever a damaged installation or a broken driver comes up with
        answer["error"] = _line(f"{type(error).__name__}:", error)
    print("\n" + json.dumps(answer))


def _device(torch: Any, index: int) -> dict[str, Any]:
    found = torch.cuda.get_device_properties(index)
    try:
        one = torch.ones(64, 64, dtype=torch.float16, device=f"cuda:{index}")
        error = "" if float((one @ one)[0, 0]) == 64.0 else "a multiplication gives a wrong result"
    except RuntimeError as raised:
        error = _line(raised)
    return {"name": found.name, "compute": float(f"{found.major}.{found.minor}"), "error": error}


def _line(*parts: object) -> str:
    return " ".join(" ".join(map(str, parts)).split())[:300]


if __name__ == "__main__":
    main()
