"""A version is tried in a part of the conversations, promoted, or taken back by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from test_ab_testing import finished, talk
from version_parts import passed, release

from xeno import ABTestingManager, PerformanceTracker
from xeno.assistant import Assistant, PendingReply
from xeno.errors import (
    BaseModelError,
    ChildError,
    DamagedDataError,
    InvalidValueError,
    StoppedError,
    XenoError,
)
from xeno.events import CanaryRolledBack, Failure
from xeno.experiments.canary import Canaries
from xeno.experiments.canary_rules import Arm, Limits, Standing, broken_rule
from xeno.experiments.decisions import history
from xeno.experiments.observing import Observer
from xeno.experiments.routing import route
from xeno.feedback.recorder import FeedbackRecorder
from xeno.paths import Home
from xeno.store.conversations import Conversations
from xeno.store.profile import Profile, open_profile
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Registry
from xeno.workers.host_client import HostClient, ReplyHandle, _deliver

ACTIVE, TRIED = "v1", "v2"


@pytest.fixture
def canaries(profile: Profile) -> Canaries:
    """v1 answers; v2 and v3 passed the gate."""
    for seed in (1, 2, 3):
        passed(profile, release(profile, seed).address)
    Deployment(profile).deploy(ACTIVE)
    return Canaries(profile)


def conversations(profile: Profile, arm: str) -> Iterator[str]:
    """Conversations that are served by this side, made as they are needed."""
    while True:
        made = Conversations(profile.db).create("talk").id
        trial = route(profile, made).trial
        if trial is None or trial.arm == arm:
            yield made


def state(profile: Profile, ref: str = TRIED) -> str:
    return Registry(profile).get(ref).state


def test_a_share_of_the_conversations_gets_the_canary_and_keeps_it(
    profile: Profile, canaries: Canaries
) -> None:
    canary = canaries.start(TRIED, 0.1)
    names = [f"conversation {number}" for number in range(2000)]
    served = [route(profile, name) for name in names]
    tried = [each for each in served if each.address == canary.address]
    assert 0.08 < len(tried) / len(served) < 0.12
    assert [route(profile, name) for name in names[:100]] == served[:100]
    assert route(profile, None).trial is None
    assert state(profile) == "canary"


def test_a_promoted_canary_answers_everywhere(profile: Profile, canaries: Canaries) -> None:
    canary = canaries.start(TRIED, 0.5)
    canaries.promote("It is good.")
    assert {route(profile, str(number)).address for number in range(50)} == {canary.address}
    assert canaries.current() is None
    decision = history(profile.db)[0]
    assert (decision.action, decision.automatic, decision.reason) == (
        "promoted",
        False,
        "It is good.",
    )


def test_failed_requests_take_the_canary_back(profile: Profile, canaries: Canaries) -> None:
    canary = canaries.start(TRIED, 0.5)
    observer, here = Observer(profile), next(conversations(profile, "b"))
    news: list[Any] = []
    for number in range(25):
        if number % 5 == 0:
            news += observer.failed(here, "active")
        else:
            talk(profile, here)
        if canaries.current() is None:
            break
    assert number == 19  # the least evidence: 4 of 20 requests
    assert state(profile) == "rolled_back"
    assert route(profile, here).address != canary.address
    decision = history(profile.db)[0]
    assert decision.automatic
    assert "4 of 20 requests failed" in decision.reason
    assert decision.numbers["canary"]["failed"] == 4
    assert decision.numbers["limits"]["error_rate"] == 0.15
    errors = PerformanceTracker(profile=profile).get_statistics(canary.address, "error")
    assert (errors["count"], errors["mean"]) == (20, 0.2)


def test_the_reply_that_shows_it_is_kept_with_the_decision_or_neither_is(
    profile: Profile, canaries: Canaries
) -> None:
    canaries.start(TRIED, 0.5, seconds=0.5)
    here = next(conversations(profile, "b"))
    for _ in range(9):
        talk(profile, here)

    def dies_before_the_commit() -> None:
        with profile.db.transaction():
            talk(profile, here)
            assert canaries.current() is None
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dies_before_the_commit()
    assert canaries.current() is not None
    assert len(Conversations(profile.db).messages(here)) == 18
    talk(profile, here)
    assert canaries.current() is None
    assert "0.6 s on average: more than 0.5 s" in history(profile.db)[0].reason


def test_replies_that_are_liked_less_take_the_canary_back(
    profile: Profile, canaries: Canaries
) -> None:
    canaries.start(TRIED, 0.5)
    recorder, tried = FeedbackRecorder(profile), conversations(profile, "b")
    usual = conversations(profile, "a")
    for number in range(60):
        recorder.thumb(talk(profile, next(tried)), up=number % 8 == 0)
        recorder.thumb(talk(profile, next(usual)), up=number % 8 != 0)
        if canaries.current() is None:
            break
    assert state(profile) == "rolled_back"
    decision = history(profile.db)[0]
    assert "replies were accepted" in decision.reason
    assert decision.numbers["evidence"] >= decision.numbers["needed"] == 20


def test_a_canary_as_good_stays(profile: Profile, canaries: Canaries) -> None:
    canaries.start(TRIED, 0.5)
    sides = {arm: conversations(profile, arm) for arm in "ab"}
    recorder = FeedbackRecorder(profile)
    for number in range(30):
        for side in sides.values():
            recorder.thumb(talk(profile, next(side)), up=number % 3 != 0)
    current = canaries.current()
    assert current is not None
    standing = canaries.standing(current)
    assert (standing.canary.requests, standing.active.requests) == (30, 30)
    assert not standing.worse


def test_a_fallback_counts_against_the_canary_and_news_tell_of_its_end(
    profile: Profile, canaries: Canaries
) -> None:
    canary = canaries.start(TRIED, 0.5)
    here, news = next(conversations(profile, "b")), []
    trial = route(profile, here).trial
    for _ in range(20):
        reply = Conversations(profile.db).add_message(here, "assistant", "Yes.")
        failed = finished(None, trial, fallback="The base model answered: it is damaged.")
        news += Observer(profile).replied(failed, here, reply.id)
    assert [(type(each), each.version) for each in news] == [(CanaryRolledBack, canary.address)]


def no_reply(profile: Profile, conversation: str, error: XenoError) -> list[Any]:
    """The news of a request to the active version that fails so."""
    news: list[Any] = []
    handle = ReplyHandle(None, None)
    _deliver(handle, error=error)
    with HostClient(profile) as host:
        question = Conversations(profile.db).add_message(conversation, "user", "Is it?")
        with pytest.raises(type(error)):
            Assistant(profile, host, news.append).complete(
                PendingReply(conversation, question, "", handle)
            )
    return news


def test_an_end_by_failures_is_told_where_the_reply_is_missed(
    profile: Profile, canaries: Canaries
) -> None:
    canary = canaries.start(TRIED, 1.0)
    here = next(conversations(profile, "b"))
    for _ in range(19):
        assert no_reply(profile, here, ChildError("It was killed.")) == []
    (news,) = no_reply(profile, here, ChildError("It was killed."))
    assert (type(news), news.version) == (CanaryRolledBack, canary.address)


@pytest.mark.parametrize("kind", [InvalidValueError, StoppedError, BaseModelError])
def test_failures_that_any_version_would_have_do_not_count(
    profile: Profile, canaries: Canaries, kind: type[XenoError]
) -> None:
    canary = canaries.start(TRIED, 1.0)
    here = next(conversations(profile, "b"))
    no_reply(profile, here, kind("It is."))
    assert canaries.standing(canary).canary.requests == 0
    assert PerformanceTracker(profile=profile).get_statistics(canary.address, "error")["count"] == 0


def test_an_error_of_a_child_arrives_as_what_it_is() -> None:
    for kind in (XenoError, InvalidValueError, BaseModelError):
        assert type(Failure.of(kind("It is.")).error()) is kind


GOOD = Arm(
    requests=100, failed=0, replies=100, seconds=2.0, memory_bytes=1e9, conversations=50,
    acceptance=0.9,
)  # fmt: skip
LIMITS = Limits(memory_bytes=8e9)


@pytest.mark.parametrize(
    ("tried", "active", "words"),
    [
        ({}, {}, None),
        ({"failed": 15}, {}, None),
        ({"failed": 16}, {}, "16 of 100 requests failed"),
        ({"failed": 19, "requests": 19}, {}, None),
        ({"seconds": 5.1}, {}, "5.1 s on average"),
        ({"seconds": 60.0, "replies": 9}, {}, None),
        ({"seconds": 6.0}, {"seconds": 5.5}, None),
        ({"seconds": 7.0}, {"seconds": 5.5}, "more than 6.9 s"),
        ({"seconds": 7.0}, {"seconds": 60.0, "replies": 9}, "more than 5.0 s"),
        ({"memory_bytes": 8.1e9}, {}, "8.10 GB: more than 8.00 GB"),
        ({"memory_bytes": None}, {}, None),
    ],
)
def test_each_limit_needs_its_least_evidence(
    tried: dict[str, Any], active: dict[str, Any], words: str | None
) -> None:
    standing = Standing(replace(GOOD, **tried), replace(GOOD, **active), 1.0, 20.0, False)
    reason = broken_rule(LIMITS, standing)
    assert reason is None if words is None else words in (reason or "")


def test_few_conversations_are_too_few_to_call_it_worse() -> None:
    worse = Standing(replace(GOOD, acceptance=0.1, conversations=4), GOOD, 30.0, 20.0, True)
    assert broken_rule(LIMITS, worse) is None
    worse = replace(worse, canary=replace(worse.canary, conversations=5))
    assert "10 % of its replies were accepted" in (broken_rule(LIMITS, worse) or "")


@pytest.mark.parametrize("traffic", [0, 1.1, -0.5, "ten", True])
def test_a_share_that_is_none_is_refused(canaries: Canaries, traffic: Any) -> None:
    with pytest.raises(InvalidValueError):
        canaries.start(TRIED, traffic)
    assert canaries.current() is None


def test_one_trial_at_a_time(profile: Profile, canaries: Canaries) -> None:
    tests = ABTestingManager(profile=profile)
    tests.create_test("t", ACTIVE, "base", in_chat=True)
    with pytest.raises(InvalidValueError, match="'t' goes on in the chat"):
        canaries.start(TRIED, 0.1)
    tests.end_test("t")
    canaries.start(TRIED, 0.1)
    with pytest.raises(InvalidValueError, match="as a canary"):
        tests.create_test("u", ACTIVE, "base", in_chat=True)
    canaries.start("v3", 0.2)
    assert (state(profile), state(profile, "v3")) == ("retired", "canary")
    assert [each.action for each in history(profile.db)][:2] == ["started", "replaced"]


def test_of_several_that_are_started_at_once_one_goes_on(
    home: Home, profile: Profile, canaries: Canaries
) -> None:
    def start(ref: str) -> str:
        with open_profile(home) as own:  # as another process has
            return Canaries(own).start(ref, 0.5).address

    with ThreadPoolExecutor(6) as pool:
        begun = list(pool.map(start, [TRIED, "v3"] * 3))
    assert set(begun) == {Registry(profile).get(ref).address for ref in (TRIED, "v3")}
    current = canaries.current()
    assert current is not None
    assert Deployment(profile).canary() == Registry(profile).get(current.address)
    assert [each.action for each in history(profile.db)].count("replaced") == 5


def test_a_start_that_fails_leaves_no_version_tried(
    profile: Profile, canaries: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("The disk is gone.")

    monkeypatch.setattr("xeno.experiments.decisions.write", fails)
    with pytest.raises(OSError, match="disk"):
        canaries.start(TRIED, 0.5)
    assert (canaries.current(), state(profile)) == (None, "checked")


def test_of_several_that_keep_requests_at_once_one_takes_the_canary_back(
    home: Home, profile: Profile, canaries: Canaries
) -> None:
    canaries.start(TRIED, 1.0)

    def keep_failures() -> int:
        with open_profile(home) as own:  # as another process has
            observer = Observer(own)
            return sum(len(observer.failed("talk", "active")) for _ in range(15))

    with ThreadPoolExecutor(3) as pool:
        news = [future.result() for future in [pool.submit(keep_failures) for _ in range(3)]]
    assert sum(news) == 1
    assert [each.action for each in history(profile.db)] == ["rolled_back", "started"]
    assert history(profile.db)[0].numbers["canary"]["requests"] == 20


def test_a_damaged_version_is_not_tried_and_stays_quarantined(
    profile: Profile, canaries: Canaries
) -> None:
    address = Registry(profile).get(TRIED).address
    (file,) = profile.paths.versions.glob(f"{address}*")
    file.write_bytes(b"nothing of it")
    with pytest.raises(DamagedDataError):
        canaries.start(TRIED, 0.5)
    assert state(profile) == "quarantined"
    assert canaries.current() is None


End = Callable[[Profile], object]


@pytest.mark.parametrize(
    ("end", "action"),
    [
        (lambda profile: Deployment(profile).rollback(), "rolled_back"),
        (lambda profile: Deployment(profile).promote(), "promoted"),
    ],
)
def test_an_end_by_other_means_is_written_down_too(
    profile: Profile, canaries: Canaries, end: End, action: str
) -> None:
    canaries.start(TRIED, 0.5)
    end(profile)
    assert route(profile, "any").trial is None
    canaries.settle()
    assert history(profile.db)[0].action == action
    canaries.settle()
    assert len(history(profile.db)) == 2


def test_taking_back_by_hand_needs_a_canary(profile: Profile, canaries: Canaries) -> None:
    with pytest.raises(InvalidValueError):
        canaries.stop()
    canaries.start(TRIED, 0.5)
    canaries.stop("I do not like it.")
    assert state(profile) == "rolled_back"
    assert history(profile.db)[0].reason == "I do not like it."
