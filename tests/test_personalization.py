"""The preferences of a user, kept and turned into the system prompt."""

from __future__ import annotations

import pytest

from xeno.errors import InvalidValueError
from xeno.paths import Home
from xeno.personalization.engine import PersonalizationEngine
from xeno.store.profile import Profile, list_profiles


def test_preferences_are_there_again_in_the_next_session(home: Home) -> None:
    with PersonalizationEngine(user_id="john_doe") as engine:
        engine.update_preference("communication_style", "professional")
        engine.update_preference("response_format", "Bullet Points")
        engine.update_preference("expertise_level.Python", "advanced")
    with PersonalizationEngine(user_id="john_doe") as engine:
        assert engine.preferences.communication_style == "professional"
        assert engine.preferences.response_format == "bullet_points"
        assert engine.preferences.expertise == {"python": "advanced"}
    assert list_profiles(home) == ["john_doe"]


def test_the_prompt_follows_every_change_at_once(profile: Profile) -> None:
    engine, other = (PersonalizationEngine(profile=profile) for _ in range(2))
    other.update_preference("detail_level", "detailed")
    other.update_preference("tone", "formal")
    other.update_preference("expertise_level.home cooking", "expert")
    prompt = engine.get_personalized_prompt_prefix()
    assert "formal" in prompt
    assert "examples" in prompt
    assert "expert in home cooking" in prompt
    other.forget_expertise(" Home  Cooking")
    assert "cooking" not in engine.get_personalized_prompt_prefix()


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("mood", "good", "communication_style"),
        ("tone", "angry", "humorous"),
        ("expertise_level.python", "guru", "expert"),
        ("expertise_level.", "expert", "topic"),
        ("tone", 5, "text"),
    ],
)
def test_a_wrong_preference_is_refused_and_names_what_is_allowed(
    profile: Profile, key: str, value: str, named: str
) -> None:
    engine = PersonalizationEngine(profile=profile)
    with pytest.raises(InvalidValueError, match=named):
        engine.update_preference(key, value)
    assert profile.db.read("SELECT * FROM preferences") == []


def test_the_package_offers_the_engine_by_name() -> None:
    import xeno

    assert xeno.PersonalizationEngine is PersonalizationEngine
    with pytest.raises(AttributeError):
        _ = xeno.Unknown
