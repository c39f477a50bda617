"""What is kept beside the key: crashes, restored backups, copies used side by side, resets."""

from __future__ import annotations

import csv
import io
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_keys import MemoryKeyring

from xeno.errors import BudgetError, DamagedDataError, InvalidValueError, LockedProfileError
from xeno.paths import Home
from xeno.privacy import head, rdp
from xeno.privacy.accounts import compact, period_start
from xeno.privacy.entries import Budget, from_row
from xeno.privacy.ledger import PrivacyLedger, dominating_gaussian
from xeno.privacy.ledger_files import COLUMNS, written
from xeno.privacy.rdp import Mechanism
from xeno.store import beside_key
from xeno.store.profile import Profile, open_profile

DELTA = 1e-5
RUN = Mechanism(sample_rate=1.0, noise_multiplier=9.0, steps=20)


def _append(profile: Profile, number: int, run: Mechanism = RUN) -> float:
    ledger = PrivacyLedger(profile)
    return ledger.append(f"run{number}", "pair", run, DELTA, f"{number:064x}").epsilon_total


def _backup(profile: Profile, to: Path) -> None:
    profile.db.one("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(profile.paths.database, to)


def _restored(profile: Profile, copy: Path) -> Profile:
    profile.close()
    for leftover in profile.paths.folder.glob("profile.db*"):
        leftover.unlink()
    shutil.copy(copy, profile.paths.database)
    return open_profile(profile.home)


@pytest.fixture(params=["file", "keyring", "passphrase"])
def kept_profile(request: pytest.FixtureRequest, home: Home) -> Iterator[Profile]:
    """A profile for each way to keep its key."""
    before = keyring.get_keyring()
    keyring.set_keyring(MemoryKeyring())
    with open_profile(home, passphrase=lambda _: "words", protection=request.param) as opened:
        yield opened
    keyring.set_keyring(before)


def test_the_head_lies_beside_the_key_and_in_the_keyring_where_the_key_does(
    kept_profile: Profile,
) -> None:
    _append(kept_profile, 1)
    text = beside_key.kept(kept_profile.paths, "ledger.head")
    assert text is not None
    assert len(text) < 1200
    in_folder = (kept_profile.paths.folder / "ledger.head").exists()
    assert in_folder == (kept_profile.protection != "keyring")
    assert "pair" not in text


def test_a_restored_backup_gives_nothing_back(profile: Profile, tmp_path: Path) -> None:
    _append(profile, 1)
    _backup(profile, tmp_path / "old.db")
    for number in (2, 3):
        _append(profile, number)
    PrivacyLedger(profile).set_budget(6.0)
    spent = PrivacyLedger(profile).spent()
    with _restored(profile, tmp_path / "old.db") as old:
        ledger = PrivacyLedger(old)
        # The light accountant is exact here, PRV's proof lies up to 0.015 above it.
        assert spent - 0.02 <= ledger.spent() <= spent * 1.01 + 0.02
        assert ledger.lifetime() >= spent - 0.02
        assert ledger.budget() == (6.0, DELTA)
        last = ledger.entries()[-1]
        assert (last.kind, last.unit) == ("remembered", None)
        assert "3 entries are missing" in last.note
        ledger.verify()
        with pytest.raises(BudgetError):
            _append(old, 4, Mechanism(sample_rate=1.0, noise_multiplier=3.0, steps=20))
        assert _append(old, 5) > spent


def test_a_backup_that_lacks_only_the_last_entry_gets_it_back(
    profile: Profile, tmp_path: Path
) -> None:
    _append(profile, 1)
    _backup(profile, tmp_path / "old.db")
    _append(profile, 2)
    before = PrivacyLedger(profile).entries()
    with _restored(profile, tmp_path / "old.db") as old:
        assert PrivacyLedger(old).entries() == before


def test_an_empty_old_backup_remembers_all(profile: Profile, tmp_path: Path) -> None:
    _backup(profile, tmp_path / "old.db")
    for number in (1, 2):
        _append(profile, number)
    spent = PrivacyLedger(profile).spent()
    with _restored(profile, tmp_path / "old.db") as old:
        assert PrivacyLedger(old).spent() >= spent - 0.02


def test_copies_that_were_used_side_by_side_both_count(profile: Profile, tmp_path: Path) -> None:
    _append(profile, 1)
    _backup(profile, tmp_path / "old.db")
    _append(profile, 2)
    kept = beside_key.kept(profile.paths, "ledger.head")
    assert kept is not None
    with _restored(profile, tmp_path / "old.db") as other:
        beside_key.keep(other.paths, "ledger.head", _head_of(other))
        _append(other, 3)
        beside_key.keep(other.paths, "ledger.head", kept)
        ledger = PrivacyLedger(other)
        assert "side by side" in ledger.entries()[-1].note
        # The common entry counts twice: what they share is not known.
        assert ledger.spent() == pytest.approx(rdp.epsilon([RUN] * 4, DELTA), rel=0.01)


def _head_of(profile: Profile) -> str:
    """The head that belongs to the profile's database as it is."""
    (profile.paths.folder / "ledger.head").unlink()
    PrivacyLedger(profile).entries()
    text = beside_key.kept(profile.paths, "ledger.head")
    assert text is not None
    return text


def test_a_crash_between_head_and_entry_counts_what_nobody_saw(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    _append(profile, 1)

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    writing = head.HeadKeeper.write
    calls = []

    def once(keeper: head.HeadKeeper, state: head.Head) -> None:
        if calls:  # the head is put back after a failure, but not after a power cut
            return
        calls.append(state)
        writing(keeper, state)

    monkeypatch.setattr(head.HeadKeeper, "write", once)
    monkeypatch.setattr("xeno.privacy.ledger.to_row", power_cut)
    with pytest.raises(KeyboardInterrupt):
        _append(profile, 2)
    monkeypatch.undo()
    entries = PrivacyLedger(profile).entries()
    assert [entry.run_id for entry in entries] == ["run1", "run2"]
    assert PrivacyLedger(profile).spent() == entries[-1].epsilon_total


def test_an_entry_that_cannot_be_written_leaves_the_head_as_it_was(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = _append(profile, 1)

    def disk_full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("xeno.privacy.ledger.to_row", disk_full)
    with pytest.raises(OSError, match="disk full"):
        _append(profile, 2)
    monkeypatch.undo()
    assert (PrivacyLedger(profile).spent(), len(PrivacyLedger(profile).entries())) == (spent, 1)


def test_without_the_keyring_nothing_is_written(home: Home) -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(MemoryKeyring())
    with open_profile(home) as profile:
        _append(profile, 1)
        keyring.set_keyring(before)
        assert len(PrivacyLedger(profile).entries()) == 1
        with pytest.raises(LockedProfileError, match="keyring did not answer"):
            _append(profile, 2)
        assert len(PrivacyLedger(profile).entries()) == 1


def test_a_head_of_another_profile_is_no_head(profile: Profile) -> None:
    _append(profile, 1)
    with open_profile(profile.home, "other") as other:
        PrivacyLedger(other).set_budget(3.0)
        text = beside_key.kept(other.paths, "ledger.head")
    assert text is not None
    beside_key.keep(profile.paths, "ledger.head", text)
    with pytest.raises(DamagedDataError, match="beside the key"):
        PrivacyLedger(profile).spent()


def test_entries_of_two_writers_form_one_chain(profile: Profile) -> None:
    def write(number: int) -> None:
        for step in range(4):
            PrivacyLedger(profile).declare(f"work {number}.{step}", 0.01)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    ledger = PrivacyLedger(profile)
    assert len(ledger.entries()) == 12
    ledger.verify()


def test_a_reset_lets_the_budget_count_anew_and_forgets_nothing(
    profile: Profile, tmp_path: Path
) -> None:
    spent = _append(profile, 1)
    ledger = PrivacyLedger(profile)
    with pytest.raises(InvalidValueError, match="reason"):
        ledger.reset("pair", "  ")
    ledger.reset("pair", "All versions were deleted.")
    assert (ledger.spent(), ledger.history()) == (0.0, [])
    assert ledger.lifetime() >= spent - 0.02
    assert ledger.entries()[-1].note == "All versions were deleted."
    _backup(profile, tmp_path / "old.db")
    _append(profile, 2)
    _append(profile, 3)
    alone, life = ledger.spent(), ledger.lifetime()
    with _restored(profile, tmp_path / "old.db") as old:
        again = PrivacyLedger(old)
        assert alone - 0.02 <= again.spent() < life
        assert again.lifetime() == pytest.approx(life, rel=0.01)


def test_a_period_grants_the_budget_anew_and_the_lifetime_total_goes_on(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    june = 1_781_000_000.0  # 2026-06-09
    monkeypatch.setattr("xeno.privacy.ledger.time.time", lambda: june)
    ledger = PrivacyLedger(profile)
    ledger.set_budget(2.5, period="month")
    first = _append(profile, 1)
    with pytest.raises(BudgetError, match="monthly budget"):
        _append(profile, 2)
    monkeypatch.setattr("xeno.privacy.ledger.time.time", lambda: june + 31 * 86400)
    assert ledger.spent() == 0.0
    assert _append(profile, 3) > first
    assert ledger.spent() == pytest.approx(first, abs=0.02)
    assert ledger.lifetime() == pytest.approx(rdp.epsilon([RUN, RUN], DELTA), abs=0.02)
    monkeypatch.setattr("xeno.privacy.ledger.time.time", lambda: 0.0)  # a clock set back
    with pytest.raises(BudgetError):
        _append(profile, 4)
    assert [e.created for e in ledger.entries()] == sorted(e.created for e in ledger.entries())


@pytest.mark.parametrize(
    ("period", "start"),
    [("month", "2026-06-01"), ("quarter", "2026-04-01"), ("year", "2026-01-01")],
)
def test_periods_are_calendar_periods(period: str, start: str) -> None:
    import datetime

    found = period_start(period, 1_781_000_000.0)  # type: ignore[arg-type]
    assert (
        datetime.datetime.fromtimestamp(found, datetime.UTC).isoformat()
        == f"{start}T00:00:00+00:00"
    )


def test_the_entries_of_the_first_release_keep_their_hashes(profile: Profile) -> None:
    row = {
        "seq": 1,
        "kind": "run",
        "run_id": "run1",
        "unit": "pair",
        "mechanism": '{"sample_rate":1.0,"noise_multiplier":3.0,"steps":20}',
        "delta": 1e-05,
        "epsilon_alone": 7.0,
        "epsilon_total": 7.0,
        "version": "ab",
        "created": 1700000000.5,
        "previous_hash": "0" * 64,
        "hash": "",
        "budget": None,
        "accounts": None,
        "note": "",
    }
    text = (
        '{"created":1700000000.5,"delta":1e-05,"epsilon_alone":7.0,"epsilon_total":7.0,'
        '"mechanism":{"noise_multiplier":3.0,"sample_rate":1.0,"steps":20},'
        f'"previous_hash":"{"0" * 64}","run_id":"run1","seq":1,"unit":"pair","version":"ab"}}'
    )
    import hashlib

    assert from_row(row).computed_hash() == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE privacy_ledger SET note = 'other' WHERE seq = 2",
        "UPDATE privacy_ledger SET kind = 'round' WHERE seq = 1",
        "UPDATE privacy_ledger SET budget = replace(budget, '7', '70') WHERE seq = 3",
    ],
)
def test_what_is_new_in_an_entry_is_in_its_hash(profile: Profile, tampering: str) -> None:
    _append(profile, 1)
    ledger = PrivacyLedger(profile)
    ledger.reset("pair", "why not")
    ledger.set_budget(7.0)
    ledger.verify()
    with profile.db.transaction() as connection:
        connection.execute(tampering)
    with pytest.raises(DamagedDataError):
        ledger.verify()


def test_budgets_belong_to_a_unit_and_are_entries(profile: Profile) -> None:
    profile.set_setting("privacy_budget", {"epsilon": 5.0, "delta": 1e-6})  # the first release's
    ledger = PrivacyLedger(profile)
    assert ledger.budget() == (5.0, 1e-6)
    ledger.set_budget(9.0, unit="conversation", period="year")
    assert ledger.rules("conversation") == Budget(epsilon=9.0, period="year")
    assert ledger.budget() == (5.0, 1e-6)
    ledger.set_budget(9.0, unit="conversation", period="year")
    assert [entry.kind for entry in ledger.entries()] == ["budget"]


def test_a_declared_operation_counts_and_is_never_refused(profile: Profile) -> None:
    ledger = PrivacyLedger(profile)
    assert ledger.declare("count", 0.1).epsilon_total == pytest.approx(0.1)
    assert ledger.declare("mean", 0.1).epsilon_total == pytest.approx(0.2)
    for _ in range(58):
        ledger.declare("many", 0.1)
    assert 1.0 < ledger.spent() < 5.0, "many compose to less than their sum"
    ledger.set_budget(1.0)
    ledger.declare("more", 1.0)
    with pytest.raises(BudgetError):
        _append(profile, 1, Mechanism(sample_rate=1.0, noise_multiplier=1000.0, steps=1))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(epsilon=st.floats(0.01, 12.0))
def test_the_gaussian_of_an_operation_dominates_randomised_response(epsilon: float) -> None:
    import math

    mu = 1 / dominating_gaussian(epsilon).noise_multiplier
    for share in (0.0, 0.3, 0.7, 0.95):
        lower = share * epsilon
        lost = 0.5 * math.erfc(-(mu / 2 - lower / mu) / math.sqrt(2))
        lost -= math.exp(lower) * 0.5 * math.erfc((mu / 2 + lower / mu) / math.sqrt(2))
        response = (math.exp(epsilon) - math.exp(lower)) / (1 + math.exp(epsilon))
        assert lost >= response - 1e-9


_mechanisms: Callable[..., st.SearchStrategy[Mechanism]] = lambda rates: st.builds(  # noqa: E731
    Mechanism, sample_rate=rates, noise_multiplier=st.floats(0.6, 50), steps=st.integers(1, 200)
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    full=st.lists(_mechanisms(st.just(1.0)), max_size=5),
    sampled=st.lists(_mechanisms(st.floats(0.001, 0.9)), max_size=12),
)
def test_a_compact_account_is_small_and_costs_at_least_as_much(
    full: list[Mechanism], sampled: list[Mechanism]
) -> None:
    short = compact([*full, *sampled])
    assert len(short) <= 5
    assert sum(m.sample_rate == 1 for m in short) == bool(full)
    before, after = (rdp.rdp_epsilon(each, DELTA) for each in ([*full, *sampled], short))
    assert after >= before - 1e-9
    if not sampled and full:
        assert after <= before * 1.001 + 1e-6
    assert compact(short) == short


def test_the_ledger_is_the_same_in_csv_and_json(profile: Profile) -> None:
    _append(profile, 1)
    ledger = PrivacyLedger(profile)
    ledger.set_budget(9.0, period="year")
    ledger.reset("pair", 'a "quoted", reason')
    whole = json.loads(written(ledger, "json"))
    rows = list(csv.DictReader(io.StringIO(written(ledger, "csv"))))
    assert [account["unit"] for account in whole["accounts"]] == ["pair", "conversation", "client"]
    assert len(rows) == len(whole["entries"]) == 3
    for text, values in zip(rows, whole["entries"], strict=True):
        assert tuple(text) == tuple(values) == COLUMNS
        assert text == {k: "" if v is None else str(v) for k, v in values.items()}
