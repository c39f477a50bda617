"""Interrupted runs go on: bit for bit where they may, and otherwise not or at their cost."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fixed_noise import __file__ as child_module
from run_parts import (
    Fit,
    Killed,
    add_pairs,
    after_step,
    interrupt,
    plan_for,
    progress,
    resume,
    run,
    same_noise,
)
from tiny_models import make_llama

from xeno.cli.main import main
from xeno.errors import (
    BudgetError,
    DamagedDataError,
    InvalidValueError,
    StorageFullError,
    XenoError,
)
from xeno.events import (
    Evaluated,
    Event,
    LogLine,
    NoiseDrawn,
    Progress,
    RunStarted,
    StopTraining,
    TrainingPaused,
)
from xeno.paths import Home
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.mechanism import PrivateOptimizer
from xeno.privacy.noise import CipherStream
from xeno.store.checkpoint_keys import CheckpointKeys
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile, open_profile
from xeno.store.runs import Runs
from xeno.training import stopping
from xeno.training.checkpoint import Checkpoints
from xeno.training.dataset import training_pairs
from xeno.training.objectives import Objective, RowLoss
from xeno.training.plan import TrainingPlan
from xeno.training.row import Row
from xeno.training.scoring import Scorer
from xeno.training.trainer import train
from xeno.versions.registry import Registry
from xeno.workers import training_client
from xeno.workers.training_client import TrainingRun

PLANS = {
    "plain": {"epochs": 3, "checkpoint_steps": 4},
    "private": {"private": True, "epochs": 12, "checkpoint_steps": 5},
    "sampled": {
        "private": True,
        "epochs": 2,
        "checkpoint_steps": 3,
        "full_batch_below": 10,
        "sampled_batch": 6,
    },
    "two stages": {
        "method": "sft_dpo",
        "sft_sources": "chosen",
        "epochs": 2,
        "checkpoint_steps": 4,
    },
    "two private stages": {
        "method": "sft_dpo",
        "sft_sources": "chosen",
        "private": True,
        "epochs": 6,
        "checkpoint_steps": 4,
    },
    "rated": {"method": "kto", "kto_pairs": True, "epochs": 2, "checkpoint_steps": 3},
    "four bits": {
        "private": True,
        "epochs": 6,
        "checkpoint_steps": 4,
        "quantisation": "nf4",
    },
    "dropout": {"epochs": 2, "checkpoint_steps": 4, "lora_dropout": 0.2, "optimizer": "nadam"},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_llama(tmp_path_factory.mktemp("base")))


@pytest.fixture
def two(home: Home) -> Callable[[], tuple[Profile, Profile]]:
    """Two profiles with the same 36 pairs."""
    opened: list[Profile] = []

    def make() -> tuple[Profile, Profile]:
        for name in ("whole", "broken"):
            opened.append(open_profile(home, name))
            add_pairs(opened[-1], 36)
        return opened[0], opened[1]

    yield make
    for each in opened:
        each.close()


def _curve(events: list[Event]) -> list[tuple[int, float | None, float | None]]:
    return [(e.step, e.loss, e.gradient_norm) for e in progress(events)]


def _accounts(profile: Profile) -> list[tuple[int, float, float, str]]:
    entries = PrivacyLedger(profile).entries()
    return [
        (e.mechanism.steps, e.mechanism.noise_multiplier, e.epsilon_total, e.version)
        for e in entries
    ]


@pytest.mark.parametrize("kind", PLANS)
def test_a_run_interrupted_again_and_again_ends_bit_for_bit_as_one_that_was_not(
    two, base: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = two()
    plan = plan_for(base, **PLANS[kind])
    same_noise(monkeypatch)
    expected, events = run(whole, plan)
    steps = len(progress(events))
    same_noise(monkeypatch)
    run_id = interrupt(broken, plan, after_step(2))
    for step in (5, 6, steps - 1):  # on a checkpoint, after one, before the end
        Runs(broken.db).reopen(run_id)
        interrupt(broken, plan, after_step(step), run_id)
    finished, _ = resume(broken, run_id)
    assert finished.version == expected.version
    assert finished.epsilon == expected.epsilon
    assert _accounts(broken) == _accounts(whole)
    told = Runs(broken.db).events(run_id)
    assert _curve(told) == _curve(events)
    measured = [e.step for e in told if isinstance(e, Evaluated)]
    assert measured == [e.step for e in events if isinstance(e, Evaluated)]
    assert next(e.resumed_at for e in told if isinstance(e, RunStarted)) == 0
    assert CheckpointKeys(broken.db).get(run_id) is None
    assert not list(broken.paths.checkpoints.iterdir())
    assert Runs(broken.db).resumable() == []


@pytest.mark.parametrize("private", [False, True])
def test_a_killed_trainer_is_resumed_to_the_very_same_version(
    two, base: str, private: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real child, killed with SIGKILL at a random moment after it has begun."""
    seed = time.time_ns() % 10**6
    print(f"seed {seed}")
    chance = random.Random(seed)
    whole, broken = two()
    plan = plan_for(
        base,
        private=private,
        epochs=40 if private else 10,
        checkpoint_steps=3,
        threads=2,
        keep_awake=True,
    )
    same_noise(monkeypatch)
    begun = time.monotonic()
    expected, _ = run(whole, plan)
    length = time.monotonic() - begun
    monkeypatch.setenv("PYTHONPATH", str(Path(child_module).parent))
    monkeypatch.setattr(training_client, "MODULE", "fixed_noise")

    training = TrainingRun(broken, plan)
    run_id = training.start()
    deadline = time.monotonic() + 120
    while not Runs(broken.db).events(run_id) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(chance.uniform(0, length))
    training.kill()
    training.wait(20)
    if Runs(broken.db).get(run_id).status == "interrupted":
        [waiting] = Runs(broken.db).resumable()
        print(f"killed with a checkpoint of step {waiting.step}")
        assert waiting.run.id == run_id
        assert PrivacyLedger(broken).spent() in {0.0, PrivacyLedger(whole).spent()}
        training = TrainingRun.resume(broken, run_id)
        assert training.start() == run_id
        finished = training.wait(120)
        assert finished is not None
        assert finished.status == "completed", training.failure
    assert Runs(broken.db).get(run_id).version == expected.version
    assert _accounts(broken) == _accounts(whole)
    assert Registry(broken).load(1)[1].address == expected.version


def test_an_interrupted_private_run_that_is_given_up_costs_nothing(
    profile: Profile, base: str
) -> None:
    add_pairs(profile, 30)
    run_id = interrupt(profile, plan_for(base, private=True, epochs=6), after_step(4))
    assert PrivacyLedger(profile).entries() == []
    runs = Runs(profile.db)
    runs.discard(run_id)
    assert runs.get(run_id).status == "discarded"
    assert CheckpointKeys(profile.db).get(run_id) is None
    with pytest.raises(InvalidValueError, match="cannot be resumed"):
        runs.reopen(run_id)
    run(profile, plan_for(base, epochs=1))
    assert not list(profile.paths.checkpoints.iterdir()), "the next run sweeps"


def test_pairs_that_came_meanwhile_wait_and_the_resumed_run_has_its_own(
    two, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = two()
    plan = plan_for(base, epochs=1, checkpoint_steps=2)
    expected, _ = run(whole, plan)
    run_id = interrupt(broken, plan, after_step(3))
    add_pairs(broken, 5, first=100)
    assert resume(broken, run_id)[0].version == expected.version


def test_a_run_whose_pair_is_gone_is_not_resumed(profile: Profile, base: str) -> None:
    add_pairs(profile, 24)
    run_id = interrupt(profile, plan_for(base, epochs=2), after_step(3))
    pair = training_pairs(profile)[0]
    Pairs(profile.db).set_active(pair.id, False)
    with pytest.raises(XenoError, match="1 of its pairs"):
        resume(profile, run_id)
    Pairs(profile.db).set_active(pair.id, True)
    assert resume(profile, run_id)[0].status == "completed", "taken back, it goes on"


def _other_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xeno.training.trainer.processor", lambda: "another one")


def test_other_circumstances_get_a_fresh_stream_and_what_was_seen_counts(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 30)
    plan = plan_for(base, private=True, epochs=10, epsilon=4.0, checkpoint_steps=4)
    run_id = interrupt(profile, plan, after_step(6))
    before = Checkpoints(profile, run_id).latest()
    assert before is not None
    assert before.state.step == 4
    _other_library(monkeypatch)
    Runs(profile.db).reopen(run_id)
    interrupt(profile, plan, after_step(5), run_id)
    after = Checkpoints(profile, run_id).latest()
    assert after is not None
    assert after.state.noise.key != before.state.noise.key
    assert after.state.sampling.key != before.state.sampling.key
    assert after.state.abandoned == 2, "5 and 6 were taken"
    assert len(list(Checkpoints(profile, run_id).folder.iterdir())) == 1
    finished, events = resume(profile, run_id)
    assert [e.step for e in progress(events)] == [5, 6, 7, 8]
    [entry] = PrivacyLedger(profile).entries()
    assert entry.mechanism.steps == 8 + 2
    assert (finished.epsilon or 9) <= 4.0
    manifest = Registry(profile).get(finished.version or "").manifest
    assert manifest.metrics["steps"] == 8


def test_noisy_steps_that_no_event_tells_of_count(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 30)
    plan = plan_for(base, private=True, epochs=10, progress_every=1000, checkpoint_steps=1000)
    run_id = _killed_at_noise(profile, plan, 7, monkeypatch)
    assert Runs(profile.db).last_step(run_id) < 7
    _other_library(monkeypatch)
    finished, _ = resume(profile, run_id)
    [entry] = PrivacyLedger(profile).entries()
    assert entry.mechanism.steps == 10
    manifest = Registry(profile).get(finished.version or "").manifest
    assert manifest.metrics["steps"] == 3, "seven were drawn before, and no checkpoint has them"


def test_noisy_steps_stay_counted_where_a_run_went_back_and_was_killed_again(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 30)
    plan = plan_for(base, private=True, epochs=10, checkpoint_steps=4)
    run_id = interrupt(profile, plan, after_step(7))
    Runs(profile.db).reopen(run_id)
    interrupt(profile, plan, lambda event: isinstance(event, RunStarted), run_id)
    assert Runs(profile.db).last_step(run_id) == 4, "it went back to its checkpoint"
    _other_library(monkeypatch)
    _, events = resume(profile, run_id)
    assert [e.step for e in progress(events)] == [5, 6, 7]
    assert PrivacyLedger(profile).entries()[0].mechanism.steps == 10


def test_a_stop_after_a_resume_pays_for_the_steps_that_were_seen_before(
    profile: Profile, base: str
) -> None:
    add_pairs(profile, 30)
    plan = plan_for(base, private=True, epochs=10, checkpoint_steps=4)
    run_id = interrupt(profile, plan, after_step(7))
    Runs(profile.db).reopen(run_id)
    seen: list[Event] = []

    def stop() -> StopTraining | None:
        return StopTraining(keep=True) if after_step(5)(seen[-1] if seen else None) else None

    finished = train(profile, run_id, seen.append, stop, Fit())
    assert finished.status == "stopped"
    assert PrivacyLedger(profile).entries()[0].mechanism.steps == 7


@pytest.mark.parametrize("kind", ["private", "sampled"])
def test_a_resumed_run_that_shrinks_counts_what_was_taken_under_the_old_cut(
    profile: Profile, base: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 36)
    planned = PLANS[kind] | {"epochs": 12, "checkpoint_steps": 4, "max_steps": 12}
    plan = plan_for(base, **planned, micro_batch_size=4)
    run_id = interrupt(profile, plan, after_step(7))
    before = Checkpoints(profile, run_id).latest()
    assert before is not None
    assert (before.at, before.state.stream) == (4, 0)
    losses = Scorer.losses

    def short_of_memory(scorer: Scorer, part: Sequence[Row], objective: Objective) -> RowLoss:
        if len(part) > 1 and torch.is_grad_enabled():
            raise MemoryError
        return losses(scorer, part, objective)

    monkeypatch.setattr(Scorer, "losses", short_of_memory)
    Runs(profile.db).reopen(run_id)
    interrupt(profile, plan, after_step(6), run_id)
    after = Checkpoints(profile, run_id).latest()
    assert after is not None
    assert (after.at, after.state.stream, after.state.abandoned) == (4, 1, 3)
    assert after.state.noise.key != before.state.noise.key
    assert after.state.sampling.key != before.state.sampling.key
    assert len(list(Checkpoints(profile, run_id).folder.iterdir())) == 1
    finished, events = resume(profile, run_id)
    assert [e.step for e in progress(events)] == [5, 6, 7, 8, 9]
    [entry] = PrivacyLedger(profile).entries()
    assert entry.mechanism.steps == 9 + 3 == 12
    assert (finished.epsilon or 9) <= plan.epsilon


def test_a_run_that_shrinks_and_was_not_resumed_goes_on_with_its_noise(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 30)
    losses, failed = Scorer.losses, []

    def short_of_memory(scorer: Scorer, part: Sequence[Row], objective: Objective) -> RowLoss:
        if torch.is_grad_enabled() and len(part) > 1 and len(failed) < 2:
            failed.append(part)
            raise MemoryError
        return losses(scorer, part, objective)

    monkeypatch.setattr(Scorer, "losses", short_of_memory)
    finished, _ = run(profile, plan_for(base, private=True, epochs=3))
    assert len(failed) == 2
    assert {note.stream for note in Runs(profile.db).noisy_steps(finished.run_id)} == {0}
    assert PrivacyLedger(profile).entries()[0].mechanism.steps == 3


class _Clock:
    """The real one, which a test can put forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


def test_the_time_limit_counts_all_stages_and_all_attempts(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 36)
    clock = _Clock()
    monkeypatch.setattr(stopping, "time", clock)
    plan = plan_for(base, **PLANS["two stages"], time_limit_minutes=60)
    slow = {2, 12, 13}

    def passes_time(event: Event) -> None:
        if isinstance(event, Progress) and event.step in slow:
            slow.discard(event.step)
            clock.ahead += 25 * 60

    def killed(event: Event) -> bool:
        slow.discard(13)
        passes_time(event)
        return after_step(14)(event)

    run_id = interrupt(profile, plan, killed)
    saved = Checkpoints(profile, run_id).latest()
    assert saved is not None
    assert (len(saved.finished), saved.at) == (1, 12)
    slow.add(13)
    Runs(profile.db).reopen(run_id)
    finished = train(profile, run_id, passes_time, lambda: None, Fit())
    assert finished.status == "stopped", "three times 25 minutes"
    told = Runs(profile.db).events(run_id)
    assert any(isinstance(e, LogLine) and "time limit" in e.text for e in told)


def test_no_noise_is_drawn_that_cannot_be_noted(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 30)
    full = [True, True]
    append = Runs.append_event

    def appended(runs: Runs, run_id: str, event: Event) -> None:
        if isinstance(event, NoiseDrawn) and event.noisy_step == 2 and full:
            full.pop()
            raise StorageFullError("The disk is full.", "", "")
        append(runs, run_id, event)

    monkeypatch.setattr(Runs, "append_event", appended)
    finished, events = run(profile, plan_for(base, private=True, epochs=3, guard_seconds=0.01))
    assert finished.status == "completed"
    kinds = [type(e) for e in events if isinstance(e, (Progress, TrainingPaused))]
    assert kinds == [Progress, TrainingPaused, Progress, Progress]
    assert len(Runs(profile.db).noisy_steps(finished.run_id)) == 3


def _killed_at_noise(
    profile: Profile, plan: TrainingPlan, number: int, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A run that was killed while the noise of this step was drawn; its id."""
    left = [None] * number
    noisy_step = PrivateOptimizer.noisy_step

    def killed(optimizer: PrivateOptimizer):
        left.pop()
        if not left:
            raise Killed
        return noisy_step(optimizer)

    runs = Runs(profile.db)
    run_id = runs.create(plan).id
    with monkeypatch.context() as patched:
        patched.setattr(PrivateOptimizer, "noisy_step", killed)
        with pytest.raises(Killed):
            train(profile, run_id, lambda _: None, lambda: None, Fit())
    runs.finish(run_id, "interrupted")
    return run_id


def test_without_privacy_other_circumstances_are_only_said(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 24)
    run_id = interrupt(profile, plan_for(base, epochs=3, checkpoint_steps=2), after_step(5))
    _other_library(monkeypatch)
    finished, events = resume(profile, run_id)
    assert finished.status == "completed"
    assert [e.step for e in progress(events)] == [5, 6, 7, 8, 9]
    assert any(isinstance(e, LogLine) and "other circumstances" in e.text for e in events)


def test_a_private_run_without_a_readable_checkpoint_counts_all_that_was_seen(
    profile: Profile, base: str
) -> None:
    add_pairs(profile, 30)
    run_id = interrupt(profile, plan_for(base, private=True, epochs=8), after_step(3))
    for file in Checkpoints(profile, run_id).folder.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    _, events = resume(profile, run_id)
    assert [e.step for e in progress(events)] == [1, 2, 3, 4, 5]
    assert PrivacyLedger(profile).entries()[0].mechanism.steps == 8


def test_steps_that_had_other_noise_are_not_counted_as_if_they_had_this(
    profile: Profile, base: str
) -> None:
    """No checkpoint tells the noise of before, and another run has taken of the budget since."""
    add_pairs(profile, 30)
    PrivacyLedger(profile).set_budget(5.0)
    plan = plan_for(base, private=True, epochs=4, epsilon=4.0, least_epsilon_share=0.1)
    run_id = interrupt(profile, plan, after_step(2))
    for file in Checkpoints(profile, run_id).folder.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    run(profile, plan.model_copy(update={"epsilon": 3.0}))
    with pytest.raises(XenoError, match="other noise"):
        resume(profile, run_id)


def test_a_crash_between_ledger_and_release_is_not_paid_for_twice(
    two, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = two()
    plan = plan_for(base, private=True, epochs=4)
    same_noise(monkeypatch)
    run(whole, plan)
    same_noise(monkeypatch)
    run_id = Runs(broken.db).create(plan).id
    with monkeypatch.context() as patched:
        patched.setattr(Registry, "release", _killed)
        with pytest.raises(Killed):
            train(broken, run_id, lambda _: None, lambda: None)
    assert len(_accounts(broken)) == 1
    Runs(broken.db).finish(run_id, "interrupted")
    resume(broken, run_id)
    assert _accounts(broken) == _accounts(whole)


def _killed(*_: object, **__: object) -> None:
    raise Killed


def test_a_budget_spent_by_another_run_stops_the_resumed_one_before_it_trains(
    profile: Profile, base: str
) -> None:
    add_pairs(profile, 30)
    PrivacyLedger(profile).set_budget(5.0)
    plan = plan_for(base, private=True, epochs=4, epsilon=4.0)
    run_id = interrupt(profile, plan, after_step(2))
    run(profile, plan)
    with pytest.raises(BudgetError, match="go on"):
        resume(profile, run_id)
    PrivacyLedger(profile).set_budget(16.0)
    assert resume(profile, run_id)[0].status == "completed"


def test_a_checkpoint_opens_only_where_it_belongs(profile: Profile, base: str) -> None:
    add_pairs(profile, 24)
    plan = plan_for(base, epochs=4, checkpoint_steps=2, checkpoints_kept=3)
    run_id = interrupt(profile, plan, after_step(9))
    checkpoints = Checkpoints(profile, run_id, 3)
    files = sorted(checkpoints.folder.iterdir())
    assert [int(file.name[:9]) for file in files] == [4, 6, 8]
    assert b"adapter" not in files[0].read_bytes()
    files[1].replace(files[2])  # an older state under a newer name
    found = checkpoints.latest()
    assert found is not None
    assert found.state.step == 4
    other = Runs(profile.db).create(plan).id
    stolen = Checkpoints(profile, other)
    stolen.folder.mkdir()
    (stolen.folder / files[0].name).write_bytes(files[0].read_bytes())
    assert stolen.latest() is None
    CheckpointKeys(profile.db).destroy(run_id)
    with pytest.raises(DamagedDataError, match="key was destroyed"):
        checkpoints.save(found)


def test_a_damaged_checkpoint_costs_only_the_steps_since_the_one_before(two, base: str) -> None:
    whole, broken = two()
    plan = plan_for(base, epochs=2, checkpoint_steps=2)
    expected, _ = run(whole, plan)
    run_id = interrupt(broken, plan, after_step(7))
    newest = max(Checkpoints(broken, run_id).folder.iterdir())
    newest.write_bytes(newest.read_bytes()[:1000])
    finished, events = resume(broken, run_id)
    assert progress(events)[0].step == 5
    assert finished.version == expected.version


def test_the_time_between_checkpoints_counts_too(profile: Profile, base: str) -> None:
    add_pairs(profile, 24)
    plan = plan_for(base, epochs=3, checkpoint_steps=1000, checkpoint_minutes=1e-6)
    run_id = interrupt(profile, plan, after_step(4))
    assert Runs(profile.db).resumable()[0].step == 3
    found = Checkpoints(profile, run_id).latest()
    assert found is not None
    assert found.state.step == 3


def test_the_state_of_a_stream_is_kept_as_it_was_before_the_step(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 30)
    drawn: list[int] = []
    gaussian = CipherStream.gaussian

    def counted(stream: CipherStream, count: int, *rest: Any):
        drawn.append(stream.state.position)
        return gaussian(stream, count, *rest)

    monkeypatch.setattr(CipherStream, "gaussian", counted)
    run_id = interrupt(
        profile, plan_for(base, private=True, epochs=6, checkpoint_steps=2), after_step(5)
    )
    first = list(drawn)
    drawn.clear()
    resume(profile, run_id)
    assert drawn[0] in first
    again = [each for each in drawn if each in first]
    assert again == first[-len(again) :]


def test_the_command_line_tells_of_a_resumed_run_what_the_run_itself_knows(
    home: Home, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_profile(home) as profile:
        add_pairs(profile, 36)
        plan = plan_for(
            base, epochs=20, heldout_share=0.3, learning_rate=0.05, early_stopping="off",
            early_stopping_metric="loss", checkpoint_steps=4, evaluations=20,
        )  # fmt: skip
        run_id = interrupt(profile, plan, after_step(6))
    assert main(["runs", "resume", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    with open_profile(home) as profile:
        kept = Runs(profile.db).get(run_id).metrics
    told = ["heldout_loss", "final_loss", "best_loss", "heldout_loss_before"]
    assert result["released_step"] == kept["best_step"] < kept["final_step"], "learned by heart"
    assert {name: result[name] for name in told} == {name: kept[name] for name in told}
    assert result["heldout_loss"] == result["best_loss"] < result["final_loss"]
    assert result["heldout_preference_accuracy_before"] is not None


def test_only_one_run_of_a_profile_goes_on_at_a_time(profile: Profile, base: str) -> None:
    add_pairs(profile, 24)
    runs = Runs(profile.db)
    run_id = interrupt(profile, plan_for(base, epochs=2), after_step(2))
    runs.create(plan_for(base))
    with pytest.raises(XenoError, match="Another run"):
        runs.create(plan_for(base))
    with pytest.raises(XenoError, match="Another run"):
        runs.reopen(run_id)


def test_processes_that_race_for_a_run_get_one(profile: Profile, home: Home) -> None:
    import subprocess
    import sys

    script = (
        "import sys, time\n"
        "from xeno.errors import XenoError\n"
        "from xeno.paths import Home\n"
        "from xeno.store.profile import open_profile\n"
        "from xeno.store.runs import Runs\n"
        "from xeno.training.plan import TrainingPlan\n"
        "with open_profile(Home.at(sys.argv[1])) as profile:\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    try:\n"
        "        Runs(profile.db).create(TrainingPlan(base='b'))\n"
        "        print('mine', flush=True)\n"
        "    except XenoError as error:\n"
        "        print(error.what, flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(home.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 4
        for racer in racers:
            racer.stdin.write("go\n")
            racer.stdin.flush()
        said = sorted(racer.stdout.readline().strip() for racer in racers)
        assert said == ["Another run of this profile is going on."] * 3 + ["mine"]
    finally:
        for racer in racers:
            racer.communicate("end\n")
    assert len(Runs(profile.db).all()) == 1


def test_the_command_line_resumes_and_gives_up(
    profile: Profile, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    from xeno.cli.main import main

    add_pairs(profile, 24)
    assert main(["runs", "resume", "--json"]) != 0
    assert "There is no run to resume." in capsys.readouterr().err
    plan = plan_for(base, epochs=3, checkpoint_steps=2)
    first = interrupt(profile, plan, after_step(5))
    assert main(["status"]) == 0
    said = capsys.readouterr().out
    assert f"xeno runs resume {first[:8]}" in said
    assert "4 steps" in said
    assert main(["runs", "resume", first[:6], "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["run"], result["status"]) == (first, "completed")
    second = interrupt(profile, plan, after_step(3))
    assert main(["runs", "discard", second[:6]]) == 0
    assert Runs(profile.db).resumable() == []
