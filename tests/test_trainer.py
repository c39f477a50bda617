"""A training run on a small real model: what it learns, what it releases, how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_parts import Stop, add_pairs, plan_for, progress, run
from tiny_models import make_llama

from xeno.errors import BudgetError, InvalidValueError, StorageFullError
from xeno.events import (
    ChatMessage,
    Evaluated,
    Event,
    RunFinished,
    RunStarted,
    StopTraining,
)
from xeno.paths import Home
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.noise import CipherStream
from xeno.store.pairs import Pair, Pairs, new_pair
from xeno.store.profile import Profile, open_profile
from xeno.store.runs import Runs
from xeno.training.dataset import data_hash, split, training_pairs
from xeno.training.plan import TrainingPlan
from xeno.training.policy import Policy
from xeno.training.trainer import train
from xeno.versions.registry import Registry


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_llama(tmp_path_factory.mktemp("base")))


def test_a_run_learns_the_taste_and_becomes_a_version(profile: Profile, base: str) -> None:
    add_pairs(profile, 40)
    plan = plan_for(base, epochs=8, learning_rate=5e-3)
    finished, events = run(profile, plan)
    assert (finished.status, finished.number, finished.epsilon) == ("completed", 1, None)

    started = events[0] if isinstance(events[0], RunStarted) else events[1]
    assert isinstance(started, RunStarted)
    assert (started.pairs_training, started.pairs_heldout, started.steps) == (36, 4, 40)
    steps = progress(events)
    assert [event.step for event in steps] == list(range(1, 41))
    assert steps[0].reward_margin == pytest.approx(0.0, abs=1e-4)
    assert steps[-1].loss < steps[0].loss / 2
    assert all(event.memory_bytes > 0 and event.pairs_per_second > 0 for event in steps)

    kept = Runs(profile.db).get(finished.run_id)
    assert (kept.status, kept.version) == ("completed", finished.version)
    assert Runs(profile.db).events(finished.run_id) == [*events, finished]
    metrics = kept.metrics
    assert metrics["heldout_preference_accuracy"] == 1.0
    assert metrics["heldout_preference_accuracy_before"] is not None
    assert metrics["shorter_baseline"] == 1.0
    assert metrics["longer_baseline"] == 0.0
    assert metrics["peak_memory_bytes"] > 0
    assert metrics["pairs_per_second"] > 0
    assert (metrics["left_out"], metrics["prompt_shortened"]) == (0, 0)

    tensors, version = Registry(profile).load(finished.version or "")
    manifest = version.manifest
    assert len(manifest.pair_ids) == 36
    assert manifest.data_hash == data_hash(training_pairs(profile)) == kept.data_hash
    assert (manifest.private, manifest.epsilon, manifest.adapter.kind) == (False, None, "lora")
    assert manifest.plan is not None
    assert "/" not in manifest.plan.base
    assert any(tensors[name].any() for name in tensors if "lora_B" in name)
    assert PrivacyLedger(profile).entries() == []


def test_the_same_inputs_give_the_same_adapter(home: Home, base: str) -> None:
    addresses = []
    for name in ("one", "two"):
        with open_profile(home, name) as profile:
            add_pairs(profile, 24)
            torch.manual_seed(len(addresses))
            finished, _ = run(profile, plan_for(base))
            addresses.append(finished.version)
    assert addresses[0] == addresses[1]


def test_micro_batches_only_change_the_memory(profile: Profile, base: str) -> None:
    add_pairs(profile, 24)
    losses = [
        progress(run(profile, plan_for(base, heldout_share=0.0, **size))[1])[-1].loss
        for size in ({"micro_batch_size": 8}, {"micro_batch_size": 3}, {"tokens_at_once": 64})
    ]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)


def test_no_micro_batch_has_more_tokens_than_planned(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    collate = Policy.collate

    def counted(policy: Policy, rows: Any) -> Any:
        seen.append([row.tokens for row in rows])
        return collate(policy, rows)

    monkeypatch.setattr(Policy, "collate", counted)
    add_pairs(profile, 24)
    run(profile, plan_for(base, tokens_at_once=200))
    assert any(len(part) > 1 for part in seen)
    assert all(len(part) == 1 or len(part) * max(part) <= 200 for part in seen)


def test_a_private_run_stands_in_the_ledger_with_its_epsilon(profile: Profile, base: str) -> None:
    add_pairs(profile, 40)
    finished, events = run(profile, plan_for(base, private=True, epsilon=3.0, epochs=6))
    [entry] = PrivacyLedger(profile).entries()
    assert entry.version == finished.version
    assert entry.epsilon_alone == finished.epsilon
    assert 2.9 < entry.epsilon_alone <= 3.0
    assert (entry.mechanism.steps, entry.mechanism.sample_rate) == (6, 1.0)
    tensors, version = Registry(profile).load(finished.version or "")
    manifest = version.manifest
    assert (manifest.private, manifest.epsilon, manifest.unit) == (True, finished.epsilon, "pair")
    assert manifest.adapter.kind == "lora_b_only"
    assert manifest.mechanism is not None
    assert manifest.mechanism["steps"] == 6
    for name, tensor in tensors.items():
        if "lora_A" in name:
            assert torch.allclose(tensor @ tensor.T, torch.eye(len(tensor)), atol=1e-5)
    assert len(progress(events)) == 6


def test_private_noise_never_follows_from_the_seed(profile: Profile, base: str) -> None:
    add_pairs(profile, 30)
    plan = plan_for(base, private=True, epsilon=2.0)
    versions = {run(profile, plan)[0].version for _ in range(2)}
    assert len(versions) == 2
    ledger = PrivacyLedger(profile)
    assert 2.0 < ledger.spent() < 4.0
    ledger.verify()


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(count=st.integers(20, 70), epsilon=st.floats(0.2, 12), epochs=st.integers(1, 4))
def test_the_released_epsilon_never_exceeds_the_plan(
    tmp_path_factory: pytest.TempPathFactory, base: str, count: int, epsilon: float, epochs: int
) -> None:
    home = Home.at(tmp_path_factory.mktemp("home"))
    with open_profile(home) as profile:
        add_pairs(profile, count)
        finished, _ = run(profile, plan_for(base, private=True, epsilon=epsilon, epochs=epochs))
        assert finished.epsilon is not None
        assert 0.8 * epsilon - 0.02 <= finished.epsilon <= epsilon
        assert PrivacyLedger(profile).spent() <= epsilon


def test_runs_share_the_lifetime_budget_until_it_is_spent(profile: Profile, base: str) -> None:
    add_pairs(profile, 24)
    ledger = PrivacyLedger(profile)
    ledger.set_budget(5.0)
    plan = plan_for(base, private=True, epsilon=4.0, epochs=1)
    first, _ = run(profile, plan)
    second, _ = run(profile, plan)
    assert (first.epsilon or 0) > 3.9
    assert (second.epsilon or 0) < 3.5
    assert 4.9 < ledger.spent() <= 5.0
    created = Runs(profile.db).create(plan)
    with pytest.raises(BudgetError, match="budget"):
        train(profile, created.id, lambda _: None, lambda: None)
    failed = Runs(profile.db).get(created.id)
    assert failed.status == "failed"
    assert failed.failure is not None
    assert len(ledger.history()) == 2


def test_sampled_batches_may_be_empty_and_are_noised_and_counted(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 30)
    sampled: list[int] = []
    draw = CipherStream.poisson_sample

    def some(stream: CipherStream, count: int, rate: float) -> list[int]:
        drawn = draw(stream, count, rate) if len(sampled) % 2 else []
        sampled.append(len(drawn))
        return drawn

    monkeypatch.setattr(CipherStream, "poisson_sample", some)
    finished, events = run(
        profile, plan_for(base, private=True, epochs=1, full_batch_below=10, sampled_batch=5)
    )
    steps = progress(events)
    assert len(sampled) == len(steps) == 6
    assert sampled[0] == sampled[2] == sampled[4] == 0
    assert steps[0].gradient_norm == 0.0
    [entry] = PrivacyLedger(profile).entries()
    assert entry.mechanism.steps == 6
    [started] = [event for event in events if isinstance(event, RunStarted)]
    assert entry.mechanism.sample_rate == pytest.approx(5 / started.pairs_training)
    assert (finished.epsilon or 9) <= 8.0


def _stop_after(steps: int, keep: bool, events: list[Event]) -> Stop:
    def stop() -> StopTraining | None:
        return StopTraining(keep=keep) if len(progress(events)) >= steps else None

    return stop


def _stopped(
    profile: Profile, plan: TrainingPlan, steps: int, keep: bool
) -> tuple[RunFinished, list[Event]]:
    events: list[Event] = []
    created = Runs(profile.db).create(plan)
    stop = _stop_after(steps, keep, events)
    return train(profile, created.id, events.append, stop), events


def test_a_stopped_and_kept_private_run_pays_for_the_steps_it_took(
    profile: Profile, base: str
) -> None:
    add_pairs(profile, 30)
    plan = plan_for(base, private=True, epochs=10, epsilon=4.0)
    finished, events = _stopped(profile, plan, 3, keep=True)
    [entry] = PrivacyLedger(profile).entries()
    assert finished.status == "stopped"
    assert entry.mechanism.steps == len(progress(events)) == 3
    assert entry.version == finished.version
    assert 1.0 < (finished.epsilon or 9) < 2.5
    assert Runs(profile.db).get(finished.run_id).status == "stopped"
    last = [event for event in events if isinstance(event, Evaluated)][-1]
    assert last.step == 3


def test_a_discarded_run_releases_nothing_and_spends_nothing(profile: Profile, base: str) -> None:
    add_pairs(profile, 30)
    finished, _ = _stopped(profile, plan_for(base, private=True, epochs=10), 2, keep=False)
    assert (finished.status, finished.version, finished.epsilon) == ("discarded", None, None)
    assert PrivacyLedger(profile).entries() == []
    assert Registry(profile).all() == []
    assert Runs(profile.db).get(finished.run_id).status == "discarded"


def test_a_discard_after_the_last_step_releases_nothing_either(profile: Profile, base: str) -> None:
    add_pairs(profile, 24)
    events: list[Event] = []
    created = Runs(profile.db).create(plan_for(base, private=True, epochs=2))

    def stop() -> StopTraining | None:
        measured = [event.step for event in events if isinstance(event, Evaluated)]
        return StopTraining(keep=False) if measured[-1:] == [2] else None

    finished = train(profile, created.id, events.append, stop)
    assert len(progress(events)) == 2
    assert (finished.status, finished.version) == ("discarded", None)
    assert PrivacyLedger(profile).entries() == []


def test_a_stop_before_the_first_step_has_nothing_to_keep(profile: Profile, base: str) -> None:
    add_pairs(profile, 30)
    finished, _ = _stopped(profile, plan_for(base), 0, keep=True)
    assert (finished.status, finished.version) == ("discarded", None)


def test_the_ledger_entry_stands_before_the_version(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 24)

    def full(*_: object, **__: object) -> None:
        raise StorageFullError("The disk is full.")

    monkeypatch.setattr(Registry, "release", full)
    with pytest.raises(StorageFullError):
        run(profile, plan_for(base, private=True, epochs=1, full_batch_below=10, sampled_batch=5))
    assert len(PrivacyLedger(profile).entries()) == 1
    assert Registry(profile).all() == []


def test_pairs_that_do_not_fit_are_left_out_with_their_reason(profile: Profile, base: str) -> None:
    add_pairs(profile, 30, long_reply=3)
    finished, events = run(profile, plan_for(base, heldout_share=0.0))
    metrics = Runs(profile.db).get(finished.run_id).metrics
    assert metrics["left_out"] == 3
    assert all(
        "600" in out["reason"] or "601" in out["reason"] for out in metrics["pairs_left_out"]
    )
    left = {out["pair"] for out in metrics["pairs_left_out"]}
    assert left.isdisjoint(Registry(profile).get(finished.version or "").manifest.pair_ids)
    assert any("3 pairs were left out" in json.dumps(e.model_dump()) for e in events)


def test_too_few_pairs_are_refused_unless_forced(profile: Profile, base: str) -> None:
    add_pairs(profile, 5)
    with pytest.raises(InvalidValueError, match="20 are needed"):
        run(profile, plan_for(base))
    assert run(profile, plan_for(base, force=True))[0].status == "completed"


def _grouped(count: int, group_size: int) -> list[Pair]:
    return [
        new_pair(
            "u",
            [ChatMessage(role="user", content=f"q{n}")],
            "a",
            "b",
            feedback_type="import",
            confidence=1.0,
            quality=1.0,
            group_id=f"g{n // group_size}",
        )
        for n in range(count)
    ]


def test_groups_are_held_out_whole_and_the_same_every_time(profile: Profile) -> None:
    pairs = _grouped(60, group_size=3)
    training, held_out = split(pairs, 0.1, seed=4)
    assert (len(training), len(held_out)) == (54, 6)
    assert not {p.group_id for p in training} & {p.group_id for p in held_out}
    again = split(list(reversed(pairs)), 0.1, seed=4)[1]
    assert {p.id for p in again} == {p.id for p in held_out}
    assert {p.id for p in split(pairs, 0.1, seed=5)[1]} != {p.id for p in held_out}
    assert split(pairs, 0.0, seed=4)[1] == []


def test_with_privacy_no_pair_decides_whether_another_is_trained_on() -> None:
    pairs = _grouped(300, group_size=1)
    training = {p.id for p in split(pairs, 0.1, seed=4, private=True)[0]}
    assert 0.8 < len(training) / len(pairs) < 0.97
    for removed in pairs[:40]:
        others = [pair for pair in pairs if pair is not removed]
        without = {p.id for p in split(others, 0.1, seed=4, private=True)[0]}
        assert without == training - {removed.id}
    for pair in pairs:
        assert split([pair], 0.1, seed=4, private=True) == ([pair], [])


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("name", ["stories260K", "bitstories-3M"])
def test_real_models_and_real_pairs_train(
    profile: Profile, shared_data: Path, shared_models: Path, name: str, private: bool
) -> None:
    from xeno.data.importing import import_preferences

    import_preferences(profile, shared_data / "preferences" / "oasst_en100_human.jsonl")
    pairs = Pairs(profile.db)
    for pair in sorted(pairs.all(), key=lambda p: len(p.chosen + p.rejected))[40:]:
        pairs.set_active(pair.id, False)
    plan = plan_for(str(shared_models / name), epochs=1, private=private, max_length=256)
    finished, _ = run(profile, plan)
    metrics = Runs(profile.db).get(finished.run_id).metrics
    assert finished.status == "completed"
    assert metrics["heldout_preference_accuracy"] is not None
    assert metrics["longer_baseline"] is not None
    assert metrics["left_out"] + metrics["pairs_training"] + metrics["pairs_heldout"] == 40
