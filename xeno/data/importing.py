"""Importing a file: what is good comes in, what is not is listed with its line.

What a file is, is found out by itself: how it is packed (`sources`), how it is cut into
records (`records`, `tables`), what a record is (`forms`). One transaction, constant memory,
and an import can be looked at before it happens and undone after.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xeno.data import forms
from xeno.data.mapping import Mappings, checked, guessed, mapped
from xeno.data.records import records
from xeno.data.rows import PreferenceRow, preference_row
from xeno.data.sources import Source, opened, unusable
from xeno.data.tables import csv_rows, parquet_count, parquet_rows
from xeno.data.writing import Kind, Storable, Writer, kind_of, name_of, storable
from xeno.errors import InvalidValueError, XenoError
from xeno.store.database import Connection, Database
from xeno.store.pairs import Pair
from xeno.store.profile import Profile

# A file of another kind has as many bad lines as lines; the first ones tell why.
LISTED_LINES = 1000
PREVIEW_ROWS = 20
_PREVIEW_RECORDS = 500
_PROGRESS_EVERY = 100
_PAIRS: frozenset[Kind] = frozenset({"pair"})

Progress = Callable[[int, int], None]


class ImportStoppedError(XenoError):
    """The user stopped the import; nothing was imported."""


@dataclass(frozen=True)
class RejectedLine:
    """A record that was not imported: its line (from 1) and why."""

    line: int
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """What became of a file.

    `imported` things were stored, `counts` says how many of each kind: pair, instruction,
    unpaired, chat, intent, conversation, preference, memory. `rejected` lists the first
    thousand of `rejected_count` records. `longer_chosen` is the share (0 to 1, equal lengths
    one half) of the imported pairs whose chosen reply is the longer one: what "pick the
    longer" would score on them. `groups` counts their groups. `import_id` names the import
    for its undoing, None where nothing was stored. `forms` counts the records of each form,
    `mapping` says which column was taken for which field.
    """

    imported: int
    duplicates: int
    rejected: tuple[RejectedLine, ...]
    rejected_count: int
    longer_chosen: float
    groups: int
    import_id: int | None = None
    format: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    forms: Mapping[str, int] = field(default_factory=dict)
    mapping: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PreviewRow:
    """One thing as it would be stored; `known`: it is stored already."""

    line: int
    kind: str
    stored: Storable
    known: bool


@dataclass(frozen=True)
class ImportPreview:
    """What an import would do, from the first records of the file.

    `records` were looked at; `complete` says that these are all. `columns` are the names in
    the first record, `mapping` what they were taken for, `guessed` that nobody said so.
    """

    file: str
    format: str
    forms: Mapping[str, int]
    columns: tuple[str, ...]
    mapping: Mapping[str, str]
    guessed: bool
    rows: tuple[PreviewRow, ...]
    rejected: tuple[RejectedLine, ...]
    rejected_count: int
    records: int
    complete: bool


def import_preferences(
    profile: Profile,
    path: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
) -> ImportReport:
    """`import_file` for preference pairs: records that are something else are rejected."""
    return import_file(profile, path, kinds=_PAIRS, progress=progress)


def import_file(
    profile: Profile,
    path: str | os.PathLike[str],
    *,
    mapping: Mapping[str, str] | None = None,
    kinds: Collection[Kind] | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> ImportReport:
    """Store what the file `path` holds. One transaction and constant memory.

    What is already stored counts as a duplicate. Pairs with the same `group` are held out
    together; without one, those with the same prompt.

    Args:
        mapping: field -> column, for files with names of their own; remembered for files with
            the same columns.
        kinds: what may come in; everything if None.
        progress: called now and then with (bytes read, bytes of the file). What it raises ends
            the import, and nothing is imported.
        stop: asked as often; True ends the import.

    Raises:
        InvalidValueError: there is no such file, it is empty, or it is of no kind that is read.
        ImportStoppedError: `stop` said so; nothing is imported.
        StorageFullError: the disk is full; nothing is imported.
    """
    path = Path(path)
    with opened(path) as source, profile.db.transaction() as connection:
        tally, writer = _Tally(), Writer(profile, path.name)
        reader = _Reader(profile, source, mapping, kinds)
        last_before = _last_pair(profile.db)
        import_id = _begin(connection, path.name, source.description)
        for number, (line, found) in enumerate(reader.read()):
            if number % _PROGRESS_EVERY == 0:
                if stop is not None and stop():
                    raise ImportStoppedError("The import was stopped.", "", "Nothing is imported.")
                if progress is not None:
                    progress(reader.position, source.size)
            if isinstance(found, str):
                tally.reject(line, found)
                continue
            row_id = writer.add(found)
            tally.count(found, row_id is not None)
            if row_id is not None:
                connection.execute(
                    "INSERT INTO import_rows (import_id, kind, row_id) VALUES (?, ?, ?)",
                    (import_id, kind_of(found), row_id),
                )
        if not (tally.imported or tally.duplicates or tally.rejected_count):
            raise unusable(path, "It holds no records.")
        if mapping:
            Mappings(profile.db).remember(reader.columns, mapping)
        report = tally.report(
            _groups(profile.db, last_before), import_id, source.description, reader
        )
        _end(connection, import_id, report)
        if progress is not None:
            progress(source.size, source.size)
    return report


def preview(
    profile: Profile,
    path: str | os.PathLike[str],
    *,
    mapping: Mapping[str, str] | None = None,
    rows: int = PREVIEW_ROWS,
) -> ImportPreview:
    """What `import_file` would do with the beginning of the file. Nothing is stored.

    Raises:
        InvalidValueError: as `import_file`.
    """
    path = Path(path)
    shown: list[PreviewRow] = []
    with opened(path) as source:
        tally, writer = _Tally(), Writer(profile, path.name)
        reader = _Reader(profile, source, mapping, None)
        complete = True
        # Closed here and not when it is collected: it reads from what is closed next.
        with contextlib.closing(reader.read()) as things:
            for line, found in things:
                if isinstance(found, str):
                    tally.reject(line, found)
                elif len(shown) < rows:
                    shown.append(PreviewRow(line, name_of(found), found, writer.known(found)))
                if reader.records >= _PREVIEW_RECORDS:
                    complete = False
                    break
        if not reader.records:
            raise unusable(path, "It holds no records.")
        return ImportPreview(
            file=path.name,
            format=source.description,
            forms=dict(reader.forms),
            columns=reader.columns,
            mapping=dict(reader.mapping),
            guessed=reader.guessed,
            rows=tuple(shown),
            rejected=tuple(tally.rejected),
            rejected_count=tally.rejected_count,
            records=reader.records,
            complete=complete,
        )


# Reading ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    line: int
    value: object = None
    broken: str = ""
    section: str = ""
    columns: tuple[str, ...] = ()


class _Reader:
    """The things in a file, one after the other, or the reasons why there are none."""

    def __init__(
        self,
        profile: Profile,
        source: Source,
        mapping: Mapping[str, str] | None,
        kinds: Collection[Kind] | None,
    ) -> None:
        self._profile = profile
        self._source = source
        self._kinds = kinds
        self._said = checked(mapping or {})
        self._rows_expected = parquet_count(source) if source.format == "parquet" else 0
        self.columns: tuple[str, ...] = ()
        self.mapping: Mapping[str, str] = MappingProxyType({})
        self.guessed = False
        self.records = 0
        self.forms: Counter[str] = Counter()

    @property
    def position(self) -> int:
        """Bytes read so far, of the source's size."""
        if self._rows_expected:  # a Parquet file is not read from its beginning to its end
            done = min(self.records, self._rows_expected)
            return self._source.size * done // self._rows_expected
        return self._source.position

    def read(self) -> Generator[tuple[int, Storable | str], None, None]:
        """(line, thing) or (line, reason)."""
        for row in _rows(self._source):
            self.records += 1
            if row.broken:
                yield row.line, row.broken
                continue
            if isinstance(row.value, dict) and not self.columns:
                self._learn_columns(row.value, row.columns or tuple(map(str, row.value)))
            try:
                things = self._things(row)
            except InvalidValueError as error:
                yield row.line, error.what.rstrip(".")
                continue
            for thing in things:
                yield row.line, thing

    def _things(self, row: _Row) -> list[Storable]:
        value = row.value
        if isinstance(value, dict) and self.mapping:
            value = mapped(value, self.mapping)
        if self._kinds is not None and set(self._kinds) == _PAIRS:
            # Its reason says best what a record lacks to be a preference.
            items: list[forms.Item] = []
            if forms.known(value):
                name, items = forms.read(value, row.section)
            if not items or not all(isinstance(i, PreferenceRow) for i in items):
                name, items = "preference", [preference_row(value)]
        else:
            name, items = forms.read(value, row.section)
        self.forms[name] += 1
        things = [storable(self._profile, item, self._source.name, row.line) for item in items]
        if self._kinds is not None and any(kind_of(t) not in self._kinds for t in things):
            raise InvalidValueError(f"it is of another kind ({name})")
        return things

    def _learn_columns(self, record: Mapping[str, Any], columns: tuple[str, ...]) -> None:
        """What the names in the first record stand for."""
        self.columns = columns
        if self._said:
            missing = sorted(set(self._said.values()) - set(columns))
            # In JSON a record may leave a field out that others have.
            if missing and (self._source.format != "json" or len(missing) == len(self._said)):
                raise unusable(
                    self._source.name,
                    f"It has no column {', '.join(missing)}; it has {', '.join(columns)}.",
                    "Name its columns in the mapping.",
                )
            self.mapping = self._said
            return
        self.mapping = Mappings(self._profile.db).remembered(columns)
        if not self.mapping and not forms.known(record):
            self.mapping = guessed(columns)
            self.guessed = bool(self.mapping)


def _rows(source: Source) -> Iterator[_Row]:
    if source.format == "parquet":
        for cells in parquet_rows(source.raw, source.name):
            yield _Row(cells.line, cells.record, cells.broken, columns=cells.columns)
    elif source.format == "csv":
        for cells in csv_rows(source.content):
            yield _Row(cells.line, cells.record, cells.broken, columns=cells.columns)
    else:
        for record in records(source.content):
            if record.broken:
                yield _Row(record.line, broken=record.broken)
                continue
            try:
                value = _decoded(record.content)
            except InvalidValueError as error:
                yield _Row(record.line, broken=error.what.rstrip("."))
                continue
            held = forms.members(value)
            if held is None:
                yield _Row(record.line, value, section=record.section)
            else:  # a whole file on one line
                for section, each in held:
                    yield _Row(record.line, each, section=section)


def _decoded(content: bytes) -> object:
    try:
        return json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidValueError(f"it is not UTF-8 text (byte {error.start + 1})") from error
    except RecursionError as error:
        raise InvalidValueError("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise InvalidValueError(f"it is not JSON ({error.msg}, column {error.pos + 1})") from error
    except ValueError as error:  # a number with more digits than Python converts
        raise InvalidValueError("it holds a number that is too long") from error


# Counting and keeping ---------------------------------------------------------------------


class _Tally:
    def __init__(self) -> None:
        self.duplicates = self.rejected_count = 0
        self.longer = 0.0
        self.rejected: list[RejectedLine] = []
        self.counts: Counter[str] = Counter()

    @property
    def imported(self) -> int:
        return self.counts.total()

    def reject(self, line: int, reason: str) -> None:
        self.rejected_count += 1
        if len(self.rejected) < LISTED_LINES:
            self.rejected.append(RejectedLine(line, reason))

    def count(self, thing: Storable, added: bool) -> None:
        if not added:
            self.duplicates += 1
            return
        self.counts[name_of(thing)] += 1
        if isinstance(thing, Pair):
            chosen, rejected = len(thing.chosen), len(thing.rejected)
            self.longer += 1.0 if chosen > rejected else 0.5 if chosen == rejected else 0.0

    def report(self, groups: int, import_id: int, format_: str, reader: _Reader) -> ImportReport:
        pairs = self.counts["pair"]
        return ImportReport(
            imported=self.imported,
            duplicates=self.duplicates,
            rejected=tuple(self.rejected),
            rejected_count=self.rejected_count,
            longer_chosen=self.longer / pairs if pairs else 0.0,
            groups=groups,
            import_id=import_id if self.imported else None,
            format=format_,
            counts={name: count for name, count in self.counts.items() if count},
            forms=dict(reader.forms),
            mapping=dict(reader.mapping),
        )


def _begin(connection: Connection, file: str, format_: str) -> int:
    cursor = connection.execute(
        "INSERT INTO imports (file, format, created, counts, duplicates, rejected) "
        "VALUES (?, ?, ?, '{}', 0, 0)",
        (file, format_, time.time()),
    )
    return int(cursor.lastrowid or 0)


def _end(connection: Connection, import_id: int, report: ImportReport) -> None:
    if report.import_id is None:  # nothing to undo
        connection.execute("DELETE FROM imports WHERE id = ?", (import_id,))
        return
    connection.execute(
        "UPDATE imports SET created = ?, counts = ?, duplicates = ?, rejected = ?, mapping = ? "
        "WHERE id = ?",
        (
            time.time(),
            json.dumps(dict(report.counts)),
            report.duplicates,
            report.rejected_count,
            json.dumps(dict(report.mapping)),
            import_id,
        ),
    )


def _last_pair(db: Database) -> int:
    row = db.one("SELECT coalesce(max(rowid), 0) FROM pairs")
    return int(row[0]) if row else 0


def _groups(db: Database, last_before: int) -> int:
    """How many groups the pairs after `last_before` belong to. In the order of the index they
    need not all be held in memory."""
    row = db.one(
        "SELECT count(*) FROM (SELECT group_id FROM pairs INDEXED BY pairs_by_group "
        "WHERE rowid > ? GROUP BY group_id)",
        (last_before,),
    )
    return int(row[0]) if row else 0
