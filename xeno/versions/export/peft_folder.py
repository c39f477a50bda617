"""A version as the folder that PEFT saves and loads: the adapter alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xeno.models.base import BaseModel
from xeno.models.loading import load_model, quiet
from xeno.versions.adapter import AdapterConfig, module_paths
from xeno.versions.content import canonical_bytes
from xeno.versions.importing import CONFIG, ORIGIN, WEIGHTS

if TYPE_CHECKING:
    import torch


def write(
    folder: Path, base: BaseModel, tensors: Mapping[str, torch.Tensor], config: AdapterConfig
) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`, float32, to `folder`."""
    paths = module_paths(tensors, config)
    everywhere = {
        name.removesuffix(".weight")
        for name in base.shapes
        if name.removesuffix(".weight").rpartition(".")[2] in config.target_modules
    }
    described: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base.name,  # never the folder: it is nobody else's business
        "r": config.rank,
        "lora_alpha": int(config.alpha) if config.alpha == int(config.alpha) else config.alpha,
        "use_rslora": config.rs_lora,
        # By their whole paths where not every module of these names has an adapter.
        "target_modules": list(config.target_modules) if set(paths) == everywhere else list(paths),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": base.config.get("model_type") == "gpt2",
        "inference_mode": True,
    }
    origin = {  # read again by an import
        "base_hash": base.base_hash,
        "base_name": base.name,
        "adapter": config.model_dump(mode="json"),
    }
    (folder / ORIGIN).write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")
    (folder / CONFIG).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    (folder / WEIGHTS).write_bytes(canonical_bytes(tensors))


def opened(folder: Path, base: BaseModel) -> Any:
    """The base with the adapter in `folder`, as PEFT itself loads it, in float32."""
    from peft import PeftModel

    with quiet():
        model = PeftModel.from_pretrained(
            load_model(base, "float32"), str(folder), use_safetensors=True, local_files_only=True
        )
    return model.eval()
