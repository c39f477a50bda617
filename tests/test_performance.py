"""Measurements per model, trends and warnings, and acceptance read from the replies."""

from __future__ import annotations

import math
import random

import pytest

from xeno import PerformanceTracker
from xeno.errors import InvalidValueError, XenoError
from xeno.feedback.recorder import FeedbackRecorder
from xeno.paths import Home
from xeno.performance import summary, trends
from xeno.performance.alerts import Alerts
from xeno.store.conversations import Conversations
from xeno.store.profile import Profile


def test_statistics_of_what_was_measured(home: Home) -> None:
    with PerformanceTracker() as tracker:
        for value in (3, 1, 2, 10):
            tracker.record_metric("m", "latency", value, context={"dataset": "production"})
    with PerformanceTracker() as tracker:  # another process would find the same
        found = tracker.get_statistics("m", "latency")
    assert (found["count"], found["mean"], found["median"]) == (4, 4.0, 2.5)
    assert (found["min"], found["max"], found["latest"]) == (1.0, 10.0, 10.0)
    assert found["std"] == pytest.approx(math.sqrt(50 / 3))
    assert found["p95"] == pytest.approx(8.95)


def test_nothing_measured_is_said_as_nothing(profile: Profile) -> None:
    tracker = PerformanceTracker(profile=profile)
    found = tracker.get_statistics("m", "latency")
    assert found.pop("count") == 0
    assert set(found.values()) == {None}
    assert tracker.get_trend("m", "latency") == "stable"


@pytest.mark.parametrize("value", [math.nan, math.inf, "fast", None, 10**400])
def test_only_finite_numbers_are_measurements(profile: Profile, value: object) -> None:
    tracker = PerformanceTracker(profile=profile)
    with pytest.raises(InvalidValueError):
        tracker.record_metric("m", "latency", value)  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [("", "latency"), ("m", " "), (None, "latency")])
def test_measurements_need_names(profile: Profile, names: tuple[str, str]) -> None:
    with pytest.raises(XenoError):
        PerformanceTracker(profile=profile).record_metric(*names, 1.0)


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
    tracker.record_metrics("base", {"tokens_per_second": 50, "first_token_seconds": 0.1})
    for value in (0, 0, 0, 1):
        tracker.record_metric("base", "error", value)

    rows = {row.model: row for row in summary.summaries(profile)}
    base, version = rows["base"], rows["f" * 64]
    assert (base.replies, base.acceptance, base.rating) == (4, 0.25, 4.0)
    assert (base.tokens_per_second, base.first_token_seconds) == (50, 0.1)
    assert (base.error_rate, base.memory_bytes) == (0.25, None)
    assert (version.replies, version.acceptance, version.rating) == (1, 1.0, None)
    assert [v for _, v in tracker.series("base", "accepted")] == [0, 0, 0, 1]
    assert [v for _, v in summary.line(profile, "base", "accepted")] == [0, 0, 0, 1]
    assert [v for _, v in summary.line(profile, "base", "rating")] == [4]
    recorder.thumb(replies[0].id, up=True)
    assert tracker.get_statistics("base", "accepted")["mean"] == 0.5


def test_the_table_shows_the_median_of_times(profile: Profile) -> None:
    tracker = PerformanceTracker(profile=profile)
    for value in (9.0, 1.0, 2.0, 4.0):
        tracker.record_metric("m", "first_token_seconds", value)
    assert summary.summaries(profile)[0].first_token_seconds == 3.0
    tracker.record_metric("m", "first_token_seconds", 5.0)
    assert summary.summaries(profile)[0].first_token_seconds == 4.0


def test_a_long_line_is_drawn_from_the_means_of_spans(profile: Profile) -> None:
    tracker = PerformanceTracker(profile=profile)
    tracker.record_metric("m", "latency", 1)
    with profile.db.transaction() as connection:
        connection.executemany(
            "INSERT INTO measurements (series, value, created) VALUES (1, ?, ?)",
            [(number % 2, 1000.0 + number) for number in range(4000)],
        )
        connection.execute("DELETE FROM measurements WHERE id = 1")
    points = summary.line(profile, "m", "latency")
    assert 290 <= len(points) <= 301
    assert all(0.3 < value < 0.7 for _, value in points[:-1])
    assert points == sorted(points)
    assert len(summary.line(profile, "m", "latency", since=4900.0)) == 100


def test_white_noise_has_no_trend_in_95_of_100_series() -> None:
    draw = random.Random(5)
    found = [
        trends.direction("accuracy", [draw.gauss(0, 1) for _ in range(40)]) for _ in range(1000)
    ]
    assert found.count("stable") >= 950
    assert found.count("stable") < 990  # it is the stated rate, not a test that never speaks


def test_a_drift_of_one_deviation_every_40_points_is_found_in_90_of_100_series() -> None:
    draw = random.Random(6)
    found = [
        trends.direction("accuracy", [draw.gauss(place / 40, 1) for place in range(70)])
        for _ in range(300)
    ]
    assert found.count("improving") >= 270


@pytest.mark.parametrize(
    ("metric", "rising"),
    [
        ("accuracy", "improving"),
        ("tokens_per_second", "improving"),
        ("latency", "degrading"),
        ("first_token_seconds", "degrading"),
        ("Memory_Bytes", "degrading"),
        ("error", "degrading"),
    ],
)
def test_which_way_is_better_depends_on_the_metric(
    profile: Profile, metric: str, rising: str
) -> None:
    tracker = PerformanceTracker(profile=profile)
    for value in range(12):
        tracker.record_metric("up", metric, value)
        tracker.record_metric("down", metric, -value)
        tracker.record_metric("flat", metric, 3)
    falling = {"improving": "degrading", "degrading": "improving"}[rising]
    assert tracker.get_trend("up", metric) == rising
    assert tracker.get_trend("down", metric) == falling
    assert tracker.get_trend("flat", metric) == "stable"


def test_one_outlier_makes_no_trend(profile: Profile) -> None:
    tracker, draw = PerformanceTracker(profile=profile), random.Random(2)
    for place in range(30):
        tracker.record_metric("m", "latency", 1e9 if place == 29 else draw.random())
    assert tracker.get_trend("m", "latency") == "stable"


def test_a_metric_that_gets_worse_is_warned_of_once(profile: Profile) -> None:
    tracker, draw = PerformanceTracker(profile=profile), random.Random(1)
    found = []
    for place in range(60):
        speed = 50 - place / 2 + draw.gauss(0, 1)
        found += tracker.record_metrics("m", {"tokens_per_second": speed, "noise": draw.random()})
    (alert,) = found
    assert (alert.model, alert.metric, alert.seen) == ("m", "tokens_per_second", False)
    assert alert.after < alert.before
    alerts = Alerts(profile)
    assert alerts.all(unseen=True) == [alert]
    assert alerts.dismiss() == 1
    assert alerts.all(unseen=True) == []
    assert [each.id for each in alerts.all()] == [alert.id]


def test_falling_acceptance_is_warned_of(profile: Profile) -> None:
    conversations, recorder = Conversations(profile.db), FeedbackRecorder(profile)
    tracker, found = PerformanceTracker(profile=profile), []
    talk = conversations.create("t")
    for number in range(40):
        conversations.add_message(talk.id, "user", "q")
        reply = conversations.add_message(talk.id, "assistant", "a")
        if number >= 20:
            recorder.thumb(reply.id, up=False)
        found += tracker.watch_replies("base")
    assert [(alert.metric, alert.before, alert.after) for alert in found] == [("accepted", 1, 0)]
