"""Beliefs: Bayes' rule with forgetting, and what a text is taken to say."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xeno.personalization.beliefs import (
    Observation,
    believed,
    faded,
    followed,
    uniform,
    updated,
)
from xeno.personalization.expertise import from_question, topics_of
from xeno.personalization.likelihoods import (
    from_choice,
    from_correction,
    from_message,
    from_rating,
    from_thumb,
    looks,
)
from xeno.personalization.preferences import ALLOWED, Preferences, prompt_prefix, told_by
from xeno.personalization.signals import read

DAY = 86_400.0
logs = st.tuples(*[st.floats(-50, 0)] * 4)
observations = st.lists(st.builds(Observation, logs, st.floats(0, 3e9)), max_size=40).map(
    lambda found: sorted(found, key=lambda each: each.created)
)
texts = st.text(max_size=300)


def favouring(index: int, strength: float = 1.0, at: float = 0.0) -> Observation:
    return Observation(tuple(0.0 if i == index else -strength for i in range(4)), at)


@given(observations, st.floats(0, 4e9))
def test_a_belief_is_always_a_distribution(seen: list[Observation], now: float) -> None:
    belief = believed(4, seen, now)
    assert math.isclose(sum(belief), 1.0, abs_tol=1e-9)
    assert all(0.0 <= p <= 1.0 for p in belief)
    steps, _ = followed(4, seen)
    assert all(0.0 <= step.moved <= 1.0 + 1e-9 for step in steps)


@given(logs, logs)
def test_bayes_rule_does_not_mind_the_order_without_forgetting(
    first: tuple[float, ...], second: tuple[float, ...]
) -> None:
    prior = uniform(4)
    one = updated(updated(prior, first), second)
    other = updated(updated(prior, second), first)
    assert one == pytest.approx(other, abs=1e-9)


@given(st.floats(0.2, 4), st.integers(1, 30))
def test_what_came_later_counts_more(strength: float, count: int) -> None:
    early = [favouring(0, strength)] * count + [favouring(1, strength)] * count
    belief = believed(4, early, 0.0)
    assert belief[1] > belief[0]
    assert believed(4, early[::-1], 0.0)[0] > believed(4, early[::-1], 0.0)[1]


@given(observations, st.floats(0, 1_000), st.floats(0, 1_000))
def test_confidence_fades_with_time_and_never_grows(
    seen: list[Observation], soon: float, wait: float
) -> None:
    last = seen[-1].created if seen else 0.0
    before, after = (believed(4, seen, last + d * DAY) for d in (soon, soon + wait))
    assert max(after) <= max(before) + 1e-12


def test_nothing_known_claims_nothing_and_no_evidence_makes_certain() -> None:
    assert believed(4, [], 1e9) == uniform(4)
    assert max(faded(believed(4, [favouring(2, 50)] * 500, 0.0), 0.0)) < 0.98
    assert believed(4, [favouring(2, 3)] * 5, 1e6 * DAY) == pytest.approx(uniform(4), abs=1e-6)


@given(texts, texts, texts, st.integers(1, 5), st.booleans())
def test_every_text_can_be_read_and_every_effect_is_finite(
    question: str, reply: str, corrected: str, stars: int, up: bool
) -> None:
    effects = from_message(question) + from_choice(corrected, reply, question)
    effects += from_correction(reply, corrected, question) + from_rating(reply, stars, question)
    effects += from_thumb(reply, up, question)
    for effect in effects:
        assert len(effect.log_likelihoods) == len(ALLOWED[effect.dimension])
        assert all(-5.0 < x <= 1e-9 for x in effect.log_likelihoods)
    for distribution in looks(reply, question).values():
        assert sum(distribution) == pytest.approx(1.0)


def favoured(effects: list, dimension: str) -> str | None:
    for effect in effects:
        if effect.dimension == dimension:
            likely = effect.log_likelihoods
            return ALLOWED[dimension][likely.index(max(likely))]
    return None


LONG = (
    "The kettle has to be clean. Fill it with fresh water and bring the water to a boil. Warm the "
    "pot before the leaves go in, because cold china cools the water. Use one spoon of leaves for "
    "each cup. Let the leaves steep for three minutes, then take them out. Serve the tea at once."
)


def test_what_a_correction_changes_says_what_the_user_likes() -> None:
    shorter = from_correction(LONG, "Boil fresh water. Steep the leaves for three minutes.")
    assert favoured(shorter, "detail_level") == "brief"
    listed = from_correction(
        LONG, "- Boil fresh water\n- Warm the pot\n- Steep three minutes\n- Serve"
    )
    assert favoured(listed, "response_format") == "bullet_points"
    steps = from_correction(
        LONG, "1. Boil fresh water.\n2. Warm the pot.\n3. Steep. \n4. Serve it."
    )
    assert favoured(steps, "response_format") == "structured"
    joke = from_correction(LONG, LONG + " If it fails, give it to the llama, haha \U0001f602")
    assert favoured(joke, "tone") == "humorous"
    formal = from_correction(LONG, "Dear Sir, " + LONG + " I should be most grateful for a reply.")
    assert favoured(formal, "tone") == "formal"
    casual = from_correction(
        LONG,
        "yeah so just boil some water, chuck the leaves in, don't wait too long... it's easy stuff",
    )
    assert favoured(casual, "communication_style") == "casual"
    exact = from_correction(
        LONG, "Heat 0.5 L to 95 °C, add 6 g (C. sinensis), steep 180 s at pH 7."
    )
    assert favoured(exact, "communication_style") == "technical"


def test_a_changed_word_says_little_of_everything() -> None:
    effects = from_correction(LONG, LONG.replace("spoon", "teaspoon"))
    assert all(min(effect.log_likelihoods) > -0.9 for effect in effects)


def test_a_rating_speaks_for_or_against_what_the_reply_looked_like() -> None:
    bullets = "- Boil water\n- Warm the pot\n- Steep the leaves for some minutes\n- Serve"
    told = {"response_format": "bullet_points"}
    assert favoured(from_rating(bullets, 5, "", told), "response_format") == "bullet_points"
    assert favoured(from_rating(bullets, 1, "", told), "response_format") != "bullet_points"
    assert favoured(from_thumb(bullets, True, "", told), "response_format") == "bullet_points"


def test_a_plain_request_is_heard() -> None:
    assert favoured(from_message("How is tea made? Keep it short."), "detail_level") == "brief"
    assert favoured(from_message("Tell me step by step how tea is made"), "response_format") == (
        "structured"
    )


def test_the_words_of_the_matter_are_no_manner() -> None:
    asked = read("Penguins eat fish.", "What do penguins eat?")
    alone = read("Penguins eat fish, and so does my penguin.")
    assert asked.levels["play"] == 0
    assert alone.levels["play"] > 0


def test_a_system_prompt_tells_what_it_asks_for() -> None:
    preferences = Preferences("technical", "brief", "bullet_points", "humorous", {"tea": "expert"})
    told = told_by(prompt_prefix(preferences) + "\n\nThe user likes tea.")
    assert told == dict(preferences.items()[:4])
    assert told_by("You are brief.") == {}


def test_questions_show_how_much_is_known() -> None:
    beginner = from_question("python", "I am new to Python. What is a list?")
    expert = from_question(
        "python", "What are the worst-case guarantees of dict resizing in CPython 3.12 under GC?"
    )
    assert beginner is not None
    assert expert is not None
    assert beginner.log_likelihoods[0] == max(beginner.log_likelihoods)
    assert expert.log_likelihoods[3] > expert.log_likelihoods[0] + 2
    assert topics_of("Is SQL faster than my origami?", ["origami"]) == ["database", "origami"]
