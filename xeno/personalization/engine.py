"""The preferences of one user, kept in the profile, and the system prompt they give."""

from __future__ import annotations

import time

from xeno.errors import InvalidValueError
from xeno.paths import Home
from xeno.personalization.preferences import (
    EXPERTISE_PREFIX,
    Preferences,
    normalised,
    prompt_prefix,
)
from xeno.store.profile import Profile, open_profile


class PersonalizationEngine:
    """How `user_id` likes to be answered. Every call reads or writes the stored state, so that
    a change made anywhere is followed by the next reply.

    Args:
        user_id: the profile's name, where `profile` is not given.
        profile: an open profile. Without it the engine opens the profile itself, in the
            default home, and `close` closes it.
    """

    def __init__(self, user_id: str = "default", *, profile: Profile | None = None) -> None:
        self._owned = profile is None
        self._profile = profile or open_profile(Home.at(), user_id)

    @property
    def preferences(self) -> Preferences:
        """The preferences as they are stored now."""
        preferences = Preferences()
        for row in self._profile.db.read("SELECT key, value FROM preferences ORDER BY key"):
            preferences = preferences.updated(row["key"], row["value"])
        return preferences

    def update_preference(self, key: str, value: str) -> None:
        """Set a preference: communication_style, detail_level, response_format, tone or
        expertise_level.<topic>.

        Raises:
            InvalidValueError: for an unknown key or value, naming the allowed ones.
        """
        if not isinstance(key, str) or not isinstance(value, str):
            raise InvalidValueError(
                "A preference and its value are text.",
                f"Got {type(key).__name__} and {type(value).__name__}.",
                "Give both as strings.",
            )
        key, value = normalised(key, value)
        with self._profile.db.transaction() as connection:
            connection.execute(
                "INSERT INTO preferences (key, value, updated) VALUES (?, ?, ?) ON CONFLICT (key) "
                "DO UPDATE SET value = excluded.value, updated = excluded.updated",
                (key, value, time.time()),
            )

    def forget_expertise(self, topic: str) -> None:
        """Say nothing more about the user's level in `topic`; an unknown topic is fine."""
        name = " ".join(topic.lower().split())
        with self._profile.db.transaction() as connection:
            connection.execute("DELETE FROM preferences WHERE key = ?", (EXPERTISE_PREFIX + name,))

    def get_personalized_prompt_prefix(self) -> str:
        """The system prompt of the next reply, built from the preferences alone."""
        return prompt_prefix(self.preferences)

    def close(self) -> None:
        """Close the profile if the engine opened it."""
        if self._owned:
            self._profile.close()

    def __enter__(self) -> PersonalizationEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
