"""A/B tests: assigned for good, recorded, analysed without jumping to conclusions, ended."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from version_parts import passed, release

from xeno import ABTestingManager
from xeno.errors import InvalidValueError
from xeno.events import ReplyFinished, Trial
from xeno.experiments import trials
from xeno.experiments.decisions import history
from xeno.experiments.observing import Observer
from xeno.experiments.routing import route
from xeno.feedback.recorder import FeedbackRecorder
from xeno.paths import Home
from xeno.store.conversations import Conversations
from xeno.store.profile import Profile
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Registry
from xeno.versions.retention import Retention


@pytest.fixture
def tests(profile: Profile) -> ABTestingManager:
    return ABTestingManager(profile=profile)


@pytest.fixture
def two(profile: Profile) -> list[str]:
    """The addresses of two versions that passed the gate."""
    versions = [release(profile, seed) for seed in (1, 2)]
    passed(profile, *(version.address for version in versions))
    return [version.address for version in versions]


def finished(version: str | None, trial: Trial | None, **values: Any) -> ReplyFinished:
    fields: dict[str, Any] = {
        "request": "r",
        "text": "Yes.",
        "reason": "end",
        "version": version,
        "base_hash": "b" * 64,
        "prompt_tokens": 5,
        "reply_tokens": 11,
        "first_token_seconds": 0.1,
        "tokens_per_second": 20.0,
        "memory_bytes": 10**9,
        "trial": trial,
    }
    return ReplyFinished(**(fields | values))


def talk(profile: Profile, conversation_id: str, **values: Any) -> str:
    """A question and its reply by whoever is routed to; the reply's id."""
    conversations, routed = Conversations(profile.db), route(profile, conversation_id)
    conversations.add_message(conversation_id, "user", "Is it?")
    reply = conversations.add_message(conversation_id, "assistant", "Yes.", version=routed.address)
    Observer(profile).replied(
        finished(routed.address, routed.trial, **values), conversation_id, reply.id
    )
    return reply.id


def test_the_contract_runs_as_it_is_written(home: Home) -> None:
    with ABTestingManager() as a:
        a.create_test(
            test_name="response_style_test",
            model_a="professional_v1",
            model_b="friendly_v1",
            traffic_split=0.5,
            metrics=["user_satisfaction", "engagement"],
        )
        variant = a.assign_variant("response_style_test", "john_doe")
        a.record_result(
            test_name="response_style_test",
            variant="variant_a",
            metrics={"user_satisfaction": 4.2, "engagement": 0.85},
        )
        a.record_result("response_style_test", "variant_b", {"user_satisfaction": 4.5})
    with ABTestingManager() as a:  # as the next process does
        assert a.assign_variant("response_style_test", "john_doe") == variant
        found = a.analyze_test("response_style_test")
        satisfaction = found["metrics"]["user_satisfaction"]
        assert (satisfaction["variant_a_mean"], satisfaction["variant_b_mean"]) == (4.2, 4.5)
        assert (satisfaction["difference"], satisfaction["percent_change"]) == (0.3, 7.14)
        assert satisfaction["winner"] is None  # two results are no evidence
        assert found["metrics"]["engagement"]["difference"] is None
        ended = a.end_test("response_style_test", winner="variant_b")
        assert (ended["status"], ended["winner"]) == ("ended", "variant_b")


def test_users_are_split_as_wanted_and_stay_where_they_are(tests: ABTestingManager) -> None:
    tests.create_test("t", "x", "y", traffic_split=0.2)
    users = [f"user {number}" for number in range(2000)]
    first = [tests.assign_variant("t", user) for user in users]
    assert 0.16 < first.count("variant_a") / len(first) < 0.24
    assert [tests.assign_variant("t", user) for user in users[:50]] == first[:50]
    tests.create_test("another", "x", "y", traffic_split=0.2)
    other = [tests.assign_variant("another", user) for user in users]
    both = sum(a == b == "variant_a" for a, b in zip(first, other, strict=True))
    assert both < 150  # of 400 each: one test's sides say nothing about the other's


def test_who_gets_what_follows_from_the_profiles_key(home: Home) -> None:
    sides = []
    for name in ("one", "two"):
        with ABTestingManager(name) as tests:
            tests.create_test("t", "x", "y")
            sides.append([tests.assign_variant("t", f"user {n}") for n in range(64)])
    assert sides[0] != sides[1]


def test_the_better_variant_is_named_once_there_is_evidence(tests: ABTestingManager) -> None:
    tests.create_test("t", "x", "y", metrics=["rating", "latency"])
    draw = random.Random(2)
    for number in range(200):
        better = number % 2
        tests.record_result(
            "t",
            ("variant_a", "variant_b")[better],
            {"rating": 3 + better + draw.gauss(0, 1), "latency": 2 - better + draw.gauss(0, 1)},
        )
    found = tests.analyze_test("t")["metrics"]
    assert found["rating"]["winner"] == "variant_b"
    assert found["latency"]["winner"] == "variant_b"  # lower is better
    assert found["rating"]["evidence"] >= found["rating"]["needed"] == pytest.approx(80)


@pytest.mark.parametrize(
    "values",
    [
        {"test_name": ""},
        {"model_b": "x"},
        {"traffic_split": 0},
        {"traffic_split": 1.0},
        {"traffic_split": "half"},
        {"metrics": []},
        {"metrics": "rating"},
        {"metrics": ["rating", "rating"]},
        {"test_name": "there already"},
    ],
)
def test_what_is_no_test_is_refused(tests: ABTestingManager, values: dict[str, Any]) -> None:
    tests.create_test("there already", "x", "y")
    with pytest.raises(InvalidValueError):
        tests.create_test(**{"test_name": "t", "model_a": "x", "model_b": "y", **values})
    assert [test.name for test in tests.all()] == ["there already"]


def test_what_is_no_result_is_refused(tests: ABTestingManager) -> None:
    tests.create_test("t", "x", "y", metrics=["rating", "speed"])
    for test, variant, metrics in (
        ("unknown", "variant_a", {"rating": 1}),
        ("t", "a", {"rating": 1}),
        ("t", "variant_a", {"rating": 1, "mood": 2}),
        ("t", "variant_a", {"rating": 1, "speed": float("nan")}),
        ("t", "variant_a", {"rating": "good"}),
    ):
        with pytest.raises(InvalidValueError):
            tests.record_result(test, variant, metrics)
    assert tests.results("t", "rating") == []
    with pytest.raises(InvalidValueError):
        tests.end_test("t", "the second")
    tests.end_test("t")
    for late in (
        lambda: tests.record_result("t", "variant_a", {"rating": 1}),
        lambda: tests.end_test("t"),
    ):
        with pytest.raises(InvalidValueError):
            late()


def test_a_test_in_the_chat_needs_versions_that_may_answer(
    profile: Profile, tests: ABTestingManager, two: list[str]
) -> None:
    unchecked = release(profile, 9)
    for ref in ("nothing", unchecked.address):
        with pytest.raises(InvalidValueError):
            tests.create_test("t", "base", ref, in_chat=True)
    tests.create_test("t", "v1", two[1][:12], in_chat=True)
    assert (tests.get("t").model_a, tests.get("t").model_b) == tuple(two)
    with pytest.raises(InvalidValueError, match="goes on there"):
        tests.create_test("second", "base", "v1", in_chat=True)
    tests.create_test("beside", "any", "thing")  # not in the chat
    tests.end_test("t")
    tests.create_test("second", "base", "v1", in_chat=True)


def test_the_chat_is_split_by_conversation_and_its_ratings_are_the_results(
    profile: Profile, tests: ABTestingManager, two: list[str]
) -> None:
    Deployment(profile).deploy(two[0])
    tests.create_test("t", two[0], "base", in_chat=True)
    conversations, recorder = Conversations(profile.db), FeedbackRecorder(profile)
    sides = {}
    for number in range(24):
        here = conversations.create(f"talk {number}").id
        for stars in (3, 5):
            recorder.rate(talk(profile, here), stars)
        sides[here] = tests.assign_variant("t", here)
    served = {
        row["conversation_id"]: row["version"]
        for row in profile.db.read("SELECT * FROM messages WHERE role = 'assistant'")
    }
    for here, variant in sides.items():
        assert served[here] == (two[0] if variant == "variant_a" else None)
    found = tests.results("t", "rating")
    assert {value for _, _, value in found} == {4.0}
    assert len(found) == 23  # the last conversation is still going on
    assert {side for _, side, _ in found} == {"a", "b"}
    tests.end_test("t")
    assert route(profile, here).address == two[0]
    assert [each.action for each in history(profile.db)] == ["ended", "started"]


@pytest.mark.parametrize(
    ("end", "answers", "words"),
    [
        (lambda profile: Deployment(profile).deploy("v2"), 1, "was deployed"),
        (lambda profile: Deployment(profile).deploy("v1"), 0, "was deployed"),
        (lambda profile: Deployment(profile).rollback(), None, "was rolled back"),
    ],
)
def test_what_is_deployed_or_rolled_back_to_answers_and_ends_the_test(
    profile: Profile,
    tests: ABTestingManager,
    two: list[str],
    end: Callable[[Profile], object],
    answers: int | None,
    words: str,
) -> None:
    Deployment(profile).deploy("v1")
    tests.create_test("t", *two, in_chat=True)
    end(profile)
    expected = None if answers is None else two[answers]
    assert {route(profile, str(number)).address for number in range(20)} == {expected}
    decision = history(profile.db)[0]
    assert (decision.subject, decision.action, decision.automatic) == ("t", "ended", False)
    assert words in decision.reason
    assert tests.analyze_test("t")["status"] == "ended"


def test_a_rollback_with_nothing_to_go_back_to_ends_the_test(
    profile: Profile, tests: ABTestingManager, two: list[str]
) -> None:
    tests.create_test("t", *two, in_chat=True)
    assert Deployment(profile).rollback() is None
    assert {route(profile, str(number)).address for number in range(20)} == {None}
    with pytest.raises(InvalidValueError, match="nothing to roll back to"):
        Deployment(profile).rollback()


def test_a_variant_is_not_deleted_while_its_test_goes_on(
    profile: Profile, tests: ABTestingManager, two: list[str]
) -> None:
    tests.create_test("t", *two, in_chat=True)
    with pytest.raises(InvalidValueError, match="The test 't' goes on"):
        Registry(profile).delete("v1")
    for seed in (3, 4, 5):
        release(profile, seed)
    assert Retention(profile).prunable(3) == []
    tests.end_test("t")
    assert len(Retention(profile).prunable(3)) == 2
    Registry(profile).delete("v1")


def test_a_quarantined_variant_ends_the_test(
    profile: Profile, tests: ABTestingManager, two: list[str]
) -> None:
    tests.create_test("t", *two, in_chat=True)
    Deployment(profile).set_state("v2", "quarantined", "It was odd.")
    assert {route(profile, str(number)).trial for number in range(20)} == {None}
    decision = history(profile.db)[0]
    assert (decision.action, decision.automatic) == ("ended", True)
    assert "v2 is quarantined" in decision.reason
    assert len(history(profile.db)) == 2


def test_a_variant_that_is_found_damaged_ends_the_test(
    profile: Profile, tests: ABTestingManager, two: list[str]
) -> None:
    tests.create_test("t", *two, in_chat=True)
    Deployment(profile).fall_back(Registry(profile).get("v1"), "Its file is not what it was.")
    assert tests.in_chat() is None
    assert "found damaged" in history(profile.db)[0].reason


def test_what_is_said_of_a_reply_of_another_version_is_no_result(
    profile: Profile, tests: ABTestingManager, two: list[str]
) -> None:
    tests.create_test("t", *two, in_chat=True)
    test, recorder = tests.get("t"), FeedbackRecorder(profile)
    here = Conversations(profile.db).create("talk").id
    recorder.rate(talk(profile, here, fallback="The base model answered."), 5)
    recorder.rate(talk(profile, here), 2)
    told = trials.replies(profile.db, "test", test.id)
    assert [(each.failed, each.accepted, each.rating) for each in told] == [
        (True, None, None),
        (False, True, 2),
    ]
    sitting = next(trials.sittings(told, now=told[-1].created + 2 * trials.PAUSE))
    assert (sitting.acceptance, sitting.rating) == (1.0, 2.0)


def test_a_conversation_counts_once_with_its_first_sitting() -> None:
    def reply(conversation: str, at: float, rating: float) -> trials.TrialReply:
        return trials.TrialReply("a", conversation, False, 1.0, None, True, rating, at)

    found = [
        reply("x", 0, 5),
        reply("x", 10, 3),
        reply("y", 20, 2),
        reply("x", 30, 1),  # back again: not a second result
        reply("y", 40, 1),
        reply("z", 50, 4),
        reply("z", 60 + trials.PAUSE, 1),  # after a long pause
    ]
    counted = [each.rating for each in trials.sittings(found, now=60 + trials.PAUSE)]
    assert counted == [4.0, 2.0, 4.0]
    late = found[-1].created + trials.PAUSE + 1
    assert [each.rating for each in trials.sittings(found, now=late)] == counted
