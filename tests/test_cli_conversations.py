"""Stored conversations and measurements from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_llama

from xeno.cli.main import main
from xeno.paths import Home
from xeno.performance.metrics import PerformanceTracker
from xeno.store.conversations import Conversations
from xeno.store.profile import open_profile
from xeno.workers.host_client import BASE_SETTING


@pytest.fixture
def talks(home: Home) -> tuple[str, str]:
    """Two conversations, about rice and about tea; their ids."""
    with open_profile(home) as profile:
        conversations, ids = Conversations(profile.db), []
        for question, reply in (
            ("How do I cook rice?", "Rinse it, then boil it for twelve minutes."),
            ("Which tea?", "Green tea: two minutes."),
        ):
            made = conversations.create(question)
            conversations.add_message(made.id, "user", question)
            conversations.add_message(made.id, "assistant", reply, system_prompt="Be kind.")
            ids.append(made.id)
    return ids[0], ids[1]


def result(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == status
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_conversations_are_listed_searched_and_shown(
    talks: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    listed = result(capsys, "conversations")["conversations"]
    assert [each["id"] for each in listed] == [talks[1], talks[0]]
    listed = result(capsys, "conversations", "list", "--search", "RINSE")["conversations"]
    assert [each["id"] for each in listed] == [talks[0]]
    found = result(capsys, "conversations", "search", "minutes")["messages"]
    assert [each["conversation"] for each in found] == [talks[1], talks[0]]
    assert result(capsys, "conversations", "search", "coffee")["messages"] == []
    shown = result(capsys, "conversations", "show", talks[1][:10])
    assert [turn["content"] for turn in shown["messages"]] == [
        "Which tea?",
        "Green tea: two minutes.",
    ]
    assert main(["conversations", "search", "twelve"]) == 0
    said = capsys.readouterr().out
    assert "twelve minutes" in said
    assert main(["conversations", "search", "coffee"]) == 0
    assert "No message holds it." in capsys.readouterr().out
    assert main(["conversations", "search", " "]) == 2
    assert main(["conversations", "show", "zzz"]) == 1
    assert "no single conversation" in capsys.readouterr().err


def test_a_conversation_is_exported_and_deleted(
    talks: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result(capsys, "conversations", "export", talks[0], str(tmp_path / "rice.md"))
    text = (tmp_path / "rice.md").read_text("utf-8")
    assert text.startswith("**You**\n\nHow do I cook rice?\n\n**Assistant**")
    result(capsys, "conversations", "export", talks[0], str(tmp_path / "rice.json"))
    turns = json.loads((tmp_path / "rice.json").read_text("utf-8"))
    assert [turn["role"] for turn in turns] == ["user", "assistant"]
    result(capsys, "conversations", "export", talks[0], str(tmp_path / "no" / "x.md"), status=1)
    assert result(capsys, "conversations", "delete", talks[0])["deleted"] == talks[0]
    assert len(result(capsys, "conversations")["conversations"]) == 1


def test_a_stored_reply_is_answered_again_and_the_better_one_chosen(
    home: Home,
    talks: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open_profile(home) as profile:
        profile.set_setting(BASE_SETTING, str(make_llama(tmp_path / "base")))
    again = result(
        capsys, "conversations", "regenerate", talks[0], "--max-tokens", "8",
        "--temperature", "0.7", "--seed", "3",
    )  # fmt: skip
    assert again["conversation"] == talks[0]
    with open_profile(home) as profile:
        turns = Conversations(profile.db).messages(talks[0], superseded=True)
    assert [turn.superseded for turn in turns] == [False, True, False]
    assert (turns[1].id, turns[2].id) == (again["earlier"], again["message"])
    chosen = result(capsys, "feedback", "choose", "earlier", "--message", again["message"])
    assert chosen["chosen"] == again["earlier"]
    shown = result(capsys, "conversations", "show", talks[0], "--all")["messages"]
    assert [turn["replaced"] for turn in shown] == [False, False, True]


def test_nothing_said_is_nothing_to_answer_again(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["conversations", "regenerate"]) == 1
    assert "Nothing was said yet" in capsys.readouterr().err


def test_performance_is_one_row_for_each_version(
    home: Home, talks: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with open_profile(home) as profile:
        tracker = PerformanceTracker(profile=profile)
        for value in (10.0, 30.0, 20.0):
            tracker.record_metric("base", "tokens_per_second", value)
    (row,) = result(capsys, "performance")["models"]
    assert (row["label"], row["replies"], row["tokens_per_second"]) == ("base", 2, 20.0)
    assert row["acceptance"] == 1.0
    assert main(["performance"]) == 0
    assert "100%" in capsys.readouterr().out
