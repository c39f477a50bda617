"""The methods from the command line: Alpaca and chats in, a version out, cuts and ways on told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_models import make_llama

from xeno.cli.main import main
from xeno.paths import Home
from xeno.store.profile import open_profile
from xeno.store.runs import Runs


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_llama(tmp_path_factory.mktemp("base")))


def _imported(tmp_path: Path) -> None:
    """Twelve instructions as Alpaca has them, twelve chats, and a reply that is too long."""
    alpaca = [
        {"instruction": f"Name thing {n}.", "input": "Briefly.", "output": f"It is {n}."}
        for n in range(12)
    ]
    alpaca.append({"instruction": "Write much.", "input": "", "output": "x" * 600})
    chats = [
        {
            "messages": [
                {"role": "user", "content": f"Hello {n}."},
                {"role": "assistant", "content": "Hello."},
                {"role": "user", "content": "And?"},
                {"role": "assistant", "content": f"Nothing {n}."},
            ]
        }
        for n in range(12)
    ]
    for name, records in (("alpaca", alpaca), ("chats", chats)):
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
        assert main(["import", str(file)]) == 0


def test_alpaca_and_chats_become_a_version_by_sft(
    home: Home, tmp_path: Path, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _imported(tmp_path)
    capsys.readouterr()
    command = ["train", "--method", "sft", "--base", base, "--no-privacy", "--json"]
    assert main([*command, "--set", "epochs=1", "--set", "samples=false"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["status"] == "completed"
    assert result["version"] is not None
    assert result["pairs_training"] + result["pairs_heldout"] == 24
    assert result["pairs_left_out"] == 1
    assert result["heldout_loss"] < result["heldout_loss_before"]
    assert main(["runs", "show", result["run"][:8]]) == 0
    shown = capsys.readouterr().out
    assert "left out: " in shown
    assert "does not fit into 512" in shown


def test_a_method_says_what_it_lacks(
    home: Home, base: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for method, words in (("sft", "no replies to imitate"), ("kto", "no rated replies")):
        assert main(["train", "--method", method, "--base", base]) != 0
        assert words in capfd.readouterr().err


def test_trl_with_privacy_is_refused_with_its_reason(
    home: Home, base: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--engine", "trl", "--base", base]) != 0
    assert "TRL cannot train with differential privacy" in capfd.readouterr().err


def test_the_cuts_of_a_run_are_shown(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    from xeno.training.plan import TrainingPlan

    with open_profile(home) as profile:
        run = Runs(profile.db).create(TrainingPlan(base="/nowhere"))
        cut = {"pair": "ab12", "part": "rejected", "side": "right", "tokens": 7}
        Runs(profile.db).finish(run.id, "completed", metrics={"left_out": 0, "cuts": [cut]})
    assert main(["runs", "show", run.id[:8]]) == 0
    assert "cut: ab12 lost 7 tokens at the end of its rejected reply" in capsys.readouterr().out
