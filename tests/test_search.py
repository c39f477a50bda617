"""A small search for settings: short trials that leave no version, the best one first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_models import make_llama

from xeno.cli.main import main
from xeno.errors import InvalidValueError
from xeno.events import ChatMessage
from xeno.jobs.leases import Leases
from xeno.jobs.search import begin, give_up, trials
from xeno.jobs.store import Queue
from xeno.paths import Home
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import Profile, open_profile
from xeno.store.runs import Runs
from xeno.training.candidates import candidates, repeated, trial
from xeno.training.plan import TrainingPlan
from xeno.training.plan_files import read
from xeno.training.stages import empty_stages
from xeno.versions.registry import Registry


def add_pairs(profile: Profile, count: int, group: str | None = None) -> None:
    Pairs(profile.db).add_many(
        new_pair(
            profile.name,
            [ChatMessage(role="user", content=f"Question {number}?")],
            f"- Short {number}.",
            f"Well, that is a long story about {number}.",
            feedback_type="correction",
            confidence=1.0,
            quality=1.0,
            group_id=group,
        )
        for number in range(count)
    )


def test_candidates_differ_and_begin_with_the_plan_itself() -> None:
    plan = TrainingPlan(base="base", private=False)
    found = candidates(plan, 8, 9)
    assert found[0] == {"rate_scale": 1.0, "beta": 0.05, "lora_rank": 8}
    assert len({tuple(each.values()) for each in found}) == 9
    assert found == candidates(plan, 8, 9)
    assert found != candidates(plan.model_copy(update={"seed": 1}), 8, 9)


def test_the_best_has_the_highest_accuracy_and_then_the_lowest_loss(
    profile: Profile, tmp_path: Path
) -> None:
    add_pairs(profile, 24)
    plan = TrainingPlan(base=str(make_llama(tmp_path / "base")), private=False)
    scores = [(None, None), (0.7, 0.5), (0.8, 0.6), (0.8, 0.4)]
    with Queue(profile.home) as queue:
        jobs = begin(queue, profile, plan, 4)
    for job, (accuracy, loss) in zip(jobs, scores, strict=True):
        measures = {"heldout_preference_accuracy": accuracy, "heldout_loss": loss}
        Runs(profile.db).finish(job.run_id, "discarded", metrics=measures)
    assert [(each.accuracy, each.loss) for each in trials(profile)] == scores[:0:-1] + scores[:1]


def test_trials_stand_in_the_queue_and_keep_its_limit(profile: Profile, tmp_path: Path) -> None:
    add_pairs(profile, 24)
    plan = TrainingPlan(base=str(make_llama(tmp_path / "base")), private=False)
    with Queue(profile.home) as queue:
        other = queue.add("bob", "another run", "high")
        assert Leases(queue).claim(["bob"]) is not None
        jobs = begin(queue, profile, plan, 3)
        assert [job.id for job in queue.jobs()] == [other.id, *(job.id for job in jobs)]
        assert Leases(queue).claim([profile.name]) is None, "one run at once, unless told otherwise"
        with pytest.raises(InvalidValueError, match="going on"):
            begin(queue, profile, plan, 2)
        give_up(queue, profile)
        assert [job.id for job in queue.jobs()] == [other.id]
    assert [each.run.status for each in trials(profile)] == ["discarded"] * 3


def test_a_trial_is_recorded_with_the_settings_of_the_whole_run() -> None:
    plan = TrainingPlan(base="base", private=False, steps_scale=2.0, epochs=30)
    tried = trial(plan, {"beta": 0.3})
    assert repeated(tried) == plan.model_copy(update={"beta": 0.3})
    (whole,), (short,) = empty_stages(plan), empty_stages(tried)
    assert short.plan.steps_scale == pytest.approx(2.0 * 0.34)
    assert (short.plan.evaluations, short.plan.evaluate_first) == (1, False)
    assert whole.plan == plan


def test_a_search_leaves_its_measures_and_no_version(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = make_llama(tmp_path / "base")
    with open_profile(home) as profile:
        add_pairs(profile, 24)
    status = main(
        ["search", "--runs", "2", "--base", str(base), "--no-privacy", "--set", "max_steps=2",
         "--out", str(tmp_path / "best.yaml"), "--json"]
    )  # fmt: skip
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert status == 0
    accuracies = [trial["heldout_preference_accuracy"] for trial in found["trials"]]
    assert accuracies == sorted(accuracies, reverse=True)
    assert found["trials"][0]["values"].items() <= read(tmp_path / "best.yaml").items()
    assert read(tmp_path / "best.yaml")["trial"] is False
    with open_profile(home) as profile:
        assert [each.status for each in Runs(profile.db).all()] == ["discarded", "discarded"]
        with Queue(home) as queue:
            jobs = queue.jobs(ended=True)
            assert {job.run_id for job in jobs} == {each["run"] for each in found["trials"]}
        assert Registry(profile).all() == []


def test_what_cannot_be_compared_is_refused(profile: Profile, tmp_path: Path) -> None:
    plan = TrainingPlan(base=str(make_llama(tmp_path / "base")), private=False)
    with Queue(profile.home) as queue:
        with pytest.raises(InvalidValueError, match="differential privacy"):
            begin(queue, profile, plan.model_copy(update={"private": True}), 2)
        with pytest.raises(InvalidValueError, match="no pairs"):
            begin(queue, profile, plan, 2)
        add_pairs(profile, 24, group="one")
        with pytest.raises(InvalidValueError, match="No pair is held out"):
            begin(queue, profile, plan, 2)
        with pytest.raises(InvalidValueError, match="no search"):
            begin(queue, profile, plan, 1)
        assert queue.jobs() == []
