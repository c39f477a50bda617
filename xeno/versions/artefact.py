"""Models that are no adapters, as bytes: a folder, bytes as they are, or arrays and JSON values.

A folder and a mapping become one canonical block: the length of a header (8 bytes, little
endian), the header (JSON: name, size and SHA-256 of each part, sorted by name), then the parts.
Arrays are safetensors. Nothing is pickled, and nothing that comes in is ever unpickled or run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from xeno.errors import DamagedDataError, InvalidValueError
from xeno.store import files
from xeno.versions.content import canonical_json

Kind = Literal["bytes", "folder", "values"]
ModelData = bytes | str | os.PathLike[str] | Mapping[str, Any]

LARGEST = 2 * 2**30
"""Bytes of one model: it is sealed and opened in memory."""
_DOMAIN = b"xeno artefact 1\0"
_VALUES, _ARRAYS = "values.json", "arrays.safetensors"


def pack(data: ModelData) -> tuple[Kind, bytes]:
    """`data` as bytes, the same for the same content.

    Raises:
        InvalidValueError: if it is none of the three, or too large.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return "bytes", _small_enough(bytes(data))
    if isinstance(data, Mapping):
        return "values", _small_enough(_joined(_parts_of(data)))
    if isinstance(data, str | os.PathLike):
        return "folder", _small_enough(_joined(_files_of(Path(data))))
    raise InvalidValueError(
        f"A {type(data).__name__} cannot be kept as a model.",
        "A model is a folder, bytes, or a mapping of arrays and JSON values; pickle is not used.",
        "Give its folder, or its arrays by name.",
    )


def unpack(kind: str, plain: bytes) -> bytes | dict[str, Any]:
    """What was packed: the bytes, the files of a folder by their path, or the values by name
    (arrays of numpy).

    Raises:
        DamagedDataError: if it is not what `pack` makes.
    """
    if kind == "bytes":
        return plain
    parts = _separated(plain)
    if kind == "folder":
        return dict(parts)
    from safetensors.numpy import load

    try:
        return {**json.loads(parts[_VALUES]), **load(parts[_ARRAYS])}
    except (KeyError, ValueError) as error:
        raise _not_packed() from error


def extract(plain: bytes, folder: Path) -> None:
    """Write the files of a packed folder under `folder`, which must be empty or not there.

    Raises:
        DamagedDataError: if it is no packed folder, or a name would leave `folder`.
        InvalidValueError: if there is something in `folder` already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidValueError(
            f"{folder} is not empty.", "Nothing is written over.", "Name another folder."
        )
    for name, content in _separated(plain).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, content)


def address_of(model: str, kind: str, plain: bytes) -> str:
    """The content address (SHA-256, hex) of a packed model."""
    total = hashlib.sha256(_DOMAIN)
    for part in (model.encode(), kind.encode(), plain):  # each alone: no byte can move over
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()


def _parts_of(values: Mapping[str, Any]) -> dict[str, bytes]:
    import numpy as np
    from safetensors.numpy import save

    plain: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, value in values.items():
        if not isinstance(name, str) or not name:
            raise InvalidValueError(
                f"{name!r} is no name of a value.", "Names are texts.", "Rename it."
            )
        if not hasattr(value, "__array__"):
            plain[name] = value
            continue
        # A tensor of torch says how it becomes an array; one with gradients must let go first.
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        if array.dtype.kind not in "biuf":
            raise InvalidValueError(
                f"The array {name!r} cannot be kept.",
                f"It holds {array.dtype}, and only numbers and truth values can be.",
                "Keep texts and lists as JSON values.",
            )
        arrays[name] = np.array(array, order="C")
    try:
        return {_VALUES: canonical_json(plain), _ARRAYS: save(dict(sorted(arrays.items())))}
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            "A value of the model cannot be kept.",
            f"It is neither an array nor JSON ({error}).",
            "Give arrays, numbers, texts, lists and mappings of these.",
        ) from error


def _files_of(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise InvalidValueError(
            f"{folder} is not a folder.",
            "A model is a folder, bytes, or a mapping of arrays and JSON values.",
            "Name the folder, or give the file's bytes.",
        )
    found: dict[str, bytes] = {}
    size = 0
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise InvalidValueError(
                f"{name} cannot be kept.", "It is a link or no plain file.", "Copy its content."
            )
        if path.is_file():
            size += path.stat().st_size
            if size > LARGEST:
                raise _too_large(size)
            found[name] = path.read_bytes()
    if not found:
        raise InvalidValueError(f"{folder} is empty.", "It holds no file.", "Name another folder.")
    return found


def _joined(parts: Mapping[str, bytes]) -> bytes:
    names = sorted(parts)
    header = canonical_json(
        [[name, len(parts[name]), hashlib.sha256(parts[name]).hexdigest()] for name in names]
    )
    return b"".join([len(header).to_bytes(8, "little"), header, *(parts[name] for name in names)])


def _separated(plain: bytes) -> dict[str, bytes]:
    """The parts of a block, each name one that stays in its folder."""
    try:
        start = 8 + int.from_bytes(plain[:8], "little")
        header = json.loads(plain[8:start])
        parts: dict[str, bytes] = {}
        for name, size, digest in header:
            content = plain[start : start + size]
            path = PurePosixPath(name)
            plain_name = not path.is_absolute() and ".." not in path.parts and "\\" not in name
            if not plain_name or hashlib.sha256(content).hexdigest() != digest:
                raise ValueError(name)
            parts[name] = content
            start += size
    except (ValueError, TypeError) as error:
        raise _not_packed() from error
    if start != len(plain):
        raise _not_packed()
    return parts


def _small_enough(plain: bytes) -> bytes:
    if len(plain) > LARGEST:
        raise _too_large(len(plain))
    return plain


def _too_large(size: int) -> InvalidValueError:
    return InvalidValueError(
        "The model is too large to be kept as a version.",
        f"It has {size:,} bytes; {LARGEST:,} are the most.",
        "Leave out what can be made again, such as caches.",
    )


def _not_packed() -> DamagedDataError:
    return DamagedDataError(
        "The version's content cannot be read.",
        "Its parts are not what they were.",
        "Use another version.",
    )
