"""`xeno pairs` and `xeno bench asking`, as a script uses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from xeno.cli.main import main
from xeno.paths import Home

PAIRS = [
    {"prompt": "Tea?", "chosen": "Tea is the one to take.", "rejected": "Coffee, of course."},
    {"prompt": "Tea?", "chosen": "Coffee, of course.", "rejected": "Tea is the one to take."},
    {"prompt": "Who?", "chosen": "Ask jane.doe@example.org.", "rejected": "Nobody knows that."},
]


@pytest.fixture
def home_with_pairs(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(pair) for pair in PAIRS), encoding="utf-8")
    assert main(["import", str(file)]) == 0
    capsys.readouterr()
    return home


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == status
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


@pytest.mark.usefixtures("home_with_pairs")
def test_the_doctor_reports_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    report = said(capsys, "pairs", "doctor")
    assert report["findings"] == {"contradiction": 2, "personal_data": 1}
    assert said(capsys, "pairs", "list")["ready"] == 3
    found = said(capsys, "pairs", "list", "--finding", "contradiction", "--sort", "score")
    assert [pair["prompt"][-1]["content"] for pair in found["pairs"]] == ["Tea?", "Tea?"]
    assert found["unexamined"] == 0


@pytest.mark.usefixtures("home_with_pairs")
def test_pairs_are_redacted_and_that_is_undone(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "pairs", "doctor")
    done = said(capsys, "pairs", "redact", "--finding", "personal_data")
    (pair,) = done["redacted"]
    assert said(capsys, "pairs", "show", pair[:10])["chosen"] == "Ask [email]."
    assert said(capsys, "pairs", "undo")["edit"]["action"] == "redact"
    assert said(capsys, "pairs", "show", pair)["chosen"] == PAIRS[2]["chosen"]
    assert said(capsys, "pairs", "redo")["edit"]["pairs"] == 1
    assert said(capsys, "pairs", "history", "--forget")["forgotten"] == 1
    assert said(capsys, "pairs", "undo")["edit"] is None


@pytest.mark.usefixtures("home_with_pairs")
def test_pairs_are_switched_weighed_edited_and_compared(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = said(capsys, "pairs", "list", "--search", "Who")["pairs"][0]["id"]
    assert said(capsys, "pairs", "deactivate", "--all")["changed"] == 3
    assert said(capsys, "pairs", "activate", first)["changed"] == 1
    assert said(capsys, "pairs", "list", "--active")["found"] == 1
    assert said(capsys, "pairs", "weight", "2.5", first)["weight"] == 2.5
    assert said(capsys, "pairs", "edit", first, "--chosen", "Nobody here.")["weight"] == 2.5
    pieces = said(capsys, "pairs", "diff", first)["pieces"]
    assert "".join(p["text"] for p in pieces if p["kind"] != "removed") == "Nobody here."
    assert main(["pairs", "diff", first]) == 0
    assert capsys.readouterr().out == "Nobody [-knows that-]{+here+}.\n"
    assert said(capsys, "pairs", "delete", first)["deleted"] == 1
    assert said(capsys, "pairs", "list")["total"] == 2


@pytest.mark.usefixtures("home_with_pairs")
def test_nothing_happens_to_all_pairs_by_leaving_them_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["pairs", "delete"]) == 2
    assert main(["pairs", "redact", "--finding", "nonsense"]) == 2
    assert "no finding" in capsys.readouterr().err
    assert said(capsys, "pairs", "list")["total"] == 3
    with_date = said(capsys, "pairs", "list", "--since", "2020-01-31", "--until", "2020-02-01")
    assert with_date["found"] == 0
