"""Measurements per model, and acceptance read from the replies."""

from __future__ import annotations

import math

import pytest

from xeno.errors import InvalidValueError
from xeno.feedback.recorder import FeedbackRecorder
from xeno.paths import Home
from xeno.performance.metrics import PerformanceTracker
from xeno.store.conversations import Conversations
from xeno.store.profile import Profile


def test_statistics_of_what_was_measured(home: Home) -> None:
    with PerformanceTracker() as tracker:
        for value in (3, 1, 2, 10):
            tracker.record_metric("m", "latency", value, context={"dataset": "production"})
        found = tracker.get_statistics("m", "latency")
    assert (found["count"], found["mean"], found["median"]) == (4, 4.0, 2.5)
    assert (found["min"], found["max"], found["latest"]) == (1.0, 10.0, 10.0)
    assert found["std"] == pytest.approx(math.sqrt(50 / 3))
    assert found["p95"] == pytest.approx(8.95)


def test_nothing_measured_is_said_as_nothing(profile: Profile) -> None:
    found = PerformanceTracker(profile=profile).get_statistics("m", "latency")
    assert found.pop("count") == 0
    assert set(found.values()) == {None}


@pytest.mark.parametrize("value", [math.nan, math.inf, "fast", None])
def test_only_finite_numbers_are_measurements(profile: Profile, value: object) -> None:
    tracker = PerformanceTracker(profile=profile)
    with pytest.raises(InvalidValueError):
        tracker.record_metric("m", "latency", value)  # type: ignore[arg-type]


def test_the_series_is_in_order_and_limited_to_the_last(profile: Profile) -> None:
    tracker = PerformanceTracker(profile=profile)
    for value in range(5):
        tracker.record_metric("m", "latency", value)
    assert [value for _, value in tracker.series("m", "latency", limit=3)] == [2, 3, 4]


def test_acceptance_follows_thumbs_corrections_and_regenerations(profile: Profile) -> None:
    conversations, recorder = Conversations(profile.db), FeedbackRecorder(profile)
    tracker = PerformanceTracker(profile=profile)
    talk = conversations.create("t")
    replies = []
    for number in range(4):
        conversations.add_message(talk.id, "user", f"q{number}")
        replies.append(conversations.add_message(talk.id, "assistant", f"a{number}"))
    conversations.add_message(talk.id, "user", "q")
    conversations.add_message(talk.id, "assistant", "a", version="f" * 64)
    recorder.thumb(replies[0].id, up=False)
    recorder.correct(replies[1].id, "better")
    conversations.supersede(replies[2].id)
    recorder.rate(replies[3].id, 4)
    recorder.thumb(replies[3].id, up=True)
    tracker.record_metric("base", "tokens_per_second", 50)
    tracker.record_metric("base", "first_token_seconds", 0.1)

    rows = {row["model"]: row for row in tracker.table()}
    base, version = rows["base"], rows["f" * 64]
    assert (base["replies"], base["acceptance"], base["rating"]) == (4, 0.25, 4.0)
    assert (base["tokens_per_second"], base["first_token_seconds"]) == (50, 0.1)
    assert (version["replies"], version["acceptance"], version["rating"]) == (1, 1.0, None)
    assert [v for _, v in tracker.series("base", "accepted")] == [0, 0, 0, 1]
    recorder.thumb(replies[0].id, up=True)
    assert tracker.get_statistics("base", "accepted")["mean"] == 0.5
