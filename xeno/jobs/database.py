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
from xeno.store import files

FORMAT = 1
_BUSY_SECONDS = 30.0
_NOT_WRITABLE = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR")
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


class QueueFile:
    """The open file, usable from any thread; made if it is not there.

    Raises:
        DamagedDataError, FutureDataError, StorageFullError: it cannot be used, and why.
    """

    def __init__(self, home: Home) -> None:
        self.path = home.queue
        self._lock = threading.RLock()
        files.private_folder(home.folder)
        with files.locked(self.path.with_suffix(".lock")), _explained(self.path):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))  # its log inherits this
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query; inside `change` it sees what was written there."""
        with self._lock, _explained(self.path):
            return self._connection.execute(sql, values).fetchall()

    def write(self, sql: str, values: Sequence[Any] = ()) -> None:
        """One statement of a change."""
        with self._lock, _explained(self.path):
            if not self._connection.in_transaction:
                raise RuntimeError("written outside of a change")
            self._connection.execute(sql, values)

    @contextlib.contextmanager
    def change(self, *, durable: bool = False) -> Iterator[None]:
        """Write: all of the body or nothing, decided on what nobody else changes meanwhile.

        Args:
            durable: survive a power cut, too. What is found out again anyway need not.
        """
        with self._lock, _explained(self.path):
            connection = self._connection
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        with self._lock:
            self._connection.close()

    def _prepare(self) -> None:
        connection = self._connection
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
    except sqlite3.ProgrammingError as error:
        if "closed" in str(error):
            raise XenoError("The queue is closed.", "It was closed before this call.") from error
        raise
    except sqlite3.Error as error:
        name = str(getattr(error, "sqlite_errorname", ""))
        if name.startswith(_DAMAGED):
            raise DamagedDataError(
                f"{path.name} is damaged.",
                f"Its bytes are not what XENO wrote ({error}).",
                f"Delete {path}: the runs and their plans are in the profiles; add them again.",
            ) from error
        if name.startswith(_NOT_WRITABLE):
            raise _not_writable(path, str(error)) from error
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
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
