"""What the numbers of a run may depend on besides its plan and its pairs."""

from __future__ import annotations

import importlib.metadata
import platform

import torch

_LIBRARIES = ("torch", "transformers", "peft", "opacus")


def environment(dtype: str, quantisation: str) -> dict[str, str | int]:
    """Libraries, system and arithmetic of this process, as manifests and run records keep them."""
    packing = ("bitsandbytes",) if quantisation == "nf4" else ()
    found: dict[str, str | int] = {
        name: importlib.metadata.version(name)
        for name in ("xeno", *_LIBRARIES, *packing)
        if _known(name)
    }
    return found | {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "dtype": dtype,
        "quantisation": quantisation,
        "threads": torch.get_num_threads(),
    }


def _known(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
