"""Conversations, pairs and runs in a real encrypted database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage, Failure, LogLine
from xeno.store import files
from xeno.store.conversations import Conversations
from xeno.store.pairs import Pair, Pairs, new_pair
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.training.plan import TrainingPlan


def make_pair(question: str = "Why?", chosen: str = "So.", rejected: str = "No.") -> Pair:
    return new_pair(
        "default",
        [ChatMessage(role="user", content=question)],
        chosen,
        rejected,
        feedback_type="correction",
        confidence=0.9,
        quality=1.0,
        quality_notes=["fine"],
        metadata={"message_id": "m"},
    )


def test_turns_come_back_in_order_with_what_produced_them(profile: Profile) -> None:
    conversations = Conversations(profile.db)
    talk = conversations.create("About tea")
    question = conversations.add_message(talk.id, "user", "Which tea?")
    reply = conversations.add_message(
        talk.id,
        "assistant",
        "Green.",
        system_prompt="Be brief.",
        version="abc",
        base_hash="def",
        metadata={"tokens": 2},
    )
    assert conversations.messages(talk.id) == [question, reply]
    assert conversations.message(reply.id) == reply
    assert [question.position, reply.position] == [0, 1]


def test_a_superseded_reply_leaves_the_conversation_and_is_kept(profile: Profile) -> None:
    conversations = Conversations(profile.db)
    talk = conversations.create("t")
    conversations.add_message(talk.id, "user", "q")
    first = conversations.add_message(talk.id, "assistant", "a")
    conversations.supersede(first.id)
    second = conversations.add_message(talk.id, "assistant", "b")
    assert [m.content for m in conversations.messages(talk.id)] == ["q", "b"]
    assert [m.content for m in conversations.messages(talk.id, superseded=True)] == ["q", "a", "b"]
    assert second.position == 2


def test_search_finds_titles_and_turns_and_takes_wildcards_literally(profile: Profile) -> None:
    conversations = Conversations(profile.db)
    first = conversations.create("Tea and coffee")
    second = conversations.create("Discounts")
    conversations.add_message(second.id, "user", "Is 100% of_it true?")
    assert [c.id for c in conversations.all("tea")] == [first.id]
    assert [c.id for c in conversations.all("100%")] == [second.id]
    assert [c.id for c in conversations.all("f_i")] == [second.id]
    assert conversations.all("0%f") == []
    assert [c.id for c in conversations.all()] == [second.id, first.id]


def test_deleting_a_conversation_deletes_its_turns(profile: Profile) -> None:
    conversations = Conversations(profile.db)
    talk = conversations.create("t")
    message = conversations.add_message(talk.id, "user", "q")
    conversations.rename(talk.id, "other")
    assert conversations.get(talk.id).title == "other"
    conversations.delete(talk.id)
    with pytest.raises(InvalidValueError, match="no message"):
        conversations.message(message.id)
    with pytest.raises(InvalidValueError, match="no conversation"):
        conversations.add_message(talk.id, "user", "q")


def test_text_that_is_not_unicode_is_refused(profile: Profile) -> None:
    conversations = Conversations(profile.db)
    talk = conversations.create("t")
    with pytest.raises(InvalidValueError, match="Unicode"):
        conversations.add_message(talk.id, "user", "half \ud83d")


def test_a_pair_comes_back_as_it_was_and_is_stored_once(profile: Profile) -> None:
    pairs = Pairs(profile.db)
    pair = make_pair()
    assert pairs.add(pair)
    assert not pairs.add(make_pair())
    assert pairs.get(pair.id) == pair
    assert pairs.same_as(make_pair()) == pair
    assert pairs.all() == [pair]


def test_pairs_are_added_together_or_not_at_all(profile: Profile) -> None:
    pairs = Pairs(profile.db)
    assert pairs.add_many([make_pair("a"), make_pair("b"), make_pair("a")]) == (2, 1)

    def breaking() -> Iterator[Pair]:
        yield make_pair("c")
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="source"):
        pairs.add_many(breaking())
    assert pairs.count() == 2


def test_pairs_can_be_searched_paged_switched_off_and_deleted(profile: Profile) -> None:
    pairs = Pairs(profile.db)
    made = [make_pair(f"Frage {n} über Öl") for n in range(5)]
    pairs.add_many(made)
    assert pairs.all(limit=2, offset=1) == made[1:3]
    assert pairs.all(newest_first=True) == made[::-1]
    assert pairs.all(search="Öl") == made
    assert pairs.all(search="Frage 3") == [made[3]]
    pairs.set_active(made[0].id, False)
    assert pairs.count(active=True) == 4
    assert [p.id for p in pairs.all(active=False)] == [made[0].id]
    pairs.delete(made[0].id)
    with pytest.raises(InvalidValueError, match="no pair"):
        pairs.get(made[0].id)


@pytest.mark.parametrize(
    ("question", "chosen", "rejected", "reason"),
    [
        ("q", "", "r", "empty"),
        ("q", "c", " \n", "empty"),
        ("q", "same", " same ", "identical"),
        (" ", "c", "r", "user"),
        ("q", "c\udc00", "r", "Unicode"),
    ],
)
def test_a_pair_that_teaches_nothing_is_refused(
    question: str, chosen: str, rejected: str, reason: str
) -> None:
    with pytest.raises(InvalidValueError, match=reason):
        make_pair(question, chosen, rejected)


def test_a_run_keeps_its_plan_its_events_and_its_end(profile: Profile) -> None:
    runs = Runs(profile.db)
    plan = TrainingPlan(base="somewhere", epsilon=3)
    run = runs.create(plan)
    assert (run.status, run.plan) == ("waiting", plan)
    runs.start(run.id, os.getpid())
    runs.describe(run.id, "base", "data", {"torch": "2"})
    runs.append_event(run.id, LogLine(text="one"))
    runs.append_event(run.id, LogLine(text="zwei …"))
    runs.finish(run.id, "failed", {"loss": 1.5}, Failure(what="It broke."), version=None)
    ended = runs.get(run.id)
    assert (ended.status, ended.base_hash, ended.data_hash) == ("failed", "base", "data")
    assert ended.failure == Failure(what="It broke.")
    assert ended.metrics == {"loss": 1.5}
    assert runs.events(run.id) == [LogLine(text="one"), LogLine(text="zwei …")]
    assert runs.all() == [ended]


def test_a_run_whose_process_is_gone_is_marked_interrupted(profile: Profile) -> None:
    runs = Runs(profile.db)
    plan = TrainingPlan(base="b")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    done = runs.create(plan)
    runs.start(done.id, gone.pid)
    runs.finish(done.id, "completed")
    lost = runs.create(plan)
    runs.start(lost.id, gone.pid)
    assert [run.id for run in runs.mark_interrupted()] == [lost.id]
    waiting = runs.create(plan)
    assert runs.mark_interrupted() == []
    runs.start(waiting.id, os.getpid())
    assert runs.mark_interrupted() == []
    states = [runs.get(run.id).status for run in (done, lost, waiting)]
    assert states == ["completed", "interrupted", "running"]


def test_setting_the_clock_leaves_a_run_that_lives_alone(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(profile.db)
    run = runs.create(TrainingPlan(base="b"))
    runs.start(run.id, os.getpid())
    with profile.db.transaction() as connection:  # as a clock that was a year behind wrote it
        connection.execute("UPDATE runs SET started = started - 3e7, created = created - 3e7")
    assert runs.mark_interrupted() == []


def test_of_a_run_of_another_boot_or_container_the_trainers_lock_tells(profile: Profile) -> None:
    runs = Runs(profile.db)
    run = runs.create(TrainingPlan(base="b"))
    runs.start(run.id, os.getpid())
    noted = {"run": run.id, "birth": "another boot:1"}
    profile.set_setting("run.process", noted)
    lock = files.hold(profile.paths.training_lock, 0)
    assert lock is not None
    assert runs.mark_interrupted() == []
    os.close(lock)
    assert [found.id for found in runs.mark_interrupted()] == [run.id]


def test_another_process_with_the_same_id_is_not_the_trainer(profile: Profile) -> None:
    runs = Runs(profile.db)
    run = runs.create(TrainingPlan(base="b"))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as later:
        runs.start(run.id, os.getpid())
        with profile.db.transaction() as connection:
            connection.execute("UPDATE runs SET process_id = ?", (later.pid,))
        assert [found.id for found in runs.mark_interrupted()] == [run.id]
        later.communicate(b"\n")
