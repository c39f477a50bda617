"""A version as a whole model: the folder that transformers saves and loads, adapter merged in."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xeno.models.base import BaseModel
from xeno.versions.adapter import AdapterConfig
from xeno.versions.export.merged import merged_tensor, read_weights

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

_SHARD = 2 * 10**9  # bytes; what is held in memory at a time
_TEMPLATE = "chat_template.jinja"
_TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", _TEMPLATE),
)


def write(
    folder: Path,
    base: BaseModel,
    tokenizer: PreTrainedTokenizerBase,
    adapter: tuple[Mapping[str, torch.Tensor], AdapterConfig] | None,
    dtype: torch.dtype,
    *,
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Write configuration, tokenizer, chat template and weights to `folder`.

    Args:
        dtype: the number format of the weights.
        progress: called with the part that is written, in (0, 1].
    """
    from safetensors.torch import save_file

    config = _without_paths(base.config)
    config.pop("torch_dtype", None)
    _write_json(folder / "config.json", config | {"dtype": str(dtype).removeprefix("torch.")})
    for name in _TOKENIZER_FILES:
        if (base.folder / name).is_file():
            shutil.copyfile(base.folder / name, folder / name)
    for name in ("tokenizer_config.json", "generation_config.json"):
        if (base.folder / name).is_file():
            content = json.loads((base.folder / name).read_text("utf-8"))
            _write_json(folder / name, _without_paths(content))
    if not base.has_chat_template:  # the plain one that the chat and the training used
        (folder / _TEMPLATE).write_text(str(tokenizer.chat_template), encoding="utf-8")
    shards = _shards(base, dtype)
    index: dict[str, str] = {}
    with read_weights(base) as read:
        for number, names in enumerate(shards, start=1):
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            file = file if len(shards) > 1 else "model.safetensors"
            tensors = {}
            for name in names:
                stored = read(name)
                merged = merged_tensor(name, stored, base, adapter).to(dtype)
                tensors[name] = merged.contiguous() if stored.is_floating_point() else stored
                index[name] = file
                progress(len(index) / len(base.shapes))
            save_file(tensors, str(folder / file), metadata={"format": "pt"})
    if len(shards) > 1:
        _write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": index})


def _shards(base: BaseModel, dtype: torch.dtype) -> list[list[str]]:
    """The names of all tensors, in groups of at most `_SHARD` bytes (or one tensor)."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name in sorted(base.shapes):
        size = math.prod(base.shapes[name]) * dtype.itemsize
        if shards[-1] and filled + size > _SHARD:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _without_paths(content: dict[str, Any]) -> dict[str, Any]:
    """`content` without where it was once loaded from."""
    return {key: each for key, each in content.items() if not key.endswith("name_or_path")}


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
