"""Importing a file of preferences: what is good comes in, what is not is listed with its line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from xeno.data.records import Record, records
from xeno.data.rows import preference_row
from xeno.errors import InvalidValueError
from xeno.feedback.quality import assess
from xeno.store.database import Database
from xeno.store.pairs import Pair, Pairs, new_pair
from xeno.store.profile import Profile

# A file of another kind has as many bad lines as lines; the first ones tell why.
LISTED_LINES = 1000
_PROGRESS_EVERY = 100


@dataclass(frozen=True)
class RejectedLine:
    """A record that was not imported: its line (from 1) and why."""

    line: int
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """What became of a file.

    `rejected` lists the first thousand of `rejected_count` records. `longer_chosen` is the share
    (0 to 1, equal lengths one half) of the imported pairs whose chosen reply is the longer one:
    what "pick the longer" would score on them. `groups` counts their groups.
    """

    imported: int
    duplicates: int
    rejected: tuple[RejectedLine, ...]
    rejected_count: int
    longer_chosen: float
    groups: int


class _Tally:
    def __init__(self) -> None:
        self.imported = self.duplicates = self.rejected_count = 0
        self.longer = 0.0
        self.rejected: list[RejectedLine] = []

    def reject(self, line: int, reason: str) -> None:
        self.rejected_count += 1
        if len(self.rejected) < LISTED_LINES:
            self.rejected.append(RejectedLine(line, reason))

    def count(self, pair: Pair, added: bool) -> None:
        if not added:
            self.duplicates += 1
            return
        self.imported += 1
        chosen, rejected = len(pair.chosen), len(pair.rejected)
        self.longer += 1.0 if chosen > rejected else 0.5 if chosen == rejected else 0.0


def import_preferences(
    profile: Profile,
    path: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Store the preference pairs of the file `path`; see `xeno.data.rows` for the forms.

    One transaction and constant memory. A pair that is already stored counts as a duplicate.
    Records with the same `group` are held out together; without one, those with the same prompt.

    Args:
        progress: called now and then with (bytes read, bytes of the file). What it raises ends
            the import, and nothing is imported.

    Raises:
        InvalidValueError: there is no such file, it is empty, or it is no text file in UTF-8.
        StorageFullError: the disk is full; nothing is imported.
    """
    path = Path(path)
    with _opened(path) as file, profile.db.transaction():
        size, tally, pairs = os.fstat(file.fileno()).st_size, _Tally(), Pairs(profile.db)
        last_before = _last_row(profile.db)
        for number, record in enumerate(records(file)):
            if progress and number % _PROGRESS_EVERY == 0:
                progress(min(file.tell(), size), size)
            try:
                pair = _pair(profile.name, path.name, record)
            except InvalidValueError as error:
                tally.reject(record.line, error.what.rstrip("."))
            else:
                tally.count(pair, pairs.add(pair))
        if not (tally.imported or tally.duplicates or tally.rejected_count):
            raise _unusable(path, "It holds no records.", "Choose a file of preferences.")
        row = profile.db.one(
            "SELECT count(DISTINCT group_id) FROM pairs WHERE rowid > ?", (last_before,)
        )
        report = ImportReport(
            imported=tally.imported,
            duplicates=tally.duplicates,
            rejected=tuple(tally.rejected),
            rejected_count=tally.rejected_count,
            longer_chosen=tally.longer / tally.imported if tally.imported else 0.0,
            groups=int(row[0]) if row else 0,
        )
        if progress:
            progress(size, size)
    return report


def _last_row(db: Database) -> int:
    row = db.one("SELECT coalesce(max(rowid), 0) FROM pairs")
    return int(row[0]) if row else 0


def _pair(user_id: str, file_name: str, record: Record) -> Pair:
    if record.broken:
        raise InvalidValueError(record.broken)
    found = preference_row(_decoded(record.content))
    quality = assess(found.prompt, found.chosen, found.rejected, "import")
    return new_pair(
        user_id,
        found.prompt,
        found.chosen,
        found.rejected,
        feedback_type="import",
        confidence=quality.confidence,
        quality=quality.score,
        quality_notes=quality.notes,
        group_id=found.group,
        weight=found.weight,
        metadata={"file": file_name, "line": record.line, "fields": dict(found.fields)},
    )


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


def _opened(path: Path) -> BinaryIO:
    """The file, if it can hold preferences at all."""
    try:
        if not path.is_file():
            why = "It is a folder." if path.is_dir() else "There is no file of this name."
            raise _unusable(path, why, "Choose a file of preferences (JSONL or JSON).")
        file = path.open("rb")
    except OSError as error:
        raise _unusable(
            path, f"The system says: {error.strerror}.", "Check its permissions."
        ) from error
    start = file.read(2)
    reason = ""
    if not start:
        reason = "The file is empty."
    elif start in (b"\xff\xfe", b"\xfe\xff"):
        reason = "Its text is UTF-16."
    elif start == b"\x1f\x8b" or start == b"PK":
        reason = "It is compressed."
    if reason:
        file.close()
        raise _unusable(path, reason, "Choose a file of preferences in UTF-8 (JSONL or JSON).")
    file.seek(0)
    return file


def _unusable(path: Path, why: str, todo: str) -> InvalidValueError:
    return InvalidValueError(f"{path.name or path} cannot be imported.", why, todo)
