"""Cutting a file of JSON records into single records, in constant memory.

Four layouts: one record per line (JSONL), one JSON array of records, an object whose members
are such arrays (splits, or a list with a header), and one record alone. Either way a broken or
an over-long record costs that record only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO

# A conversation of a million words fits; a 50 MB line is no preference pair.
RECORD_BYTES = 8 * 2**20

_CHUNK = 2**16
_BOM = b"\xef\xbb\xbf"
_STRUCTURE = re.compile(rb'["{}\[\],\n]')
_STRING_END = re.compile(rb'["\\\n]')


# An object that begins with these members is a record itself, not a container of records.
_RECORD_FIELDS = {
    *(b"prompt", b"chosen", b"rejected", b"completion", b"messages", b"conversation", b"history"),
    *(b"conversations", b"chat_messages"),
}
_NEXT_MEMBER = re.compile(
    rb'\s*,(?:\s*"[^"\\]{0,80}"\s*:\s*(?:"[^"\\]{0,400}"|[-+.\w]{1,40})\s*,){0,20}'
    rb'\s*"([^"\\]{0,80})"\s*:\s*\['
)
_CONTAINER = re.compile(
    rb'\s*\{(?:\s*"[^"\\]{0,80}"\s*:\s*(?:"[^"\\]{0,400}"|[-+.\w]{1,40})\s*,){0,20}'
    rb'\s*"([^"\\]{0,80})"\s*:\s*\['
)


@dataclass(frozen=True)
class Record:
    """The bytes of one record, or the reason why there are none. Lines count from 1.

    `section` is the member of the file's object that held it, if it is such a file.
    """

    line: int
    content: bytes = b""
    broken: str = ""
    section: str = ""


class HeadReader:
    """Reads a stream that cannot go back, and can look at its beginning first."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ahead = b""
        self._at = 0  # what of `_ahead` has been read

    def head(self, size: int) -> bytes:
        """Up to `size` bytes that are still to be read."""
        while len(self._ahead) - self._at < size:
            piece = self._file.read(size - len(self._ahead) + self._at)
            if not piece:
                break
            self.put_back(b"", piece)
        return self._ahead[self._at : self._at + size]

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; nothing at the end."""
        piece = self._ahead[self._at : self._at + size]
        self._at += len(piece)
        if piece:
            return piece
        return self._file.read(size)

    def readline(self, size: int) -> bytes:
        """The next line with its end, or its first `size` bytes."""
        if self._at == len(self._ahead):
            return self._file.readline(size)
        end = self._ahead.find(b"\n", self._at, self._at + size) + 1
        piece = self.read(end - self._at if end else size)
        if end or len(piece) == size:
            return piece
        return piece + self._file.readline(size - len(piece))

    def put_back(self, before: bytes, after: bytes = b"") -> None:
        """Read `before` again first, and `after` when what is held ahead has been read."""
        self._ahead, self._at = before + self._ahead[self._at :] + after, 0


def records(file: BinaryIO | HeadReader) -> Iterator[Record]:
    """The records of `file`, which is at its beginning; empty lines are none."""
    reader = file if isinstance(file, HeadReader) else HeadReader(file)
    if reader.head(len(_BOM)) == _BOM:
        reader.read(len(_BOM))
    head = reader.head(_CHUNK)
    blank = len(head) - len(head.lstrip(b" \t\r\n"))
    if head[blank : blank + 1] == b"[":
        reader.read(blank + 1)
        yield from _array(reader, 1 + head.count(b"\n", 0, blank))
    elif head[blank : blank + 1] == b"{" and not _is_json(_first_line(reader)):
        yield from _spread_object(reader, head)
    else:
        yield from _lines(reader)


def _first_line(reader: HeadReader) -> bytes:
    """The first line that is not blank, as far as a record may go."""
    head = reader.head(_CHUNK).lstrip(b" \t\r\n")
    if b"\n" not in head:
        head = reader.head(RECORD_BYTES).lstrip(b" \t\r\n")
    return head.split(b"\n", 1)[0]


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _spread_object(reader: HeadReader, head: bytes) -> Iterator[Record]:
    """A file that begins with an object which does not end on its first line."""
    container = _CONTAINER.match(head)
    if container and container[1] not in _RECORD_FIELDS:
        yield from _members(reader, container)
        return
    line = 1 + head.count(b"\n", 0, len(head) - len(head.lstrip(b" \t\r\n")))
    first, _, after = head.lstrip(b" \t\r\n").partition(b"\n")
    second = after.lstrip().split(b"\n", 1)[0]
    goes_on = first.rstrip().endswith((b"{", b"[", b","))
    if goes_on and not (second.startswith(b"{") and _is_json(second)):
        # One record, written over several lines.
        content = reader.head(RECORD_BYTES + 1)
        if len(content) > RECORD_BYTES:
            yield Record(line, broken=_too_long())
        else:
            yield Record(line, content)
        return
    yield from _lines(reader)


def _members(reader: HeadReader, start: re.Match[bytes]) -> Iterator[Record]:
    """The elements of the arrays that are members of one object; other members are passed."""
    skipped, section = start.end(), start[1]
    line = 1 + reader.head(skipped).count(b"\n")
    reader.read(skipped)
    while True:
        rest = yield from _elements(reader, line, section.decode("utf-8", "replace"))
        if rest is None:
            return
        line, pending = rest
        reader.put_back(pending)
        head = reader.head(_CHUNK)
        following = _NEXT_MEMBER.match(head)
        if following is None:
            if head.strip(b" \t\r\n}"):
                yield Record(line, broken="what follows is no list of records")
            return
        line += head.count(b"\n", 0, following.end())
        section = following[1]
        reader.read(following.end())


def _lines(file: HeadReader) -> Iterator[Record]:
    number = 0
    while content := file.readline(RECORD_BYTES + 1):
        number += 1
        if len(content) > RECORD_BYTES and not content.endswith(b"\n"):
            while content and not content.endswith(b"\n"):
                content = file.readline(_CHUNK)
            yield Record(number, broken=_too_long())
        elif content.strip():
            yield Record(number, content)


class _Element:
    """One element of the array while it is read."""

    def __init__(self, line: int, section: str) -> None:
        self.line = line
        self.section = section
        self.content = bytearray()
        self.blank = True
        self.too_long = False

    def add(self, piece: bytes) -> None:
        self.blank = self.blank and not piece.strip()
        if len(self.content) + len(piece) > RECORD_BYTES:
            self.too_long = True
            self.content.clear()
        if not self.too_long:
            self.content += piece

    def next_line(self, line: int) -> None:
        """A record begins on the line of its first character, not where its comma was."""
        if self.blank:
            self.line = line

    def finished(self) -> Iterator[Record]:
        if self.too_long:
            yield Record(self.line, broken=_too_long(), section=self.section)
        elif not self.blank:
            yield Record(self.line, bytes(self.content), section=self.section)


def _array(reader: HeadReader, line: int) -> Iterator[Record]:
    """The elements of a JSON array whose opening bracket has been read, and nothing after."""
    rest = yield from _elements(reader, line, "")
    if rest is None:
        return
    line, after = rest
    while after:
        if after.strip():
            yield Record(line, broken="there is text after the end of the list of records")
            return
        after = reader.read(_CHUNK)


def _elements(
    reader: HeadReader, line: int, section: str
) -> Generator[Record, None, tuple[int, bytes] | None]:
    """The elements of an array; returns its last line and the bytes read beyond it, or None
    if the file ends before."""
    element, depth, in_string, escaped = _Element(line, section), 1, False, False
    while chunk := reader.read(_CHUNK):
        place = 0
        if escaped:  # the backslash was the last byte of the chunk before
            element.add(chunk[:1])
            place, escaped = 1, False
        while place < len(chunk):
            found = (_STRING_END if in_string else _STRUCTURE).search(chunk, place)
            if found is None:
                element.add(chunk[place:])
                break
            mark, at = found.group(), found.start()
            if depth == 1 and mark in (b",", b"]") and not in_string:
                element.add(chunk[place:at])
                yield from element.finished()
                element, place = _Element(line, section), at + 1
                if mark == b"]":
                    return line, chunk[place:]
                continue
            if mark == b"\n":
                element.add(chunk[place : at + 1])
                line += 1
                element.next_line(line)
            elif mark == b"\\":
                element.add(chunk[place : at + 2])
                escaped = at + 1 == len(chunk)
                at += 1
            else:
                element.add(chunk[place : at + 1])
                if mark == b'"':
                    in_string = not in_string
                elif mark in b"{[":
                    depth += 1
                elif mark in b"}]":
                    depth = max(1, depth - 1)
            place = at + 1
    yield Record(element.line, broken="the file ends before the list of records does")
    return None


def _too_long() -> str:
    return f"it is longer than {RECORD_BYTES // 2**20} MB"
