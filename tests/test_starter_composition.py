"""The starter model's texts: what the composer promises, and what the rules read from it."""

from __future__ import annotations

import random
from itertools import product

import pytest

from tools.starter_model.composition import Composer, compose_reply, is_heldout, question
from tools.starter_model.phrases import QUESTIONS, SUGGESTIONS
from tools.starter_model.topics import Topic, read_topics
from xeno.benchmarking.reply_rules import (
    BANDS,
    detail_of,
    format_of,
    has_style,
    has_tone,
    is_brief_bullets,
    repeated_4grams,
    word_count,
    words,
)
from xeno.benchmarking.starter import TopicJudge, read_heldout
from xeno.models.starter import starter_folder
from xeno.personalization.preferences import ALLOWED, Preferences, prompt_prefix

COMBINATIONS = [Preferences(*values) for values in product(*ALLOWED.values())]


@pytest.fixture(scope="module")
def topics() -> list[Topic]:
    return read_topics()


@pytest.fixture(scope="module")
def composer(topics: list[Topic]) -> Composer:
    return Composer(topics, seed=1)


def test_there_are_enough_topics_and_wordings(topics: list[Topic]) -> None:
    assert len(topics) >= 300
    assert len(QUESTIONS) >= 12


def test_every_combination_of_preferences_is_kept_by_its_replies(topics: list[Topic]) -> None:
    rng = random.Random(0)
    judge = TopicJudge({topic.name: frozenset(words(topic.text())) for topic in topics})
    for preferences in COMBINATIONS:
        topic = rng.choice(topics)
        text = compose_reply(topic, preferences, rng).text
        assert detail_of(text) == preferences.detail_level
        assert format_of(text) == preferences.response_format
        assert has_style(text, preferences.communication_style)
        assert has_tone(text, preferences.tone)
        assert judge.topic_of(text) == topic.name
        assert repeated_4grams(text) < 0.05


def test_every_topic_has_a_reply_in_every_detail(topics: list[Topic]) -> None:
    rng = random.Random(0)
    for topic, detail in product(topics, BANDS):
        text = compose_reply(topic, Preferences(detail_level=detail), rng).text
        low, high = BANDS[detail]
        assert low <= word_count(text) <= high


def test_brief_bullets_are_what_brief_and_bullet_points_ask_for(topics: list[Topic]) -> None:
    rng = random.Random(0)
    for preferences in COMBINATIONS:
        wanted = (preferences.detail_level, preferences.response_format)
        text = compose_reply(rng.choice(topics), preferences, rng).text
        assert is_brief_bullets(text) == (wanted == ("brief", "bullet_points"))


def test_a_dialogue_depends_on_seed_and_index_only(composer: Composer) -> None:
    again = Composer(composer.topics, composer.seed)
    assert [again.dialogue(i) for i in (7, 3)] == [composer.dialogue(i) for i in (7, 3)]


def test_dialogues_are_distinct_and_use_the_system_prompt_of_xeno(composer: Composer) -> None:
    dialogues = [composer.dialogue(i) for i in range(2000)]
    texts = {"\n".join(m["content"] for m in dialogue.messages) for dialogue in dialogues}
    assert len(texts) > 1900
    for dialogue in dialogues:
        first = dialogue.messages[0]
        if first["role"] == "system":
            assert first["content"] == prompt_prefix(dialogue.preferences)
        else:
            assert dialogue.preferences == Preferences()


def test_held_out_questions_are_never_asked_in_training(composer: Composer) -> None:
    heldout = {
        question(topic, wording)
        for topic, wording in product(composer.topics, range(len(QUESTIONS)))
        if is_heldout(topic, wording)
    }
    asked = {m["content"] for i in range(3000) for m in composer.dialogue(i).messages}
    assert not heldout & asked


def test_every_topic_is_trained_in_most_wordings(composer: Composer) -> None:
    share = sum(map(len, composer.trained.values())) / (len(composer.topics) * len(QUESTIONS))
    assert 0.88 < share < 0.92
    assert min(map(len, composer.trained.values())) >= 12


def test_the_shipped_prompts_are_held_out_ones(topics: list[Topic]) -> None:
    shipped = read_heldout(starter_folder())
    by_name = {topic.name: topic for topic in topics}
    assert len(shipped.prompts) >= 200
    for prompt in shipped.prompts:
        topic = by_name[prompt.topic]
        wordings = [w for w in range(len(QUESTIONS)) if question(topic, w) == prompt.question]
        assert wordings
        assert all(is_heldout(topic, wording) for wording in wordings)


def test_suggested_topics_are_known_ones(topics: list[Topic]) -> None:
    assert {name for names in SUGGESTIONS for name in names} <= {topic.name for topic in topics}


def test_rules_read_lists_and_repetition() -> None:
    assert format_of("Sure.\n- Use water.\n- Wait.") == "bullet_points"
    assert format_of("1. Use water.\n2. Wait.") == "structured"
    assert format_of("Use water. Wait.") == "conversational"
    assert word_count("1. Use water.\n2. Don't wait.") == 4
    assert repeated_4grams("a b c d a b c d") == pytest.approx(1 / 5)
    assert repeated_4grams("too short") == 0.0


def test_tones_and_styles_are_told_apart() -> None:
    assert has_tone("Use water.", "neutral")
    assert not has_tone("Use water. You can do this!", "neutral")
    assert has_tone("Use water. You can do this!", "friendly")
    assert has_style("Sure thing. Use water.", "casual")
    assert not has_style("Use water.", "casual")
