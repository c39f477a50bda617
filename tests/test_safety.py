"""What keeps a run from being lost or spoilt: unstable steps, the best step, pauses, the end."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from run_parts import Fit, add_pairs, plan_for, progress, run
from tiny_models import make_llama

from xeno.errors import PausedTooLongError, XenoError
from xeno.events import (
    Evaluated,
    Event,
    LogLine,
    StopTraining,
    TrainingContinued,
    TrainingPaused,
)
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.mechanism import PrivateOptimizer
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.training.early_stopping import EarlyStopping
from xeno.training.guards import Battery, Guards, MachineReadings
from xeno.training.keep_awake import kept_awake
from xeno.training.learner import PlainLearner
from xeno.training.plan import TrainingPlan
from xeno.training.settings.safety import SafetySettings
from xeno.training.stability import Stability
from xeno.training.trainer import train
from xeno.versions.registry import Registry


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_llama(tmp_path_factory.mktemp("base")))


def _log(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, LogLine)]


# Unstable steps -------------------------------------------------------------------------


def _spoil(monkeypatch: pytest.MonkeyPatch, spoilt: Callable[[int], float]) -> None:
    """Multiply the losses of step n (from 1) by `spoilt(n)` before their gradient is taken."""
    steps = [1]
    step = PlainLearner.step

    def add(_: PlainLearner, losses: torch.Tensor, units: object) -> None:
        torch.autograd.backward(losses.sum() * spoilt(steps[0]))

    def count(learner: PlainLearner, pairs: int, rate: float) -> float:
        steps[0] += 1
        return step(learner, pairs, rate)

    monkeypatch.setattr(PlainLearner, "add", add)
    monkeypatch.setattr(PlainLearner, "step", count)


def test_a_step_without_a_finite_gradient_is_left_out_and_said(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 24)
    _spoil(monkeypatch, lambda step: math.nan if step == 2 else 1.0)
    finished, events = run(profile, plan_for(base))
    assert [text for text in _log(events) if "left out" in text] == [
        "Step 2 was left out: its gradient was not a finite number."
    ]
    assert progress(events)[1].gradient_norm is None
    assert Runs(profile.db).get(finished.run_id).metrics["steps_left_out"] == 1
    tensors, _ = Registry(profile).load(1)
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_a_run_of_which_no_step_could_be_taken_fails(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 24)
    _spoil(monkeypatch, lambda _: math.nan)
    with pytest.raises(XenoError, match="All of 3 steps"):
        run(profile, plan_for(base, epochs=1))
    assert Registry(profile).all() == []


@pytest.mark.parametrize(
    ("changes", "steps", "rate"),
    [
        ({"on_unstable": "stop"}, 3, 1.0),
        ({"on_unstable": "skip", "most_skipped_steps": 1}, 4, 1.0),
        ({"on_unstable": "lower_rate", "unstable_patience": 2}, 6, 0.5),
        (
            {"on_unstable": "lower_rate", "unstable_patience": 1, "unstable_rate_factor": 0.1},
            6,
            0.01,
        ),
    ],
)
def test_unstable_steps_end_the_run_or_lower_its_rate_as_the_plan_says(
    profile: Profile,
    base: str,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    steps: int,
    rate: float,
) -> None:
    add_pairs(profile, 24)
    _spoil(monkeypatch, lambda step: math.nan if step in {3, 4} else 1.0)
    plan = plan_for(base, learning_rate_schedule="constant", warm_up_share=0.0, **changes)
    finished, events = run(profile, plan)
    taken = progress(events)
    assert len(taken) == steps
    assert taken[-1].learning_rate == pytest.approx(rate * taken[0].learning_rate)
    assert finished.status == ("completed" if steps == 6 else "stopped")
    assert Registry(profile).get(1).manifest.run_id == finished.run_id


def test_an_exploding_loss_is_told_from_a_falling_one() -> None:
    watch = Stability(SafetySettings(spike_factor=3.0, spike_window=6))
    for loss in (9.0, 8.0, 2.0, 2.0, 2.0):
        assert watch.trouble(loss) == "", "the first five are taken as they come"
        watch.taken(loss)
    assert "6.5" in watch.trouble(6.5)
    assert watch.trouble(5.9) == ""
    for _ in range(6):
        watch.taken(0.001)
    assert watch.trouble(0.2) == "", "two hundred times nothing is still nothing"
    assert watch.trouble(0.31)
    assert "not a finite number" in watch.trouble(math.inf)


def test_a_private_run_leaves_no_step_out_by_its_losses(profile: Profile, base: str) -> None:
    add_pairs(profile, 30)
    plan = plan_for(base, private=True, epochs=8, spike_factor=1.0000001, on_unstable="stop")
    finished, events = run(profile, plan)
    assert finished.status == "completed"
    assert len(progress(events)) == 8


def test_an_adapter_that_is_no_longer_finite_is_not_released(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(optimizer: PrivateOptimizer) -> None:
        noisy(optimizer)
        optimizer.params[0].grad.fill_(math.inf)

    noisy = PrivateOptimizer.add_noise
    monkeypatch.setattr(PrivateOptimizer, "add_noise", spoilt)
    add_pairs(profile, 24)
    with pytest.raises(XenoError, match="no longer made of finite numbers"):
        run(profile, plan_for(base, private=True, epochs=3))
    assert Registry(profile).all() == []
    assert PrivacyLedger(profile).entries() == []


def test_a_part_of_the_adapter_without_a_gradient_ends_the_run(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 24)

    def lost(learner: PlainLearner, losses: torch.Tensor, units: object) -> None:
        torch.autograd.backward(losses.sum())
        if len(seen) == 3:
            learner._parameters[1].grad = None
        seen.append(1)

    seen: list[int] = []
    monkeypatch.setattr(PlainLearner, "add", lost)
    with pytest.raises(XenoError, match="gets no gradient"):
        run(profile, plan_for(base, epochs=3))
    assert len(seen) == 4, "found in the step in which it happens, not only in the first"


# The best step --------------------------------------------------------------------------


def _evaluated(step: int, accuracy: float | None, loss: float | None) -> Evaluated:
    return Evaluated(
        run_id="r",
        step=step,
        preference_accuracy=accuracy,
        loss=loss,
        reward_margin=0.0,
        shorter_baseline=0.5,
        longer_baseline=0.5,
    )


SCORES = [(0.5, 1.0), (0.75, 0.9), (0.75, 0.8), (0.5, 0.3), (0.76, 2.0), (None, None)]


@pytest.mark.parametrize(
    ("metric", "least", "best"),
    [
        ("accuracy_then_loss", 0.0, 5),
        ("accuracy_then_loss", 0.05, 3),
        ("accuracy", 0.05, 2),
        ("loss", 0.0, 4),
        ("loss", 0.6, 4),
        ("loss", 0.75, 1),
    ],
)
def test_the_best_step_is_the_best_by_the_chosen_measure(
    metric: Any, least: float, best: int
) -> None:
    plan = SafetySettings(early_stopping_metric=metric, early_stopping_min_delta=least)
    watch = EarlyStopping(plan, private=False)
    for step, (accuracy, loss) in enumerate(SCORES, start=1):
        watch.is_best(_evaluated(step, accuracy, loss))
    assert watch.state.best is not None
    assert watch.state.best.step == best


@pytest.mark.parametrize(
    ("setting", "private", "on"),
    [("auto", False, True), ("auto", True, False), ("on", True, True), ("off", False, False)],
)
def test_early_stopping_is_off_under_privacy_unless_it_is_asked_for(
    setting: Any, private: bool, on: bool
) -> None:
    plan = SafetySettings(early_stopping=setting, early_stopping_patience=2, early_stopping_after=3)
    watch = EarlyStopping(plan, private=private)
    ended = []
    for step in range(1, 6):
        watch.is_best(_evaluated(step, 0.5, 1.0))
        ended.append(watch.is_time(step))
    assert ended == [False, False, on, on, on]
    late = EarlyStopping(plan.model_copy(update={"early_stopping_after": 4}), private=False)
    for step in range(1, 4):
        late.is_best(_evaluated(step, 0.5, 1.0))
    assert not late.is_time(3)


@pytest.mark.parametrize("release", ["auto", "final"])
def test_a_run_that_no_longer_gains_ends_early_and_reports_final_and_best(
    profile: Profile, base: str, release: str
) -> None:
    add_pairs(profile, 40)
    plan = plan_for(
        base, epochs=20, learning_rate=0.05, evaluations=100, early_stopping_patience=2,
        early_stopping_metric="loss", release=release,
    )  # fmt: skip
    finished, events = run(profile, plan)
    metrics = Runs(profile.db).get(finished.run_id).metrics
    measured = [event for event in events if isinstance(event, Evaluated) and event.step]
    best = min(measured, key=lambda event: event.loss if event.loss is not None else math.inf)
    assert finished.status == "completed"
    assert metrics["ended_early"] == 1.0
    assert metrics["steps"] == measured[-1].step < 100
    assert (metrics["best_step"], metrics["best_loss"]) == (best.step, best.loss)
    assert metrics["final_loss"] == measured[-1].loss
    assert measured[-1].step - best.step == 2
    released = best if release == "auto" else measured[-1]
    assert (metrics["released_step"], metrics["heldout_loss"]) == (released.step, released.loss)
    assert any("have not gained since" in text for text in _log(events))


@pytest.mark.parametrize("metric", ["accuracy_then_loss", "accuracy", "loss"])
def test_where_there_is_no_accuracy_the_loss_says_which_step_is_best(
    profile: Profile, base: str, metric: str
) -> None:
    add_pairs(profile, 40)
    plan = plan_for(
        base, method="sft", sft_sources="chosen", epochs=20, learning_rate=0.5, evaluations=100,
        early_stopping_patience=2, early_stopping_metric=metric,
    )  # fmt: skip
    finished, events = run(profile, plan)
    metrics = Runs(profile.db).get(finished.run_id).metrics
    measured = [event for event in events if isinstance(event, Evaluated) and event.step]
    assert {event.preference_accuracy for event in measured} == {None}
    best = min(measured, key=lambda event: event.loss if event.loss is not None else math.inf)
    assert metrics["ended_early"] == 1.0
    assert (metrics["released_step"], metrics["heldout_loss"]) == (best.step, best.loss)
    assert metrics["final_loss"] > metrics["best_loss"]


def test_a_private_run_pays_for_all_steps_also_where_an_earlier_one_is_released(
    profile: Profile, base: str
) -> None:
    add_pairs(profile, 40)
    plan = plan_for(
        base, private=True, epochs=8, learning_rate=5.0, release="best", evaluations=8,
        early_stopping_metric="loss", heldout_share=0.3,
    )  # fmt: skip
    finished, _ = run(profile, plan)
    assert PrivacyLedger(profile).entries()[0].mechanism.steps == 8
    metrics = Runs(profile.db).get(finished.run_id).metrics
    assert metrics["released_step"] == metrics["best_step"]
    assert metrics["ended_early"] == 0.0


# The end --------------------------------------------------------------------------------


def test_a_time_limit_ends_the_run_and_keeps_what_it_learned(profile: Profile, base: str) -> None:
    add_pairs(profile, 24)
    plan = plan_for(base, epochs=1000, time_limit_minutes=2 / 60)
    begun = time.monotonic()
    finished, events = run(profile, plan)
    assert time.monotonic() - begun < 60
    assert finished.status == "stopped"
    assert "The time limit is reached." in _log(events)
    assert Registry(profile).get(finished.version or "").run_id == finished.run_id


def test_a_stop_is_obeyed_within_a_pass(profile: Profile, base: str) -> None:
    add_pairs(profile, 24)
    asked = [0]

    def stop() -> StopTraining | None:
        asked[0] += 1
        return StopTraining(keep=False) if asked[0] > 60 else None

    for private in (False, True):
        asked[0] = 0
        plan = plan_for(base, epochs=50, private=private, micro_batch_size=64, batch_size=64)
        finished, events = run(profile, plan, stop)
        assert finished.status == "discarded"
        assert asked[0] < 64, "asked at every layer, and obeyed at once"
        assert len(progress(events)) < 10


@pytest.mark.parametrize(("seconds", "measured"), [(60.0, True), (0.0, False)])
def test_a_stopped_run_is_measured_only_where_that_is_quick(
    profile: Profile, base: str, seconds: float, measured: bool
) -> None:
    add_pairs(profile, 24)
    events: list[Event] = []

    def stop() -> StopTraining | None:
        return StopTraining(keep=True) if len(progress(events)) == 2 else None

    created = Runs(profile.db).create(
        plan_for(base, epochs=9, stop_measure_seconds=seconds, release="final")
    )
    finished = train(profile, created.id, events.append, stop, Fit())
    metrics = Runs(profile.db).get(finished.run_id).metrics
    assert finished.status == "stopped"
    assert (metrics["heldout_loss"] is not None) == measured


# Pauses ---------------------------------------------------------------------------------


def _machine(**readings: Any) -> Fit:
    machine = Fit()
    for name, value in readings.items():
        setattr(machine, name, value)
    return machine


@pytest.mark.parametrize(
    ("unfit", "better", "fit", "cause"),
    [
        ({"disk": 10**6}, {"disk": 205 * 10**6}, {"disk": 10**9}, "disk"),
        ({"memory": 10**8}, {"memory": 301 * 10**6}, {"memory": 10**9}, "memory"),
        (
            {"charge": Battery(15, plugged=False)},
            {"charge": Battery(22, plugged=False)},
            {"charge": Battery(15, plugged=True)},
            "battery",
        ),
        ({"heat": 99.0}, {"heat": 90.0}, {"heat": 84.0}, "temperature"),
    ],
)
def test_a_run_pauses_for_an_unfit_machine_and_goes_on_by_itself(
    profile: Profile,
    base: str,
    unfit: dict[str, Any],
    better: dict[str, Any],
    fit: dict[str, Any],
    cause: str,
) -> None:
    add_pairs(profile, 24)
    machine = Fit()
    events: list[Event] = []
    asked = [0]

    def stop() -> None:
        if any(isinstance(event, TrainingPaused) for event in events):
            asked[0] += 1
            for name, value in (better if asked[0] < 8 else fit).items():
                setattr(machine, name, value)

    def listen(event: Event) -> None:
        events.append(event)
        if len(progress(events)) == 1 and not asked[0]:
            for name, value in unfit.items():
                setattr(machine, name, value)

    plan = plan_for(base, guard_seconds=0.01, memory_floor=300)
    created = Runs(profile.db).create(plan)
    finished = train(profile, created.id, listen, stop, machine)
    assert finished.status == "completed"
    [paused] = [event for event in events if isinstance(event, TrainingPaused)]
    [continued] = [event for event in events if isinstance(event, TrainingContinued)]
    assert (paused.cause, paused.step) == (cause, 1)
    assert asked[0] >= 8, "a little better is not good enough yet"
    assert continued.seconds > 0
    assert len(progress(events)) == 6


@pytest.mark.parametrize(
    "readings",
    [
        {"charge": Battery(21, plugged=False)},
        {"charge": Battery(1, plugged=True)},
        {"charge": None, "heat": None, "disk": None, "memory": None},
        {"heat": 95.0, "memory": 1},
    ],
)
def test_a_fit_machine_is_left_to_work(readings: dict[str, Any]) -> None:
    assert _guards(_machine(**readings)).trouble() is None


@pytest.mark.parametrize(
    ("changes", "readings"),
    [
        ({"battery_floor": 0}, {"charge": Battery(1, plugged=False)}),
        ({"temperature_limit": 120.0}, {"heat": 110.0}),
        ({"disk_floor": 0}, {"disk": 5}),
        ({"memory_floor": 0}, {"memory": 5}),
    ],
)
def test_a_guard_looks_at_the_level_of_the_plan(
    changes: dict[str, Any], readings: dict[str, Any]
) -> None:
    machine = _machine(**readings)
    assert _guards(machine, **changes).trouble() is None
    strict = {"battery_floor": 50, "temperature_limit": 60.0, "disk_floor": 9, "memory_floor": 9}
    assert _guards(machine, **strict).trouble() is not None


def _guards(machine: Fit, obey: Callable[[], None] = lambda: None, **changes: Any) -> Guards:
    plan = SafetySettings(**changes)
    return Guards("run", plan, Path(), lambda _: None, obey, lambda _: None, lambda: True, machine)


def test_a_pause_obeys_a_stop_and_ends_after_its_longest_time() -> None:
    class AskedError(Exception):
        pass

    def obey() -> None:
        raise AskedError

    saved = []
    hot = _machine(heat=110.0)
    with pytest.raises(AskedError):
        _guards(hot, obey).check(3, lambda: saved.append(3))
    assert saved == [3], "a checkpoint comes before the pause"
    short = _guards(hot, guard_seconds=0.01, longest_pause_minutes=0.001)
    with pytest.raises(PausedTooLongError, match="110 °C"):
        short.check(3, lambda: None)


def test_the_machine_is_looked_at_now_and_then() -> None:
    looks = []

    class Counted(Fit):
        def memory_free(self) -> int | None:
            looks.append(1)
            return None

    guards = _guards(Counted(), guard_seconds=0.2)
    for _ in range(50):
        guards.check(1, lambda: None)
    assert len(looks) == 1
    time.sleep(0.25)
    guards.check(1, lambda: None)
    assert len(looks) == 2


def test_the_real_readings_are_plausible(tmp_path: Path) -> None:
    machine = MachineReadings()
    assert (machine.disk_free(tmp_path) or 0) > 0
    assert (machine.memory_free() or 0) > 0
    assert machine.disk_free(tmp_path / "nowhere") is None
    heat, battery = machine.temperature(), machine.battery()
    assert heat is None or 0 < heat < 150
    assert battery is None or 0 <= battery.percent <= 100


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 6 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("may not mount a file system here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system")
def test_a_disk_that_is_really_full_pauses_the_run(
    profile: Profile, base: str, small_disk: Path
) -> None:
    """The profile's checkpoints lie on a disk that is filled while the run goes on."""
    add_pairs(profile, 24)
    profile.paths.checkpoints.symlink_to(small_disk)
    filler = small_disk / "filler"
    events: list[Event] = []
    asked = [0]

    def listen(event: Event) -> None:
        events.append(event)
        if len(progress(events)) == 2 and not filler.exists() and not asked[0]:
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))

    def stop() -> None:
        if any(isinstance(event, TrainingPaused) for event in events):
            asked[0] += 1
            if asked[0] > 5:
                filler.unlink(missing_ok=True)

    plan = plan_for(base, guard_seconds=0.01, checkpoint_steps=1, disk_floor=0)
    created = Runs(profile.db).create(plan)
    finished = train(profile, created.id, listen, stop, Fit())
    assert finished.status == "completed"
    [paused] = [event for event in events if isinstance(event, TrainingPaused)]
    assert paused.cause == "disk"
    assert "checkpoint could not be written" in paused.reason
    assert "No space left" in paused.reason
    assert len(progress(events)) == 6
    profile.paths.checkpoints.unlink()


def test_events_wait_where_the_disk_is_full_and_are_all_kept(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xeno.errors import StorageFullError

    add_pairs(profile, 24)
    append, refused = Runs.append_event, [0]

    def full(runs: Runs, run_id: str, event: Any) -> None:
        if len(progress(events)) == 2 and refused[0] < 4:
            refused[0] += 1
            raise StorageFullError("Full.")
        append(runs, run_id, event)

    events: list[Event] = []
    monkeypatch.setattr(Runs, "append_event", full)
    created = Runs(profile.db).create(plan_for(base, guard_seconds=0.01))
    finished = train(profile, created.id, events.append, lambda: None, Fit())
    assert [event.cause for event in events if isinstance(event, TrainingPaused)] == ["disk"]
    assert Runs(profile.db).events(created.id) == [*events, finished]


# Awake ----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="stands in for systemd")
def test_the_computer_is_kept_awake_as_long_as_the_body_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said"
    inhibit = tmp_path / "systemd-inhibit"
    inhibit.write_text(f'#!/bin/sh\necho "$@" > {said}\nexec cat\n')
    inhibit.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with kept_awake() as awake:
        assert awake
        deadline = time.monotonic() + 5
        while not said.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "--what=sleep:idle" in said.read_text()
        assert said.read_text().split()[-1] == "cat", "it ends when our end of its input closes"
    with kept_awake(wanted=False) as awake:
        assert not awake


def test_a_system_that_cannot_be_kept_awake_is_only_mentioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows always can")
    monkeypatch.setenv("PATH", str(tmp_path))
    with kept_awake() as awake:
        assert not awake
    assert capsys.readouterr().err.count("awake") == 1


def test_a_plan_holds_every_setting_of_safety() -> None:
    assert set(SafetySettings.model_fields) <= set(TrainingPlan.model_fields)
