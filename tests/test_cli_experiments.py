"""`xeno canary`, `promote`, `stats`, `ab` and `performance`, as scripts use them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from version_parts import passed, release

from xeno.cli.main import main
from xeno.paths import Home
from xeno.performance.metrics import PerformanceTracker
from xeno.store.profile import open_profile
from xeno.versions.deployment import Deployment


@pytest.fixture
def versions(home: Home) -> list[str]:
    """v1 answers, v2 passed the gate."""
    with open_profile(home) as profile:
        made = [release(profile, seed).address for seed in (1, 2)]
        passed(profile, *made)
        Deployment(profile).deploy("v1")
    return made


def asked(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    """Run a command with --json; what it found."""
    assert main([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_canary_is_started_watched_and_promoted(
    versions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(capsys, "canary")["canary"] is None
    found = asked(capsys, "canary", "v2", "--traffic", "10", "--max-memory", "4")["canary"]
    assert (found["address"], found["traffic"], found["label"]) == (versions[1], 0.1, "v2")
    assert found["limits"]["memory_bytes"] == 4e9
    assert main(["stats"]) == 0
    said = capsys.readouterr().out
    assert "v2 answers in 10 % of the conversations." in said
    assert "Taken back at over 15% errors, 5 s per reply, 4 GB" in said
    assert asked(capsys, "promote", "--reason", "Good.")["label"] == "v2"
    decisions = asked(capsys, "stats")["decisions"]
    assert [each["action"] for each in decisions] == ["promoted", "started"]
    assert asked(capsys, "promote", status=1)["error"]["what"] == "There is no canary to promote."


@pytest.mark.parametrize(
    "arguments",
    [("canary", "v9"), ("canary", "v2", "--traffic", "0"), ("canary", "v1"), ("ab", "show", "x")],
)
def test_what_cannot_be_tried_is_refused_with_a_reason(
    versions: list[str], capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert asked(capsys, *arguments, status=1)["error"]["what"]


def test_a_rollback_ends_the_canary(
    versions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked(capsys, "canary", "v2")
    assert main(["rollback"]) == 0
    capsys.readouterr()
    found = asked(capsys, "stats")
    assert found["canary"] is None
    assert found["decisions"][0]["action"] == "rolled_back"


def test_a_test_is_created_shown_and_ended(
    versions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked(capsys, "ab", "create", "style", "v1", "v2", "--metrics", "rating")
    assert [each["name"] for each in asked(capsys, "ab")["tests"]] == ["style"]
    assert asked(capsys, "canary", "v2", status=1)["error"]["why"].startswith("The test 'style'")
    assert main(["ab", "show", "style"]) == 0
    assert "not enough evidence" in capsys.readouterr().out
    ended = asked(capsys, "ab", "end", "style", "--winner", "b")
    assert (ended["status"], ended["winner"]) == ("ended", "variant_b")


def test_measurements_are_shown_and_exported(
    home: Home, versions: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with open_profile(home) as profile:
        tracker = PerformanceTracker(profile=profile)
        for place in range(40):
            tracker.record_metric(versions[0], "tokens_per_second", 90 - place)
    (row,) = asked(capsys, "performance")["models"]
    assert (row["label"], row["tokens_per_second"]) == ("v1", 70.5)
    metric = asked(capsys, "performance", "metric", "v1", "tokens_per_second")
    assert (metric["count"], metric["trend"]) == (40, "degrading")
    (alert,) = asked(capsys, "performance", "alerts", "--dismiss")["alerts"]
    assert alert["metric"] == "tokens_per_second"
    assert asked(capsys, "performance")["alerts"] == 0
    path = tmp_path / "numbers.csv"
    assert asked(capsys, "performance", "export", str(path))["measurements"] == 40
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["label"], rows[0]["metric"], rows[0]["value"]) == (
        "v1",
        "tokens_per_second",
        "90.0",
    )
    refused = asked(capsys, "performance", "export", str(tmp_path / "numbers.txt"), status=1)
    assert "CSV or JSON" in refused["error"]["why"]
