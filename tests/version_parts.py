"""Adapters and manifests for tests of versions."""

from __future__ import annotations

import time
from typing import Any

import torch

from xeno.store.profile import Profile
from xeno.versions import gate
from xeno.versions.adapter import AdapterConfig, tensor_names
from xeno.versions.content import content_address
from xeno.versions.registry import Manifest, Registry, Version

CONFIG = AdapterConfig(rank=4, alpha=8.0, target_modules=("q_proj",))
PATHS = ("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj")
BASE_HASH = "b" * 64


def adapter(seed: int = 0, width: int = 32) -> dict[str, torch.Tensor]:
    """A random adapter for two q_proj of size [width, width]."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for path in PATHS:
        down, up = tensor_names(path)
        tensors[down] = torch.randn(CONFIG.rank, width, generator=generator)
        tensors[up] = torch.randn(width, CONFIG.rank, generator=generator)
    return tensors


def manifest_for(
    tensors: dict[str, torch.Tensor], base_hash: str = BASE_HASH, **values: Any
) -> Manifest:
    """A manifest of a run without privacy; `values` are further fields."""
    fields: dict[str, Any] = {
        "address": content_address(tensors, CONFIG, base_hash),
        "base_hash": base_hash,
        "base_name": "tiny",
        "adapter": CONFIG,
        "created": time.time(),
        **values,
    }
    return Manifest(**fields)


def release(profile: Profile, seed: int = 0, **values: Any) -> Version:
    """A released version."""
    tensors = adapter(seed)
    return Registry(profile).release(tensors, manifest_for(tensors, **values))


def passed(profile: Profile, *refs: int | str) -> None:
    """Keep with these versions the report of a gate that they passed."""
    for ref in refs:
        version = Registry(profile).get(ref)
        checks = list(gate.examine(profile, version).checks)
        gate.record(profile, version, gate.GateReport.of(checks, complete=True))
