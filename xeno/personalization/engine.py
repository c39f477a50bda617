"""The preferences of one user, kept in the profile, and the system prompt they give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from xeno.errors import InvalidValueError
from xeno.personalization.learning import Learner
from xeno.personalization.preferences import (
    EXPERTISE_PREFIX,
    Preferences,
    normalised,
    prompt_prefix,
)
from xeno.store.conversations import valid_text
from xeno.store.profile import Profile
from xeno.store.user import OfUser


class PersonalizationEngine(OfUser):
    """How `user_id` likes to be answered. Every call reads or writes the stored state, so that
    a change made anywhere is followed by the next reply.

    Args: see `OfUser`.
    """

    def __init__(self, user_id: str = "default", *, profile: Profile | None = None) -> None:
        super().__init__(user_id, profile=profile)
        self.learner = Learner(self._profile)

    @property
    def preferences(self) -> Preferences:
        """What the next reply follows: what the user set, else what was learned well enough,
        else the defaults."""
        return self.learner.effective()

    def update_preference(self, key: str, value: str) -> None:
        """Set a preference: communication_style, detail_level, response_format, tone or
        expertise_level.<topic>. What is set wins over what is learned.

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
        self.learner.pin(key, value)

    def forget_expertise(self, topic: str) -> None:
        """Say nothing more about the user's level in `topic`; an unknown topic is fine."""
        name = " ".join(topic.lower().split())
        with self._profile.db.transaction() as connection:
            connection.execute("DELETE FROM preferences WHERE key = ?", (EXPERTISE_PREFIX + name,))

    def get_personalized_prompt_prefix(self) -> str:
        """The system prompt of the next reply, built from the preferences alone."""
        return prompt_prefix(self.preferences)

    def record_interaction(
        self,
        query: str,
        response: str,
        context: Mapping[str, Any] | None = None,
        user_feedback: int | None = None,
    ) -> str | None:
        """Learn from an exchange that happened elsewhere: what was asked, what was answered, and
        how the user rated it.

        Args:
            context: may name the `topic`, for the user's expertise in it, and the
                `system_prompt` that the response was written under.
            user_feedback: 1 to 5.

        Returns:
            The id of the kept interaction; None, with nothing kept, unless the user has agreed
            to being learned from (`learner.set_consent`).

        Raises:
            InvalidValueError: a text is empty, the context is no mapping JSON can hold, or the
                rating is not 1 to 5.
        """
        return self.learner.interaction(*_checked(query, response, context, user_feedback))

    def analyze_expertise_level(self, topic: str) -> str | None:
        """The user's level in `topic`: the one they set, else the one learned from their
        questions and corrections, None where not enough is known. `learner.evidence` says why.

        Raises:
            InvalidValueError: `topic` cannot be a topic.
        """
        return self.learner.belief(EXPERTISE_PREFIX + topic).in_effect


def _checked(
    query: object, response: object, context: object, user_feedback: object
) -> tuple[str, str, dict[str, Any], int | None]:
    """The arguments of `record_interaction`, or InvalidValueError saying which is wrong."""
    for name, text in (("query", query), ("response", response)):
        if not isinstance(text, str) or not text.strip():
            raise InvalidValueError(
                f"The {name} is empty or no text.", "", f"Give the {name} as it was written."
            )
        valid_text(text, name)
    if context is not None and not isinstance(context, Mapping):
        raise InvalidValueError("The context is a mapping, such as {'topic': 'database'}.")
    given = dict(cast("Mapping[str, Any]", context or {}))
    try:
        json.dumps(given)
    except (TypeError, ValueError) as error:
        raise InvalidValueError("The context cannot be kept.", f"JSON says: {error}.") from error
    if user_feedback is not None and (
        isinstance(user_feedback, bool)
        or not isinstance(user_feedback, int)
        or not 1 <= user_feedback <= 5
    ):
        raise InvalidValueError(
            f"{user_feedback!r} is not a rating.", "A rating is a whole number from 1 to 5."
        )
    return cast(str, query), cast(str, response), given, user_feedback
