"""Exporting what a profile holds, in the forms that `importing` reads and other tools know.

Pairs are written as conversational preferences (prompt, chosen, rejected as lists of
messages), rated replies and instructions as prompt and completion, chats and conversations as
messages. The end of the name says how: .jsonl, .json, .csv or .parquet, the first three also
with .gz or .zst. Rows are read and written in pieces, and the file appears when it is whole.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, cast

from xeno.errors import InvalidValueError
from xeno.store import files
from xeno.store.database import Database, Row
from xeno.store.profile import Profile

Rows = Iterator[dict[str, Any]]

FORMATS = ("jsonl", "json", "csv", "parquet")
_PACKINGS = (".gz", ".zst")
_PIECE = 500
_MESSAGES = ("prompt", "chosen", "rejected", "completion", "messages")


@dataclass(frozen=True)
class ExportReport:
    """What was written: `rows` records in the file at `path`, of `size` bytes."""

    what: str
    path: Path
    rows: int
    size: int


def export(
    profile: Profile,
    what: str,
    path: str | os.PathLike[str],
    *,
    progress: Callable[[int], None] | None = None,
) -> ExportReport:
    """Write everything of the kind `what` (one of `KINDS`) to the file `path`.

    The file is readable by its owner only: it is not encrypted, and holds what was said.

    Args:
        progress: called now and then with the number of rows written. What it raises ends the
            export, and `path` is as it was.

    Raises:
        InvalidValueError: there is no such kind, or the name's end names no format.
        StorageFullError: the file cannot be written; `path` is as it was.
    """
    path = Path(path)
    if what not in KINDS:
        raise InvalidValueError(
            f"There is nothing called {what!r} to export.",
            f"What can be exported is {', '.join(KINDS)}.",
            "Name one of these.",
        )
    format_, packing = _format(path)
    rows = _counted(KINDS[what](profile.db), progress)
    count = _write(path, lambda file: _FORMATS[format_](file, rows, what), packing)
    return ExportReport(what, path, count, path.stat().st_size)


def export_all(
    profile: Profile, folder: str | os.PathLike[str], ending: str = "jsonl"
) -> list[ExportReport]:
    """Write every kind that there is any of into `folder`, one file each, for example
    `pairs.jsonl`. Importing these files into an empty profile brings everything back."""
    folder = files.private_folder(Path(folder))
    reports = []
    for what, rows in KINDS.items():
        if next(rows(profile.db), None) is not None:
            reports.append(export(profile, what, folder / f"{what}.{ending.lstrip('.')}"))
    return reports


# What there is ----------------------------------------------------------------------------


def _pairs(db: Database) -> Rows:
    for row in _paged(db, "SELECT rowid AS place, * FROM pairs WHERE rowid > ?"):
        yield {
            "prompt": json.loads(row["prompt"]),
            "chosen": _reply(row["chosen"]),
            "rejected": _reply(row["rejected"]),
            "group": row["group_id"],
            "weight": row["weight"],
            "active": bool(row["active"]),
            "feedback_type": row["feedback_type"],
            "confidence": row["confidence"],
            "quality": row["quality"],
            "created": row["created"],
        }


def _examples(kind: str) -> Callable[[Database], Rows]:
    def rows(db: Database) -> Rows:
        sql = f"SELECT rowid AS place, * FROM examples WHERE kind = '{kind}' AND rowid > ?"
        for row in _paged(db, sql):
            prompt, reply = json.loads(row["prompt"]), _reply(row["reply"])
            said = {"messages": prompt + reply} if kind == "chat" else {"prompt": prompt}
            if kind != "chat":
                said["completion"] = reply
            label = {"label": row["label"] == "good"} if kind == "unpaired" else {}
            yield {**said, **label, "source": row["source"], "active": bool(row["active"])}

    return rows


def _intents(db: Database) -> Rows:
    for row in _paged(db, "SELECT id AS place, * FROM intent_examples WHERE id > ?"):
        yield {"text": row["input"], "intent": row["intent"], "reply": row["output"] or None}


def _conversations(db: Database) -> Rows:
    for row in _paged(db, "SELECT rowid AS place, * FROM conversations WHERE rowid > ?"):
        turns = db.read(
            "SELECT role, content, created, system_prompt FROM messages "
            "WHERE conversation_id = ? AND superseded = 0 ORDER BY position",
            (row["id"],),
        )
        yield {
            "title": row["title"],
            "created": row["created"],
            "messages": [{k: v for k, v in dict(t).items() if v is not None} for t in turns],
        }


def _preferences(db: Database) -> Rows:
    for row in db.read("SELECT key, value FROM preferences ORDER BY key"):
        yield {"preference": row["key"], "value": row["value"]}


def _memories(db: Database) -> Rows:
    for row in _paged(db, "SELECT id AS place, * FROM memories WHERE id > ?"):
        yield {
            "memory": row["kind"],
            "topic": row["topic"],
            "name": row["name"],
            "content": row["content"],  # JSON, as it is stored: a value can be of any type
            "context": row["context"],
            "importance": row["importance"],
            "pinned": bool(row["pinned"]),
            "created": row["created"],
        }


KINDS: Mapping[str, Callable[[Database], Rows]] = MappingProxyType(
    {
        "pairs": _pairs,
        "instructions": _examples("instruction"),
        "unpaired": _examples("unpaired"),
        "chats": _examples("chat"),
        "intents": _intents,
        "conversations": _conversations,
        "preferences": _preferences,
        "memories": _memories,
    }
)


def _paged(db: Database, sql: str) -> Iterator[Row]:
    """The rows of a query that ends with `place > ?`, some at a time."""
    last = 0
    while rows := db.read(f"{sql} ORDER BY place LIMIT {_PIECE}", (last,)):
        yield from rows
        last = int(rows[-1]["place"])


def _reply(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _counted(rows: Rows, progress: Callable[[int], None] | None) -> Rows:
    for number, row in enumerate(rows, start=1):
        yield row
        if progress is not None and number % _PIECE == 0:
            progress(number)


# How it is written ------------------------------------------------------------------------


def _jsonl(file: BinaryIO, rows: Rows, what: str) -> int:
    count = 0
    for row in rows:
        file.write(_json(row).encode("utf-8") + b"\n")
        count += 1
    return count


def _json_list(file: BinaryIO, rows: Rows, what: str) -> int:
    count = 0
    for row in rows:
        file.write((b",\n" if count else b"[\n") + _json(row).encode("utf-8"))
        count += 1
    file.write(b"\n]\n" if count else b"[]\n")
    return count


def _csv(file: BinaryIO, rows: Rows, what: str) -> int:
    """Lists of messages as JSON in their cell, truth as true and false."""
    count = 0
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    # Without quotes a lone carriage return in a text would end its row.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        if not count:
            writer.writerow(row)
        writer.writerow([_cell(value) for value in row.values()])
        count += 1
    text.detach()
    return count


def _parquet(file: BinaryIO, rows: Rows, what: str) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(what)
    count = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for piece in _pieces(rows):
            writer.write_batch(pa.RecordBatch.from_pylist(piece, schema=schema))
            count += len(piece)
    return count


def _schema(what: str) -> Any:
    import pyarrow as pa

    names = [("role", pa.string()), ("content", pa.string())]
    timed = [*names, ("created", pa.float64()), ("system_prompt", pa.string())]
    turns = pa.list_(pa.struct(timed if what == "conversations" else names))
    fields = {
        "pairs": "prompt chosen rejected group weight active feedback_type confidence quality "
        "created",
        "instructions": "prompt completion source active",
        "unpaired": "prompt completion label source active",
        "chats": "messages source active",
        "intents": "text intent reply",
        "conversations": "title created messages",
        "preferences": "preference value",
        "memories": "memory topic name content context importance pinned created",
    }[what].split()
    numbers = ("weight", "confidence", "quality", "created", "importance")
    types = dict.fromkeys(_MESSAGES, turns) | dict.fromkeys(numbers, pa.float64())
    types |= dict.fromkeys(("active", "label", "pinned"), pa.bool_())
    return pa.schema([(name, types.get(name, pa.string())) for name in fields])


_FORMATS: Mapping[str, Callable[[BinaryIO, Rows, str], int]] = MappingProxyType(
    {"jsonl": _jsonl, "json": _json_list, "csv": _csv, "parquet": _parquet}
)


def _pieces(rows: Rows) -> Iterator[list[dict[str, Any]]]:
    piece: list[dict[str, Any]] = []
    for row in rows:
        piece.append(row)
        if len(piece) == _PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _json(value) if isinstance(value, list | dict) else value


def _format(path: Path) -> tuple[str, str]:
    """The format and the packing that the end of the name says."""
    suffixes: Sequence[str] = [suffix.lower() for suffix in path.suffixes]
    packing = suffixes[-1] if suffixes and suffixes[-1] in _PACKINGS else ""
    rest = suffixes[:-1] if packing else suffixes
    format_ = rest[-1].lstrip(".") if rest else ""
    if format_ not in FORMATS or (format_ == "parquet" and packing):
        raise InvalidValueError(
            f"{path.name} does not say how to write it.",
            "The end of the name is the format: .jsonl, .json, .csv or .parquet; the first "
            "three can be packed, as in .jsonl.gz or .jsonl.zst.",
            "Give the file such a name.",
        )
    return format_, packing


def _write(path: Path, write: Callable[[BinaryIO], int], packing: str) -> int:
    """Write to a temporary name beside `path`, then put it in its place."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                with _packed(file, packing) as content:
                    count = write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        files.sync_folder(path.parent)
    except OSError as error:
        raise files.not_writable(path, error) from error
    return count


@contextlib.contextmanager
def _packed(file: BinaryIO, packing: str) -> Iterator[BinaryIO]:
    if packing == ".gz":
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
            yield cast("BinaryIO", packed)
    elif packing == ".zst":
        import pyarrow as pa

        # Arrow closes what it writes to, and the file is still to be synced.
        other = os.fdopen(os.dup(file.fileno()), "wb")
        with pa.CompressedOutputStream(pa.PythonFile(other, mode="w"), "zstd") as packed:
            yield cast("BinaryIO", packed)
    else:
        yield file
