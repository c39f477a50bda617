"""From feedback on real stored replies to preference pairs."""

from __future__ import annotations

import pytest

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage
from xeno.feedback.quality import assess
from xeno.feedback.recorder import FeedbackRecorder
from xeno.store.conversations import Conversations, StoredMessage
from xeno.store.examples import Examples
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile

SYSTEM = "You are brief."


@pytest.fixture
def talk(profile: Profile) -> list[StoredMessage]:
    """Two questions with their replies; the first reply was regenerated once."""
    conversations = Conversations(profile.db)
    made = conversations.create("Tea")
    first = conversations.add_message(made.id, "user", "Which tea?")
    lost = conversations.add_message(made.id, "assistant", "Black.", system_prompt=SYSTEM)
    conversations.supersede(lost.id)
    kept = conversations.add_message(made.id, "assistant", "Green tea.", system_prompt=SYSTEM)
    second = conversations.add_message(made.id, "user", "How long?")
    reply = conversations.add_message(
        made.id, "assistant", "Well, it depends on many things.", system_prompt=SYSTEM
    )
    return [first, lost, kept, second, reply]


def test_a_correction_prefers_the_edit_given_everything_that_was_sent(
    profile: Profile, talk: list[StoredMessage]
) -> None:
    reply = talk[-1]
    pair = FeedbackRecorder(profile).correct(reply.id, " Two minutes.\n")
    assert [(turn.role, turn.content) for turn in pair.prompt] == [
        ("system", SYSTEM),
        ("user", "Which tea?"),
        ("assistant", "Green tea."),
        ("user", "How long?"),
    ]
    assert (pair.chosen, pair.rejected) == ("Two minutes.", reply.content)
    assert (pair.feedback_type, pair.group_id) == ("correction", reply.conversation_id)
    assert pair.metadata == {"message_id": reply.id, "conversation_id": reply.conversation_id}
    assert Pairs(profile.db).all() == [pair]


def test_correcting_again_replaces_the_earlier_correction(
    profile: Profile, talk: list[StoredMessage]
) -> None:
    recorder, pairs = FeedbackRecorder(profile), Pairs(profile.db)
    first = recorder.correct(talk[-1].id, "Two minutes.")
    second = recorder.correct(talk[-1].id, "Three minutes.")
    assert [p.id for p in pairs.all(active=True)] == [second.id]
    assert recorder.correct(talk[-1].id, "Two minutes.").id == first.id
    assert [p.id for p in pairs.all(active=True)] == [first.id]
    assert [f.pair_id for f in recorder.feedback_of(talk[-1].id)] == [first.id]


@pytest.mark.parametrize("text", ["", "  \n", "Well, it depends on many things. "])
def test_a_correction_that_changes_nothing_is_refused(
    profile: Profile, talk: list[StoredMessage], text: str
) -> None:
    recorder = FeedbackRecorder(profile)
    with pytest.raises(InvalidValueError):
        recorder.correct(talk[-1].id, text)
    assert Pairs(profile.db).count() == 0
    assert recorder.feedback_of(talk[-1].id) == []


def test_a_choice_prefers_one_reply_and_the_conversation_goes_on_with_it(
    profile: Profile, talk: list[StoredMessage]
) -> None:
    question, lost, kept = talk[:3]
    pair = FeedbackRecorder(profile).choose(lost.id, kept.id)
    assert [turn.content for turn in pair.prompt] == [SYSTEM, question.content]
    assert (pair.chosen, pair.rejected) == ("Black.", "Green tea.")
    now = Conversations(profile.db).messages(question.conversation_id)
    assert [message.content for message in now[:2]] == ["Which tea?", "Black."]


def test_choosing_the_other_way_round_switches_the_first_choice_off(
    profile: Profile, talk: list[StoredMessage]
) -> None:
    recorder, pairs, lost, kept = FeedbackRecorder(profile), Pairs(profile.db), talk[1], talk[2]
    recorder._learner.set_consent(True)
    first = recorder.choose(lost.id, kept.id)
    second = recorder.choose(kept.id, lost.id)
    assert [pair.id for pair in pairs.all(active=True)] == [second.id]
    taught = profile.db.read("SELECT DISTINCT pair_id FROM learning_evidence")
    assert first.id not in {row["pair_id"] for row in taught}
    assert [m.id for m in Conversations(profile.db).messages(kept.conversation_id)][1] == kept.id
    assert recorder.choose(lost.id, kept.id).id == first.id
    assert [pair.id for pair in pairs.all(active=True)] == [first.id]


def test_the_newest_reply_is_compared_with_the_one_before(
    profile: Profile, talk: list[StoredMessage]
) -> None:
    recorder, conversations = FeedbackRecorder(profile), Conversations(profile.db)
    assert [reply.id for reply in recorder.last_two(talk[1].id)] == [talk[1].id, talk[2].id]
    with pytest.raises(InvalidValueError, match="once only"):
        recorder.last_two(talk[4].id)
    recorder.choose(talk[2].id, talk[1].id)
    third = conversations.add_message(talk[4].conversation_id, "assistant", "Three minutes.")
    conversations.supersede(talk[4].id)
    earlier, this = recorder.last_two(third.id)
    assert (earlier.id, this.id) == (talk[4].id, third.id)
    pair = recorder.choose(this.id, earlier.id)
    fourth = conversations.add_message(talk[4].conversation_id, "assistant", "Two, or three.")
    conversations.supersede(third.id)
    assert recorder.last_two(third.id)[1].id == fourth.id
    later = recorder.choose(fourth.id, third.id)
    assert Pairs(profile.db).get(pair.id).active, "a choice between two others stands"
    assert later.prompt == pair.prompt


def test_only_replies_to_the_same_turn_can_be_compared(
    profile: Profile, talk: list[StoredMessage]
) -> None:
    recorder = FeedbackRecorder(profile)
    with pytest.raises(InvalidValueError, match="same turn"):
        recorder.choose(talk[2].id, talk[4].id)
    with pytest.raises(InvalidValueError, match="same turn"):
        recorder.choose(talk[2].id, talk[2].id)


def test_the_last_thumb_and_the_last_rating_count(
    profile: Profile, talk: list[StoredMessage]
) -> None:
    recorder = FeedbackRecorder(profile)
    recorder.thumb(talk[-1].id, up=True)
    recorder.rate(talk[-1].id, 2)
    recorder.thumb(talk[-1].id, up=False)
    recorder.rate(talk[-1].id, 5)
    assert [(f.kind, f.value) for f in recorder.feedback_of(talk[-1].id)] == [
        ("thumb", -1),
        ("rating", 5),
    ]


def test_a_thumb_alone_is_an_unpaired_example_until_a_correction_says_more(
    profile: Profile, talk: list[StoredMessage]
) -> None:
    recorder, examples = FeedbackRecorder(profile), Examples(profile.db)
    recorder.thumb(talk[-1].id, up=True)
    recorder.thumb(talk[-1].id, up=False)
    (example,) = examples.all("unpaired")
    assert (example.label, example.reply) == ("bad", talk[-1].content)
    assert example.prompt == recorder.prompt_of(talk[-1].id)
    recorder.correct(talk[-1].id, "Mint, if you like it fresh.")
    assert examples.all("unpaired") == []
    recorder.thumb(talk[-1].id, up=False)
    assert examples.all("unpaired") == []


@pytest.mark.parametrize("stars", [0, 6, 2.5, True, "5"])
def test_a_rating_is_a_whole_number_from_1_to_5(
    profile: Profile, talk: list[StoredMessage], stars: object
) -> None:
    with pytest.raises(InvalidValueError, match="1 to 5"):
        FeedbackRecorder(profile).rate(talk[-1].id, stars)  # type: ignore[arg-type]


def test_feedback_is_for_replies_that_are_there(
    profile: Profile, talk: list[StoredMessage]
) -> None:
    recorder = FeedbackRecorder(profile)
    with pytest.raises(InvalidValueError, match="user's own"):
        recorder.thumb(talk[0].id, up=True)
    with pytest.raises(InvalidValueError, match="no message"):
        recorder.correct("nothing", "text")


def test_feedback_goes_with_its_conversation_and_the_pairs_stay(
    profile: Profile, talk: list[StoredMessage]
) -> None:
    recorder = FeedbackRecorder(profile)
    recorder.correct(talk[-1].id, "Two minutes.")
    Conversations(profile.db).delete(talk[0].conversation_id)
    assert recorder.feedback_of(talk[-1].id) == []
    assert Pairs(profile.db).count() == 1


PROMPT = [ChatMessage(role="user", content="How do I boil an egg?")]


def test_a_clear_correction_has_full_quality() -> None:
    quality = assess(PROMPT, "Boil it for seven minutes.", "Eggs come from hens.", "correction")
    assert (quality.score, quality.notes) == (1.0, ())
    assert quality.confidence > 0.9


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        ("Seven minutes!", "seven minutes", "punctuation"),
        ("go on and " * 30, "Seven minutes.", "repeats itself"),
        ("...", "Seven minutes.", "no words"),
        ("How do I boil an egg?", "Seven minutes.", "repeats the prompt"),
        ("Yes.", "word after word that differs " * 30, "twenty times"),
        ("一二三四五六七八九十" * 9, "Seven minutes.", "repeats itself"),
    ],
)
def test_a_doubt_lowers_the_quality_and_is_said(chosen: str, rejected: str, reason: str) -> None:
    quality = assess(PROMPT, chosen, rejected, "import")
    assert 0 <= quality.score < 1
    assert any(reason in note for note in quality.notes)
