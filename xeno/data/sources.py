"""Opening a file of data: what it is packed in, what it is written in, never more than a piece.

Nothing here trusts the name: the first bytes decide. Packed files are unpacked as they are
read, so that memory stays constant however far they would expand, and one that expands
beyond all measure is stopped.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal, cast

from xeno.data.records import HeadReader
from xeno.errors import InvalidValueError

Format = Literal["json", "csv", "parquet"]

# Text packs ten times smaller, repetitive text fifty times; gzip's limit is a thousand.
UNPACKED_RATIO = 250
UNPACKED_ALLOWED = 256 * 2**20

_TABLES = (".csv", ".tsv")
_READABLE = (".json", ".jsonl", ".ndjson", *_TABLES)
_HEAD = 2**16
_TODO = "Choose a file of JSON, JSONL, CSV or Parquet, also packed with gzip, Zstandard or ZIP."


@dataclass(frozen=True)
class Source:
    """An open file. `content` gives its unpacked bytes; a Parquet file is read from `raw`.

    `packing` is "", "gzip", "zstd" or "zip". `size` is the size of the file as it lies there.
    """

    name: str
    format: Format
    packing: str
    size: int
    raw: BinaryIO
    content: HeadReader

    @property
    def position(self) -> int:
        """How many of the file's `size` bytes have been read."""
        return min(self.raw.tell(), self.size)

    @property
    def description(self) -> str:
        """The format as the user reads it, for example "JSON, gzip"."""
        shown = {"json": "JSON", "csv": "CSV", "parquet": "Parquet"}[self.format]
        return f"{shown}, {self.packing}" if self.packing else shown


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Source]:
    """The file `path`, recognised.

    Raises:
        InvalidValueError: there is no such file, it is empty, or it is no kind of file that is
            read. Raised while reading too, where a packed file is damaged or a bomb.
    """
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(_raw(path))
        size = os.fstat(raw.fileno()).st_size
        start = raw.read(4)
        raw.seek(0)
        if start == b"PAR1":
            yield Source(path.name, "parquet", "", size, raw, HeadReader(io.BytesIO()))
            return
        packing, name, content = "", path.name, raw
        if start.startswith(b"\x1f\x8b"):
            packing, content = "gzip", cast("BinaryIO", gzip.GzipFile(fileobj=raw))
        elif start == b"\x28\xb5\x2f\xfd":
            packing, content = "zstd", _zstandard(raw)
        elif start.startswith(b"PK"):
            packing = "zip"
            name, content = _member(path, raw, stack)
        if packing:
            packed = cast("BinaryIO", io.BufferedReader(_Unpacked(path, content, size), _HEAD))
            stack.callback(packed.close)
            content = packed
        reader = HeadReader(content)
        yield Source(path.name, _format(path, name, reader.head(_HEAD)), packing, size, raw, reader)


def unusable(path: Path | str, why: str, todo: str = _TODO) -> InvalidValueError:
    """The error for a file that cannot be imported at all."""
    name = path.name or str(path) if isinstance(path, Path) else path
    return InvalidValueError(f"{name} cannot be imported.", why, todo)


def _raw(path: Path) -> BinaryIO:
    if "\0" in str(path):
        raise unusable(path, "No file can have this name.")
    try:
        if path.is_dir():
            raise unusable(path, "It is a folder.", "Choose a file in it.")
        if not path.exists():
            raise unusable(path, "There is no file of this name.")
        if not path.is_file():  # a pipe or a device would never end
            raise unusable(path, "It is not a regular file.")
        return path.open("rb")
    except OSError as error:
        raise unusable(
            path, f"The system says: {error.strerror}.", "Check its permissions."
        ) from error


def _format(path: Path, name: str, head: bytes) -> Format:
    """What unpacked bytes are written in, from their first 64 KB and, where they leave it
    open, from the name."""
    if not head:
        raise unusable(path, "The file is empty.")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise unusable(path, "Its text is UTF-16.", "Save it as UTF-8 and import that.")
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1")):
        raise unusable(path, "It is compressed twice.", "Unpack it first.")
    suffixes = PurePosixPath(name.lower()).suffixes
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if any(suffix in _TABLES for suffix in suffixes):
        return "csv"
    if text.startswith((b"{", b"[")) or any(suffix in _READABLE for suffix in suffixes):
        return "json"
    first = text.split(b"\n", 1)[0]
    return "csv" if any(mark in first for mark in (b",", b";", b"\t")) else "json"


def _zstandard(raw: BinaryIO) -> BinaryIO:
    import pyarrow as pa

    return cast("BinaryIO", pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"))


def _member(path: Path, raw: BinaryIO, stack: contextlib.ExitStack) -> tuple[str, BinaryIO]:
    """The one file of a ZIP that can be meant: conversations.json of an exported account, or
    the only readable one."""
    try:
        archive = stack.enter_context(zipfile.ZipFile(raw))
        members = [
            info
            for info in archive.infolist()
            if not info.is_dir() and PurePosixPath(info.filename.lower()).suffix in _READABLE
        ]
        named = [i for i in members if PurePosixPath(i.filename).name == "conversations.json"]
        chosen = named or members
        if len(chosen) != 1:
            shown = ", ".join(info.filename for info in chosen[:5]) or "none"
            raise unusable(
                path,
                f"It is compressed and holds {len(chosen)} files that could be meant ({shown}).",
                "Unpack it and import the file you want.",
            )
        return chosen[0].filename, cast("BinaryIO", stack.enter_context(archive.open(chosen[0])))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        if isinstance(error, InvalidValueError):
            raise
        raise unusable(
            path, f"It is compressed and cannot be unpacked ({error}).", "Unpack it first."
        ) from error


class _Unpacked(io.RawIOBase):
    """The unpacked bytes of `content`, counted: damage and bombs become errors that say so."""

    def __init__(self, path: Path, content: BinaryIO, packed_size: int) -> None:
        super().__init__()
        self._path = path
        self._content = content
        self._left = max(UNPACKED_ALLOWED, UNPACKED_RATIO * packed_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._content.read(len(buffer))
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
            raise unusable(
                self._path, f"It is damaged and cannot be unpacked ({error}).", "Get it again."
            ) from error
        self._left -= len(piece)
        if self._left < 0:
            raise unusable(
                self._path,
                f"It unpacks to more than {UNPACKED_RATIO} times its size, which text never does.",
                "If it is yours and right, unpack it first and import that.",
            )
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._content.close()
        super().close()
