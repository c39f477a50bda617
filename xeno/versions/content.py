"""An adapter as bytes, and the address that these bytes give it.

The same tensors, configuration and base always have the same address, whatever the order in
which they come and the machine on which they are written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from xeno.errors import DamagedDataError
from xeno.versions.adapter import AdapterConfig

if TYPE_CHECKING:
    import torch

_DOMAIN = b"xeno version 1\0"


def canonical_bytes(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """`tensors` as safetensors: sorted by name, contiguous, without metadata."""
    from safetensors.torch import save

    plain = {
        name: tensors[name].detach().to("cpu").contiguous().clone() for name in sorted(tensors)
    }
    return bytes(save(plain))


def read_tensors(content: bytes) -> dict[str, torch.Tensor]:
    """The tensors in `content`.

    Raises:
        DamagedDataError: if it is not intact safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors: dict[str, torch.Tensor] = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise DamagedDataError(
            "The adapter cannot be read.",
            f"Its bytes are not safetensors ({error}).",
            "Restore the version from a backup, or train again.",
        ) from error
    return tensors


def content_address(
    tensors: Mapping[str, torch.Tensor], config: AdapterConfig, base_hash: str
) -> str:
    """The SHA-256 (hex) over the canonical tensors, the configuration and the base's hash."""
    return address_of(canonical_bytes(tensors), config, base_hash)


def address_of(canonical: bytes, config: AdapterConfig, base_hash: str) -> str:
    """`content_address` of tensors that are already canonical bytes."""
    parts = (canonical, canonical_json(config.model_dump(mode="json")), base_hash.encode())
    total = hashlib.sha256(_DOMAIN)
    for part in parts:  # each hashed alone, so that no byte can move from one to the next
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys, no blanks, ASCII only; no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode("ascii")
