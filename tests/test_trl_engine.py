"""The same plan on TRL: the same steps, the same way to a version, nothing written or sent."""

from __future__ import annotations

import os
import sys
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from test_trainer import add_pairs, plan_for, progress, run
from tiny_models import make_llama

from xeno.errors import InvalidValueError, XenoError
from xeno.events import Evaluated, Event, LogLine, StopTraining
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.training import trl_engine
from xeno.training.adapters import trainable
from xeno.training.plan import TrainingPlan
from xeno.training.settings.objective import TrlLoss
from xeno.training.trainer import train
from xeno.versions.registry import Registry


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_llama(tmp_path_factory.mktemp("base")))


def plan(base: str, **changes: Any) -> Any:
    values = {"engine": "trl", "samples": False, "sft_weight": 0.0, "learning_rate": 5e-3}
    return plan_for(base, **(values | changes))


@pytest.mark.parametrize("loss", ["sigmoid", "ipo"])
def test_both_engines_take_the_same_steps(profile: Profile, base: str, loss: str) -> None:
    add_pairs(profile, 30)
    runs = [run(profile, plan(base, engine=engine, loss=loss)) for engine in ("trl", "xeno")]
    theirs, ours = (progress(events) for _, events in runs)
    assert [step.step for step in theirs] == [step.step for step in ours]
    for one, other in zip(theirs, ours, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4, abs=1e-4)
        assert one.reward_margin == pytest.approx(other.reward_margin, rel=1e-3, abs=1e-4)
        assert one.learning_rate == pytest.approx(other.learning_rate)
    last = [[e for e in events if isinstance(e, Evaluated)][-1] for _, events in runs]
    assert last[0].preference_accuracy == last[1].preference_accuracy
    assert last[0].loss == pytest.approx(last[1].loss, rel=1e-3)
    adapters = [Registry(profile).load(finished.version or "")[0] for finished, _ in runs]
    for name, tensor in adapters[0].items():
        assert torch.allclose(tensor, adapters[1][name], atol=1e-3), name
    assert Runs(profile.db).get(runs[0][0].run_id).metrics["steps"] == len(theirs)


def test_every_other_loss_of_trl_trains(profile: Profile, base: str) -> None:
    add_pairs(profile, 20)
    for loss in get_args(TrlLoss):
        _, events = run(profile, plan(base, trl_loss=loss, max_steps=2, heldout_share=0.0))
        steps = progress(events)
        assert len(steps) == 2, loss
        assert (steps[-1].gradient_norm or 0) > 0, loss


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"private": True}, "differential privacy"),
        ({"method": "sft"}, "for the method dpo"),
        ({"loss": "conservative"}, "neither the loss conservative"),
        ({"length_normalisation": True}, "neither the loss conservative"),
        ({"lora_dropout": 0.1}, "drops out"),
    ],
)
def test_what_trl_cannot_do_is_refused(
    profile: Profile, base: str, changes: dict[str, Any], words: str
) -> None:
    add_pairs(profile, 20)
    with pytest.raises(InvalidValueError, match=words):
        run(profile, plan(base, **changes))


@pytest.mark.parametrize("keep", [False, True])
def test_a_stop_is_obeyed_after_the_step(profile: Profile, base: str, keep: bool) -> None:
    add_pairs(profile, 24)
    events: list[Event] = []
    created = Runs(profile.db).create(plan(base, epochs=20))

    def stop() -> StopTraining | None:
        return StopTraining(keep=keep) if len(progress(events)) >= 2 else None

    finished = train(profile, created.id, events.append, stop)
    assert len(progress(events)) <= 3
    assert finished.status == ("stopped" if keep else "discarded")
    assert (finished.version is not None) == keep


def test_the_time_limit_holds_there_too(profile: Profile, base: str) -> None:
    add_pairs(profile, 24)
    finished, events = run(profile, plan(base, epochs=1000, time_limit_minutes=1 / 60))
    assert finished.status == "stopped"
    assert any(isinstance(e, LogLine) and "time limit" in e.text for e in events)
    metrics = Runs(profile.db).get(finished.run_id).metrics
    assert metrics["released_step"] == metrics["final_step"] == metrics["steps"] > 0


def test_a_gradient_that_is_not_finite_ends_the_run(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 20)
    made = trl_engine.build

    def spoilt(plan: TrainingPlan, model: torch.nn.Module) -> torch.optim.Optimizer:
        trainable(model)[-1].register_hook(lambda gradient: gradient * torch.nan)
        return made(plan, model)

    monkeypatch.setattr(trl_engine, "build", spoilt)
    with pytest.raises(XenoError, match="gradient is not made of finite"):
        run(profile, plan(base, max_steps=3))


def test_an_optimizer_that_changes_nothing_is_found_out_after_the_first_step(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 20)
    made = trl_engine.build
    monkeypatch.setattr(trl_engine, "build", lambda plan, model: made(plan, deepcopy(model)))
    seen: list[Event] = []
    created = Runs(profile.db).create(plan(base, max_steps=3))
    with pytest.raises(XenoError, match="does not change the adapter"):
        train(profile, created.id, seen.append, lambda: None)
    assert len(progress(seen)) <= 1


def test_that_weights_do_not_count_is_said(profile: Profile, base: str) -> None:
    add_pairs(profile, 20)
    with profile.db.transaction() as connection:
        connection.execute("UPDATE pairs SET weight = 0.5")
    _, events = run(profile, plan(base, max_steps=1))
    assert any(isinstance(e, LogLine) and "weighs all pairs" in e.text for e in events)


class _Watch:
    """Notes what is opened for writing and what is connected to. An audit hook cannot be taken
    away again, so it is there once and listens when it is told to."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: Any) -> None:
        if not self.on:
            return
        if event == "open" and not isinstance(arguments[0], int):
            path, mode, flags = arguments
            if set(mode or "") & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR):
                self.seen.append(str(path))
        elif event == "socket.connect":
            self.seen.append(f"socket {arguments[1:]}")


def test_nothing_is_written_outside_the_profile_and_nothing_sent(
    profile: Profile,
    base: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    import datasets

    add_pairs(profile, 24)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    watch, there = _Watch(), set()

    def stop() -> None:
        there.update(path for path in temporary.rglob("*") if path.is_file())

    watch.on = True
    try:
        finished, _ = run(profile, plan(base), stop)
    finally:
        watch.on = False
    assert finished.status == "completed"
    home = str(profile.home.folder)
    elsewhere = [path for path in watch.seen if not path.startswith(home)]
    assert set(elsewhere) <= {os.devnull}
    assert there == set()
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "cache").exists()
    assert capfd.readouterr().out == ""
