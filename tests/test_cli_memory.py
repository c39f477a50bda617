"""`xeno memory` and `xeno intents`, as scripts use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from xeno.cli.main import main
from xeno.paths import Home


def asked(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    """Run a command with --json; what it found."""
    assert main([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_memory_is_stored_brought_edited_and_forgotten(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    fact = asked(capsys, "memory", "fact", "preferences", "favorite_language", "Python")
    asked(capsys, "memory", "episode", "meeting", "Planned the release with Sarah")
    flow = asked(capsys, "memory", "workflow", "morning routine", "Check email", "Make tea")
    assert asked(capsys, "memory")["total"] == 3
    assert asked(capsys, "memory", "list", "--kind", "episode")["memories"][0]["topic"] == "meeting"
    brought = asked(capsys, "memory", "for", "Which language do I like?")
    assert brought["prompt"].endswith("- preferences, favorite language: Python")
    assert [m["id"] for m in brought["memories"]] == [fact["id"]]

    edited = asked(capsys, "memory", "edit", str(flow["id"]), "Make tea", "--importance", "1")
    assert (edited["content"], edited["importance"]) == (["Make tea"], 1.0)
    assert asked(capsys, "memory", "pin", str(flow["id"]))["pinned"] is True
    assert "tea" in asked(capsys, "memory", "for", "How do I cook rice?")["prompt"]
    asked(capsys, "memory", "unpin", str(flow["id"]))
    shown = asked(capsys, "memory", "show", str(flow["id"]))
    assert (shown["pinned"], shown["replies"]) == (False, [])

    assert asked(capsys, "memory", "off")["enabled"] is False
    assert asked(capsys, "memory", "for", "Which language?")["prompt"] == ""
    asked(capsys, "memory", "on")
    assert asked(capsys, "memory", "budget", "10")["budget"] == 10
    assert asked(capsys, "memory", "for", "Which language?")["prompt"] == ""
    assert "error" in asked(capsys, "memory", "budget", "-5", status=1)

    would = asked(capsys, "memory", "forget", "sarah", "--dry-run")["forgotten"]
    assert [m["topic"] for m in would] == ["meeting"]
    assert asked(capsys, "memory", "list")["total"] == 3
    asked(capsys, "memory", "forget", "sarah")
    asked(capsys, "memory", "delete", str(fact["id"]))
    assert asked(capsys, "memory", "list")["total"] == 1
    assert "error" in asked(capsys, "memory", "show", "99", status=1)


def test_intents_are_loaded_trained_predicted_and_answered(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "examples.csv"
    rows = [f"Play {x} {n},music" for x in ("jazz", "rock") for n in range(20)]
    rows += [f"How is the weather in {x} {n},weather" for x in ("Rome", "Oslo") for n in range(20)]
    table.write_text("\n".join(["question,category", *rows, ",empty"]), encoding="utf-8")
    assert "error" in asked(capsys, "intents", "load", str(table), status=1)
    columns = ("--text", "question", "--intent", "category")
    loaded = asked(capsys, "intents", "load", str(table), *columns)
    assert loaded == {"added": 80, "without_text": 1}
    assert "error" in asked(capsys, "intents", "predict", "Play jazz", status=1)
    trained = asked(capsys, "intents", "train")
    assert (trained["success"], trained["examples_used"]) == (True, 80)
    assert asked(capsys, "intents", "predict", "Play jazz 7")["intent"] == "music"
    asked(capsys, "intents", "template", "weather", "Sunny in {place}.")
    answer = asked(
        capsys, "intents", "reply", "How is the weather in Rome 3", "--slot", "place=Rome"
    )
    assert answer == {"intent": "weather", "reply": "Sunny in Rome."}
    assert asked(capsys, "intents", "reply", "Play jazz 7", status=1)["reply"] is None

    added = asked(capsys, "intents", "add", "Stop the music", "stop", "--rating", "5")
    assert asked(capsys, "intents", "name", str(added["id"]), "pause")["before"] == "stop"
    listed = asked(capsys, "intents", "examples", "--search", "STOP")
    assert [e["intent"] for e in listed["examples"]] == ["pause"]
    asked(capsys, "intents", "delete", str(added["id"]))
    state = asked(capsys, "intents")
    assert state["intents"] == {"music": 40, "weather": 40}
    assert state["last_fit"]["examples_used"] == 80
    assert asked(capsys, "intents", "manual")["automatic"] is False
    assert "error" in asked(capsys, "intents", "encoder", str(tmp_path), status=1)
    assert asked(capsys, "intents", "encoder", "none")["encoder"] is None


def test_too_few_examples_are_a_failure_with_its_reason(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    asked(capsys, "intents", "add", "Play jazz", "music")
    refused = asked(capsys, "intents", "train", status=1)
    assert refused["success"] is False
    assert "50" in refused["error"]
