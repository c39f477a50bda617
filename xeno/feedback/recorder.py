"""From feedback on a reply to preference pairs (feature P7). Nobody annotates.

A correction prefers the edited text to the reply. A choice prefers one reply to another. A
thumb alone makes the reply an unpaired example, until a correction or a choice says more.
The prompt of a pair is what was sent for the reply: its system prompt and the turns before it.
Each is also told to the learner, which learns from it if the user has agreed.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace
from typing import Literal

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage
from xeno.feedback.quality import assess
from xeno.personalization.learning import Learner
from xeno.store.conversations import Conversations, StoredMessage
from xeno.store.database import Connection
from xeno.store.examples import BAD, GOOD, Examples, new_example
from xeno.store.pairs import FeedbackType, Pair, Pairs, new_pair
from xeno.store.profile import Profile


@dataclass(frozen=True)
class Feedback:
    """What the user said about a reply: kind 'thumb' (value 1 or -1), 'rating' (1 to 5),
    'correction' (value None) or 'choice' (1: preferred, -1: not)."""

    id: str
    message_id: str
    kind: Literal["thumb", "rating", "correction", "choice"]
    value: float | None
    pair_id: str | None
    created: float


class FeedbackRecorder:
    """Takes feedback on the replies of a profile. Every call is one transaction."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._conversations = Conversations(profile.db)
        self._pairs = Pairs(profile.db)
        self._examples = Examples(profile.db)
        self._learner = Learner(profile)

    def correct(self, message_id: str, text: str) -> Pair:
        """The user would rather have read `text`.

        A later correction of the same reply takes the earlier one's place: the earlier pair is
        switched off.

        Raises:
            InvalidValueError: no such reply, or `text` is empty or what the reply already says.
        """
        reply = self._reply(message_id)
        with self._profile.db.transaction() as connection:
            pair = self._store(reply, text.strip(), reply.content, "correction")
            for earlier in self._of_kind(message_id, "correction"):
                if earlier.pair_id and earlier.pair_id != pair.id:
                    self._pairs.set_active(earlier.pair_id, False)
            self._replace(connection, message_id, "correction", None, pair.id)
            self._examples.delete(message_id)
            self._learner.correction(reply, pair.chosen, pair.id)
        return pair

    def choose(self, chosen_message_id: str, rejected_message_id: str) -> Pair:
        """Of two replies to the same turn the user prefers the first.

        The conversation goes on with the chosen one. An earlier choice between the two the other
        way round is switched off.

        Raises:
            InvalidValueError: the two are not replies to the same turn, or are identical.
        """
        chosen, rejected = self._reply(chosen_message_id), self._reply(rejected_message_id)
        if chosen.id == rejected.id or self._turns(chosen) != self._turns(rejected):
            raise InvalidValueError(
                "These two cannot be compared.",
                "They are not two replies to the same turn of a conversation.",
                "Regenerate a reply, and choose between the two.",
            )
        with self._profile.db.transaction() as connection:
            pair = self._store(chosen, chosen.content, rejected.content, "choice")
            reversed_id = self._choice_between(rejected.id, chosen.id)
            if reversed_id is not None:
                self._pairs.set_active(reversed_id, False)
                self._learner.forget_pair(reversed_id)
            self._conversations.supersede(chosen.id, False)
            self._conversations.supersede(rejected.id)
            self._replace(connection, chosen.id, "choice", 1, pair.id)
            self._replace(connection, rejected.id, "choice", -1, pair.id)
            self._examples.delete(chosen.id)
            self._examples.delete(rejected.id)
            self._learner.preference(chosen, chosen.content, rejected.content, pair.id)
        return pair

    def last_two(self, message_id: str) -> tuple[StoredMessage, StoredMessage]:
        """The two newest replies to the turn that the reply `message_id` answers: the earlier
        one and the one it was regenerated into.

        Raises:
            InvalidValueError: no such reply, or it was not regenerated.
        """
        replies = self._conversations.replies_beside(self._reply(message_id).id)
        if len(replies) < 2:
            raise InvalidValueError(
                "There is nothing to choose from.",
                "This message was answered once only.",
                "Have the reply regenerated first.",
            )
        return replies[-2], replies[-1]

    def prefer(self, message_id: str, chosen: str, rejected: str) -> Pair:
        """Of two replies to what the reply `message_id` answers the user prefers `chosen`.

        Neither need be in the conversation, which stays as it is.

        Raises:
            InvalidValueError: no such reply, or the two are empty or identical.
        """
        reply = self._reply(message_id)
        with self._profile.db.transaction():
            pair = self._store(reply, chosen, rejected, "choice")
            self._learner.preference(reply, pair.chosen, pair.rejected, pair.id)
        return pair

    def prompt_of(self, message_id: str) -> tuple[ChatMessage, ...]:
        """What was sent for the reply `message_id`: its system prompt and the turns before it."""
        return tuple(self._prompt(self._reply(message_id)))

    def thumb(self, message_id: str, up: bool) -> None:
        """Thumb up or down; the last one counts."""
        reply = self._reply(message_id)
        with self._profile.db.transaction() as connection:
            self._replace(connection, message_id, "thumb", 1 if up else -1, None)
            self._examples.delete(message_id)
            if not any(found.pair_id for found in self.feedback_of(message_id)):
                label = GOOD if up else BAD
                example = new_example(
                    "unpaired", self._prompt(reply), reply.content, label, source="thumb"
                )
                self._examples.add(replace(example, id=message_id))
            self._learner.thumb(reply, up)

    def rate(self, message_id: str, stars: int) -> None:
        """1 to 5 stars; the last rating counts. Raises InvalidValueError for other numbers."""
        if isinstance(stars, bool) or not isinstance(stars, int) or not 1 <= stars <= 5:
            raise InvalidValueError(
                f"{stars!r} is not a rating.",
                "A rating is a whole number from 1 to 5.",
                "Give 1 for a useless reply, 5 for a perfect one.",
            )
        reply = self._reply(message_id)
        with self._profile.db.transaction() as connection:
            self._replace(connection, message_id, "rating", stars, None)
            self._learner.rating(reply, stars)

    def feedback_of(self, message_id: str) -> list[Feedback]:
        """What was said about a reply, the oldest first; at most one of each kind."""
        rows = self._profile.db.read(
            "SELECT * FROM feedback WHERE message_id = ? ORDER BY created, rowid", (message_id,)
        )
        return [Feedback(**dict(row)) for row in rows]

    def _reply(self, message_id: str) -> StoredMessage:
        message = self._conversations.message(message_id)
        if message.role != "assistant":
            raise InvalidValueError(
                "Feedback is for replies.",
                "This message is the user's own.",
                "Choose a reply of the assistant.",
            )
        return message

    def _turns(self, reply: StoredMessage) -> list[StoredMessage]:
        """The turns that `reply` answers: all before the user's turn just before it, and that."""
        turns = self._conversations.messages(reply.conversation_id, superseded=True)
        before = [turn for turn in turns if turn.position < reply.position]
        while before and before[-1].role == "assistant":  # other replies to the same turn
            before.pop()
        return [turn for turn in before if not turn.superseded]

    def _prompt(self, reply: StoredMessage) -> list[ChatMessage]:
        prompt = [ChatMessage(role=t.role, content=t.content) for t in self._turns(reply)]
        if reply.system_prompt:
            prompt.insert(0, ChatMessage(role="system", content=reply.system_prompt))
        return prompt

    def _store(self, reply: StoredMessage, chosen: str, rejected: str, kind: FeedbackType) -> Pair:
        """The pair, stored; where the same pair is known, that one, switched on again."""
        prompt = self._prompt(reply)
        quality = assess(prompt, chosen, rejected, kind)
        pair = new_pair(
            self._profile.name,
            prompt,
            chosen,
            rejected,
            feedback_type=kind,
            confidence=quality.confidence,
            quality=quality.score,
            quality_notes=quality.notes,
            group_id=reply.conversation_id,
            metadata={"message_id": reply.id, "conversation_id": reply.conversation_id},
        )
        if self._pairs.add(pair):
            return pair
        known = self._pairs.same_as(pair)
        assert known is not None, "a pair that is not added is there already"
        self._pairs.set_active(known.id, True)
        return self._pairs.get(known.id)

    def _choice_between(self, chosen_id: str, rejected_id: str) -> str | None:
        """The pair of the latest choice of the first rather than the second, if there was one."""
        won = {each.pair_id for each in self._of_kind(chosen_id, "choice") if each.value == 1}
        lost = {each.pair_id for each in self._of_kind(rejected_id, "choice") if each.value == -1}
        return next(iter(won & lost), None)

    def _of_kind(self, message_id: str, kind: str) -> list[Feedback]:
        return [found for found in self.feedback_of(message_id) if found.kind == kind]

    def _replace(
        self,
        connection: Connection,
        message_id: str,
        kind: str,
        value: float | None,
        pair_id: str | None,
    ) -> None:
        connection.execute(
            "DELETE FROM feedback WHERE message_id = ? AND kind = ?", (message_id, kind)
        )
        connection.execute(
            "INSERT INTO feedback (id, message_id, kind, value, pair_id, created) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (uuid.uuid4().hex, message_id, kind, value, pair_id, time.time()),
        )
