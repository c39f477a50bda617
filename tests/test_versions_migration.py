"""An earlier profile's versions, moved into the registry of all models."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from xeno.store.database import Database

KEY = bytes(range(32))
LAST_BEFORE = 4


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A profile of format 4 with three versions over two bases; v2 was deleted, and v5."""
    scripts = tmp_path / "sql"
    scripts.mkdir()
    for script in (resources.files("xeno.store") / "migrations").iterdir():
        if int(script.name[:4]) <= LAST_BEFORE:
            (scripts / script.name).write_text(script.read_text(encoding="utf-8"))
    path = tmp_path / "profile.db"
    with Database(path, KEY, migrations=scripts) as db, db.transaction() as connection:
        for number, base in ((1, "one"), (2, "one"), (3, "two"), (4, "one"), (5, "one")):
            connection.execute(
                "INSERT INTO versions (number, address, base_hash, state, created, bytes, "
                "manifest, manifest_hash, signature) VALUES (?, ?, ?, ?, ?, 7, '{}', 'h', 's')",
                (number, f"a{number}", base, "active" if number == 4 else "retired", number),
            )
            connection.execute("INSERT INTO version_pairs VALUES (?, 'p')", (f"a{number}",))
        connection.execute("DELETE FROM versions WHERE number IN (2, 5)")
        connection.execute(
            "INSERT INTO deployments (address, previous, action, created) "
            "VALUES ('a4', 'a1', 'deploy', 1)"
        )
    return path


def test_versions_keep_their_numbers_states_and_pairs(earlier: Path) -> None:
    with Database(earlier, KEY) as db:
        rows = db.read("SELECT * FROM versions ORDER BY number")
        pairs = db.read("SELECT address FROM version_pairs ORDER BY address")
        [deployment] = db.read("SELECT * FROM deployments")
    assert [(row["model"], row["number"], row["state"]) for row in rows] == [
        ("assistant", 1, "retired"),
        ("assistant", 3, "retired"),
        ("assistant", 4, "active"),
    ]
    assert [row["address"] for row in pairs] == ["a1", "a3", "a4"]
    assert (deployment["model"], deployment["address"]) == ("assistant", "a4")


def test_versions_get_semantic_numbers_by_their_base(earlier: Path) -> None:
    with Database(earlier, KEY) as db:
        rows = db.read("SELECT major, minor, patch FROM versions ORDER BY number")
    assert [tuple(row) for row in rows] == [(1, 0, 0), (2, 0, 0), (1, 1, 0)]


def test_a_number_that_was_given_before_is_not_given_again(earlier: Path) -> None:
    with Database(earlier, KEY) as db:
        [row] = db.read("SELECT name, number FROM versioned_models")
    assert tuple(row) == ("assistant", 5)


def test_two_versions_of_a_model_cannot_both_be_active(earlier: Path) -> None:
    with (
        Database(earlier, KEY) as db,
        pytest.raises(Exception, match="UNIQUE"),
        db.transaction() as connection,
    ):
        connection.execute("UPDATE versions SET state = 'active' WHERE number = 1")
