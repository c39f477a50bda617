"""The encrypted database of a profile: SQLCipher, one connection per thread, migrations.

The file is opened with a raw 32-byte key and a salt that follows from the key. SQLCipher
writes the salt in the first 16 bytes, so a wrong key and a damaged file can be told apart:
to SQLCipher both are "file is not a database".
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import threading
import weakref
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlcipher3 import dbapi2 as sqlite

from xeno.errors import (
    DamagedDataError,
    FutureDataError,
    LockedProfileError,
    StorageFullError,
    XenoError,
)
from xeno.store import files, sqlite_errors

if TYPE_CHECKING:  # sqlcipher3 is typed like the standard library's sqlite3
    from sqlite3 import Connection as Connection
    from sqlite3 import Row as Row
else:
    Connection, Row = sqlite.Connection, sqlite.Row

_SALT_BYTES = 16
_BUSY_SECONDS = 30.0
_LOG_BYTES = 4 * 2**20  # what the write-ahead log may keep after a large import


class _Handle:
    """A thread's connection. The lock lets another thread close it between two statements."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.lock = threading.RLock()
        self.depth = 0

    def close(self) -> None:
        with self.lock:
            self.connection.close()

    def __del__(self) -> None:  # the thread that owned the connection has ended
        self.connection.close()


class Database:
    """An open database. Usable from any thread; every thread gets its own connection.

    Args:
        path: the file; made if it is not there (its folder must be).
        key: 32 bytes.
        migrations: folder of `NNNN_name.sql` scripts, by default the package's own.

    Raises:
        LockedProfileError: the key does not belong to the file.
        DamagedDataError: the file is not an intact database.
        FutureDataError: the file was written by a later release.
        StorageFullError: the file cannot be written.
    """

    def __init__(self, path: Path, key: bytes, *, migrations: Traversable | None = None) -> None:
        if len(key) != 32:
            raise ValueError("a database key has 32 bytes")
        self.path = path
        self._key = key
        self._salt = hmac.digest(key, b"xeno database salt", hashlib.sha256)[:_SALT_BYTES]
        self._scripts = _scripts(migrations or resources.files("xeno.store") / "migrations")
        self._threads = threading.local()
        self._handles: weakref.WeakSet[_Handle] = weakref.WeakSet()
        self._guard = threading.Lock()
        self._closed = False
        with files.locked(path.with_name(path.name + ".lock")):
            if not path.exists():
                self._create()
            self._check_salt()
            try:
                self._migrate()
            except BaseException:
                self.close()
                raise

    def read(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[Row]:
        """All rows of a query; inside `transaction` it sees what was written there."""
        handle = self._handle()
        with handle.lock, self._explained():
            return list(handle.connection.execute(sql, params).fetchall())

    def one(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> Row | None:
        """The first row of a query, or None."""
        handle = self._handle()
        with handle.lock, self._explained():
            row: Row | None = handle.connection.execute(sql, params).fetchone()
            return row

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Write: all of the body or nothing, on disk when it ends.

        A transaction inside another joins it: it can fail alone, and is kept when the
        outer one is.
        """
        handle = self._handle()
        with handle.lock, self._explained():
            connection, outermost = handle.connection, handle.depth == 0
            connection.execute("BEGIN IMMEDIATE" if outermost else f"SAVEPOINT s{handle.depth}")
            handle.depth += 1
            try:
                yield connection
                connection.execute("COMMIT" if outermost else f"RELEASE s{handle.depth - 1}")
            except BaseException as error:
                # SQLite has already rolled back by itself after some errors (a full disk).
                if connection.in_transaction:
                    if outermost:
                        connection.execute("ROLLBACK")
                    else:
                        connection.execute(f"ROLLBACK TO s{handle.depth - 1}")
                        connection.execute(f"RELEASE s{handle.depth - 1}")
                if outermost and getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
                    with contextlib.suppress(sqlite.Error):  # gives the log's space back
                        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                raise
            finally:
                handle.depth -= 1

    def close(self) -> None:
        """Close the connections of all threads. A second call does nothing."""
        with self._guard:
            self._closed = True
            handles = list(self._handles)
        for handle in handles:
            handle.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Opening ----------------------------------------------------------------------------

    def _handle(self) -> _Handle:
        handle: _Handle | None = getattr(self._threads, "handle", None)
        if handle is None:
            with self._guard:
                if self._closed:
                    raise XenoError("The profile is closed.", "It was closed before this call.")
                handle = _Handle(self._connect(self.path))
                self._handles.add(handle)
            self._threads.handle = handle
        if self._closed:
            raise XenoError("The profile is closed.", "It was closed before this call.")
        return handle

    def _connect(self, path: Path) -> Connection:
        with self._explained():
            connection: Connection = sqlite.connect(
                str(path), timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            with self._explained():
                connection.row_factory = Row
                # SQLCipher logs a wrong key on stderr, which belongs to our own messages.
                connection.execute("PRAGMA cipher_log_level = NONE")
                connection.execute(f"PRAGMA key = \"x'{self._key.hex()}{self._salt.hex()}'\"")
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self) -> None:
        """A finished file appears at once: an empty one found later is damage, not a beginning."""
        temporary = self.path.with_name(f".{self.path.name}.new")
        temporary.unlink(missing_ok=True)
        try:
            connection = self._connect(temporary)
            try:
                with self._explained():
                    for version, script in enumerate(self._scripts, start=1):
                        _run(connection, version, script)
                    connection.execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()
            temporary.chmod(0o600)
            temporary.rename(self.path)
            files.sync_folder(self.path.parent)
        except BaseException:
            for leftover in self.path.parent.glob(f".{self.path.name}.new*"):
                leftover.unlink(missing_ok=True)
            raise

    def _check_salt(self) -> None:
        try:
            with self.path.open("rb") as file:
                start = file.read(_SALT_BYTES)
        except OSError as error:
            raise StorageFullError(
                f"{self.path.name} cannot be read.",
                f"The system says: {error.strerror or error}.",
                "Check the permissions of the profile's folder.",
            ) from error
        if len(start) < _SALT_BYTES:
            raise self._damaged("the file is cut off")
        if start != self._salt:
            raise LockedProfileError(
                f"{self.path.name} cannot be opened with this key.",
                "It was encrypted with another key, or its beginning was overwritten.",
                "Put the profile's own key back, or restore the profile from a backup.",
            )

    def _migrate(self) -> None:
        row = self.one("PRAGMA user_version")
        found, known = int(row[0]) if row else 0, len(self._scripts)
        if found > known:
            raise FutureDataError(
                f"{self.path.name} was written by a later XENO.",
                f"Its format is {found}; this XENO knows formats up to {known}.",
                "Update XENO, or restore a backup made with this release.",
            )
        if found == known:
            return
        self.copy_to(self.path.with_name(f"{self.path.name}.format{found}"))
        connection = self._handle().connection
        with self._explained():
            for version in range(found + 1, known + 1):
                _run(connection, version, self._scripts[version - 1])

    def copy_to(self, target: Path) -> None:
        """Write the database as it is now to `target`, encrypted under the same key."""
        temporary = target.with_name(f".{target.name}.new")
        temporary.unlink(missing_ok=True)
        try:
            copy = self._connect(temporary)
            try:
                with self._explained():
                    self._handle().connection.backup(copy)
            finally:
                copy.close()
            temporary.chmod(0o600)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the user can mend into the error that says how."""
        try:
            yield
        except sqlite.Error as error:
            name = str(getattr(error, "sqlite_errorname", ""))
            if name.startswith(sqlite_errors.DAMAGED):
                raise self._damaged(str(error)) from error
            if name.startswith(sqlite_errors.NOT_WRITABLE):
                raise StorageFullError(
                    f"{self.path.name} could not be written; nothing was changed.",
                    f"The disk is full or not writable ({error}).",
                    "Free some space, and check that you may write to the profile's folder.",
                ) from error
            if name.startswith(sqlite_errors.BUSY):
                raise XenoError(
                    "The profile is busy; nothing was changed.",
                    f"Another XENO has been writing to it for {_BUSY_SECONDS:.0f} seconds.",
                    "Wait until it has finished, or close it, and try again.",
                ) from error
            raise

    def _damaged(self, detail: str) -> DamagedDataError:
        return DamagedDataError(
            f"{self.path.name} is damaged.",
            f"Its bytes are not what XENO wrote ({detail}).",
            "Restore the profile from a backup; the damaged file is left as it is.",
        )


def _scripts(folder: Traversable) -> list[str]:
    """The migration scripts; script n (from 1) makes format n."""
    found = sorted((e for e in folder.iterdir() if e.name.endswith(".sql")), key=lambda e: e.name)
    for number, entry in enumerate(found, start=1):
        if not entry.name.startswith(f"{number:04d}_"):
            raise ValueError(f"migration {entry.name} is out of order")
    return [entry.read_text(encoding="utf-8") for entry in found]


def _run(connection: Connection, version: int, script: str) -> None:
    """One migration, whole or not at all."""
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version = {version};\nCOMMIT;"
        )
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
