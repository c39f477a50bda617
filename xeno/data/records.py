"""Cutting a file of JSON records into single records, in constant memory.

Two layouts: one record per line (JSONL), and one JSON array of records. Either way a broken or
an over-long record costs that record only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

# A conversation of a million words fits; a 50 MB line is no preference pair.
RECORD_BYTES = 8 * 2**20

_CHUNK = 2**16
_BOM = b"\xef\xbb\xbf"
_STRUCTURE = re.compile(rb'["{}\[\],\n]')
_STRING_END = re.compile(rb'["\\\n]')


@dataclass(frozen=True)
class Record:
    """The bytes of one record, or the reason why there are none. Lines count from 1."""

    line: int
    content: bytes = b""
    broken: str = ""


def records(file: BinaryIO) -> Iterator[Record]:
    """The records of `file`, which is at its beginning; empty lines are none."""
    start = file.read(len(_BOM))
    if start != _BOM:
        file.seek(0)
    position = file.tell()
    first = file.read(1)
    lines_before = 0
    while first and first in b" \t\r\n":
        lines_before += first == b"\n"
        first = file.read(1)
    if first == b"[":
        yield from _array(file, 1 + lines_before)
    else:
        file.seek(position)
        yield from _lines(file)


def _lines(file: BinaryIO) -> Iterator[Record]:
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

    def __init__(self, line: int) -> None:
        self.line = line
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
            yield Record(self.line, broken=_too_long())
        elif not self.blank:
            yield Record(self.line, bytes(self.content))


def _array(file: BinaryIO, line: int) -> Iterator[Record]:
    """The elements of a JSON array whose opening bracket has been read."""
    element, depth, in_string, escaped = _Element(line), 1, False, False
    while chunk := file.read(_CHUNK):
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
                element, place = _Element(line), at + 1
                if mark == b"]":
                    yield from _after_array(chunk[place:], file, line)
                    return
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


def _after_array(rest: bytes, file: BinaryIO, line: int) -> Iterator[Record]:
    while rest:
        if rest.strip():
            yield Record(line, broken="there is text after the end of the list of records")
            return
        rest = file.read(_CHUNK)


def _too_long() -> str:
    return f"it is longer than {RECORD_BYTES // 2**20} MB"
