"""A base-model folder, inspected before anything in it is loaded.

A downloaded model is hostile until checked: nothing here unpickles, imports or executes what
the folder holds, and whatever would need that is refused. Reads headers and small JSON files
only, so it is quick, and needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from xeno.errors import BaseModelError
from xeno.models.machine import read_fact, write_fact
from xeno.paths import Home

DEFAULT_CONTEXT = 2048
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_CONFIGS = ("config.json", "generation_config.json")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_TOKENIZER_FILES = (
    *_TOKENIZERS,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_LARGEST_JSON = 64 * 2**20
_TODO = "Choose another folder, or download the model again with its safetensors files."


@dataclass(frozen=True)
class BaseModel:
    """A folder that passed inspection.

    `parameters` counts the stored numbers, `context` is the most tokens the model can see,
    `notes` are sentences the user should see, `shapes` maps tensor names to their shapes,
    `config` is what config.json says.
    """

    folder: Path
    name: str
    architecture: str
    parameters: int
    context: int
    weight_files: tuple[Path, ...]
    has_chat_template: bool
    notes: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]] = field(repr=False, compare=False)
    home: Home | None = field(default=None, repr=False, compare=False)
    config: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def base_hash(self) -> str:
        """SHA-256 (hex) over the sorted (file name, SHA-256) of configuration, weights and
        tokenizer. Files of unchanged size and time are not read again where a home is known."""
        names = [*_CONFIGS, *_TOKENIZER_FILES, _INDEX]
        files = {path for name in names if (path := self.folder / name).is_file()}
        files.update(self.weight_files)
        total = hashlib.sha256()
        for path in sorted(files, key=lambda each: each.name):
            total.update(f"{path.name}\0{_file_hash(path, self.home)}\n".encode())
        return total.hexdigest()


def inspect_base(folder: Path, home: Home | None = None, *, writes_text: bool = True) -> BaseModel:
    """The base model in `folder`.

    Args:
        folder: a local folder with config.json, safetensors and a tokenizer.
        home: where the hashes of large files may be remembered.
        writes_text: refuse what cannot write; off for a sentence encoder, which only reads.

    Raises:
        BaseModelError: if the folder cannot be used, saying why. Nothing was loaded.
    """
    folder = Path(folder).expanduser()
    _require_folder(folder)
    config = _read_json(folder / "config.json", folder)
    _refuse_foreign_code(folder, config)
    weight_files = _weight_files(folder)
    shapes = _shapes(folder, weight_files)
    layers = config.get("num_hidden_layers")
    if isinstance(layers, int) and layers > len(shapes):
        raise _refused(folder, f"config.json names {layers} layers, more than there are weights.")
    tokenizer_config = _tokenizer_config(folder)
    notes: list[str] = []
    context = _context(config)
    if context is None:
        context = DEFAULT_CONTEXT
        notes.append(f"The model does not say how much it can read; {context} tokens are assumed.")
    templated = (folder / "chat_template.jinja").is_file() or bool(
        tokenizer_config.get("chat_template")
    )
    if not templated:
        notes.append(
            "This model has no chat template, so a plain one (User: / Assistant:) is used; "
            "a model that was never trained to chat may answer oddly."
        )
    return BaseModel(
        folder=folder,
        name=folder.resolve().name,
        architecture=_architecture(folder, config, writes_text),
        parameters=sum(math.prod(shape) for shape in shapes.values()),
        context=context,
        weight_files=weight_files,
        has_chat_template=templated,
        notes=tuple(notes),
        shapes=shapes,
        home=home,
        config=config,
    )


def _refused(folder: Path, why: str, todo: str = _TODO) -> BaseModelError:
    return BaseModelError(f"{folder} cannot be used as a base model.", why, todo)


def _require_folder(folder: Path) -> None:
    try:
        if not folder.exists():
            raise _refused(folder, "There is no such folder.", "Check the path.")
        if not folder.is_dir():
            raise _refused(
                folder, "It is a file, not a folder.", "Choose the folder that holds config.json."
            )
        if not any(folder.iterdir()):
            raise _refused(folder, "The folder is empty.")
        folder.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise _refused(folder, f"It cannot be read ({error}).", "Check the path.") from error


def _read_json(path: Path, folder: Path) -> dict[str, Any]:
    try:
        if not path.exists() and not path.is_symlink():
            raise _refused(folder, f"{path.name} is missing.")
        if not path.is_file():  # also a pipe, which would never end
            raise _refused(folder, f"{path.name} is not a readable file.")
        if path.stat().st_size > _LARGEST_JSON:
            raise _refused(folder, f"{path.name} is larger than {_LARGEST_JSON >> 20} MB.")
        content = json.loads(path.read_text("utf-8"))
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: loops, deep nesting
        raise _refused(folder, f"{path.name} cannot be read ({error}).") from error
    if not isinstance(content, dict):
        raise _refused(folder, f"{path.name} does not hold a JSON object.")
    return content


def _refuse_foreign_code(folder: Path, config: dict[str, Any]) -> None:
    if (folder / "adapter_config.json").exists():
        raise _refused(
            folder,
            "It holds an adapter (adapter_config.json), not a base model.",
            "Choose the folder of the base model that the adapter belongs to.",
        )
    optional = [
        _read_json(path, folder)
        for name in ("tokenizer_config.json", "generation_config.json")
        if (path := folder / name).exists()
    ]
    if any(_mentions(each, "auto_map") for each in (config, *optional)):
        raise _refused(
            folder,
            "It asks for its own program code to be run (auto_map), which XENO never does.",
            "Choose a model of an architecture that transformers knows by itself.",
        )
    if config.get("quantization_config"):
        raise _refused(
            folder,
            "Its weights are packed (quantization_config), so nothing can be learned on them.",
            "Choose the unquantised form of the same model.",
        )


def _mentions(value: Any, key: str) -> bool:
    if isinstance(value, dict):
        return key in value or any(_mentions(each, key) for each in value.values())
    return isinstance(value, list) and any(_mentions(each, key) for each in value)


def _architecture(folder: Path, config: dict[str, Any], writes_text: bool) -> str:
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    if not isinstance(name, str) or not isinstance(config.get("model_type"), str):
        raise _refused(folder, "config.json names no architecture and model type.")
    if writes_text and not name.endswith(("ForCausalLM", "LMHeadModel")):
        raise _refused(
            folder,
            f"Its architecture, {name}, does not write text from left to right.",
            "Choose a model for text generation (its architecture ends in ForCausalLM).",
        )
    return name


def _context(config: dict[str, Any]) -> int | None:
    for key in _CONTEXT_KEYS:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 16:
            return value
    return None


def _weight_files(folder: Path) -> tuple[Path, ...]:
    if (folder / _SINGLE).exists():
        return (folder / _SINGLE,)
    if not (folder / _INDEX).exists():
        raise _refused(folder, _why_no_weights(folder))
    index = _read_json(folder / _INDEX, folder).get("weight_map")
    if not isinstance(index, dict) or not index:
        raise _refused(folder, f"{_INDEX} lists no weights.")
    names = set(index.values())
    for name in names:
        if not isinstance(name, str) or name != Path(name).name or not name.endswith("safetensors"):
            raise _refused(folder, f"{_INDEX} names {name!r}, which is not a file of this folder.")
        if not (folder / name).exists():
            raise _refused(folder, f"{name} is missing, though {_INDEX} lists it.")
    return tuple(folder / name for name in sorted(names))


def _why_no_weights(folder: Path) -> str:
    names = [path.name for path in folder.iterdir()]
    pickles = sorted(name for name in names if name.endswith(_PICKLES))
    if pickles:
        return (
            f"Its weights are pickled ({pickles[0]}); opening such a file can run any program, "
            "so only safetensors are used."
        )
    if any(name.endswith(".gguf") for name in names):
        return "Its weights are in GGUF form, which cannot be trained; safetensors are needed."
    return f"There is no {_SINGLE} in it."


def _shapes(folder: Path, files: tuple[Path, ...]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors. The safetensors reader itself checks each header against
    the length of its file; no tensor is read."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        if not path.is_file():
            raise _refused(folder, f"{path.name} is not a readable file.")
        try:
            with safe_open(str(path), framework="np") as tensors:
                names = tensors.keys()
                found = {name: tuple(tensors.get_slice(name).get_shape()) for name in names}
        except (OSError, SafetensorError, ValueError) as error:
            raise _refused(folder, f"{path.name} is truncated or damaged ({error}).") from error
        if repeated := shapes.keys() & found.keys():
            raise _refused(folder, f"{min(repeated)} is stored twice.")
        shapes.update(found)
    if not shapes:
        raise _refused(folder, "Its weight files hold no weights.")
    if len(files) > 1 or files[0].name != _SINGLE:
        _compare_with_index(folder, shapes)
    return shapes


def _compare_with_index(folder: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    listed: dict[str, str] = _read_json(folder / _INDEX, folder)["weight_map"]
    if missing := sorted(listed.keys() - shapes.keys()):
        raise _refused(
            folder, f"{listed[missing[0]]} lacks {missing[0]}, though {_INDEX} lists it."
        )


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    tokenizers = [folder / name for name in _TOKENIZERS if (folder / name).exists()]
    if not tokenizers:
        raise _refused(folder, "It has no tokenizer (tokenizer.json or tokenizer.model).")
    if tokenizers[0].suffix == ".json":
        _read_json(tokenizers[0], folder)
    path = folder / "tokenizer_config.json"
    return _read_json(path, folder) if path.exists() else {}


def _file_hash(path: Path, home: Home | None) -> str:
    found = path.stat()
    name = f"sha256 {path.resolve()}"
    stamp = [found.st_size, found.st_mtime_ns]
    known = read_fact(home, name)
    if isinstance(known, dict) and known.get("stamp") == stamp:
        return str(known["sha256"])
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if found.st_size > 2**20:  # small files are read faster than remembered
        write_fact(home, name, {"stamp": stamp, "sha256": digest})
    return digest
