"""What is kept of old versions, and where versions come from."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from version_parts import passed, release

from xeno.errors import InvalidValueError
from xeno.store.profile import Profile
from xeno.versions.deployment import Deployment
from xeno.versions.lineage import ancestors, descendants, pairs_behind, pairs_of, tree
from xeno.versions.registry import Registry, Version
from xeno.versions.retention import UNDO_SECONDS, Retention, purge_expired


@pytest.fixture
def family(profile: Profile) -> list[Version]:
    """v2 and v3 continued v1, v4 continued v3; v5 to v8 began anew."""
    one = release(profile, 1, pair_ids=("p1", "p2"))
    two = release(profile, 2, parent=one.address, pair_ids=("p3",))
    three = release(profile, 3, parent=one.address, pair_ids=("p4",))
    four = release(profile, 4, parent=three.address)
    return [one, two, three, four, *(release(profile, seed) for seed in range(5, 9))]


def labels(profile: Profile) -> list[int]:
    return sorted(version.number for version in Registry(profile).all())


def test_pruning_spares_the_newest_the_active_its_parent_and_the_tagged(
    profile: Profile, family: list[Version]
) -> None:
    passed(profile, 4)
    Deployment(profile).deploy("v4")
    Registry(profile).records.tag("v2", "best")
    gone = Retention(profile).prune(3)
    assert [row["number"] for row in gone] == [1, 5]
    assert labels(profile) == [2, 3, 4, 6, 7, 8]
    assert Retention(profile).prune(3) == []
    with pytest.raises(InvalidValueError, match="too few"):
        Retention(profile).prune(2)
    Registry(profile).restore("v5")
    assert labels(profile) == [2, 3, 4, 5, 6, 7, 8]


def test_a_canary_and_what_it_continued_are_spared(profile: Profile, family: list[Version]) -> None:
    passed(profile, 2)
    Deployment(profile).try_out("v2")
    Retention(profile).prune(3)
    assert labels(profile) == [1, 2, 6, 7, 8]
    with pytest.raises(InvalidValueError, match="in use"):
        Registry(profile).delete("v2")


def test_a_delete_can_be_undone_for_seven_days(profile: Profile, family: list[Version]) -> None:
    before = Retention(profile).space()
    Registry(profile).delete("v5")
    now = time.time()
    assert Retention(profile).purge_expired(now + UNDO_SECONDS - 60) == 0
    waiting = Retention(profile).space()
    assert (waiting.versions, waiting.deleted) == (7, 1)
    assert waiting.bytes + waiting.deleted_bytes == before.bytes
    assert Registry(profile).restore("v5") == family[4]
    Registry(profile).delete("v5")
    assert Retention(profile).purge_expired(now + UNDO_SECONDS + 60) == 1
    assert Retention(profile).space().deleted == 0
    assert not (profile.paths.versions / f"{family[4].address}.xeno").exists()
    with pytest.raises(InvalidValueError, match="no version"):
        Registry(profile).restore("v5")


def test_the_next_release_takes_expired_files_away(profile: Profile) -> None:
    old = release(profile, 1)
    Registry(profile).delete("v1")
    with profile.db.transaction() as connection:
        connection.execute("UPDATE versions SET deleted = deleted - ?", (UNDO_SECONDS + 1,))
    release(profile, 2)
    assert not (profile.paths.versions / f"{old.address}.xeno").exists()
    assert purge_expired(profile) == 0


def test_lineage_goes_up_and_down_and_to_the_pairs(profile: Profile, family: list[Version]) -> None:
    one, two, three, four = family[:4]
    assert ancestors(profile.db, four.address) == [three.address, one.address]
    assert descendants(profile.db, one.address) == [two.address, three.address, four.address]
    assert pairs_of(profile.db, four.address) == set()
    assert pairs_behind(profile.db, four.address) == {"p1", "p2", "p4"}
    branches = [(each.version.number, each.depth) for each in tree(Registry(profile).all())]
    assert branches[:4] == [(1, 0), (2, 1), (3, 1), (4, 2)]
    assert [depth for _, depth in branches[4:]] == [0, 0, 0, 0]


def test_a_pair_leads_past_a_purged_version_to_what_came_from_it(
    profile: Profile, family: list[Version]
) -> None:
    registry = Registry(profile)
    registry.delete("v3")
    registry.records.purge(family[2].address)
    assert [version.number for version in registry.pair_versions("p4")] == [4]
    assert pairs_behind(profile.db, family[3].address) == {"p1", "p2", "p4"}
    assert [each.version.number for each in tree(registry.all())][:3] == [1, 2, 4]


def test_a_deleted_file_that_cannot_be_removed_keeps_nothing_from_being_released(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = [release(profile, seed=seed).address for seed in range(4)]
    Registry(profile).records.delete(addresses[0])
    later = time.time() + 8 * 24 * 3600
    monkeypatch.setattr("xeno.versions.retention.time.time", lambda: later)
    unlink = Path.unlink

    def held_open(path: Path, missing_ok: bool = False) -> None:
        if path == Registry(profile).records.file(addresses[0]):
            raise PermissionError(13, "held open by another program")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", held_open)
    released = release(profile, seed=9)
    assert released.address in {version.address for version in Registry(profile).all()}
    assert [v.address for v in Registry(profile).all(deleted=True)] == [addresses[0]]
