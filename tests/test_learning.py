"""What is learned of the user: with consent, with evidence, and undone as if never seen."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xeno.errors import InvalidValueError
from xeno.feedback.recorder import FeedbackRecorder
from xeno.paths import Home
from xeno.personalization.engine import PersonalizationEngine
from xeno.personalization.evidence import SIGNALS
from xeno.personalization.learning import Learner
from xeno.personalization.preferences import ALLOWED
from xeno.store.conversations import Conversations, StoredMessage
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile

LONG = (
    "Happy to help. Fill the kettle with fresh water and bring it to a boil. Warm the pot before "
    "the leaves go in, because cold china cools the water. Use one spoon of leaves for each cup. "
    "Let the leaves steep for three minutes, then take them out. Serve the tea at once."
)
SHORT = "- Boil water\n- Steep for three minutes"


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1.7e9

    def __call__(self) -> float:
        return self.now


def talk(profile: Profile, count: int = 1) -> list[StoredMessage]:
    """Replies to as many questions, each in a conversation of its own."""
    conversations = Conversations(profile.db)
    replies = []
    for _ in range(count):
        made = conversations.create("Tea")
        conversations.add_message(made.id, "user", "How is tea made?")
        replies.append(conversations.add_message(made.id, "assistant", LONG))
    return replies


def corrected(profile: Profile, count: int) -> list[StoredMessage]:
    replies, recorder = talk(profile, count), FeedbackRecorder(profile)
    for number, reply in enumerate(replies):
        recorder.correct(reply.id, f"{SHORT}\n- Enjoy cup {number}")
    return replies


def test_nothing_is_learned_before_the_user_agrees(profile: Profile) -> None:
    learner = Learner(profile)
    assert learner.consent is None
    corrected(profile, 3)
    engine = PersonalizationEngine(profile=profile)
    assert engine.record_interaction("How?", "So.", {"topic": "tea"}, 5) is None
    for table in ("learning_evidence", "learning_effects", "interactions"):
        assert profile.db.read(f"SELECT * FROM {table}") == []
    assert all(max(b.distribution) == min(b.distribution) for b in learner.beliefs())


def test_corrections_move_the_prompt_and_say_why(profile: Profile) -> None:
    learner = Learner(profile)
    learner.set_consent(True)
    replies = corrected(profile, 5)
    belief = learner.belief("response_format")
    assert (belief.value, belief.enough, belief.in_effect) == (
        "bullet_points",
        True,
        "bullet_points",
    )
    prompt = PersonalizationEngine(profile=profile).get_personalized_prompt_prefix()
    assert "bullet points" in prompt
    assert "brief" in prompt
    evidence = learner.evidence("response_format")
    assert [e.message_id for e in evidence] == [reply.id for reply in reversed(replies)]
    assert evidence[0].text == f"{SHORT}\n- Enjoy cup 4"
    assert evidence[0].reason == "You turned sentences into bullets."
    assert evidence[-1].moved > evidence[0].moved > 0
    assert learner.evidence_count("response_format") == 5
    assert learner.evidence("response_format", limit=2, offset=1) == evidence[1:3]


def test_one_piece_of_evidence_never_takes_effect(profile: Profile) -> None:
    learner = Learner(profile)
    learner.set_consent(True)
    corrected(profile, 1)
    assert learner.belief("response_format").in_effect == "conversational"


def test_what_the_user_set_wins_over_what_is_learned(profile: Profile) -> None:
    engine = PersonalizationEngine(profile=profile)
    engine.learner.set_consent(True)
    engine.update_preference("response_format", "structured")
    corrected(profile, 6)
    belief = engine.learner.belief("response_format")
    assert (belief.value, belief.pinned, belief.in_effect) == (
        "bullet_points",
        "structured",
        "structured",
    )
    assert engine.preferences.response_format == "structured"
    engine.learner.unpin("response_format")
    assert engine.preferences.response_format == "bullet_points"
    assert engine.learner.pin("response_format") == "bullet_points"
    engine.learner.reset()
    assert engine.preferences.response_format == "bullet_points"


def test_withdrawn_consent_takes_the_effect_away(profile: Profile) -> None:
    learner = Learner(profile)
    learner.set_consent(True)
    corrected(profile, 5)
    learner.set_consent(False)
    assert learner.effective().response_format == "conversational"
    count = learner.evidence_count("response_format")
    corrected(profile, 2)
    assert learner.evidence_count("response_format") == count
    learner.reset()
    assert profile.db.read("SELECT * FROM learning_evidence") == []


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_signal_that_is_off_teaches_nothing(profile: Profile, signal: str) -> None:
    learner, recorder = Learner(profile), FeedbackRecorder(profile)
    learner.set_consent(True)
    for name in SIGNALS:
        learner.set_signal(name, name == signal)
    conversations = Conversations(profile.db)
    reply, second = talk(profile, 2)
    other = conversations.add_message(reply.conversation_id, "assistant", "Boil and steep.")
    question = conversations.add_message(second.conversation_id, "user", "yo, and gimme milk??")
    recorder.correct(second.id, SHORT)
    recorder.rate(second.id, 1)
    recorder.thumb(second.id, False)
    recorder.choose(other.id, reply.id)
    learner.message(question)
    kinds = {row["kind"] for row in profile.db.read("SELECT kind FROM learning_evidence")}
    expected = {"writing": {"message"}, "rating": {"rating", "thumb"}}
    assert kinds == expected.get(signal, {signal})
    learner.set_signal(signal, False)
    assert all(max(b.distribution) == min(b.distribution) for b in learner.beliefs())
    learner.set_signal(signal, True)
    assert any(max(b.distribution) > min(b.distribution) for b in learner.beliefs())
    with pytest.raises(InvalidValueError, match="writing"):
        learner.set_signal("smell", True)


acts = st.lists(
    st.one_of(
        st.tuples(st.just("rate"), st.integers(1, 5)),
        st.tuples(st.just("thumb"), st.booleans()),
        st.tuples(
            st.just("correct"), st.sampled_from([SHORT, LONG + " Haha!", "yeah just boil it"])
        ),
        st.tuples(st.just("interaction"), st.integers(1, 5)),
    ),
    min_size=1,
    max_size=5,
)


@given(acts, st.data())
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_undoing_is_as_if_it_had_never_been(
    tmp_path_factory: pytest.TempPathFactory, done: list[tuple[str, object]], data: st.DataObject
) -> None:
    left_out = data.draw(st.integers(0, len(done) - 1))
    folder = tmp_path_factory.mktemp("undo")

    def lived(name: str, skip: int | None) -> dict[str, tuple[float, ...]]:
        clock = Clock()
        with Profile_at(folder / name) as profile:
            learner = Learner(profile, clock=clock)
            learner.set_consent(True)
            replies = talk(profile, len(done))
            marks: list[set[str]] = []
            for number, ((act, value), reply) in enumerate(zip(done, replies, strict=True)):
                clock.now += 3_600.0
                before = ids(profile)
                if number != skip:
                    perform(learner, act, value, reply)
                marks.append(ids(profile) - before)
            if skip is None:
                for evidence_id in marks[left_out]:
                    learner.undo(evidence_id)
            return {b.dimension: b.distribution for b in learner.beliefs()}

    assert lived("undone", None) == lived("never", left_out)


def ids(profile: Profile) -> set[str]:
    return {row["id"] for row in profile.db.read("SELECT id FROM learning_evidence")}


def perform(learner: Learner, act: str, value: object, reply: StoredMessage) -> None:
    if act == "rate":
        learner.rating(reply, int(str(value)))
    elif act == "thumb":
        learner.thumb(reply, bool(value))
    elif act == "correct":
        learner.correction(reply, str(value), None)
    else:
        learner.interaction("yo what's up with tea?", LONG, {}, int(str(value)))


def Profile_at(folder: Path) -> Profile:  # noqa: N802  (it makes one)
    from xeno.store.profile import open_profile

    return open_profile(Home.at(folder))


def test_undone_evidence_is_shown_and_can_be_restored(profile: Profile) -> None:
    learner = Learner(profile, clock=Clock())
    learner.set_consent(True)
    reply = talk(profile)[0]
    learner.correction(reply, SHORT, None)
    before = learner.belief("detail_level")
    evidence = learner.evidence("detail_level")[0]
    learner.undo(evidence.id)
    shown = learner.evidence("detail_level")[0]
    assert (shown.undone, shown.counted, shown.moved) == (True, False, 0.0)
    assert max(learner.belief("detail_level").distribution) == pytest.approx(1 / 3)
    learner.restore(evidence.id)
    assert learner.belief("detail_level") == before
    with pytest.raises(InvalidValueError, match="no evidence"):
        learner.undo("nothing")


def test_the_last_word_on_a_reply_is_the_one_that_counts(profile: Profile) -> None:
    learner, recorder, reply = Learner(profile), FeedbackRecorder(profile), talk(profile)[0]
    learner.set_consent(True)
    for stars in (1, 5):
        recorder.rate(reply.id, stars)
    for text in ("Boil it.", SHORT):
        recorder.correct(reply.id, text)
    rows = profile.db.read("SELECT kind FROM learning_evidence ORDER BY kind")
    assert [row["kind"] for row in rows] == ["correction", "rating"]
    assert learner.evidence("response_format")[0].text == SHORT


def test_what_is_deleted_is_no_longer_evidence(profile: Profile) -> None:
    learner = Learner(profile)
    learner.set_consent(True)
    first, second = corrected(profile, 2)
    Conversations(profile.db).delete(first.conversation_id)
    assert [e.message_id for e in learner.evidence("detail_level")] == [second.id]
    pair = Pairs(profile.db).all()
    for each in pair:
        Pairs(profile.db).delete(each.id)
    assert learner.evidence("detail_level") == []


def test_resetting_one_belief_leaves_the_others(profile: Profile) -> None:
    learner = Learner(profile)
    learner.set_consent(True)
    corrected(profile, 3)
    kept = learner.belief("detail_level").evidence
    learner.reset("response_format")
    assert learner.evidence("response_format") == []
    assert learner.belief("detail_level").evidence == kept
    with pytest.raises(InvalidValueError, match="communication_style"):
        learner.reset("mood")


def test_the_calls_of_the_interface_run_as_written(home: Home) -> None:
    with PersonalizationEngine(user_id="john_doe") as e:
        e.learner.set_consent(True)
        e.record_interaction(
            query="How do I speed up a slow SQL query with two joins?",
            response=LONG,
            context={"topic": "database", "intent": "optimization"},
            user_feedback=5,
        )
        assert e.analyze_expertise_level("python") is None
        e.update_preference("expertise_level.python", "advanced")
        assert e.analyze_expertise_level("python") == "advanced"
    with PersonalizationEngine(user_id="john_doe") as e:
        assert e.analyze_expertise_level("Python") == "advanced"
        assert e.learner.evidence("tone")[0].interaction_id
        assert "expertise_level.database" in [b.dimension for b in e.learner.beliefs()]
        for wrong in ({"query": ""}, {"response": 3}, {"user_feedback": 6}, {"context": "tea"}):
            with pytest.raises(ValueError):  # noqa: PT011  (an XenoError, which is one)
                e.record_interaction(**{"query": "a b", "response": "c", **wrong})  # type: ignore[arg-type]


def test_expertise_is_learned_from_questions_and_a_set_level_wins(profile: Profile) -> None:
    engine = PersonalizationEngine(profile=profile)
    engine.learner.set_consent(True)
    for question in (
        "Does the query planner of PostgreSQL 16 guarantee a stable JOIN order under GEQO?",
        "What is the worst-case complexity of B-tree page splits with fillfactor = 90?",
        "When do hash joins spill to disk, and how do edge cases of work_mem scale?",
    ):
        engine.record_interaction(question, LONG, {"topic": "Database"}, None)
    assert engine.analyze_expertise_level("database") in ("advanced", "expert")
    assert "in database" in engine.get_personalized_prompt_prefix()
    evidence = engine.learner.evidence("expertise_level.database")
    assert "edge cases" in evidence[0].text
    engine.update_preference("expertise_level.database", "beginner")
    assert engine.analyze_expertise_level("database") == "beginner"


def test_two_processes_and_many_threads_learn_at_once(profile: Profile) -> None:
    learner = Learner(profile)
    learner.set_consent(True)
    script = (
        "from xeno.personalization.engine import PersonalizationEngine\n"
        "with PersonalizationEngine() as engine:\n"
        "    for n in range(15):\n"
        "        engine.record_interaction('yo, how is tea made?', 'Boil water.', {}, 1 + n % 5)\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    failed: list[BaseException] = []

    def many() -> None:
        try:
            for _ in range(10):
                learner.interaction("yo, how is tea made?", "Boil water.", {}, 4)
                learner.effective()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=many) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [child.wait(60) for child in children] == [0, 0]
    assert failed == []
    count = profile.db.one("SELECT count(*) FROM interactions")
    assert count is not None
    assert count[0] == 2 * 15 + 3 * 10
    with_rating = profile.db.one("SELECT count(*) FROM learning_evidence WHERE kind = 'rating'")
    assert with_rating is not None
    assert with_rating[0] == count[0]


def test_a_signal_costs_little(profile: Profile) -> None:
    """Added to feedback that is stored anyway; the bound leaves room for a busy machine."""
    replies = talk(profile, 60)
    learner = Learner(profile)
    learner.set_consent(True)
    took = []
    for reply in replies:
        with profile.db.transaction():
            began = time.perf_counter()
            learner.correction(reply, SHORT, None)
            learner.rating(reply, 4)
            took.append((time.perf_counter() - began) / 2)
    assert sorted(took)[len(took) // 2] < 0.015
    assert set(ALLOWED) == {belief.dimension for belief in learner.beliefs()}
