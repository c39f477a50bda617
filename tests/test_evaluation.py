"""What is measured while a run trains: how often, on what, and what is said where nothing is
known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny_models import make_llama

from xeno.events import ChatMessage, Evaluated, Event, Progress
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.training.early_stopping import EarlyStopping
from xeno.training.gauges import Gauges, temperature
from xeno.training.measures import finite
from xeno.training.plan import TrainingPlan
from xeno.training.trainer import train


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_llama(tmp_path_factory.mktemp("base")))


def trained(profile: Profile, base: str, **changes: Any) -> list[Event]:
    """The events of a run of eight steps on 30 pairs."""
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
    values: dict[str, Any] = {"private": False, "epochs": 2, "threads": 1, "samples": False}
    plan = TrainingPlan.model_validate({"base": base, **values, **changes})
    events: list[Event] = []
    train(profile, Runs(profile.db).create(plan).id, events.append, lambda: None)
    return events


def evaluations(events: list[Event]) -> list[Evaluated]:
    return [event for event in events if isinstance(event, Evaluated)]


def test_the_held_out_pairs_are_scored_as_often_as_planned(profile: Profile, base: str) -> None:
    found = evaluations(trained(profile, base, evaluations=2))
    assert [event.step for event in found] == [0, 4, 8]
    assert all(event.perplexity is not None and event.perplexity > 1 for event in found)
    kept = Runs(profile.db).get(found[0].run_id).metrics
    assert kept["heldout_perplexity"] == found[-1].perplexity
    assert kept["tokens_per_second"] > kept["pairs_per_second"]


def test_the_first_evaluation_can_be_left_out(profile: Profile, base: str) -> None:
    found = evaluations(trained(profile, base, evaluations=1, evaluate_first=False))
    assert [event.step for event in found] == [8]
    kept = Runs(profile.db).get(found[0].run_id).metrics
    assert kept["heldout_preference_accuracy_before"] is None
    assert kept["heldout_preference_accuracy"] is not None
    assert kept["shorter_baseline"] is not None


def test_on_the_way_fewer_pairs_are_enough_and_at_the_ends_all_count(
    profile: Profile, base: str
) -> None:
    found = evaluations(trained(profile, base, evaluation_pairs=1, heldout_share=0.2))
    assert [event.step for event in found] == [0, 2, 4, 6]
    assert {event.preference_accuracy for event in found[1:-1]} <= {0.0, 0.5, 1.0}
    whole = [found[0].perplexity, found[-1].perplexity]
    assert whole[0] != found[1].perplexity


def test_steps_are_compared_on_the_same_pairs_and_the_released_one_is_measured_on_all(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, float | None]] = []
    is_best = EarlyStopping.is_best

    def noted(watch: EarlyStopping, event: Evaluated) -> bool:
        compared.append((event.step, event.perplexity))
        return is_best(watch, event)

    monkeypatch.setattr(EarlyStopping, "is_best", noted)
    # It learns its pairs by heart, so that an early step is the best one.
    changes: dict[str, Any] = {
        "heldout_share": 0.3,
        "learning_rate": 0.05,
        "epochs": 20,
        "evaluations": 20,
        "early_stopping": "off",
        "early_stopping_metric": "loss",
    }
    found = evaluations(trained(profile, base, evaluation_pairs=2, **changes))
    assert [step for step, _ in compared] == [event.step for event in found[1:]]
    last_step, last = compared[-1]
    assert last_step == found[-1].step
    assert last != found[-1].perplexity, "of two pairs, not of all"
    kept = Runs(profile.db).get(found[0].run_id).metrics
    assert kept["released_step"] == kept["best_step"] < last_step
    on_two = {event.step: event.loss for event in found}[kept["best_step"]]
    assert kept["best_loss"] == kept["heldout_loss"] != on_two, "measured again, on all pairs"


def test_progress_is_told_as_often_as_planned_and_at_the_end(profile: Profile, base: str) -> None:
    events = trained(profile, base, progress_every=3)
    steps = [event for event in events if isinstance(event, Progress)]
    assert [event.step for event in steps] == [3, 6, 8]
    assert steps[-1].eta_seconds < steps[0].eta_seconds
    assert all(event.tokens_per_second > event.pairs_per_second for event in steps)


def test_a_loss_that_is_no_number_is_told_as_unknown(profile: Profile, base: str) -> None:
    assert finite(math.nan) is None
    assert finite(math.inf) is None
    assert finite(0.5) == 0.5
    event = next(each for each in trained(profile, base) if isinstance(each, Progress))
    unknown = event.model_copy(update={"loss": None, "gradient_norm": None})
    assert Progress.model_validate_json(unknown.model_dump_json()) == unknown


def test_the_gauges_read_this_machine() -> None:
    reading = Gauges().read()
    assert reading.memory_bytes > 1_000_000
    assert reading.memory_of == "machine"
    assert reading.processor_share is None, "it is only known after a second"
    degrees = temperature()
    assert degrees is None or 0 < degrees < 150


def test_on_a_graphics_card_the_gauges_read_the_cards_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 123)
    reading = Gauges("cuda").read()
    assert (reading.memory_bytes, reading.memory_of) == (123, "card")
