"""Two versions answer the same message; the user picks blindly."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from test_ab_testing import finished, talk
from version_parts import passed, release

from xeno import ABTestingManager
from xeno.errors import InvalidValueError
from xeno.events import ChatMessage, ReplyFinished, Sampling
from xeno.experiments.side_by_side import EVERY, BlindQuestion, SideBySide
from xeno.store.conversations import Conversations
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile


class Said:
    """A reply that is there at once."""

    def __init__(self, reply: ReplyFinished) -> None:
        self._reply = reply

    def result(self, timeout: float | None = None) -> ReplyFinished:
        return self._reply

    def stop(self) -> None:
        self._reply = self._reply.model_copy(update={"reason": "stopped"})


class Voices:
    """Answers in the name of the version that is asked. The real host is in test_workers_host."""

    def __init__(self) -> None:
        self.same = False
        self.asked: list[str] = []

    def generate(
        self, messages: Sequence[ChatMessage], sampling: Sampling | None, version: str, /
    ) -> Said:
        self.asked.append(version)
        assert messages[-1].content == "Is it?"
        return Said(finished(version, None, text="Same." if self.same else f"I am {version}."))


@pytest.fixture
def voices() -> Voices:
    return Voices()


@pytest.fixture
def asking(profile: Profile, voices: Voices) -> SideBySide:
    """A test of v1 against the base goes on, and one message was answered."""
    version = release(profile, 1)
    passed(profile, version.address)
    ABTestingManager(profile=profile).create_test("t", "v1", "base", in_chat=True)
    talk(profile, Conversations(profile.db).create("talk").id)
    return SideBySide(profile, voices)


def ask(asking: SideBySide) -> BlindQuestion:
    question = asking.ask_next()
    assert question is not None
    return question


def preferred(profile: Profile) -> list[tuple[str, float]]:
    found = ABTestingManager(profile=profile).results("t", "preferred")
    return [(side, value) for _, side, value in found]


def test_a_pick_is_a_preference_pair_and_a_result(profile: Profile, asking: SideBySide) -> None:
    question = ask(asking)
    pair = asking.answer(question.id, "second")
    assert pair is not None
    assert (pair.chosen, pair.rejected) == (question.second, question.first)
    assert Pairs(profile.db).count() == 1
    won = "b" if question.second == "I am base." else "a"
    assert preferred(profile) == [("a", float(won == "a")), ("b", float(won == "b"))]
    with pytest.raises(InvalidValueError):
        asking.answer(question.id, "first")


def test_which_stands_first_is_chance(asking: SideBySide) -> None:
    assert {ask(asking).first == "I am base." for _ in range(30)} == {True, False}


def test_neither_better_counts_for_both_and_makes_no_pair(
    profile: Profile, asking: SideBySide
) -> None:
    assert asking.answer(ask(asking).id, "equal") is None
    assert asking.answer(ask(asking).id, "dismissed") is None
    assert preferred(profile) == [("a", 0.5), ("b", 0.5)]
    assert Pairs(profile.db).count() == 0


def test_two_replies_that_say_the_same_are_no_question(asking: SideBySide, voices: Voices) -> None:
    voices.same = True
    assert asking.ask_next() is None
    assert len(voices.asked) == 6


def test_it_asks_every_few_replies_and_only_while_a_test_goes_on(
    profile: Profile, asking: SideBySide
) -> None:
    here = Conversations(profile.db).create("talk").id
    for _ in range(EVERY - 1):
        assert not asking.due()
        talk(profile, here)
    assert asking.due()
    question = ask(asking)
    assert not asking.due()
    ABTestingManager(profile=profile).end_test("t")
    assert asking.ask_next() is None
    assert asking.answer(question.id, "first") is not None  # still a pair
    assert preferred(profile) == []


def test_a_clear_taste_names_the_winner(profile: Profile, asking: SideBySide) -> None:
    tests = ABTestingManager(profile=profile)
    for _ in range(25):
        question = ask(asking)
        asking.answer(question.id, "first" if question.first == "I am base." else "second")
    assert tests.analyze_test("t")["metrics"]["preferred"]["winner"] == "variant_b"
