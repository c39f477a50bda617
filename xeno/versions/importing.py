"""A PEFT adapter from elsewhere, made a version. It is hostile until every part was checked.

Nothing is unpickled, unpacked, followed or executed: a folder gives two plain files, a small JSON
object and safetensors, of which the header is held against the base model before a number is
read. Whatever PEFT can do and XENO's versions cannot is refused by name. The version is a
candidate: it answers only after it has passed the gate.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from xeno.errors import InvalidValueError
from xeno.models.base import BaseModel
from xeno.store.profile import Profile
from xeno.versions.adapter import AdapterConfig, module_paths, tensor_names
from xeno.versions.content import address_of, canonical_bytes
from xeno.versions.manifest import Manifest
from xeno.versions.registry import Registry, Version

if TYPE_CHECKING:
    import torch

CONFIG, WEIGHTS, ORIGIN = "adapter_config.json", "adapter_model.safetensors", "xeno.json"
LARGEST_JSON = 2**20
_PICKLES = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth", "pytorch_model.bin")
_EMBEDDINGS = ("embed", "wte", "wpe")  # PEFT stores adapters of these under other names
# Settings of PEFT that say nothing about what the stored numbers mean, or say it again.
_HARMLESS = {
    *("peft_type", "task_type", "r", "lora_alpha", "use_rslora", "target_modules", "lora_dropout"),
    *("base_model_name_or_path", "revision", "inference_mode", "peft_version"),
    *("layers_to_transform", "layers_pattern", "auto_mapping", "exclude_modules"),
    *("loftq_config", "eva_config", "corda_config", "megatron_core", "runtime_config"),
    *("ensure_weight_tying", "qalora_group_size"),
}
# How PEFT filled A and B before training. The other ways (PiSSA, OLoRA, CorDA, LoftQ) change the
# base's weights as well, and B A alone would then be another model.
_INITIALISED = (True, "gaussian", "orthogonal", "eva")


@dataclass(frozen=True)
class Imported:
    """The version, whether it was there already, and sentences that the user should see."""

    version: Version
    known: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Read:
    config: AdapterConfig
    tensors: Mapping[str, torch.Tensor]
    notes: tuple[str, ...]


def import_adapter(
    profile: Profile,
    folder: Path,
    base: BaseModel,
    *,
    description: str = "",
    for_this_base: bool = False,
) -> Imported:
    """Make the adapter in `folder` a candidate version over `base`.

    Args:
        for_this_base: the user says that it belongs to `base`, whatever name it gives.

    Raises:
        InvalidValueError: if it cannot be used, saying why. Nothing was loaded or stored.
    """
    found = _read(folder, base, for_this_base)
    canonical = canonical_bytes(found.tensors)
    address = address_of(canonical, found.config, base.base_hash)
    known = any(each.address == address for each in Registry(profile).all())
    manifest = Manifest(
        address=address,
        base_hash=base.base_hash,
        base_name=base.name,
        adapter=found.config,
        environment={"imported": "PEFT adapter"},
        created=time.time(),
    )
    version = Registry(profile).release(found.tensors, manifest, description or "Imported")
    return Imported(version, known, found.notes)


def _read(folder: Path, base: BaseModel, for_this_base: bool) -> _Read:
    if not folder.is_dir():
        raise _refused("It is not a folder.", "Unpack it, and name the folder.")
    described = _json(folder / CONFIG)
    rank, alpha, rs_lora = _settings(described)
    origin = _json(folder / ORIGIN) if os.path.lexists(folder / ORIGIN) else {}
    notes = _belongs(origin, described, base, for_this_base)
    if not (folder / WEIGHTS).exists():
        if pickled := next((name for name in _PICKLES if (folder / name).exists()), None):
            raise _refused(
                f"Its weights are pickled ({pickled}); opening such a file can run any program.",
                "Ask for the adapter as safetensors.",
            )
        raise _refused(f"{WEIGHTS} is missing.")
    _plain_file(folder / WEIGHTS, _largest(base, rank))
    tensors, modules = _tensors(folder / WEIGHTS, base, rank)
    try:
        config = AdapterConfig(rank=rank, alpha=alpha, rs_lora=rs_lora, target_modules=modules)
    except ValidationError as error:
        raise _refused(
            f"Its configuration is out of range ({error.errors()[0]['msg']})."
        ) from error
    module_paths(tensors, config)
    return _Read(_as_exported(origin, config), tensors, notes)


def _json(path: Path) -> dict[str, Any]:
    if not path.exists() and not path.is_symlink():
        raise _refused(f"{path.name} is missing.")
    _plain_file(path, LARGEST_JSON)
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(f"{path.name} cannot be read ({error}).") from error
    if not isinstance(content, dict):
        raise _refused(f"{path.name} does not hold a JSON object.")
    return content


def _plain_file(path: Path, largest: int) -> int:
    """The size of a file that is no link, pipe or device, and not larger than it can be."""
    try:
        found = os.lstat(path)
    except OSError as error:
        raise _refused(f"{path.name} cannot be read ({error.strerror}).") from error
    if not stat.S_ISREG(found.st_mode):
        raise _refused(f"{path.name} is a link or no plain file.")
    if found.st_size > largest:
        raise _refused(f"{path.name} has {found.st_size:,} bytes; at most {largest:,} make sense.")
    return found.st_size


def _settings(described: Mapping[str, Any]) -> tuple[int, float, bool]:
    """Rank, alpha and whether it is rsLoRA; refuses what a version cannot be."""
    kind = described.get("peft_type")
    if kind != "LORA":
        raise _refused(f"It is of the kind {kind!r}; only LORA can be used.")
    for key, value in described.items():
        if key == "bias" and value == "none":
            continue
        if key == "init_lora_weights" and value in _INITIALISED:
            continue
        if key not in _HARMLESS and value not in (None, False, 0, "", [], {}):
            raise _refused(f"It uses {key} ({str(value)[:60]}), which XENO's versions cannot.")
    rank, alpha = described.get("r"), described.get("lora_alpha")
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= 1024:
        raise _refused(f"Its rank is {str(rank)[:60]}.")
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha < 1e6:
        raise _refused(f"Its alpha is {str(alpha)[:60]}.")
    if described.get("fan_in_fan_out"):
        raise _refused("Its matrices are stored the other way round (fan_in_fan_out).")
    return rank, float(alpha), described.get("use_rslora") is True


def _belongs(
    origin: Mapping[str, Any], described: Mapping[str, Any], base: BaseModel, for_this_base: bool
) -> tuple[str, ...]:
    """Whether it belongs to `base`: by the hash where XENO wrote it, else by the name."""
    if origin:
        said = origin.get("base_hash")
        if said != base.base_hash:
            raise _refused(
                f"It belongs to another base model ({str(said)[:12]}…) than {base.name} "
                f"({base.base_hash[:12]}…).",
                "Choose its base model first.",
            )
        return ()
    named = str(described.get("base_model_name_or_path") or "nothing")[:200]
    last = named.replace("\\", "/").rstrip("/").rpartition("/")[2]
    if last.lower() != base.name.lower() and not for_this_base:
        raise _refused(
            f"It says that it was trained on {named!r}, and {base.name} is chosen.",
            "Choose that base model first; if it is the same under another name, say so.",
        )
    return (
        f"It does not prove that it was trained on {base.name}: names and shapes fit, and its "
        "base model's hash is unknown.",
    )


def _as_exported(origin: Mapping[str, Any], config: AdapterConfig) -> AdapterConfig:
    """The configuration as XENO exported it, where that says the same as PEFT's: what comes back
    then has the address that it had."""
    try:
        said = AdapterConfig.model_validate(origin.get("adapter"))
    except ValidationError:
        return config
    plain = {"kind": config.kind, "target_modules": tuple(sorted(said.target_modules))}
    return said if said.model_copy(update=plain) == config else config


def _largest(base: BaseModel, rank: int) -> int:
    """How many bytes an adapter of this rank can have: every matrix adapted, in float32."""
    sides = sum(sum(shape) for shape in base.shapes.values() if len(shape) == 2)
    return 4 * rank * sides + 256 * 2 * len(base.shapes) + LARGEST_JSON


def _tensors(
    path: Path, base: BaseModel, rank: int
) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The tensors in float32, and the last names of the modules that they are for."""
    import torch
    from safetensors import SafetensorError, safe_open

    known = {torch.float32, torch.float16, torch.bfloat16}
    tensors: dict[str, torch.Tensor] = {}
    modules = set()
    try:
        with safe_open(str(path), framework="pt") as stored:
            expected = _expected(base, rank)
            names = list(stored.keys())
            for name in names:  # all headers before the first number
                shape = tuple(stored.get_slice(name).get_shape())
                if name not in expected:
                    raise _refused(f"{base.name} has no place for its part {name[:100]!r}.")
                if shape != expected[name]:
                    raise _refused(f"{name} has the shape {shape}; {expected[name]} would fit.")
            for name in names:
                tensor = stored.get_tensor(name)
                if tensor.dtype not in known:
                    raise _refused(f"{name} holds {tensor.dtype}.")
                if not bool(tensor.isfinite().all()):
                    raise _refused(f"{name} holds numbers that are not finite.")
                tensors[name] = tensor.float()
                modules.add(name.removesuffix(".weight").rsplit(".", 2)[-2])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        if isinstance(error, InvalidValueError):
            raise
        raise _refused(f"{path.name} is truncated or damaged ({str(error)[:200]}).") from error
    if not tensors:
        raise _refused(f"{path.name} holds nothing.")
    return tensors, tuple(sorted(modules))


def _expected(base: BaseModel, rank: int) -> dict[str, tuple[int, int]]:
    """Every name that an adapter of `base` can hold, with the shape that fits."""
    expected: dict[str, tuple[int, int]] = {}
    for name, shape in base.shapes.items():
        if len(shape) == 2 and name.endswith(".weight") and not any(e in name for e in _EMBEDDINGS):
            down, up = tensor_names(name.removesuffix(".weight"))
            turned = base.config.get("model_type") == "gpt2"
            rows, columns = reversed(shape) if turned else shape
            expected[down], expected[up] = (rank, columns), (rows, rank)
    return expected


def _refused(
    why: str, todo: str = "Ask its author for it again, or use another."
) -> InvalidValueError:
    return InvalidValueError("The adapter was not imported.", why, todo)
