"""Records from tables: CSV line by line, Parquet batch by batch, in constant memory."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from xeno.data.records import RECORD_BYTES, HeadReader
from xeno.data.sources import Source, unusable
from xeno.errors import InvalidValueError

_BATCH = 256
_GROUP_BYTES = 2**30  # what one Parquet row group may say it unpacks to
_DELIMITERS = (",", ";", "\t", "|")
_CHUNK = 2**16
_NUMBERS = ("weight",)
# What is one text however it looks; everywhere else messages may stand as JSON.
_PLAIN = {
    *("text", "intent", "category", "reply", "title", "source", "group", "label", "system"),
    *("preference", "value", "memory", "topic", "name", "content", "context"),
}


@dataclass(frozen=True)
class TableRow:
    """One row as a record, or why it is none. `line` is the line it begins on, or, in a file
    without lines, its number, from 1. `columns` has also those whose cell is empty."""

    line: int
    record: Mapping[str, Any] | None = None
    broken: str = ""
    columns: tuple[str, ...] = ()


class _LineError(Exception):
    """A line that is no text, or a row that does not end."""


class _Lines:
    """The lines of a CSV file as the csv module wants them, with what the current row took.

    A quote that is never closed would swallow the rest of the file: then the row's first line
    is given up, and reading goes on with the second.
    """

    def __init__(self, reader: HeadReader) -> None:
        self._reader = reader
        self._waiting: deque[bytes] = deque()
        self._taken: list[bytes] = []
        self._bytes = 0
        self.line = 0  # of the row's beginning

    def begin_row(self) -> None:
        self.line += len(self._taken)
        self._taken, self._bytes = [], 0

    def give_up_first_line(self) -> None:
        self._waiting.extendleft(reversed(self._taken[1:]))
        self._taken = self._taken[:1]

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        content = self._next()
        if not content:
            raise StopIteration
        self._taken.append(content)
        self._bytes += len(content)
        if self._bytes > RECORD_BYTES:
            raise _LineError(f"it is longer than {RECORD_BYTES // 2**20} MB")
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _LineError(f"it is not UTF-8 text (byte {error.start + 1})") from error

    def _next(self) -> bytes:
        if self._waiting:
            return self._waiting.popleft()
        content = self._reader.readline(RECORD_BYTES + 1)
        if len(content) > RECORD_BYTES:
            rest = content
            while rest and not rest.endswith(b"\n"):
                rest = self._reader.readline(_CHUNK)
        return content


def csv_rows(reader: HeadReader) -> Iterator[TableRow]:
    """The rows of a CSV file under the names of its first row."""
    if reader.head(3) == b"\xef\xbb\xbf":
        reader.read(3)
    csv.field_size_limit(RECORD_BYTES)
    lines = _Lines(reader)
    delimiter = _delimiter(reader.head(_CHUNK).split(b"\n", 1)[0].decode("utf-8", "replace"))
    names: list[str] | None = None
    parsed = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin_row()
        try:
            cells = next(parsed)
        except StopIteration:
            return
        except (csv.Error, _LineError) as error:
            lines.give_up_first_line()
            parsed = csv.reader(lines, delimiter=delimiter, strict=True)
            reason = "a quote is not closed" if "end of data" in str(error) else str(error)
            if names is None:
                raise unusable("The table", f"Its first line has no names: {reason}.") from error
            yield TableRow(lines.line + 1, broken=reason)
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if names is None:
            names = [cell.strip() for cell in cells]
        elif len(cells) != len(names):
            yield TableRow(lines.line + 1, broken=f"it has {len(cells)} cells and not {len(names)}")
        else:
            record = {n: _cell(n, c) for n, c in zip(names, cells, strict=True) if n and c}
            yield TableRow(lines.line + 1, record, columns=tuple(filter(None, names)))


def _delimiter(header: str) -> str:
    return max(_DELIMITERS, key=header.count)


def _cell(name: str, text: str) -> Any:
    """A cell's value: messages are written as JSON, numbers and truth as text."""
    if name not in _PLAIN and text.startswith("[") and text.endswith("]"):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text
        if value and isinstance(value, list) and all(isinstance(v, dict) for v in value):
            return value
    if name in _NUMBERS:
        try:
            return float(text)
        except ValueError:
            return text
    return text


def parquet_count(source: Source) -> int:
    """How many rows a Parquet file says it has; 0 where it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.ParquetFile(source.raw).metadata.num_rows)
    except (pa.ArrowException, OSError, ValueError):
        return 0


def parquet_rows(file: BinaryIO, name: str) -> Iterator[TableRow]:
    """The rows of a Parquet file.

    Raises:
        InvalidValueError: it is damaged, or has row groups too large to be read in parts.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        table = pq.ParquetFile(file, pre_buffer=False)
        groups = [table.metadata.row_group(i) for i in range(table.metadata.num_row_groups)]
        if any(group.total_byte_size > _GROUP_BYTES for group in groups):
            raise unusable(
                name,
                "It has parts of more than 1 GB, which would not fit in memory.",
                "Write it again with smaller row groups.",
            )
        for batch in table.iter_batches(batch_size=_BATCH, use_threads=False):
            for record in batch.to_pylist():
                number += 1
                cells = {k: v for k, v in record.items() if v is not None}
                yield TableRow(number, cells, columns=tuple(record))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        if isinstance(error, InvalidValueError):
            raise
        raise unusable(
            name, f"It is damaged: {str(error).splitlines()[0]}", "Get it again."
        ) from error
