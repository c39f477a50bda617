"""The states of a version: canary, promotion, falling back, and every step written down."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
from version_parts import passed, release

from xeno.errors import DamagedDataError, InvalidValueError
from xeno.store.profile import Profile
from xeno.versions import gate
from xeno.versions.deployment import Deployment
from xeno.versions.lifecycle import NEXT, STATE_WORDS, State, changes, move
from xeno.versions.registry import Registry, Version


@pytest.fixture
def deployment(profile: Profile) -> Deployment:
    """v1 answers, v2 and v3 passed the gate, v4 did not go through it."""
    for seed in range(1, 5):
        release(profile, seed)
    passed(profile, 1, 2, 3)
    found = Deployment(profile)
    found.deploy("v1")
    return found


def states(profile: Profile) -> list[State]:
    return [version.state for version in reversed(Registry(profile).all())]


def label(version: Version | None) -> str:
    return "base" if version is None else version.label


def damage(profile: Profile, ref: str) -> str:
    file = profile.paths.versions / f"{Registry(profile).get(ref).address}.xeno"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    return file.name


def test_every_state_has_words_and_a_way_out() -> None:
    assert NEXT.keys() == STATE_WORDS.keys() == set(get_args(State))
    assert all(NEXT.values())


def test_only_the_listed_steps_can_be_taken(profile: Profile) -> None:
    version = release(profile)
    for before, after in itertools.product(NEXT, NEXT):
        with profile.db.transaction() as connection:
            connection.execute("UPDATE versions SET state = ?", (before,))
        allowed = after == before or after in NEXT[before]
        try:
            with profile.db.transaction() as connection:
                move(connection, version.address, after)
        except InvalidValueError:
            assert not allowed, (before, after)
        else:
            assert allowed, (before, after)


def test_every_step_is_written_down_with_its_reason(
    deployment: Deployment, profile: Profile
) -> None:
    deployment.try_out("v2", "10 % of replies")
    deployment.promote("it was liked")
    deployment.rollback(reason="it was not, after all")
    address = Registry(profile).get("v2").address
    steps = [(each.previous, each.state, each.reason) for each in changes(profile.db, address)]
    assert steps == [
        ("candidate", "checked", "It passed the gate."),
        ("checked", "canary", "10 % of replies"),
        ("canary", "active", "it was liked"),
        ("active", "rolled_back", "it was not, after all"),
    ]


def test_a_canary_is_promoted_and_can_be_rolled_back(
    deployment: Deployment, profile: Profile
) -> None:
    assert deployment.try_out("v2").state == "canary"
    assert label(deployment.active()) == "v1"
    assert label(deployment.canary()) == "v2"
    assert deployment.promote().label == "v2"
    assert states(profile)[:2] == ["retired", "active"]
    assert deployment.history()[-1].action == "promote"
    assert deployment.canary() is None
    with pytest.raises(InvalidValueError, match="no canary"):
        deployment.promote()
    assert label(deployment.rollback()) == "v1"


def test_another_canary_takes_the_place_of_the_first(
    deployment: Deployment, profile: Profile
) -> None:
    deployment.try_out("v2")
    deployment.try_out("v3")
    assert states(profile) == ["active", "retired", "canary", "candidate"]


def test_rolling_back_ends_the_canary_first(deployment: Deployment, profile: Profile) -> None:
    deployment.try_out("v2")
    assert label(deployment.rollback()) == "v1"
    assert states(profile)[:2] == ["active", "rolled_back"]
    deployment.try_out("v3")
    assert deployment.rollback("base") is None
    assert states(profile)[:3] == ["rolled_back", "rolled_back", "rolled_back"]


def test_what_did_not_pass_the_gate_is_neither_deployed_nor_tried(
    deployment: Deployment, profile: Profile
) -> None:
    for change in (deployment.deploy, deployment.try_out, deployment.rollback):
        with pytest.raises(InvalidValueError, match="has not been through the gate"):
            change("v4")
    assert states(profile) == ["active", "checked", "checked", "candidate"]


def test_an_override_is_kept_and_never_lets_a_damaged_version_through(
    deployment: Deployment, profile: Profile
) -> None:
    assert label(deployment.deploy("v4", override="I know better")) == "v4"
    assert deployment.history()[-1].override == "I know better"
    reasons = [each.reason for each in changes(profile.db, Registry(profile).get("v4").address)]
    assert reasons == ["The user let it through: I know better", "I know better"]
    damage(profile, "v3")
    with pytest.raises(DamagedDataError):
        deployment.deploy("v3", override="I know better")
    assert label(deployment.active()) == "v4"


def test_a_report_that_says_no_keeps_a_version_from_being_deployed_again(
    deployment: Deployment, profile: Profile
) -> None:
    deployment.deploy("v2")
    no = gate.GateCheck(name="held-out preferences", passed=False, detail="It is worse.")
    gate.record(profile, Registry(profile).get("v1"), gate.GateReport.of([no], complete=True))
    assert states(profile)[0] == "retired", "what has served can still be gone back to"
    with pytest.raises(InvalidValueError, match="It is worse"):
        deployment.deploy("v1")
    assert label(deployment.rollback()) == "v1"


def test_what_answers_is_not_set_as_a_state(deployment: Deployment, profile: Profile) -> None:
    for ref, state in (("v1", "retired"), ("v1", "quarantined"), ("v2", "active")):
        with pytest.raises(InvalidValueError, match="not set as a state"):
            deployment.set_state(ref, state)  # type: ignore[arg-type]
    deployment.set_state("v2", "canary", "a trial")
    assert deployment.set_state("v2", "rolled_back", "worse").state == "rolled_back"
    assert label(deployment.active()) == "v1"


def test_a_damaged_active_version_gives_way_to_the_last_whole_one(
    deployment: Deployment, profile: Profile
) -> None:
    deployment.deploy("v2")
    deployment.deploy("v3")
    damage(profile, "v2")
    file = damage(profile, "v3")
    active = deployment.active()
    assert active is not None
    report = gate.check(profile, active)
    assert file in report.reason
    assert label(deployment.active()) == "v1"
    assert states(profile) == ["active", "retired", "quarantined", "candidate"]
    last = deployment.history()[-1]
    assert (last.action, last.address) == ("fallback", Registry(profile).get("v1").address)
    assert file in last.reason
    assert deployment.rollback() is None, "and from there one goes back to what was before it"
