"""Versions: addressed by content, sealed, signed; whatever was changed is found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from version_parts import BASE_HASH, CONFIG, PATHS, adapter, manifest_for, release

from xeno.errors import BudgetError, DamagedDataError, InvalidValueError, StorageFullError
from xeno.paths import Home
from xeno.store.profile import Profile, open_profile
from xeno.store.runs import Runs
from xeno.training.plan import TrainingPlan
from xeno.versions.adapter import AdapterConfig, module_paths, tensor_names
from xeno.versions.container import read_encrypted, write_encrypted
from xeno.versions.content import canonical_bytes, content_address, read_tensors
from xeno.versions.registry import Manifest, Registry

KEY = bytes(range(32))
ANY_FOLDER = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# The sealed file ------------------------------------------------------------------------------


@ANY_FOLDER
@given(
    size=st.sampled_from([0, 1, 65_535, 65_536, 65_537, 131_072, 200_000]),
    associated=st.binary(max_size=40),
)
def test_what_is_sealed_opens_again(tmp_path: Path, size: int, associated: bytes) -> None:
    content = bytes(number % 251 for number in range(size))
    write_encrypted(tmp_path / "sealed", content, KEY, associated)
    assert read_encrypted(tmp_path / "sealed", KEY, associated) == content
    if size:
        assert content[:64] not in (tmp_path / "sealed").read_bytes() or size < 16


@ANY_FOLDER
@given(data=st.data())
def test_any_changed_byte_is_found(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "sealed"
    write_encrypted(path, b"x" * 70_000, KEY, b"a")
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(DamagedDataError, match="sealed"):
        read_encrypted(path, KEY, b"a")


@ANY_FOLDER
@given(data=st.data())
def test_any_truncation_is_found(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "sealed"
    write_encrypted(path, b"x" * 70_000, KEY, b"a")
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(DamagedDataError, match="sealed"):
        read_encrypted(path, KEY, b"a")


def _chunks(content: bytes) -> list[bytes]:
    """The header (42 bytes) and the sealed chunks (64 KiB and a tag each)."""
    step = 65_536 + 16
    return [content[:42], *(content[at : at + step] for at in range(42, len(content), step))]


@pytest.mark.parametrize(
    "change",
    [
        lambda one, two: [one[0], one[2], one[1], one[3]],
        lambda one, two: one[:3],
        lambda one, two: [*one[:2], two[2], one[3]],
        lambda one, two: [two[0], *one[1:]],
        lambda one, two: [*one, one[3]],
        lambda one, two: [*one, b"x"],
        lambda one, two: [one[0], one[1], one[1], one[3]],
    ],
    ids=["reordered", "last gone", "from another file", "other head", "longer", "tail", "twice"],
)
def test_moved_chunks_are_found(
    tmp_path: Path, change: Callable[[list[bytes], list[bytes]], list[bytes]]
) -> None:
    parts = []
    for name in ("one", "two"):
        write_encrypted(tmp_path / name, b"x" * 150_000, KEY, b"a")
        parts.append(_chunks((tmp_path / name).read_bytes()))
    assert [len(each) for each in parts] == [4, 4]
    (tmp_path / "one").write_bytes(b"".join(change(*parts)))
    with pytest.raises(DamagedDataError):
        read_encrypted(tmp_path / "one", KEY, b"a")


def test_a_wrong_key_another_purpose_and_a_missing_file_are_found(tmp_path: Path) -> None:
    write_encrypted(tmp_path / "sealed", b"content", KEY, b"a")
    for name, key, associated in (
        ("sealed", bytes(32), b"a"),
        ("sealed", KEY, b"b"),
        ("missing", KEY, b"a"),
    ):
        with pytest.raises(DamagedDataError, match=name):
            read_encrypted(tmp_path / name, key, associated)


def test_the_same_content_is_never_sealed_to_the_same_bytes(tmp_path: Path) -> None:
    write_encrypted(tmp_path / "one", b"content", KEY, b"a")
    write_encrypted(tmp_path / "two", b"content", KEY, b"a")
    assert (tmp_path / "one").read_bytes()[42:] != (tmp_path / "two").read_bytes()[42:]


# Content addresses ----------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(4)), seed=st.integers(0, 3))
def test_an_address_depends_on_content_and_not_on_order(order: list[int], seed: int) -> None:
    tensors = adapter(seed)
    names = list(tensors)
    shuffled = {names[place]: tensors[names[place]] for place in order}
    address = content_address(tensors, CONFIG, BASE_HASH)
    assert content_address(shuffled, CONFIG, BASE_HASH) == address
    back = read_tensors(canonical_bytes(shuffled))
    assert content_address(back, CONFIG, BASE_HASH) == address
    turned = {name: each.T.contiguous().T for name, each in tensors.items()}
    assert content_address(turned, CONFIG, BASE_HASH) == address


def test_an_address_changes_with_each_of_its_parts() -> None:
    tensors = adapter()
    nudged = {name: each.clone() for name, each in tensors.items()}
    first = next(iter(nudged.values()))
    first[0, 0] = torch.nextafter(first[0, 0], torch.tensor(100.0))
    other = CONFIG.model_copy(update={"alpha": 9.0})
    addresses = {
        content_address(tensors, CONFIG, BASE_HASH),
        content_address(nudged, CONFIG, BASE_HASH),
        content_address(tensors, other, BASE_HASH),
        content_address(tensors, CONFIG, "c" * 64),
    }
    assert len(addresses) == 4


def test_tensors_that_are_no_adapter_are_named() -> None:
    down, up = tensor_names(PATHS[0])
    for names, reason in (
        ([], "no tensors"),
        ([down], "lora_B.weight is missing"),
        ([up], "lora_A.weight is missing"),
        (["lm_head.weight"], "not the name"),
        (tensor_names("model.layers.0.mlp.up_proj"), "not one of its target modules"),
    ):
        with pytest.raises(DamagedDataError, match=reason):
            module_paths(names, CONFIG)
    assert module_paths([up, down], CONFIG) == (PATHS[0],)


# Manifests ------------------------------------------------------------------------------------

HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
MANIFESTS = st.builds(
    Manifest,
    address=HASHES,
    base_hash=HASHES,
    base_name=st.text(max_size=20),
    adapter=st.builds(
        AdapterConfig,
        kind=st.sampled_from(["lora", "lora_b_only"]),
        rank=st.integers(1, 64),
        alpha=st.floats(0.1, 100),
        target_modules=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3).map(tuple),
    ),
    run_id=st.none() | st.text(max_size=10),
    plan=st.none() | st.builds(TrainingPlan, base=st.text(max_size=30), epsilon=st.floats(0.1, 9)),
    seed=st.integers(0, 2**31 - 1),
    data_hash=st.none() | HASHES,
    pair_ids=st.lists(st.text(max_size=10), max_size=5).map(tuple),
    parent=st.none() | HASHES,
    metrics=st.dictionaries(st.text(max_size=10), st.none() | st.floats(), max_size=4),
    private=st.booleans(),
    epsilon=st.none() | st.floats(0, 100),
    delta=st.none() | st.floats(0, 1),
    unit=st.sampled_from([None, "pair", "conversation", "client"]),
    mechanism=st.none()
    | st.dictionaries(st.text(max_size=8), FINITE | st.integers() | st.none(), max_size=3),
    environment=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    created=st.floats(0, 1e11),
)


@settings(max_examples=150, deadline=None)
@given(manifest=MANIFESTS)
def test_a_manifest_is_the_same_after_being_stored(manifest: Manifest) -> None:
    canonical = manifest.canonical()
    canonical.decode("ascii")
    again = Manifest.model_validate_json(canonical)
    assert again == manifest
    assert again.canonical() == canonical


def test_a_manifest_holds_no_path_of_the_machine() -> None:
    for base in ("/home/anna/models/tiny", "C:\\Users\\Anna\\models\\tiny", "tiny/"):
        manifest = manifest_for(adapter(), plan=TrainingPlan(base=base))
        assert manifest.plan is not None
        assert manifest.plan.base == "tiny"
        assert b"nna" not in manifest.canonical()


def test_metrics_that_are_no_numbers_are_stored_as_unknown() -> None:
    manifest = manifest_for(adapter(), metrics={"loss": float("nan"), "share": 0.5})
    assert manifest.metrics == {"loss": None, "share": 0.5}


# The registry ---------------------------------------------------------------------------------


def test_a_released_version_is_listed_and_loads_as_it_was(profile: Profile) -> None:
    tensors = adapter()
    registry = Registry(profile)
    version = registry.release(tensors, manifest_for(tensors, pair_ids=("p1", "p2")), "first")
    assert (version.label, version.state, version.description) == ("v1", "candidate", "first")
    loaded, same = registry.load("v1")
    assert same == version
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    (file,) = profile.paths.versions.iterdir()
    assert file.stat().st_size == version.bytes
    assert b"lora_A" not in file.read_bytes()


def test_the_same_content_is_the_same_version(profile: Profile) -> None:
    first = release(profile, 1)
    assert release(profile, 1).number == first.number
    assert release(profile, 2).number == first.number + 1
    assert [each.number for each in Registry(profile).all()] == [2, 1]


def test_a_version_is_found_by_number_label_and_address(profile: Profile) -> None:
    version, other = release(profile, 1), release(profile, 2)
    registry = Registry(profile)
    for ref in (1, "1", "v1", "V1", " v1 ", version.address, version.address[:6]):
        assert registry.get(ref).address == version.address
    for ref in ("v9", "", "abc", version.address[:5], "f" * 64, "base", "'; --"):
        with pytest.raises(InvalidValueError, match="no version") as raised:
            registry.get(ref)
        assert f"v2 ({other.address[:12]})" in raised.value.why


def test_an_ambiguous_address_is_not_guessed(profile: Profile) -> None:
    release(profile, 1)
    with profile.db.transaction() as connection:
        connection.execute("UPDATE versions SET address = 'abcdef' || substr(address, 7)")
        connection.execute(
            "INSERT INTO versions (model, number, major, minor, patch, address, base_hash, state, "
            "created, bytes, manifest, manifest_hash, signature) SELECT model, 2, 1, 1, 0, "
            "'abcdef' || substr(address, 1, 58), base_hash, state, created, bytes, manifest, "
            "manifest_hash, signature FROM versions"
        )
    with pytest.raises(InvalidValueError, match="more than one"):
        Registry(profile).get("abcdef")


def test_tensors_and_manifest_must_belong_together(profile: Profile) -> None:
    registry = Registry(profile)
    with pytest.raises(InvalidValueError, match="another content address"):
        registry.release(adapter(1), manifest_for(adapter(2)))
    with pytest.raises(InvalidValueError, match="no run"):
        registry.release(adapter(1), manifest_for(adapter(1), run_id="nowhere"))
    assert registry.all() == []
    assert not profile.paths.versions.exists()


def test_a_version_names_its_run(profile: Profile) -> None:
    run = Runs(profile.db).create(TrainingPlan(base="/models/tiny"))
    assert release(profile, run_id=run.id).run_id == run.id


def test_a_private_version_needs_its_entry_in_the_ledger(profile: Profile) -> None:
    guarantee: dict[str, Any] = {"private": True, "epsilon": 2.0, "delta": 1e-5, "unit": "pair"}
    with pytest.raises(BudgetError, match="not released"):
        release(profile, **guarantee)
    with pytest.raises(InvalidValueError, match="does not state the guarantee"):
        release(profile, private=True)
    assert Registry(profile).all() == []
    address = manifest_for(adapter()).address
    with profile.db.transaction() as connection:
        connection.execute(
            "INSERT INTO privacy_ledger (seq, kind, run_id, unit, mechanism, delta, epsilon_alone, "
            "epsilon_total, version, created, previous_hash, hash) "
            "VALUES (1, 'run', 'r', 'pair', ?, 1e-5, 2, 2, ?, 0, '', '')",
            ('{"sample_rate": 1.0, "noise_multiplier": 5.0, "steps": 20}', address),
        )
    assert release(profile, **guarantee).manifest.private


def test_a_deleted_version_can_be_restored_until_it_is_purged(profile: Profile) -> None:
    first, kept = release(profile, 1), release(profile, 2)
    registry = Registry(profile)
    registry.delete("v1")
    assert [each.address for each in registry.all()] == [kept.address]
    assert [each.address for each in registry.all(deleted=True)] == [first.address]
    with pytest.raises(InvalidValueError, match="no version"):
        registry.load("v1")
    assert registry.restore("v1") == first
    assert registry.load("v1")
    registry.delete("v1")
    registry.records.purge(first.address)
    assert [each.stem for each in profile.paths.versions.iterdir()] == [kept.address]
    with pytest.raises(InvalidValueError, match="no version"):
        registry.restore("v1")
    assert release(profile, 3).number == 3, "a number is never given twice"
    assert release(profile, 1) == first, "the same content is the same version"
    assert registry.load("v1")


def test_the_active_version_cannot_be_deleted(profile: Profile) -> None:
    version = release(profile)
    with profile.db.transaction() as connection:
        connection.execute("UPDATE versions SET state = 'active'")
    with pytest.raises(InvalidValueError, match="active version"):
        Registry(profile).delete(version.address)
    assert Registry(profile).load("v1")


def test_a_pair_leads_to_its_versions_and_their_descendants(profile: Profile) -> None:
    first = release(profile, 1, pair_ids=("p1", "p2"))
    child = release(profile, 2, pair_ids=("p3",), parent=first.address)
    grandchild = release(profile, 3, parent=child.address)
    release(profile, 4, pair_ids=("p3",))
    registry = Registry(profile)
    assert [each.number for each in registry.pair_versions("p1")] == [1, 2, 3]
    assert [each.number for each in registry.pair_versions("p3")] == [2, 3, 4]
    assert registry.pair_versions("unknown") == []
    assert grandchild.manifest.parent == child.address


# Tampering and crashes ------------------------------------------------------------------------


def test_a_changed_swapped_cut_or_missing_file_is_found(profile: Profile) -> None:
    one, two = release(profile, 1), release(profile, 2)
    registry = Registry(profile)
    files = [profile.paths.versions / f"{each.address}.xeno" for each in (one, two)]
    originals = [each.read_bytes() for each in files]
    for spoiled in (originals[1], originals[0][:-1], b"", originals[0] + b"x", None):
        files[0].unlink()
        if spoiled is not None:
            files[0].write_bytes(spoiled)
        else:
            files[0].symlink_to("nowhere")
        with pytest.raises(DamagedDataError, match=one.address):
            registry.load("v1")
    assert registry.load("v2")
    files[0].unlink()
    release(profile, 1)
    assert registry.load("v1")[1] == one, "releasing again did not mend the file"


def test_a_file_of_another_profile_does_not_open(profile: Profile, home: Home) -> None:
    version = release(profile, 1)
    with open_profile(home, "other") as other:
        release(other, 1)
        theirs = other.paths.versions / f"{version.address}.xeno"
        theirs.write_bytes((profile.paths.versions / f"{version.address}.xeno").read_bytes())
        with pytest.raises(DamagedDataError):
            Registry(other).load("v1")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (
            "UPDATE versions SET manifest = replace(manifest, 'tiny', 'tidy')",
            "manifest was changed",
        ),
        ("UPDATE versions SET manifest = 'x'", "cannot be read"),
        ("UPDATE versions SET manifest_hash = substr(manifest_hash, 2) || '0'", "manifest was"),
        ("UPDATE versions SET signature = substr(signature, 3) || '00'", "signature"),
        ("UPDATE versions SET signature = 'no hex'", "signature"),
        ("UPDATE versions SET base_hash = 'other'", "another version's"),
    ],
)
def test_a_changed_row_is_found(profile: Profile, statement: str, reason: str) -> None:
    release(profile)
    with profile.db.transaction() as connection:
        connection.execute(statement)
    with pytest.raises(DamagedDataError, match=reason):
        Registry(profile).load(1)


def test_a_manifest_signed_for_another_version_is_found(profile: Profile) -> None:
    release(profile, 1)
    release(profile, 2)
    with profile.db.transaction() as connection:
        connection.execute(
            "UPDATE versions SET (manifest, manifest_hash, signature) = "
            "(SELECT manifest, manifest_hash, signature FROM versions WHERE number = 2)"
        )
    with pytest.raises(DamagedDataError, match="another version's"):
        Registry(profile).load(1)


KILLED = """
import os, sys
sys.path.insert(0, {tests!r})
from xeno.paths import Home
from xeno.store.profile import open_profile
from xeno.versions import records, registry
from version_parts import release
profile = open_profile(Home.at({home!r}))
{before}
release(profile, 1)
"""


def _run_killed(home: Home, before: str) -> None:
    script = KILLED.format(tests=str(Path(__file__).parent), home=str(home.folder), before=before)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr


@pytest.mark.parametrize(
    "before",
    [
        "records.write_encrypted = lambda *_: os._exit(9)",
        "records.sign = lambda *_: os._exit(9)",
    ],
    ids=["before the file", "between file and row"],
)
def test_a_process_killed_while_releasing_leaves_no_version(
    profile: Profile, home: Home, before: str
) -> None:
    _run_killed(home, before)
    assert Registry(profile).all() == []
    version = release(profile, 1)
    assert Registry(profile).load(version.address)


def test_a_process_killed_while_purging_leaves_a_version_that_can_be_purged(
    profile: Profile, home: Home
) -> None:
    version = release(profile, 1)
    _run_killed(
        home,
        "from pathlib import Path\n"
        "unlink = Path.unlink\n"
        "def dies(path, missing_ok=False):\n"
        "    unlink(path, missing_ok=missing_ok)\n"
        "    os._exit(9)\n"
        "Path.unlink = dies\n"
        "registry.Registry(profile).delete('v1')\n"
        f"registry.Registry(profile).records.purge('{version.address}')",
    )
    registry = Registry(profile)
    assert list(profile.paths.versions.iterdir()) == []
    assert registry.all() == []
    assert [each.address for each in registry.all(deleted=True)] == [version.address]
    registry.records.purge(version.address)
    assert registry.all(deleted=True) == []


def test_a_file_that_cannot_be_read_now_is_not_called_damaged(profile: Profile) -> None:
    version = release(profile)
    path = Registry(profile).records.file(version.address)
    path.unlink()
    path.mkdir()  # the system refuses to read it, as it would a file without permission
    with pytest.raises(StorageFullError, match="could not be read"):
        Registry(profile).load(version.address)
