"""A backup opens with its passphrase alone, whole or not at all, and gives no budget back."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from version_parts import release

from xeno.cli.main import main
from xeno.errors import (
    DamagedDataError,
    FutureDataError,
    InvalidValueError,
    LockedProfileError,
    StorageFullError,
    XenoError,
)
from xeno.paths import Home
from xeno.privacy.ledger import PrivacyLedger
from xeno.store import keys
from xeno.store.conversations import Conversations
from xeno.store.files import hold
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile, list_profiles, open_profile
from xeno.versions import backup, backup_file
from xeno.versions.backup import back_up, restore
from xeno.versions.registry import Registry

PASSPHRASE = "a long enough passphrase"


@pytest.fixture(autouse=True)
def quick_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase is stretched less, so that tests are quick."""
    real = keys.stretched
    monkeypatch.setattr(keys, "stretched", lambda text, salt, n=2**4, r=8, p=1: real(text, salt, n))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "elsewhere")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.xenobackup"


def everything(home: Home) -> dict[str, bytes]:
    if not home.folder.exists():
        return {}
    return {
        str(path.relative_to(home.folder)): path.read_bytes()
        for path in home.folder.rglob("*")
        if path.is_file()
    }


def spend(profile: Profile, epsilon: float) -> None:
    PrivacyLedger(profile).declare("a test", epsilon)


def test_everything_comes_back_in_another_home(
    taught: Profile, elsewhere: Home, file: Path
) -> None:
    version = release(taught)
    conversation = Conversations(taught.db).create("Tea")
    made = back_up(taught, file, PASSPHRASE)
    assert made.versions == 1
    assert taught.key.master not in file.read_bytes()
    restored = restore(elsewhere, file, PASSPHRASE)
    assert restored.profile == "default"
    with open_profile(elsewhere, create=False) as opened:
        assert Pairs(opened.db).count() == 24
        assert [each.id for each in Conversations(opened.db).all(limit=9)] == [conversation.id]
        tensors, same = Registry(opened).load(version.address)  # signature and bytes verified
        assert same.address == version.address
        assert tensors
    assert [path.name for path in elsewhere.folder.iterdir() if path.name[0] == "."] == []


def test_a_wrong_passphrase_changes_nothing(profile: Profile, elsewhere: Home, file: Path) -> None:
    back_up(profile, file, PASSPHRASE)
    with pytest.raises(LockedProfileError, match="passphrase is not right"):
        restore(elsewhere, file, PASSPHRASE + " ")
    assert everything(elsewhere) == {}
    with pytest.raises(InvalidValueError, match="fewer than 8"):
        back_up(profile, file, "short")


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_backup_with_any_byte_changed_or_missing_is_refused(
    data: st.DataObject, profile: Profile, elsewhere: Home, file: Path
) -> None:
    if not file.exists():
        release(profile)
        back_up(profile, file, PASSPHRASE)
    good = file.read_bytes()
    damaged = bytearray(good)
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(good) - 1))]
    else:
        damaged[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(damaged)
    with pytest.raises((DamagedDataError, LockedProfileError, FutureDataError)):
        restore(elsewhere, file, PASSPHRASE)
    assert everything(elsewhere) == {}
    file.write_bytes(good)


def test_a_backup_cut_at_the_end_of_a_piece_is_refused(
    profile: Profile, elsewhere: Home, file: Path
) -> None:
    back_up(profile, file, PASSPHRASE)
    content = file.read_bytes()
    start = len(backup_file._MAGIC) + 32 + len(b"XENOSEAL1\n") + 32
    file.write_bytes(content[: start + 64 * 1024 + 16])
    with pytest.raises(XenoError, match=r"damaged|does not open"):
        restore(elsewhere, file, PASSPHRASE)
    assert everything(elsewhere) == {}


def test_restoring_an_old_backup_gives_no_budget_back(
    profile: Profile, home: Home, file: Path
) -> None:
    spend(profile, 1.0)
    back_up(profile, file, PASSPHRASE)
    spend(profile, 2.0)
    spend(profile, 3.0)
    spent = PrivacyLedger(profile).spent()
    profile.close()
    restore(home, file, PASSPHRASE, replace=True)
    with open_profile(home, create=False) as opened:
        assert PrivacyLedger(opened).spent() >= spent - 1e-9
        assert PrivacyLedger(opened).entries()[-1].kind == "remembered"
    assert len(list((home.folder / "replaced").iterdir())) == 1


def test_a_second_copy_of_a_profile_is_refused(profile: Profile, home: Home, file: Path) -> None:
    back_up(profile, file, PASSPHRASE)
    before = everything(home)
    with pytest.raises(InvalidValueError, match="already, as 'default'"):
        restore(home, file, PASSPHRASE, "another")
    with pytest.raises(InvalidValueError, match="There is a profile"):
        restore(home, file, PASSPHRASE)
    with open_profile(home, "other"):
        pass
    shutil.rmtree(home.profile("default").folder)
    with pytest.raises(InvalidValueError, match="another one than"):
        restore(home, file, PASSPHRASE, "other", replace=True)
    assert list_profiles(home) == ["other"]
    assert before


def test_a_backup_of_an_older_format_is_brought_up_and_a_copy_kept(
    profile: Profile, elsewhere: Home, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(profile, file, PASSPHRASE)
    from xeno.store import database

    newer = database._scripts

    def one_more(folder: object) -> list[str]:
        return [*newer(folder), "CREATE TABLE added (id INTEGER);"]  # type: ignore[arg-type]

    profile.close()
    monkeypatch.setattr(database, "_scripts", one_more)
    restore(elsewhere, file, PASSPHRASE)
    folder = elsewhere.profile("default").folder
    assert len(list(folder.glob("profile.db.format*"))) == 1
    with open_profile(elsewhere, create=False) as opened:
        assert opened.db.read("SELECT * FROM added") == []


def test_names_that_lead_elsewhere_are_refused(
    profile: Profile, elsewhere: Home, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = backup._contents

    def with_a_path(profile: Profile, snapshot: Path) -> object:
        about, parts = contents(profile, snapshot)
        parts["../../outside"] = snapshot
        return about.model_copy(update={"files": len(parts)}), parts

    monkeypatch.setattr(backup, "_contents", with_a_path)
    back_up(profile, file, PASSPHRASE)
    with pytest.raises(DamagedDataError, match="outside"):
        restore(elsewhere, file, PASSPHRASE)
    assert everything(elsewhere) == {}


def test_the_commands_read_the_passphrase_from_stdin(
    profile: Profile,
    elsewhere: Home,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    profile.close()
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSPHRASE}\n{PASSPHRASE}\n"))
    assert main(["backup", str(file), "--backup-passphrase-stdin"]) == 0
    again = ["restore", str(file), "--home", str(elsewhere.folder), "--backup-passphrase-stdin"]
    assert main([*again, "--json"]) == 0
    said = capsys.readouterr().out
    assert json.loads(said.splitlines()[-1])["profile"] == "default"
    assert list_profiles(elsewhere) == ["default"]


def test_what_cannot_be_put_in_its_place_leaves_the_old_profile_there(
    profile: Profile, home: Home, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(profile, file, PASSPHRASE)
    profile.close()
    rename = Path.rename

    def refuses(path: Path, target: Path) -> Path:
        if path.name.startswith(".restore-"):
            raise PermissionError(13, "not now")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuses)
    with pytest.raises(StorageFullError, match="not restored"):
        restore(home, file, PASSPHRASE, replace=True)
    with open_profile(home, profile.name, create=False) as still:
        assert still.db.one("SELECT 1 AS one") is not None


def test_a_profile_in_which_a_run_goes_on_is_not_replaced(
    profile: Profile, home: Home, file: Path
) -> None:
    back_up(profile, file, PASSPHRASE)
    handle = hold(profile.paths.training_lock, 0.0)
    assert handle is not None
    try:
        with pytest.raises(InvalidValueError, match="A run of the profile"):
            restore(home, file, PASSPHRASE, replace=True)
    finally:
        os.close(handle)
