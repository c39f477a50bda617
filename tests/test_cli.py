"""The command line: what scripts rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xeno.cli import output as printing
from xeno.cli.main import main
from xeno.paths import Home
from xeno.store.conversations import Conversations
from xeno.store.pairs import Pairs
from xeno.store.profile import open_profile
from xeno.words import count

ROOT = Path(__file__).parents[1]
PAIR = {"prompt": "How do I cook rice?", "chosen": "- Rinse it.", "rejected": "Well, first of all."}


def xeno(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """The program itself, without a terminal; a hang fails after a minute."""
    command = [sys.executable, "-m", "xeno.cli.main", *arguments]
    source = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, **source)


def last_object(text: str) -> dict[str, Any]:
    return json.loads(text.splitlines()[-1])


def with_reply(home: Home) -> str:
    """A conversation with one reply; the reply's id."""
    with open_profile(home) as profile:
        conversations = Conversations(profile.db)
        conversation = conversations.create("Rice")
        conversations.add_message(conversation.id, "user", "How do I cook rice?")
        reply = conversations.add_message(
            conversation.id, "assistant", "Rinse the rice, then boil it.", system_prompt="Be kind."
        )
        return reply.id


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    program = (
        "import sys, xeno.cli.main; xeno.cli.main.parser()\n"
        "heavy = {'torch', 'transformers', 'peft', 'opacus', 'trl', 'PyQt6'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_global_options_stand_before_or_after_the_command(home: Home, tmp_path: Path) -> None:
    elsewhere = str(tmp_path / "elsewhere")
    before = xeno("--json", "--home", elsewhere, "--profile", "ann", "status")
    after = xeno("status", "--profile", "ann", "--home", elsewhere, "--json")
    nested = xeno("--home", elsewhere, "privacy", "status", "--json", "--profile", "ann")
    assert before.returncode == after.returncode == nested.returncode == 0, before.stderr
    assert last_object(before.stdout) == last_object(after.stdout)
    assert last_object(after.stdout)["home"] == elsewhere
    assert last_object(after.stdout)["profile"] == "ann"
    assert not home.folder.exists()


def test_json_is_one_object_on_one_line(home: Home) -> None:
    done = xeno("status", "--json")
    assert len(done.stdout.splitlines()) == 1
    assert last_object(done.stdout)["pairs"] == 0


def test_status_says_plainly_that_a_key_file_protects_less(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == 0
    assert "protects less" in capsys.readouterr().out


def test_failures_give_what_why_and_next_and_status_1(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prefs", "set", "tone", "angry", "--json"]) == 1
    captured = capsys.readouterr()
    assert "'angry' is not a value" in captured.err
    assert "why:" in captured.err
    assert "next:" in captured.err
    assert "angry" in last_object(captured.out)["error"]["what"]


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["deploy"], ["feedback", "rate", "7"], ["status", "--unknown"], ["chat"]],
)
def test_wrong_usage_is_status_2(home: Home, arguments: list[str]) -> None:
    assert xeno(*arguments).returncode == 2


def test_a_bug_of_ours_is_shown_as_one(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(printing.Output, "table", broken)
    assert main(["prefs"]) == 1
    assert "inside XENO" in capsys.readouterr().err


def test_without_a_terminal_nothing_waits_for_an_answer(home: Home) -> None:
    assert xeno("chat").returncode == 2
    assert xeno("status").returncode == 0


def test_a_passphrase_comes_from_stdin_and_protects_the_profile(home: Home) -> None:
    made = xeno("status", "--passphrase-stdin", "--json", stdin="open sesame\n")
    assert last_object(made.stdout)["protection"] == "passphrase"
    assert xeno("status", "--passphrase-stdin", stdin="open sesame\n").returncode == 0
    wrong = xeno("status", "--passphrase-stdin", stdin="open barley\n")
    assert wrong.returncode == 1
    assert "not right" in wrong.stderr
    unasked = xeno("status")
    assert unasked.returncode == 1
    assert "nobody to ask" in unasked.stderr
    assert xeno("status", "--passphrase-stdin", stdin="").returncode == 1


def test_preferences_are_kept_and_change_the_system_prompt(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prefs", "set", "detail", "brief"]) == 0  # short for detail_level
    assert main(["prefs", "set", "expertise_level.python", "expert"]) == 0
    assert main(["prefs", "show", "--json"]) == 0
    shown = last_object(capsys.readouterr().out)
    assert "Give brief answers." in shown["system_prompt"]
    assert shown["preferences"]["expertise_level.python"] == "expert"
    assert main(["prefs", "forget", "python", "--json"]) == 0
    assert "python" not in last_object(capsys.readouterr().out)["system_prompt"]


def test_feedback_goes_to_the_latest_reply_or_the_named_one(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["feedback", "thumb", "up"]) == 1
    assert "no reply yet" in capsys.readouterr().err
    reply = with_reply(home)
    assert main(["feedback", "correct", "- Rinse the rice.\n- Boil it.", "--json"]) == 0
    pair = last_object(capsys.readouterr().out)
    assert pair["message"] == reply
    assert main(["feedback", "rate", "4", "--message", reply[:10]]) == 0
    assert main(["feedback", "thumb", "down"]) == 0
    assert main(["feedback", "correct", "x", "--message", "nonsense"]) == 1
    with open_profile(home) as profile:
        (stored,) = Pairs(profile.db).all()
    assert stored.id == pair["pair"]
    assert [message.role for message in stored.prompt] == ["system", "user"]
    assert stored.rejected == "Rinse the rice, then boil it."


def test_import_lists_what_it_could_not_use_by_line_and_reason(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps(PAIR) + "\n{broken\n" + json.dumps(PAIR | {"chosen": ""}) + "\n")
    assert main(["import", str(file), "--json"]) == 0
    report = last_object(capsys.readouterr().out)
    assert report["imported"] == 1
    assert [line["line"] for line in report["rejected"]] == [2, 3]
    assert all(line["reason"] for line in report["rejected"])
    assert main(["import", str(tmp_path / "none.jsonl")]) == 1
    file.write_text("{broken\n")
    assert main(["import", str(file)]) == 1


def test_pairs_are_listed_searched_switched_off_and_deleted(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pairs.jsonl"
    other = {"prompt": "What is tea?", "chosen": "A drink.", "rejected": "Well."}
    file.write_text(json.dumps(PAIR) + "\n" + json.dumps(other) + "\n")
    assert main(["import", str(file)]) == 0
    assert main(["pairs", "list", "--search", "rice", "--json"]) == 0
    (found,) = last_object(capsys.readouterr().out)["pairs"]
    assert found["chosen"] == "- Rinse it."
    assert main(["pairs", "deactivate", found["id"][:8]]) == 0
    assert main(["pairs", "--json"]) == 0
    listed = last_object(capsys.readouterr().out)
    assert (listed["total"], listed["ready"]) == (2, 1)
    assert main(["pairs", "delete", found["id"]]) == 0
    assert main(["pairs", "delete", found["id"]]) == 1


def test_privacy_budget_is_shown_and_changed(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["privacy", "budget", "4", "--json"]) == 0
    budget = last_object(capsys.readouterr().out)
    assert (budget["budget"], budget["spent"], budget["left"]) == (4.0, 0.0, 4.0)
    assert main(["privacy", "budget", "-1"]) != 0
    assert main(["privacy", "ledger", "--json"]) == 0
    [entry] = last_object(capsys.readouterr().out)["entries"]
    assert (entry["kind"], entry["budget"]["epsilon"]) == ("budget", 4.0)


def test_the_ledger_is_written_as_a_file_and_an_account_reset_on_purpose_only(
    home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["privacy", "budget", "9", "--period", "year", "--unit", "conversation"]) == 0
    assert "each calendar year" in capsys.readouterr().out
    assert main(["privacy", "reset", "--unit", "conversation"]) == 0
    assert "Nothing was changed" in capsys.readouterr().out
    assert main(["privacy", "reset", "--unit", "conversation", "--yes"]) != 0
    assert "reason" in capsys.readouterr().err
    again = ["privacy", "reset", "--unit", "conversation", "--yes", "--reason", "All were deleted."]
    assert main(again) == 0
    capsys.readouterr()
    file = tmp_path / "ledger.csv"
    assert main(["privacy", "ledger", "--format", "csv", "--output", str(file)]) == 0
    assert [line.split(",")[1] for line in file.read_text().splitlines()] == [
        "kind",
        "budget",
        "reset",
    ]
    capsys.readouterr()
    assert main(["privacy", "ledger", "--format", "json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["accounts"][1]["period"] == "year"


def test_versions_and_deployment_without_any_version(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["versions", "--json"]) == 0
    assert last_object(capsys.readouterr().out) == {
        "model": "assistant",
        "active": None,
        "versions": [],
    }
    assert main(["deploy", "v1"]) == 1
    assert main(["versions", "show", "v1"]) == 1
    assert main(["rollback"]) == 1
    assert "nothing" in capsys.readouterr().err.lower()
    assert main(["deploy", "base", "--json"]) == 0


def test_a_plan_that_cannot_be_is_refused_by_name(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--set", "beta=-1"]) == 2
    assert "'beta'" in capsys.readouterr().err
    assert main(["train", "--set", "colour=blue"]) == 2
    assert "'colour'" in capsys.readouterr().err
    assert main(["train", "--epsilon", "0"]) == 2
    assert main(["train", "--set", "beta"]) == 2
    assert main(["import"]) == 2
    assert main(["pairs", "delete"]) == 2


def test_training_on_too_few_pairs_is_refused_before_it_starts(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--no-privacy"]) == 1
    assert "cannot start" in capsys.readouterr().err
    assert main(["runs", "--json"]) == 0
    assert last_object(capsys.readouterr().out)["runs"] == []


def test_doctor_says_ok_warn_or_fail_for_each_thing(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["doctor", "--no-host", "--json"])
    report = last_object(capsys.readouterr().out)
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert set(states.values()) <= {"ok", "warn", "fail"}
    assert states["python"] == states["packages"] == states["home"] == "ok"
    assert states["key"] == "warn"
    assert status == (0 if report["ok"] else 1)


def test_doctor_fails_where_the_home_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["doctor", "--home", str(tmp_path / "file" / "home"), "--no-host"]) == 1
    assert "fail  home" in capsys.readouterr().out


def test_numbers_are_written_as_people_say_them() -> None:
    assert [count(n, "pair") for n in (0, 1, 2, 12345)] == [
        "0 pairs", "1 pair", "2 pairs", "12,345 pairs",
    ]  # fmt: skip
    assert count(1, "pair is", "pairs are") == "1 pair is"
    assert [printing.duration(s) for s in (48, 185, 7800)] == ["48 s", "3 min 5 s", "2 h 10 min"]
    assert [printing.size(n) for n in (12, 25_000_000)] == ["12 bytes", "25.0 MB"]
    assert printing.first_line("a\n b " * 40, 10) == "a b a b a…"
