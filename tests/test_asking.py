"""Which comparison is asked next: what the model of preferences learns, and when it is asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import make_llama

from xeno.benchmarking import asking as benchmark
from xeno.errors import InvalidValueError
from xeno.feedback.asking import CANDIDATES, EVERY_SETTING, Asking, blank_model
from xeno.feedback.preference_model import PreferenceModel
from xeno.feedback.recorder import FeedbackRecorder
from xeno.feedback.reply_features import DIMENSION, features
from xeno.store.conversations import Conversations
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile
from xeno.workers.host_client import HostClient


def exact_posterior(answers: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Mean and variance of a single weight with prior N(0, 1), by numerical integration."""
    grid = np.linspace(-8, 8, 20001)
    density = np.exp(-(grid**2) / 2)
    for x, first in answers:
        signed = grid * x if first else -grid * x
        density *= np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in signed])
    density /= density.sum()
    mean = float((grid * density).sum())
    return mean, float(((grid - mean) ** 2 * density).sum())


@given(st.lists(st.tuples(st.floats(-2, 2), st.booleans()), max_size=5))
@settings(deadline=None, max_examples=20)
def test_one_weight_is_learned_as_integration_says(answers: list[tuple[float, bool]]) -> None:
    model = PreferenceModel(np.zeros(1), np.ones(1))
    for x, first in answers:
        model.update(np.array([x]), first)
    mean, variance = exact_posterior(answers)
    # Matching moments is exact for one answer and close for a few.
    allowed = 1e-3 if len(answers) <= 1 else 0.15
    assert model.mean[0] == pytest.approx(mean, abs=allowed)
    assert model.covariance[0, 0] == pytest.approx(variance, abs=allowed)


def test_information_is_what_integration_says() -> None:
    model = PreferenceModel(np.array([0.4]), np.array([1.5]))
    for x in (0.1, 0.8, 2.0, 4.0):
        weights = np.random.default_rng(0).normal(0.4, 1.5, 200_000)
        chance = np.array([0.5 * math.erfc(-w * x / math.sqrt(2)) for w in weights[:50_000]])
        mean = float(np.mean(chance))
        both = np.clip(chance, 1e-12, 1 - 1e-12)
        known = float(np.mean(-both * np.log2(both) - (1 - both) * np.log2(1 - both)))
        told = -mean * math.log2(mean) - (1 - mean) * math.log2(1 - mean) - known
        assert model.information(np.array([[x]]))[0] == pytest.approx(told, abs=0.02)


def test_what_is_known_already_tells_little() -> None:
    model = PreferenceModel(np.zeros(2), np.ones(2))
    for _ in range(30):
        model.update(np.array([1.0, 0.0]), True)
    known, unknown, same = model.information(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    assert known < 0.2 * unknown
    assert same == pytest.approx(0.0, abs=1e-6)
    assert model.probability(np.array([1.0, 0.0])) > 0.9


def test_an_answer_that_is_unsure_or_equal_moves_less() -> None:
    models = [PreferenceModel(np.zeros(1), np.ones(1)) for _ in range(3)]
    x = np.array([1.0])
    models[0].update(x, True)
    models[1].update(x, True, confidence=0.5)
    models[2].update_equal(x)
    assert models[0].mean[0] > models[1].mean[0] > models[2].mean[0] == 0
    assert models[2].covariance[0, 0] < 1


@given(st.text(max_size=300))
@settings(deadline=None)
def test_any_reply_has_finite_features(text: str) -> None:
    values = features(text)
    assert values.shape == (DIMENSION,)
    assert np.isfinite(values).all()
    assert np.array_equal(values, features(text))


def test_choosing_the_question_saves_questions_on_scripted_users() -> None:
    result = benchmark.measure(tastes=4, seeds=1)
    assert result.users == 4
    assert len(result.asking_curve) == result.questions_random + 1
    assert result.random_curve[0] == 0.5
    assert result.accuracy_random > 0.6
    assert result.asking_curve[5] > 0.55


# In the chat -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("base"))


@pytest.fixture
def host(profile: Profile, base: Path) -> Iterator[HostClient]:
    with HostClient(profile, base) as client:
        yield client


def talk(profile: Profile, replies: int) -> list[str]:
    """A conversation; the ids of its replies."""
    conversations = Conversations(profile.db)
    made = conversations.create("Tea")
    ids = []
    for number in range(replies):
        conversations.add_message(made.id, "user", f"Which tea is number {number}?")
        reply = conversations.add_message(
            made.id, "assistant", f"Green tea, number {number}.", system_prompt="Be kind."
        )
        ids.append(reply.id)
    return ids


def with_candidates(profile: Profile, message_id: str, texts: Sequence[str]) -> None:
    with profile.db.transaction() as connection:
        connection.executemany(
            "INSERT INTO candidates (message_id, text, reward, created) VALUES (?, ?, 0.0, 1.0)",
            [(message_id, text) for text in texts],
        )


def test_further_replies_are_written_and_the_answer_becomes_a_pair(
    profile: Profile, host: HostClient
) -> None:
    (reply,) = talk(profile, 1)
    asking = Asking(profile, host)
    question = asking.ask_next()
    assert question is not None
    assert question.message_id == reply
    assert question.asked == "Which tea is number 0?"
    assert 0 < question.information <= 1
    assert question.first != question.second
    rows = profile.db.read("SELECT text FROM candidates")
    assert CANDIDATES - 2 <= len(rows) <= CANDIDATES  # an empty one, or the same again, is left out
    assert "Green tea, number 0." in {row["text"] for row in rows}
    pair = asking.answer(question.id, "second")
    assert pair is not None
    assert (pair.chosen, pair.rejected) == (question.second, question.first)
    assert [turn.role for turn in pair.prompt] == ["system", "user"]
    assert pair.feedback_type == "choice"
    assert Pairs(profile.db).get(pair.id) == pair
    with pytest.raises(InvalidValueError, match="not open"):
        asking.answer(question.id, "first")


def test_a_comparison_is_asked_once_and_then_there_are_none(profile: Profile) -> None:
    (reply,) = talk(profile, 1)
    with_candidates(profile, reply, ["- Green tea.", "Black tea, of course!", "Maybe coffee?"])
    asking, asked = Asking(profile), set()
    for answer in ("equal", "dismissed", "first"):
        question = asking.ask_next()
        assert question is not None
        asked.add(frozenset((question.first, question.second)))
        assert (asking.answer(question.id, answer) is None) == (answer != "first")
    assert len(asked) == 3
    assert asking.ask_next() is None


def test_stop_ends_the_writing_at_once(profile: Profile, base: Path) -> None:
    talk(profile, 1)
    with HostClient(profile, base) as client:
        asking = Asking(profile, client)
        original = client.generate

        def stopping(*arguments: object, **named: object) -> object:
            asking.stop()
            return original(*arguments, **named)  # type: ignore[arg-type]

        client.generate = stopping  # type: ignore[method-assign,assignment]
        assert asking.ask_next() is None
    assert profile.db.read("SELECT 1 FROM candidates") == []


def test_asking_is_due_every_few_replies_and_more_rarely_after_dismissals(
    profile: Profile,
) -> None:
    asking = Asking(profile)
    profile.set_setting(EVERY_SETTING, 2)
    assert not asking.due()
    first, second = talk(profile, 2)
    assert asking.due()
    with_candidates(profile, first, ["One tea.", "Two teas!"])
    with_candidates(profile, second, ["Three.", "Four, I think?"])
    question = asking.ask_next()
    assert question is not None
    asking.answer(question.id, "dismissed")
    talk(profile, 2)
    assert not asking.due(), "after a dismissal twice as many replies come first"
    talk(profile, 2)
    assert asking.due()
    question = asking.ask_next()
    assert question is not None
    asking.answer(question.id, "first")
    talk(profile, 2)
    assert asking.due(), "an answer brings back the usual distance"
    asking.switch(False)
    assert not asking.due()


def test_corrections_teach_what_would_be_preferred(profile: Profile) -> None:
    recorder = FeedbackRecorder(profile)
    for number, reply in enumerate(talk(profile, 8)):
        recorder.correct(reply, f"- Green tea {number}\n- Two minutes\n- No milk")
    bullets, prose = "- Rice\n- Water\n- Salt", "Rice, water and some salt will do."
    difference = np.concatenate([[0.0], features(bullets) - features(prose)])
    assert blank_model().probability(difference) == pytest.approx(0.5)
    assert Asking(profile).model().probability(difference) > 0.7


def test_only_the_four_answers_are_answers(profile: Profile) -> None:
    with pytest.raises(InvalidValueError, match="no answer"):
        Asking(profile).answer("x", "maybe")  # type: ignore[arg-type]
