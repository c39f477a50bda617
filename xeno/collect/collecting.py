"""What all collectors share: a look at what will be read, one JSONL file, and its manifest.

Collecting again adds only what is new: every record carries an id that follows from its
content, and the file itself is asked which ids it has. A run that was cut short loses at most
its last line.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from xeno.errors import InvalidValueError, XenoError
from xeno.store import files
from xeno.words import count

Progress = Callable[[int, int], None]

_LONGEST_LINE = 8 * 2**20


@dataclass(frozen=True)
class Entry:
    """One thing that will be read: a commit, a file, a question. `size` in characters or
    bytes, as the collector counts them."""

    name: str
    size: int


@dataclass(frozen=True)
class Plan:
    """What a collector will read, before it reads it.

    `where` says from where, and, for the teacher, to whom. `left_out` counts what it will not
    read, by reason.
    """

    where: str
    entries: tuple[Entry, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.entries)


@dataclass(frozen=True)
class Skipped:
    """Something that was read and gave no record, and why."""

    reason: str


class Collector(Protocol):
    """Reads one source. `state` is what the last run left in the manifest."""

    name: str

    def plan(self, state: Mapping[str, Any]) -> Plan:
        """What `records` would read now."""

    def records(self, state: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any] | Skipped]]:
        """(number of the plan's entry, from 0, a record or why there is none)."""

    def state(self, complete: bool) -> dict[str, Any]:
        """What the next run should know; `complete` if all records have been taken."""


@dataclass(frozen=True)
class CollectReport:
    """What a run did: `added` records; `known` were in the file already; `skipped` counts the
    reasons why something gave none. `total` is what the file has now."""

    path: Path
    manifest: Path
    added: int
    known: int
    skipped: Mapping[str, int]
    total: int


class CollectStoppedError(XenoError):
    """The user stopped the collecting; what was written so far is whole and stays."""


def manifest_of(path: Path) -> Path:
    """Where the manifest of the collected file `path` lies."""
    return path.with_name(f"{path.name}.manifest.json")


def plan(collector: Collector, path: str | os.PathLike[str]) -> Plan:
    """What `collect` would read now. Nothing is written."""
    return collector.plan(_state(collector, Path(path)))


def collect(
    collector: Collector,
    path: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> CollectReport:
    """Add what is new to the JSONL file `path`, and write its manifest beside it.

    Args:
        progress: called with (entries done, entries in all).
        stop: asked after every record; True ends the run and keeps what it has written.

    Raises:
        InvalidValueError: the source cannot be read, or `path` was written by another collector.
        CollectStoppedError: `stop` said so.
        StorageFullError: the file cannot be written.
    """
    path = Path(path)
    state = _state(collector, path)
    planned = collector.plan(state)
    started = time.time()
    added = known = 0
    skipped: Counter[str] = Counter()
    seen = _whole(path)
    stopped, failure = False, None
    try:
        with path.open("ab") as file:
            if os.name == "posix":
                path.chmod(0o600)
            try:
                for number, found in collector.records(state):
                    if progress is not None:
                        progress(number, len(planned.entries))
                    if isinstance(found, Skipped):
                        skipped[found.reason] += 1
                    elif _written(file, found, seen):
                        added += 1
                    else:
                        known += 1
                    if stop is not None and stop():
                        stopped = True
                        break
            except XenoError as error:  # what was found before it is kept
                failure = error
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise files.not_writable(path, error) from error
    report = CollectReport(path, manifest_of(path), added, known, dict(skipped), len(seen))
    complete = not stopped and failure is None
    _write_manifest(collector, planned, report, started, collector.state(complete))
    if failure is not None:
        raise failure
    if stopped:
        raise CollectStoppedError(
            "The collecting was stopped.",
            f"{count(added, 'record was', 'records were')} written before.",
            "Run it again for the rest.",
        )
    if progress is not None:
        progress(len(planned.entries), len(planned.entries))
    return report


def identified(record: Mapping[str, Any]) -> str:
    """The id of a record: SHA-256 of its content, in hex."""
    content = {key: value for key, value in record.items() if key not in ("id", "created")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()[:32]


def _written(file: BinaryIO, record: dict[str, Any], seen: set[bytes]) -> bool:
    """Append the record, unless the file has it."""
    identity = identified(record)
    if bytes.fromhex(identity) in seen:
        return False
    seen.add(bytes.fromhex(identity))
    text = json.dumps({"id": identity, **record}, ensure_ascii=False)
    file.write(text.encode("utf-8", "replace") + b"\n")
    return True


def _whole(path: Path) -> set[bytes]:
    """The ids in the file; a line that a crash cut off is removed first."""
    seen: set[bytes] = set()
    if not path.exists():
        return seen
    if not path.is_file():
        raise InvalidValueError(f"{path} is no file.", "", "Name a file to collect into.")
    whole = 0
    with path.open("rb") as file:
        while content := file.readline(_LONGEST_LINE):
            if not content.endswith(b"\n"):
                break
            whole += len(content)
            try:
                seen.add(bytes.fromhex(json.loads(content)["id"]))
            except (ValueError, KeyError, TypeError):
                raise InvalidValueError(
                    f"{path.name} was not written by a collector.",
                    "It has a line without the id that collectors give.",
                    "Collect into another file.",
                ) from None
    if whole < path.stat().st_size:
        os.truncate(path, whole)
    return seen


def _state(collector: Collector, path: Path) -> dict[str, Any]:
    """What the last run of this collector left for this file."""
    manifest = manifest_of(path)
    try:
        written = json.loads(manifest.read_text(encoding="utf-8"))
        name, state = written["collector"], written["state"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidValueError(
            f"{manifest.name} cannot be read.",
            f"It is no manifest of a collector ({error}).",
            "Delete it to read everything again; what the file has is not added twice.",
        ) from error
    if name != collector.name or not isinstance(state, dict):
        raise InvalidValueError(
            f"{path.name} was collected by {name!r}.",
            "One file holds what one collector found.",
            "Collect into another file.",
        )
    return state if path.exists() else {}


def _write_manifest(
    collector: Collector,
    planned: Plan,
    report: CollectReport,
    started: float,
    state: Mapping[str, Any],
) -> None:
    digest = hashlib.sha256()
    with report.path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    manifest = {
        "collector": collector.name,
        "where": planned.where,
        "file": report.path.name,
        "sha256": digest.hexdigest(),
        "records": report.total,
        "last_run": {
            "started": started,
            "finished": time.time(),
            "read": len(planned.entries),
            "added": report.added,
            "known": report.known,
            "skipped": dict(report.skipped),
            "left_out": dict(planned.left_out),
        },
        "state": dict(state),
    }
    files.write_atomic(
        report.manifest, json.dumps(manifest, indent=2, ensure_ascii=False).encode("utf-8") + b"\n"
    )
