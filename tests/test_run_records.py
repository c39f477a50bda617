"""Curves, records and comparisons of runs, and the commands that print them. No model needed:
events and runs are written to a real profile."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from xeno.cli.main import main
from xeno.events import Evaluated, Failure, LogLine, Progress, SampleReplies, SampleReply
from xeno.paths import Home
from xeno.store.profile import Profile, open_profile
from xeno.store.runs import Run, Runs
from xeno.training.curves import HELD_OUT, TRAINING, Curves, Smoothing
from xeno.training.plan import TrainingPlan
from xeno.training.record import RunRecord, compare, record


def progress(run_id: str, step: int, loss: float | None) -> Progress:
    return Progress(
        run_id=run_id,
        step=step,
        steps=10,
        loss=loss,
        reward_margin=0.1 * step,
        preference_accuracy=0.5,
        learning_rate=1e-3,
        gradient_norm=1.0,
        pairs_per_second=3.0,
        tokens_per_second=90.0,
        memory_bytes=2_000_000_000,
        eta_seconds=5.0,
    )


def evaluated(run_id: str, step: int, loss: float) -> Evaluated:
    return Evaluated(
        run_id=run_id,
        step=step,
        preference_accuracy=0.75,
        loss=loss,
        reward_margin=0.2,
        shorter_baseline=0.5,
        longer_baseline=0.5,
        perplexity=4.0,
    )


def a_run(profile: Profile, base: str = "/home/ann/models/small", **changes: Any) -> Run:
    """A run that has ended, with its events."""
    runs = Runs(profile.db)
    run = runs.create(TrainingPlan(base=base, **changes))
    runs.start(run.id, 1)
    runs.describe(run.id, "b" * 64, "d" * 64, {"torch": "2.13", "threads": 2})
    sample = SampleReply(prompt="My doctor?", reply="My secret.", complete=True)
    for event in (
        progress(run.id, 1, 0.7),
        progress(run.id, 2, None),
        progress(run.id, 3, 0.5),
        evaluated(run.id, 3, 0.6),
        SampleReplies(run_id=run.id, step=3, replies=(sample,)),
        LogLine(text="Three steps."),
    ):
        runs.append_event(run.id, event)
    metrics = {"heldout_preference_accuracy": 0.75, "seconds": 61.0, "steps": 3}
    runs.finish(run.id, "completed", metrics=metrics)
    return runs.get(run.id)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_a_loss_that_is_no_number_is_a_gap_in_the_curve() -> None:
    curves = Curves([progress("r", 1, 0.7), progress("r", 2, None), progress("r", 3, 0.5)])
    loss = curves.curve("loss")
    assert list(loss.steps) == [1, 2, 3]
    assert loss.values[0] == 0.7
    assert math.isnan(loss.values[1])
    assert loss.last() == 0.5


def test_curves_hold_both_lines_and_only_what_was_measured() -> None:
    curves = Curves([progress("r", 1, 0.7), evaluated("r", 1, 0.6)])
    assert list(curves.lines("loss")) == [TRAINING, HELD_OUT]
    assert list(curves.lines("perplexity")) == [HELD_OUT]
    assert list(curves.lines("learning_rate")) == [TRAINING]
    assert curves.lines("temperature") == {}
    assert curves.curve("memory_bytes").last() == 2.0  # GB


def test_smoothing_is_not_drawn_to_zero_and_passes_over_gaps() -> None:
    steady = Smoothing(0.99)
    assert [steady.push(3.0) for _ in range(5)] == pytest.approx([3.0] * 5)
    none = Smoothing(0.0)
    assert [none.push(value) for value in (1.0, 5.0)] == [1.0, 5.0]
    half = Smoothing(0.5)
    assert half.push(1.0) == 1.0
    assert math.isnan(half.push(math.nan))
    # (0.5 * 0.5 * 1 + 0.5 * 4) / (0.5 * 0.5 + 0.5)
    assert half.push(4.0) == pytest.approx(3.0)


def test_a_comparison_names_what_differs_and_nothing_else(profile: Profile) -> None:
    first, second = a_run(profile, beta=0.05), a_run(profile, beta=0.2, epochs=3)
    found = compare(first, second)
    differences = {each.name: (each.first, each.second) for each in found.settings}
    assert differences == {"beta": (0.05, 0.2), "epochs": (None, 3)}
    assert found.facts == ()
    assert {each.name: each.first for each in found.metrics}["steps"] == 3


def test_a_record_says_all_but_words_and_paths(profile: Profile) -> None:
    run = a_run(profile, sample_prompts="My doctor?", private=False)
    found = record(run, Runs(profile.db).events(run.id))
    text = found.model_dump_json()
    assert RunRecord.model_validate_json(text) == found
    assert "doctor" not in text
    assert "secret" not in text
    assert "/home" not in text
    assert (found.base, found.seed, found.data_hash) == ("small", 0, "d" * 64)
    assert [event["type"] for event in found.events] == ["progress"] * 3 + ["evaluated", "log"]
    assert TrainingPlan.model_validate(found.plan).beta == run.plan.beta


def test_a_private_runs_record_holds_nothing_that_was_measured_on_its_pairs(
    profile: Profile,
) -> None:
    run = a_run(profile, private=True)
    details = {
        "pairs_left_out": [{"pair": "p1", "reason": "too long"}],
        "cuts": [{"pair": "p2", "part": "prompt", "side": "left", "tokens": 7}],
    }
    measured = dict(run.metrics) | {"trainable": 960, "pairs_training": 20, "final_loss": 0.1}
    Runs(profile.db).finish(run.id, "completed", metrics=measured | details)
    found = record(Runs(profile.db).get(run.id), Runs(profile.db).events(run.id))
    assert found.metrics == {"steps": 3, "trainable": 960}
    assert (found.events, found.data_hash) == ((), None)
    assert "noise covers the version only" in found.left_out
    assert found.plan["epsilon"] == run.plan.epsilon
    assert record(a_run(profile, private=False), []).left_out == ""


def test_a_failure_in_a_record_names_no_path(profile: Profile) -> None:
    runs = Runs(profile.db)
    run = runs.create(TrainingPlan(base="/home/ann/models/small"))
    runs.finish(run.id, "failed", failure=Failure(what=f"{run.plan.base} cannot be used."))
    found = record(runs.get(run.id), [])
    assert found.failure == {"what": "small cannot be used."}


def test_the_command_line_lists_shows_compares_and_exports(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_profile(home) as profile:
        first, second = a_run(profile, beta=0.05), a_run(profile, beta=0.2)
    assert [each["id"] for each in printed(capsys, "runs")["runs"]] == [second.id, first.id]
    found = printed(capsys, "runs", "compare", first.id, second.id)
    assert found["settings"] == {"beta": [0.05, 0.2]}
    path = tmp_path / "run.json"
    printed(capsys, "runs", "export", first.id[:10], "--out", str(path))
    exported = RunRecord.model_validate_json(path.read_text())
    assert (exported.run, exported.events) == (first.id, ())
    assert main(["runs", "export", first.id, "--out", str(path)]) == 0
    assert "This run was private." in capsys.readouterr().out
    assert main(["runs", "show", first.id]) == 0
    words = capsys.readouterr().out
    assert "Loss (training): 0.7 nan 0.5" in words
    assert "My doctor?  ->  My secret." in words
    assert main(["runs", "show", "nonsense"]) == 1


def test_the_command_line_says_how_many_runs_it_does_not_list(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_profile(home) as profile, profile.db.transaction():
        for _ in range(60):
            Runs(profile.db).create(TrainingPlan(base="b"), queued=True)
    assert main(["runs"]) == 0
    assert "50 of 60 runs" in capsys.readouterr().out
    assert [
        len(printed(capsys, "runs", "list", *how)["runs"]) for how in ([], ["--limit", "7"])
    ] == [50, 7]
    assert main(["runs", "list", "--all"]) == 0
    assert " of 60" not in capsys.readouterr().out


def test_a_run_whose_base_is_gone_is_not_started_again(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_profile(home) as profile:
        run = a_run(profile)
    assert main(["runs", "again", run.id]) == 1
    assert "small" in capsys.readouterr().err
