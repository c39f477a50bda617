"""The privacy ledger: chained, composed, within its budget, written before the version."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from xeno.errors import BudgetError, DamagedDataError, InvalidValueError
from xeno.privacy.accountant import proved_epsilon
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.rdp import Mechanism
from xeno.store.profile import Profile

DELTA = 1e-5
RUN = Mechanism(sample_rate=1.0, noise_multiplier=3.0, steps=20)


def _append(ledger: PrivacyLedger, number: int, run: Mechanism = RUN) -> float:
    return ledger.append(f"run{number}", "pair", run, DELTA, f"{number:064x}").epsilon_total


def test_an_empty_ledger_has_spent_nothing_of_sixteen(profile: Profile) -> None:
    ledger = PrivacyLedger(profile)
    assert (ledger.spent(), ledger.entries(), ledger.budget()) == (0.0, [], (16.0, DELTA))


def test_entries_compose_and_are_not_added_up(profile: Profile) -> None:
    ledger = PrivacyLedger(profile)
    first, second = _append(ledger, 1), _append(ledger, 2)
    entries = ledger.entries()
    assert [entry.seq for entry in entries] == [1, 2]
    assert first == entries[0].epsilon_alone == entries[1].epsilon_alone
    assert first < second < 2 * first
    assert ledger.spent() == second == proved_epsilon([RUN, RUN], DELTA)
    assert entries[1].previous_hash == entries[0].hash
    found = ledger.entry_for(f"{2:064x}")
    assert found is not None
    assert found.run_id == "run2"
    assert ledger.entry_for("f" * 64) is None
    ledger.verify()


def test_units_have_accounts_of_their_own(profile: Profile) -> None:
    ledger = PrivacyLedger(profile)
    first = _append(ledger, 1)
    ledger.append("run2", "client", RUN, DELTA, "b" * 64)
    assert ledger.spent("pair") == ledger.spent("client") == first
    assert ledger.spent("conversation") == 0.0
    ledger.verify()


def test_what_exceeds_the_budget_is_refused_and_not_written(profile: Profile) -> None:
    ledger = PrivacyLedger(profile)
    ledger.set_budget(9.0)
    spent = _append(ledger, 1)
    with pytest.raises(BudgetError, match=r"lifetime budget of 9"):
        _append(ledger, 2)
    assert ledger.spent() == spent
    assert [entry.kind for entry in ledger.entries()] == ["budget", "run"]
    ledger.set_budget(12.0)
    assert 9.0 < _append(ledger, 2) <= 12.0


def test_a_budget_with_another_delta_is_held_at_its_own(profile: Profile) -> None:
    ledger = PrivacyLedger(profile)
    at_1e5 = _append(ledger, 1)
    ledger.set_budget(at_1e5, delta=1e-7)
    assert ledger.spent() > at_1e5
    with pytest.raises(BudgetError):
        _append(ledger, 2, Mechanism(sample_rate=1.0, noise_multiplier=100.0, steps=1))


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, DELTA), (-1.0, DELTA), (8.0, 0.5)])
def test_a_senseless_budget_is_refused(profile: Profile, epsilon: float, delta: float) -> None:
    with pytest.raises(InvalidValueError):
        PrivacyLedger(profile).set_budget(epsilon, delta)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE privacy_ledger SET epsilon_total = 0.5 WHERE seq = 2",
        """UPDATE privacy_ledger SET mechanism = replace(mechanism, '20', '2') WHERE seq = 1""",
        "DELETE FROM privacy_ledger WHERE seq = 1",
        "UPDATE privacy_ledger SET seq = 7 WHERE seq = 3",
    ],
)
def test_a_changed_or_missing_entry_is_found_and_blocks_the_next(
    profile: Profile, tampering: str
) -> None:
    ledger = PrivacyLedger(profile)
    small = Mechanism(sample_rate=1.0, noise_multiplier=30.0, steps=20)
    for number in (1, 2, 3):
        _append(ledger, number, small)
    with profile.db.transaction() as connection:
        connection.execute(tampering)
    with pytest.raises(DamagedDataError, match="ledger is damaged"):
        ledger.verify()
    with pytest.raises(DamagedDataError):
        _append(ledger, 4, small)


def test_nobody_waits_for_a_proof_and_what_came_meanwhile_is_counted(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, busy = PrivacyLedger(profile), [True]

    def slowly(mechanisms: Sequence[Mechanism], delta: float) -> float:
        if busy.pop() if busy else False:  # another process appends while this one proves
            other = threading.Thread(target=_append, args=(PrivacyLedger(profile), 1))
            other.start()
            other.join(20)
            assert not other.is_alive(), "the proof holds the write lock"
        return proved_epsilon(mechanisms, delta)

    monkeypatch.setattr("xeno.privacy.accountant.proved_epsilon", slowly)
    total = _append(ledger, 2)
    assert [entry.run_id for entry in ledger.entries()] == ["run1", "run2"]
    assert total == proved_epsilon([RUN, RUN], DELTA)
    ledger.verify()


def test_the_same_release_of_the_same_run_is_paid_for_once(profile: Profile) -> None:
    ledger = PrivacyLedger(profile)
    first, again = _append(ledger, 1), _append(ledger, 1)
    assert first == again
    assert len(ledger.entries()) == 1
    longer = RUN.model_copy(update={"steps": RUN.steps + 1})
    assert _append(ledger, 1, longer) > first
    assert len(ledger.entries()) == 2


def test_two_equal_stages_of_a_run_are_both_paid_for(profile: Profile) -> None:
    ledger, version = PrivacyLedger(profile), "a" * 64
    for _ in range(2):  # the second time after an interruption
        for stage in (1, 2):
            ledger.append("run", "pair", RUN, DELTA, version, stage=stage)
    assert len(ledger.entries()) == 2
    assert ledger.spent() == proved_epsilon([RUN, RUN], DELTA)
