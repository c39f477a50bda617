"""The encrypted database: a real SQLCipher file, and everything that can be wrong with it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from importlib import resources
from pathlib import Path

import pytest

from xeno.errors import (
    DamagedDataError,
    FutureDataError,
    LockedProfileError,
    StorageFullError,
    XenoError,
)
from xeno.store.database import Database

KEY = bytes(range(32))
SECRET = "a sentence that must not be readable on the disk"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "profile.db"


def put(db: Database, key: str, value: str = "1") -> None:
    with db.transaction() as connection:
        connection.execute("INSERT INTO settings VALUES (?, ?)", (key, value))


def keys_of(db: Database) -> list[str]:
    return [row["key"] for row in db.read("SELECT key FROM settings ORDER BY key")]


def put_and_fail(db: Database, key: str) -> None:
    with db.transaction():
        put(db, key)
        raise RuntimeError("after the write")


def fill(db: Database, rows: int = 500) -> None:
    with db.transaction() as connection:
        for number in range(rows):
            connection.execute("INSERT INTO settings VALUES (?, ?)", (f"{number}", "x" * 500))


def test_what_is_written_is_there_again_and_is_not_readable(path: Path) -> None:
    with Database(path, KEY) as db:
        put(db, "secret", SECRET)
        on_disk = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert SECRET.encode() not in on_disk
    assert SECRET.encode() not in path.read_bytes()
    assert b"SQLite format" not in path.read_bytes()
    with Database(path, KEY) as db:
        row = db.one("SELECT value FROM settings WHERE key = ?", ("secret",))
        assert row is not None
        assert row["value"] == SECRET
    if os.name == "posix":
        assert path.stat().st_mode & 0o077 == 0


def test_a_wrong_key_is_named_as_one(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Database(path, KEY).close()
    with pytest.raises(LockedProfileError, match="another key"):
        Database(path, secrets.token_bytes(32))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("place", [0.0, 0.5, 0.99])
def test_changed_bytes_are_found_wherever_they_are(path: Path, place: float) -> None:
    with Database(path, KEY) as db:
        fill(db, rows=4000)  # most of the file, so that both places below are in it
    content = bytearray(path.read_bytes())
    where = 20 + int(place * (len(content) - 40))
    content[where : where + 8] = b"\x00" * 8
    path.write_bytes(content)
    with pytest.raises(DamagedDataError, match="damaged"), Database(path, KEY) as db:
        db.read("SELECT max(length(value)) FROM settings")
    assert path.read_bytes() == content


@pytest.mark.parametrize("size", [0, 7, 4096 * 20])
def test_a_cut_off_file_is_damage_and_not_a_beginning(path: Path, size: int) -> None:
    with Database(path, KEY) as db:
        fill(db)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DamagedDataError), Database(path, KEY) as db:
        db.read("SELECT * FROM settings")


def test_a_later_format_is_left_alone(path: Path) -> None:
    with Database(path, KEY) as db, db.transaction() as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(FutureDataError, match="99"):
        Database(path, KEY)
    assert path.read_bytes() == before


def migrations(folder: Path, *later: str) -> Path:
    folder.mkdir()
    for script in (resources.files("xeno.store") / "migrations").iterdir():
        (folder / script.name).write_text(script.read_text(encoding="utf-8"), encoding="utf-8")
    first = len(list(folder.glob("*.sql"))) + 1
    for number, script_text in enumerate(later, start=first):
        (folder / f"{number:04d}_later.sql").write_text(script_text, encoding="utf-8")
    return folder


def test_an_earlier_format_is_copied_and_then_migrated(path: Path, tmp_path: Path) -> None:
    with Database(path, KEY) as db:
        put(db, "kept")
        row = db.one("PRAGMA user_version")
        assert row is not None
        found = row[0]
    scripts = migrations(tmp_path / "sql", "CREATE TABLE added (a);", "DROP TABLE added;")
    with Database(path, KEY, migrations=scripts) as db:
        assert keys_of(db) == ["kept"]
        assert db.read("PRAGMA user_version")[0][0] == found + 2
    copy = path.with_name(f"{path.name}.format{found}")
    with Database(copy, KEY) as old:
        assert keys_of(old) == ["kept"]


def test_a_migration_that_fails_changes_nothing(path: Path, tmp_path: Path) -> None:
    with Database(path, KEY) as db:
        put(db, "kept")
    scripts = migrations(
        tmp_path / "sql", "CREATE TABLE added (a); INSERT INTO nowhere VALUES (1);"
    )
    with pytest.raises(Exception, match="nowhere"):
        Database(path, KEY, migrations=scripts)
    with Database(path, KEY) as db:
        assert keys_of(db) == ["kept"]
        assert db.read("SELECT name FROM sqlite_master WHERE name = 'added'") == []


def test_a_transaction_is_all_or_nothing_and_can_hold_another(path: Path) -> None:
    with Database(path, KEY) as db:
        with pytest.raises(RuntimeError):
            put_and_fail(db, "lost")
        with db.transaction():
            put(db, "outer")
            with pytest.raises(RuntimeError):
                put_and_fail(db, "inner, lost")
            put(db, "inner, kept")
            assert keys_of(db) == ["inner, kept", "outer"]
        assert keys_of(db) == ["inner, kept", "outer"]


def test_threads_read_while_one_writes(path: Path) -> None:
    with Database(path, KEY) as db:
        seen: list[list[str]] = []
        with db.transaction():
            put(db, "unfinished")
            reader = threading.Thread(target=lambda: seen.append(keys_of(db)))
            reader.start()
            reader.join()
        assert seen == [[]]
        writers = [threading.Thread(target=put, args=(db, f"{n}")) for n in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert len(keys_of(db)) == 9


def test_a_closed_database_says_so(path: Path) -> None:
    db = Database(path, KEY)
    db.close()
    db.close()
    with pytest.raises(XenoError, match="closed"):
        db.read("SELECT 1")


def test_a_full_database_loses_nothing_and_can_be_written_again(path: Path) -> None:
    with Database(path, KEY) as db:
        put(db, "before")
        pages = db.read("PRAGMA page_count")[0][0]
        db.read(f"PRAGMA max_page_count = {pages + 4}")
        with pytest.raises(StorageFullError, match="nothing was changed"):
            fill(db)
        assert keys_of(db) == ["before"]
        put(db, "after")
        assert keys_of(db) == ["after", "before"]


LIMITED = """
import resource, signal, sys
from pathlib import Path
from xeno.errors import StorageFullError
from xeno.store.database import Database

path = Path(sys.argv[1])
with Database(path, bytes(range(32))) as db:
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    try:
        with db.transaction() as connection:
            for number in range(5000):
                connection.execute("INSERT INTO settings VALUES (?, ?)", (str(number), "x" * 500))
    except StorageFullError as error:
        print(error)
    print(db.read("SELECT count(*) FROM settings")[0][0])
"""


@pytest.mark.skipif(os.name != "posix", reason="limits the file size the POSIX way")
def test_a_file_system_that_takes_no_more_is_explained(path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True
    )
    message, count = ran.stdout.splitlines()
    assert "full or not writable" in message
    assert count == "0"
    with Database(path, KEY) as db:
        put(db, "works")
        assert keys_of(db) == ["works"]


WRITER = """
import sys
from pathlib import Path
from xeno.store.database import Database

with Database(Path(sys.argv[1]), bytes(range(32))) as db:
    for number in range(50):
        with db.transaction() as connection:
            connection.execute("INSERT INTO settings VALUES (?, '1')", (sys.argv[2] + str(number),))
"""


def test_two_processes_make_one_database_and_write_to_it_at_once(path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    with Database(path, KEY) as db:
        assert len(keys_of(db)) == 100


KILLED = """
import os, sys
from pathlib import Path
from xeno.store.database import Database

db = Database(Path(sys.argv[1]), bytes(range(32)))
with db.transaction() as connection:
    connection.execute("INSERT INTO settings VALUES ('finished', '1')")
with db.transaction() as connection:
    connection.execute("INSERT INTO settings VALUES ('unfinished', '1')")
    os._exit(9)
"""


def test_a_killed_process_loses_only_what_it_had_not_finished(path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == 9
    with Database(path, KEY) as db:
        assert keys_of(db) == ["finished"]
