"""The file of a backup: what stands in it, written and read as a stream.

A magic, a salt, and a sealed stream (`container`) under a key that scrypt makes of the backup's
passphrase. The stream is a line of JSON about the whole, then for each file a line with its name
and size and its bytes, then a line that ends it. Names are few and fixed, so none can lead
anywhere.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xeno.errors import DamagedDataError, FutureDataError, InvalidValueError, LockedProfileError
from xeno.store import files, keys
from xeno.versions.container import seal, unseal

DATABASE = "profile.db"
_MAGIC = b"XENOBACKUP1\n"
_SALT = 32
_PIECE = 2**20
_LINE = 2**16
_NAMES = re.compile(r"profile\.db|versions/[0-9a-f]{64}\.xeno")
Told = Callable[[float, str], None]


class About(BaseModel):
    """The first line: what the stream holds. `ledger_head` is as it lies beside the key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    profile: str
    created: float
    key: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    entry: str = Field(pattern=r"^[0-9a-f]{32}$")
    ledger_head: str | None
    files: int = Field(ge=1)
    bytes: int = Field(ge=0)


class _Entry(BaseModel):
    """The line before a file's bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    size: int = Field(ge=0)


def write(
    file: BinaryIO, about: About, parts: Mapping[str, Path], passphrase: str, told: Told
) -> None:
    """Write a backup of the files `parts`, by their names in it, to the open `file`."""
    salt = secrets.token_bytes(_SALT)
    file.write(_MAGIC + salt)
    seal(file, _stream(about, parts, told), *_key(passphrase, salt))


def known_name(name: str) -> bool:
    """Whether a file of this name can be in a backup."""
    return _NAMES.fullmatch(name) is not None


def _stream(about: About, parts: Mapping[str, Path], told: Told) -> Iterator[bytes]:
    done = 0
    yield about.model_dump_json().encode() + b"\n"
    for name, path in parts.items():
        size = path.stat().st_size
        yield _Entry(name=name, size=size).model_dump_json().encode() + b"\n"
        with path.open("rb") as file:
            for piece in _pieces(file, size):
                done += len(piece)
                told(done / max(about.bytes, 1), "Writing the backup")
                yield piece
    yield b"end\n"


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Exactly `size` bytes: a file that changes meanwhile must not shift what follows."""
    left = size
    while left:
        piece = file.read(min(left, _PIECE))
        if not piece:
            raise OSError("a file of the profile became shorter meanwhile")
        left -= len(piece)
        yield piece


def _key(passphrase: str, salt: bytes) -> tuple[bytes, bytes]:
    """The key of a backup, and what it is bound to."""
    return keys.stretched(passphrase, salt), _MAGIC + salt


class _Reader:
    """Lines and bytes out of a sealed stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._held = pieces, bytearray()

    def line(self) -> bytes:
        while (end := self._held.find(b"\n")) < 0 and len(self._held) <= _LINE:
            if not self._more():
                break
        if not 0 <= end <= _LINE:
            raise _damaged("A line of it does not end.")
        found = bytes(self._held[:end])
        del self._held[: end + 1]
        return found

    def take(self, size: int) -> Iterator[bytes]:
        left = size
        while left:
            if not self._held and not self._more():
                raise _damaged("It ends too early.")
            piece = bytes(self._held[:left])
            del self._held[:left]
            left -= len(piece)
            yield piece

    def ended(self) -> bool:
        return not self._held and not self._more()

    def _more(self) -> bool:
        piece = next(self._pieces, None)
        self._held += piece or b""
        return piece is not None


def unpack(path: Path, passphrase: str, folder: Path, told: Told) -> tuple[About, int]:
    """Write the files of a backup into `folder`: what it says of itself, and its versions."""
    with _opened(path) as file:
        magic = file.read(len(_MAGIC))
        salt = file.read(_SALT)
        if magic != _MAGIC or len(salt) < _SALT:
            if magic.startswith(b"XENOBACKUP") and magic != _MAGIC:
                raise FutureDataError(
                    f"{path.name} was made by a later XENO.", "Its format is new.", "Update XENO."
                )
            raise _damaged("It is no backup of XENO's, or is cut off.")
        told(0.0, "Opening the backup")
        reader = _Reader(unseal(file, *_key(passphrase, salt)))
        about = _about(reader, path)
        versions = done = 0
        seen: set[str] = set()
        for _ in range(about.files):
            entry = _entry(reader.line())
            if not known_name(entry.name) or entry.name in seen:
                raise _damaged(f"It names a file {entry.name[:80]!r}.")
            seen.add(entry.name)
            versions += entry.name.startswith("versions/")
            target = folder / entry.name
            files.private_folder(target.parent)
            with target.open("xb") as out:
                target.chmod(0o600)
                for piece in reader.take(entry.size):
                    out.write(piece)
                    done += len(piece)
                    told(0.9 * min(1.0, done / max(about.bytes, 1)), "Reading the backup")
                out.flush()
                os.fsync(out.fileno())
        if reader.line() != b"end" or not reader.ended() or DATABASE not in seen:
            raise _damaged("It does not end as it should.")
    return about, versions


def _opened(path: Path) -> BinaryIO:
    try:
        if not path.is_file():
            raise InvalidValueError(f"There is no file {path}.", "", "Check the path.")
        return path.open("rb")
    except OSError as error:
        raise InvalidValueError(
            f"{path} cannot be read.", str(error.strerror or error), "Check its permissions."
        ) from error


def _about(reader: _Reader, path: Path) -> About:
    try:
        line = reader.line()
    except DamagedDataError as error:
        raise LockedProfileError(
            f"{path.name} does not open.",
            "The passphrase is not right, or the beginning of the file was changed.",
            "Try again; upper and lower case matter.",
        ) from error
    try:
        about = About.model_validate_json(line)
    except ValidationError as error:
        raise _damaged("What it says of itself cannot be read.") from error
    if about.format != 1:
        raise FutureDataError(
            f"{path.name} was made by a later XENO.",
            f"Its format is {about.format}; this XENO knows format 1.",
            "Update XENO.",
        )
    return about


def _entry(line: bytes) -> _Entry:
    try:
        return _Entry.model_validate_json(line)
    except ValidationError as error:
        raise _damaged("What it says of a file cannot be read.") from error


def _damaged(why: str) -> DamagedDataError:
    return DamagedDataError(
        "The backup cannot be used; nothing was changed.", why, "Use another backup."
    )
