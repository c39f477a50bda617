"""Sample replies while training: what they are, how they end, that they disturb nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import make_llama

from xeno.events import ChatMessage, Event, Progress, SampleReplies, Sampling
from xeno.inference.engine import Engine
from xeno.models.base import inspect_base
from xeno.models.chat import load_tokenizer
from xeno.models.loading import load_model
from xeno.paths import Home
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import Profile, open_profile
from xeno.store.runs import Runs
from xeno.training.adapters import attach
from xeno.training.plan import TrainingPlan
from xeno.training.samples import Samples
from xeno.training.trainer import train
from xeno.versions.adapter import AdapterConfig
from xeno.versions.registry import Registry


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("base"))


def plan_for(base: Path, **changes: Any) -> TrainingPlan:
    values: dict[str, Any] = {"base": str(base), "private": False, "epochs": 2, "threads": 1}
    return TrainingPlan(**(values | {"sample_tokens": 6} | changes))


def samples_of(base: Path, plan: TrainingPlan) -> Samples:
    found = inspect_base(base)
    model = load_model(found, "float32")
    return Samples(plan, model, load_tokenizer(found), found.context)


def trained(profile: Profile, plan: TrainingPlan) -> tuple[str, list[Event]]:
    """The new version's address, and the run's events."""
    if not Pairs(profile.db).count():
        Pairs(profile.db).add_many(
            new_pair(
                profile.name,
                [ChatMessage(role="user", content=f"cat {n}?")],
                f"- dog {n}.",
                f"Well, cat and dog {n}.",
                feedback_type="correction",
                confidence=1.0,
                quality=1.0,
            )
            for n in range(30)
        )
    events: list[Event] = []
    finished = train(profile, Runs(profile.db).create(plan).id, events.append, lambda: None)
    assert finished.version is not None
    return finished.version, events


def test_a_sample_is_what_the_assistant_would_answer(base: Path) -> None:
    plan = plan_for(base, sample_prompts="cat?\nthe sun and the moon", sample_tokens=12)
    engine = Engine(inspect_base(base), "float32", threads=1)
    sampling = Sampling(max_tokens=12)
    for reply in samples_of(base, plan).write(lambda: False):
        asked = [ChatMessage(role="user", content=reply.prompt)]
        assert reply.reply == engine.generate(asked, sampling).text.strip()


def test_a_reply_is_cut_off_at_its_length_its_time_and_at_a_stop(base: Path) -> None:
    (reply,) = samples_of(base, plan_for(base, sample_prompts="cat?")).write(lambda: False)
    assert reply.reply
    assert not reply.complete
    long = plan_for(base, sample_tokens=400, sample_seconds=0.2)
    begun = time.monotonic()
    replies = samples_of(base, long).write(lambda: False)
    assert len(replies) == 3
    assert time.monotonic() - begun < 10
    asked: Iterator[bool] = iter([False, False, True, True, True, True])
    (stopped,) = samples_of(base, plan_for(base, sample_prompts="cat?")).write(lambda: next(asked))
    assert len(stopped.reply) < len(reply.reply)


def test_every_module_is_left_in_its_mode_and_nothing_random_is_drawn(base: Path) -> None:
    found = inspect_base(base)
    model = load_model(found, "float32")
    config = AdapterConfig(kind="lora", rank=2, alpha=4, target_modules=("q_proj", "v_proj"))
    adapted = attach(model, config, seed=0)
    before = {name: module.training for name, module in adapted.named_modules()}
    assert any(before.values())
    state = torch.get_rng_state()
    Samples(plan_for(base), model, load_tokenizer(found), found.context).write(lambda: False)
    assert {name: module.training for name, module in adapted.named_modules()} == before
    assert torch.equal(torch.get_rng_state(), state)


def test_a_run_with_samples_ends_in_the_same_adapter(home: Home, base: Path) -> None:
    found = []
    for place, samples in enumerate((True, False)):
        with open_profile(home, f"user{place}") as profile:
            plan = plan_for(base, samples=samples, learning_rate=5e-3)
            version, events = trained(profile, plan)
            tensors, _ = Registry(profile).load(version)
        found.append((tensors, [event for event in events if isinstance(event, SampleReplies)]))
    (with_samples, written), (without, none) = found
    assert none == []
    assert all(torch.equal(with_samples[name], without[name]) for name in without)
    steps = [event.step for event in written]
    assert steps == [0, 2, 4, 6, 8]
    assert written[0].replies != written[-1].replies, "training changed nothing that is written"


def test_samples_are_written_as_often_as_planned(profile: Profile, base: Path) -> None:
    _, events = trained(profile, plan_for(base, sample_every=3, sample_prompts="one\n\n two "))
    written = [event for event in events if isinstance(event, SampleReplies)]
    assert [event.step for event in written] == [0, 3, 6, 8]
    assert [reply.prompt for reply in written[0].replies] == ["one", "two"]
    kept = Runs(profile.db).events(written[0].run_id)
    assert [event for event in kept if isinstance(event, SampleReplies)] == written


def test_a_private_run_writes_samples_too(profile: Profile, base: Path) -> None:
    version, events = trained(profile, plan_for(base, private=True, epsilon=20.0))
    assert sum(isinstance(event, SampleReplies) for event in events) > 1
    assert any(isinstance(event, Progress) and event.gradient_norm for event in events)
    assert Registry(profile).get(version).manifest.private


def test_the_users_own_prompts_do_not_go_into_the_version(profile: Profile, base: Path) -> None:
    version, _ = trained(profile, plan_for(base, sample_prompts="What does my doctor say?"))
    assert "doctor" not in Registry(profile).get(version).manifest.canonical().decode()
