"""Versions from the command line: listing, naming, tracing, deleting, deploying all the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from version_parts import passed, release

from xeno.cli.main import main
from xeno.store.profile import Profile
from xeno.versions.control import ModelVersionControl

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def family(profile: Profile) -> Profile:
    """v2 continued v1 and learned from p2; both passed the gate, v3 did not go through it."""
    first = release(profile, 1, pair_ids=("p1",))
    release(profile, 2, pair_ids=("p2",), parent=first.address)
    release(profile, 3)
    passed(profile, 1, 2)
    return profile


def run(capture: Capture, *arguments: str) -> dict[str, Any]:
    """The object that a command prints with --json."""
    assert main([*arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capture.readouterr().out.splitlines()[-1])
    return found


def test_versions_are_listed_tagged_and_described(family: Profile, capsys: Capture) -> None:
    run(capsys, "versions", "tag", "v2", "best")
    run(capsys, "versions", "describe", "best", "brief answers")
    listed = run(capsys, "list")["versions"]
    assert [each["label"] for each in listed] == ["v3", "v2", "v1"]
    assert (listed[1]["semantic"], listed[1]["tags"]) == ("v1.1.0", ["best"])
    assert listed[1]["description"] == "brief answers"
    assert run(capsys, "versions", "show", "v1.1.0")["history"][0]["state"] == "checked"
    run(capsys, "versions", "untag", "best")
    assert main(["versions", "show", "best"]) == 1
    main(["versions"])
    assert "v1.1.0" in capsys.readouterr().out


def test_lineage_is_told_of_a_version_of_a_pair_and_as_a_tree(
    family: Profile, capsys: Capture
) -> None:
    of_two = run(capsys, "versions", "lineage", "v2")
    assert (len(of_two["ancestors"]), of_two["pair_ids"]) == (1, ["p2"])
    found = run(capsys, "versions", "lineage", "--pair", "p1")["versions"]
    assert [each["label"] for each in found] == ["v1", "v2"]
    assert main(["versions", "lineage"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("   v2 (v1.1.0)")
    assert lines[2].startswith("v3")


def test_deleting_is_undone_and_takes_room_until_it_is_purged(
    family: Profile, capsys: Capture
) -> None:
    run(capsys, "versions", "delete", "v3")
    assert [v["label"] for v in run(capsys, "versions", "list", "--deleted")["versions"]] == ["v3"]
    [room] = run(capsys, "versions", "space")["models"]
    assert (room["versions"], room["deleted"]) == (2, 1)
    assert room["deleted_bytes"] > 0
    run(capsys, "versions", "restore", "v3")
    assert len(run(capsys, "versions")["versions"]) == 3
    release(family, 4)
    assert run(capsys, "versions", "prune", "--keep", "3", "--dry-run")["labels"] == ["v1"]
    assert len(run(capsys, "versions")["versions"]) == 4
    assert run(capsys, "versions", "prune", "--keep", "3")["labels"] == ["v1"]
    assert main(["versions", "prune", "--keep", "2"]) == 1


def test_an_override_and_a_rollback_are_seen_in_what_answers_now(
    family: Profile, capsys: Capture
) -> None:
    run(capsys, "deploy", "v3", "--override", "only to try")
    now = run(capsys, "current")
    assert (now["label"], now["action"], now["override"]) == ("v3", "deploy", "only to try")
    assert run(capsys, "rollback", "v1.0.0")["label"] == "v1"
    assert run(capsys, "rollback", "--reason", "enough")["label"] == "base"
    assert run(capsys, "current")["reason"] == "enough"
    assert main(["rollback"]) == 1
    assert "nothing to roll back" in capsys.readouterr().err
    assert main(["deploy", "base", "--dry-run"]) == 1


def test_other_models_are_reached_by_their_name(family: Profile, capsys: Capture) -> None:
    with ModelVersionControl(profile=family) as control:
        control.create_version("spam_filter", b"one", metrics={"accuracy": 0.9})
        control.create_version("spam_filter", b"two", metrics={"accuracy": 0.8})
    found = run(capsys, "versions", "list", "--model", "spam_filter")
    assert [each["semantic"] for each in found["versions"]] == ["v1.1.0", "v1.0.0"]
    assert found["active"] == found["versions"][0]["address"]
    run(capsys, "versions", "tag", "v1", "first", "--model", "spam_filter")
    assert main(["versions", "delete", "v2", "--model", "spam_filter"]) == 1
    models = run(capsys, "versions", "space")["models"]
    assert [each["model"] for each in models] == ["assistant", "spam_filter"]
