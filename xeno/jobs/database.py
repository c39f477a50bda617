"""The file of the machine's queue: plain SQLite, since it holds no content, one per home.

Several processes use it at once. A change is one immediate transaction, so that what it was
decided on still holds when it is written.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from xeno.errors import DamagedDataError, FutureDataError, StorageFullError, XenoError
from xeno.paths import Home
from xeno.store import files, sqlite_errors

FORMAT = 1
_BUSY_SECONDS = 30.0


class QueueFile:
    """The file, usable from any thread; opened, and made if it is not there, when first used.

    Every call raises DamagedDataError, FutureDataError or StorageFullError if the file cannot
    be used.
    """

    def __init__(self, home: Home) -> None:
        self.path = home.queue
        self._lock = threading.RLock()
        self._opened: sqlite3.Connection | None = None
        self._closed = False

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query; inside `change` it sees what was written there."""
        with self._lock, _explained(self.path):
            return self._connection().execute(sql, values).fetchall()

    def write(self, sql: str, values: Sequence[Any] = ()) -> None:
        """One statement of a change."""
        with self._lock, _explained(self.path):
            connection = self._connection()
            if not connection.in_transaction:
                raise RuntimeError("written outside of a change")
            connection.execute(sql, values)

    @contextlib.contextmanager
    def change(self, *, durable: bool = False) -> Iterator[None]:
        """Write: all of the body or nothing, decided on what nobody else changes meanwhile.

        Args:
            durable: survive a power cut, too. What is found out again anyway need not.
        """
        with self._lock, _explained(self.path):
            connection = self._connection()
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file for good. A second call does nothing."""
        with self._lock:
            self._closed = True
            if self._opened is not None:
                self._opened.close()

    def _connection(self) -> sqlite3.Connection:
        if self._closed:
            raise XenoError("The queue is closed.", "It was closed before this call.")
        if self._opened is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with files.locked(self.path.with_suffix(".lock")):
                # Made by us, so that it and its log are readable by their owner only.
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
                connection = sqlite3.connect(
                    self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
                )
                try:
                    self._prepare(connection)
                except BaseException:
                    connection.close()
                    raise
            self._opened = connection
        return self._opened

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.row_factory = sqlite3.Row
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if found > FORMAT:
            raise FutureDataError(
                f"{self.path.name} was written by a later XENO.",
                f"Its format is {found}; this XENO knows formats up to {FORMAT}.",
                "Update XENO.",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        if found == 0:
            script = (resources.files("xeno.jobs") / "schema.sql").read_text("utf-8")
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version = {FORMAT};\nCOMMIT;"
            )


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the user can mend into the error that says how."""
    try:
        yield
    except OSError as error:
        raise _not_writable(path, error.strerror or str(error)) from error
    except sqlite3.Error as error:
        name = str(getattr(error, "sqlite_errorname", ""))
        if name.startswith(sqlite_errors.DAMAGED):
            raise DamagedDataError(
                f"{path.name} is damaged.",
                f"Its bytes are not what XENO wrote ({error}).",
                f"Delete {path}: the runs and their plans are in the profiles; add them again.",
            ) from error
        if name.startswith(sqlite_errors.NOT_WRITABLE):
            raise _not_writable(path, str(error)) from error
        if name.startswith(sqlite_errors.BUSY):
            raise XenoError(
                "The queue is busy; nothing was changed.",
                f"Another XENO has been writing to it for {_BUSY_SECONDS:.0f} seconds.",
                "Wait a little and try again.",
            ) from error
        raise


def _not_writable(path: Path, detail: str) -> StorageFullError:
    return StorageFullError(
        f"{path.name} could not be written; nothing was changed.",
        f"The disk is full or not writable ({detail}).",
        "Free some space, and check that you may write to XENO's folder.",
    )
