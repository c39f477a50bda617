"""The profile's key: kept in a keyring, under a passphrase, or in a file."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from typing import ClassVar

import keyring
import pytest
from keyring.backend import KeyringBackend

from xeno.errors import DamagedDataError, FutureDataError, InvalidValueError, LockedProfileError
from xeno.paths import Home
from xeno.store import keys
from xeno.store.keys import ProfileKey
from xeno.store.profile import list_profiles, open_profile


class MemoryKeyring(KeyringBackend):
    """A keyring that lives as long as the test."""

    priority: ClassVar[float] = 5

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


@pytest.fixture
def memory_keyring() -> Iterator[MemoryKeyring]:
    before = keyring.get_keyring()
    backend = MemoryKeyring()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


def test_subkeys_follow_from_the_master_key_and_differ() -> None:
    key = ProfileKey(bytes(range(32)))
    assert key.database == ProfileKey.from_hex(key.hex()).database
    subkeys = {key.database, key.adapters, key.subkey("other"), key.master}
    assert len(subkeys) == 4
    assert all(len(subkey) == 32 for subkey in subkeys)
    assert key.signing.sign(b"x") == ProfileKey(key.master).signing.sign(b"x")


def test_subkeys_are_hkdf_sha256() -> None:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    key = ProfileKey(bytes(range(32)))
    expected = HKDF(SHA256(), 32, b"xeno", b"adapters").derive(key.master)
    assert key.adapters == expected


def test_a_key_does_not_show_itself() -> None:
    key = ProfileKey.generate()
    assert key.hex() not in repr(key)
    assert key.master.hex() not in str(vars(ProfileKey))


@pytest.mark.parametrize("text", ["", "abc", "g" * 64, "00" * 31])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError):
        ProfileKey.from_hex(text)


def test_without_keyring_and_passphrase_the_key_lies_in_a_private_file(home: Home) -> None:
    with open_profile(home) as profile:
        profile.set_setting("a", {"b": [1, 2.5, None, "ä"]})
        assert profile.protection == "file"
        key_file = profile.paths.key_file
    if os.name == "posix":
        assert key_file.stat().st_mode & 0o777 == 0o600
    with open_profile(home) as profile:
        assert profile.setting("a") == {"b": [1, 2.5, None, "ä"]}
        assert profile.setting("unknown", 7) == 7
    assert list_profiles(home) == ["default"]


def test_a_lost_or_foreign_key_file_locks_the_profile(home: Home) -> None:
    with open_profile(home) as profile:
        key_file = profile.paths.key_file
    key_file.write_text(ProfileKey.generate().hex())
    with pytest.raises(LockedProfileError, match="does not belong"):
        open_profile(home)
    key_file.write_text("not a key")
    with pytest.raises(LockedProfileError, match="not a key"):
        open_profile(home)
    key_file.unlink()
    with pytest.raises(LockedProfileError, match="missing"):
        open_profile(home)


def test_the_keyring_is_used_where_there_is_one(home: Home, memory_keyring: MemoryKeyring) -> None:
    asked: list[bool] = []
    with open_profile(home, passphrase=lambda new: str(asked.append(new))) as profile:
        assert profile.protection == "keyring"
        assert list(memory_keyring.entries.values()) == [profile.key.hex()]
        assert not profile.paths.key_file.exists()
        assert profile.key.hex() not in profile.paths.key_description.read_text()
    with open_profile(home) as again:
        assert again.key == profile.key
    assert asked == []
    memory_keyring.entries.clear()
    with pytest.raises(LockedProfileError, match="keyring"):
        open_profile(home)


def test_a_keyring_that_never_answers_is_left_waiting(
    home: Home, memory_keyring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(memory_keyring, "get_password", lambda *_: released.wait())
    monkeypatch.setattr(keys, "_CREATE_SECONDS", 0.1)
    try:
        with open_profile(home) as profile:
            assert profile.protection == "file"
    finally:
        released.set()


def test_a_keyring_that_fails_is_passed_over(
    home: Home, memory_keyring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: str) -> None:
        raise OSError("no bus")

    monkeypatch.setattr(memory_keyring, "set_password", fail)
    with open_profile(home) as profile:
        assert profile.protection == "file"


def test_a_profile_for_a_while_leaves_the_keyring_alone(
    home: Home, memory_keyring: MemoryKeyring
) -> None:
    with open_profile(home, protection="file") as profile:
        assert profile.protection == "file"
    assert memory_keyring.entries == {}


def test_a_passphrase_protects_where_there_is_no_keyring(home: Home) -> None:
    asked: list[bool] = []

    def answer(new: bool) -> str:
        asked.append(new)
        return "Grüße, Welt"

    with open_profile(home, passphrase=answer) as profile:
        assert profile.protection == "passphrase"
        profile.set_setting("a", 1)
        assert not profile.paths.key_file.exists()
    with open_profile(home, passphrase=answer) as profile:
        assert profile.setting("a") == 1
    assert asked == [True, False]
    with pytest.raises(LockedProfileError, match="not right"):
        open_profile(home, passphrase=lambda _: "grüße, welt")
    with pytest.raises(LockedProfileError, match="nobody to ask"):
        open_profile(home)
    with open_profile(home, key=profile.key) as child:
        assert child.setting("a") == 1


def test_an_empty_passphrase_makes_no_profile(home: Home) -> None:
    with pytest.raises(LockedProfileError, match="no passphrase"):
        open_profile(home, passphrase=lambda _: "")
    assert list_profiles(home) == []
    with open_profile(home) as profile:
        assert profile.protection == "file"


def test_a_given_key_must_be_the_profiles_own(home: Home) -> None:
    with open_profile(home) as profile:
        key = profile.key
    with pytest.raises(LockedProfileError):
        open_profile(home, key=ProfileKey.generate())
    with pytest.raises(InvalidValueError, match="no profile"):
        open_profile(home, "other", key=key)


def test_a_profile_that_is_not_there_is_not_made_by_accident(home: Home) -> None:
    with open_profile(home, "anna"), pytest.raises(InvalidValueError, match="anna"):
        open_profile(home, "ana", create=False)
    assert list_profiles(home) == ["anna"]


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "x" * 65, ".hidden"])
def test_a_profile_name_cannot_leave_the_home(home: Home, name: str) -> None:
    with pytest.raises(InvalidValueError, match="profile name"):
        open_profile(home, name)


def test_a_damaged_or_later_key_description_is_explained(home: Home) -> None:
    with open_profile(home) as profile:
        path = profile.paths.key_description
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"format": 2}))
    with pytest.raises(FutureDataError):
        open_profile(home)
    path.write_text(json.dumps(content | {"check": "short"}))
    with pytest.raises(DamagedDataError, match="damaged"):
        open_profile(home)
    path.unlink()
    with pytest.raises(LockedProfileError, match=r"key\.json"):
        open_profile(home)


def test_a_destroyed_beginning_is_damage_when_the_key_is_right(home: Home) -> None:
    with open_profile(home) as profile:
        database = profile.paths.database
    database.write_bytes(b"\x00" * 64 + database.read_bytes()[64:])
    with pytest.raises(DamagedDataError, match="right one"):
        open_profile(home)


def test_a_lost_database_is_not_replaced_by_an_empty_one(home: Home) -> None:
    with open_profile(home) as profile:
        database = profile.paths.database
    database.unlink()
    with pytest.raises(DamagedDataError, match="gone"):
        open_profile(home)


def test_profiles_do_not_see_each_other(home: Home) -> None:
    with open_profile(home, "anna") as anna, open_profile(home, "ben") as ben:
        anna.set_setting("a", 1)
        assert ben.setting("a") is None
        assert anna.key != ben.key
    assert list_profiles(home) == ["anna", "ben"]
