"""What is learned of the user. Feature P3, and P4 with `expertise`.

Nothing is learned before the user agrees, and nothing from a kind of signal they switched off.
Kept is evidence only (`evidence`). Beliefs are computed from it whenever they are asked for, so
undoing a piece of evidence is exactly as if it had never been, and two processes never disagree.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from xeno.errors import InvalidValueError
from xeno.personalization import beliefs, expertise, likelihoods
from xeno.personalization.beliefs import values_of
from xeno.personalization.evidence import (
    SIGNAL_OF,
    SIGNALS,
    Evidence,
    EvidenceStore,
    Kind,
    observation,
)
from xeno.personalization.likelihoods import Effect
from xeno.personalization.preferences import (
    ALLOWED,
    EXPERTISE_PREFIX,
    Preferences,
    normalised,
    told_by,
)
from xeno.store.conversations import StoredMessage
from xeno.store.profile import Profile

CONSENT = "learning.consent"
ENOUGH_EVIDENCE = 2  # one piece alone never takes effect
TOPICS_TOLD = 3  # learned levels of expertise that a system prompt names, latest first


@dataclass(frozen=True)
class Belief:
    """What is thought of one preference now.

    Attributes:
        dimension: communication_style, ..., expertise_level.<topic>.
        values: its values; `distribution` has their probabilities, in the same order.
        evidence: how many pieces of evidence count.
        pinned: the value that the user set, which wins; None: nothing was set.
        in_effect: the value replies follow now; None for expertise that nobody knows.
    """

    dimension: str
    values: tuple[str, ...]
    distribution: tuple[float, ...]
    evidence: int
    pinned: str | None
    in_effect: str | None

    @property
    def value(self) -> str:
        """The likeliest value."""
        return self.values[self.distribution.index(max(self.distribution))]

    @property
    def confidence(self) -> float:
        """The probability of the likeliest value, from 1 / number of values to below 1."""
        return max(self.distribution)

    @property
    def enough(self) -> bool:
        """Whether this is known well enough to take effect."""
        expertise_of = self.dimension.startswith(EXPERTISE_PREFIX)
        needed = beliefs.ENOUGH_FOR_EXPERTISE if expertise_of else beliefs.ENOUGH_CONFIDENCE
        return self.evidence >= ENOUGH_EVIDENCE and self.confidence >= needed


class Learner:
    """What is learned of the user of a profile. Usable from any thread and several processes."""

    def __init__(self, profile: Profile, *, clock: Callable[[], float] = time.time) -> None:
        self._profile = profile
        self._db = profile.db
        self._clock = clock
        self._store = EvidenceStore(profile.db, clock)

    # Consent ----------------------------------------------------------------------------

    @property
    def consent(self) -> bool | None:
        """Whether the user agreed to being learned from; None: they were never asked."""
        given = self._profile.setting(CONSENT)
        return given if isinstance(given, bool) else None

    def set_consent(self, given: bool) -> None:
        """Agree, or withdraw: then nothing more is learned and nothing learned has an effect;
        `reset` deletes it."""
        self._profile.set_setting(CONSENT, bool(given))

    def signals(self) -> dict[str, bool]:
        """Every kind of signal and whether it is learned from."""
        return {name: bool(self._profile.setting(_switch(name), True)) for name in SIGNALS}

    def set_signal(self, name: str, on: bool) -> None:
        """Learn from a kind of signal, or not: what it taught does not count while it is off.

        Raises:
            InvalidValueError: there is no such kind.
        """
        if name not in SIGNALS:
            raise InvalidValueError(
                f"There is no signal {name!r}.", f"The signals are: {', '.join(SIGNALS)}."
            )
        self._profile.set_setting(_switch(name), bool(on))

    # What the user does -----------------------------------------------------------------

    def message(self, message: StoredMessage) -> None:
        """The user wrote `message`."""
        if self._learns("message"):
            effects = likelihoods.from_message(message.content)
            effects += self._asked(message.content, None)
            self._store.keep("message", effects, message_id=message.id)

    def correction(self, reply: StoredMessage, corrected: str, pair_id: str | None) -> None:
        """The user rewrote `reply`; a later correction of it takes this one's place."""
        if self._learns("correction"):
            question = self._store.question_of(reply)
            effects = likelihoods.from_correction(
                reply.content, corrected, question, told_to(reply)
            )
            for topic in expertise.topics_of(question, self._topics()):
                effect = expertise.from_correction(topic, reply.content, corrected)
                effects += [effect] if effect else []
            self._store.keep("correction", effects, message_id=reply.id, pair_id=pair_id)

    def rating(self, reply: StoredMessage, stars: int) -> None:
        """The user gave `reply` 1 to 5 stars; the last rating counts."""
        if self._learns("rating"):
            question, told = self._store.question_of(reply), told_to(reply)
            effects = likelihoods.from_rating(reply.content, stars, question, told)
            self._store.keep("rating", effects, message_id=reply.id)

    def thumb(self, reply: StoredMessage, up: bool) -> None:
        """The user gave `reply` a thumb; the last one counts."""
        if self._learns("thumb"):
            question, told = self._store.question_of(reply), told_to(reply)
            effects = likelihoods.from_thumb(reply.content, up, question, told)
            self._store.keep("thumb", effects, message_id=reply.id)

    def forget_pair(self, pair_id: str) -> None:
        """The user took back the choice or correction that made this pair."""
        self._store.forget_pair(pair_id)

    def preference(
        self, reply: StoredMessage, chosen: str, rejected: str, pair_id: str | None
    ) -> None:
        """Of two texts in the place of `reply` the user took `chosen`; the last choice counts."""
        if self._learns("choice"):
            effects = likelihoods.from_choice(chosen, rejected, self._store.question_of(reply))
            self._store.keep("choice", effects, message_id=reply.id, pair_id=pair_id)

    def interaction(
        self, query: str, response: str, context: Mapping[str, Any], stars: int | None
    ) -> str | None:
        """A program answered `query`; its id, or None where the user has not agreed.

        `context` may name the `topic`, and the `system_prompt` that the response was written
        under. It and both texts are kept, as messages are.
        """
        if not self.consent:
            return None
        told = told_by(str(context.get("system_prompt", "")))
        with self._db.transaction():
            made = self._store.add_interaction(query, response, context, stars)
            if self._learns("message"):
                effects = likelihoods.from_message(query)
                topic = context.get("topic")
                effects += self._asked(query, topic if isinstance(topic, str) else None)
                self._store.keep("message", effects, interaction_id=made)
            if stars is not None and self._learns("rating"):
                effects = likelihoods.from_rating(response, stars, query, told)
                self._store.keep("rating", effects, interaction_id=made)
        return made

    # What is believed -------------------------------------------------------------------

    def beliefs(self) -> list[Belief]:
        """All beliefs: the four preferences, then expertise by topic."""
        names = [*ALLOWED, *(EXPERTISE_PREFIX + topic for topic in sorted(self._topics()))]
        pins, consent = self._pins(), bool(self.consent)
        return [self._belief(name, pins, consent) for name in names]

    def belief(self, dimension: str) -> Belief:
        """The belief of one preference.

        Raises:
            InvalidValueError: there is no such preference.
        """
        return self._belief(_dimension(dimension), self._pins(), bool(self.consent))

    def effective(self) -> Preferences:
        """What replies follow: what the user set, else what was learned well enough, else the
        defaults."""
        preferences, pins = Preferences(), self._pins()
        if self.consent:
            recent = self._topics(only_learned=True)[:TOPICS_TOLD]
            for dimension in (*ALLOWED, *(EXPERTISE_PREFIX + topic for topic in recent)):
                if dimension not in pins:
                    belief = self._belief(dimension, pins, True)
                    if belief.enough:
                        preferences = preferences.updated(dimension, belief.value)
        for dimension, value in pins.items():
            preferences = preferences.updated(dimension, value)
        return preferences

    def evidence(self, dimension: str, limit: int = 50, offset: int = 0) -> list[Evidence]:
        """What a belief rests on, the latest first, with how far each piece moved it."""
        name = _dimension(dimension)
        rows = self._store.rows(name, self._kinds_on())
        values = values_of(name)
        counted = [row for row in rows if row["counted"]]
        steps, _ = beliefs.followed(len(values), [observation(row) for row in counted])
        moves = {row["seq"]: step for row, step in zip(counted, steps, strict=True)}
        found = []
        for row in list(reversed(rows))[offset : offset + limit]:
            step = moves.get(row["seq"])
            likely = json.loads(row["log_likelihoods"])
            favoured = likely.index(max(likely))
            details = {key: row[key] for key in ("message_id", "pair_id", "interaction_id")}
            found.append(
                Evidence(
                    id=row["id"],
                    kind=cast(Kind, row["kind"]),
                    dimension=name,
                    created=row["created"],
                    text=self._store.text(row),
                    reason=row["reason"],
                    favours=values[step.favoured if step else favoured],
                    moved=step.moved if step else 0.0,
                    counted=bool(row["counted"]),
                    undone=bool(row["undone"]),
                    **details,
                )
            )
        return found

    def evidence_count(self, dimension: str) -> int:
        """How many pieces `evidence` can list, undone ones included."""
        return len(self._store.rows(_dimension(dimension), self._kinds_on()))

    # What the user decides --------------------------------------------------------------

    def pin(self, dimension: str, value: str | None = None) -> str:
        """Set a preference for good, by default to what is believed; returns the value."""
        name = _dimension(dimension)
        key, wanted = normalised(name, value or self.belief(name).value)
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO preferences (key, value, updated) VALUES (?, ?, ?) ON CONFLICT (key) "
                "DO UPDATE SET value = excluded.value, updated = excluded.updated",
                (key, wanted, self._clock()),
            )
        return wanted

    def unpin(self, dimension: str) -> None:
        """Let what is learned take effect again; nothing set is fine."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM preferences WHERE key = ?", (_dimension(dimension),))

    def undo(self, evidence_id: str) -> None:
        """Take a piece of evidence out of every belief, as if it had never been.

        Raises:
            InvalidValueError: there is no such evidence.
        """
        self._store.set_undone(evidence_id, True)

    def restore(self, evidence_id: str) -> None:
        """Count a piece of evidence that was undone again."""
        self._store.set_undone(evidence_id, False)

    def reset(self, dimension: str | None = None) -> None:
        """Delete the evidence of one belief, or everything that was learned and every recorded
        interaction. What the user set stays; so do their messages and pairs."""
        self._store.delete(None if dimension is None else _dimension(dimension))

    # Parts ------------------------------------------------------------------------------

    def _learns(self, kind: Kind) -> bool:
        return bool(self.consent) and bool(self._profile.setting(_switch(SIGNAL_OF[kind]), True))

    def _belief(self, dimension: str, pins: Mapping[str, str], consent: bool) -> Belief:
        values = values_of(dimension)
        seen = [observation(row) for row in self._store.counted(dimension, self._kinds_on())]
        belief = Belief(
            dimension=dimension,
            values=values,
            distribution=beliefs.believed(len(values), seen, self._clock()),
            evidence=len(seen),
            pinned=pins.get(dimension),
            in_effect=None,
        )
        default = getattr(Preferences(), dimension, None)
        learned = belief.value if consent and belief.enough else default
        return replace(belief, in_effect=belief.pinned or learned)

    def _kinds_on(self) -> list[Kind]:
        on = self.signals()
        return [kind for kind, signal in SIGNAL_OF.items() if on[signal]]

    def _pins(self) -> dict[str, str]:
        return {
            row["key"]: row["value"]
            for row in self._db.read("SELECT key, value FROM preferences ORDER BY key")
        }

    def _topics(self, *, only_learned: bool = False) -> list[str]:
        """The topics with evidence, latest first; then those the user set a level in."""
        names = self._store.topics()
        if not only_learned:
            pinned = [
                key.removeprefix(EXPERTISE_PREFIX)
                for key in self._pins()
                if key.startswith(EXPERTISE_PREFIX)
            ]
            names += [name for name in pinned if name not in names]
        return names

    def _asked(self, text: str, topic: str | None) -> list[Effect]:
        """What a question says of the level in its topics."""
        topics = expertise.topics_of(text, self._topics())
        if topic is not None:
            with contextlib.suppress(InvalidValueError):  # a program's name for it may be no topic
                topics = [_dimension(EXPERTISE_PREFIX + topic).removeprefix(EXPERTISE_PREFIX)]
        found = [expertise.from_question(each, text) for each in topics]
        return [effect for effect in found if effect is not None]


def told_to(reply: StoredMessage) -> dict[str, str]:
    """The preferences that `reply` was written under, from its system prompt."""
    return told_by(reply.system_prompt or "")


def _switch(signal: str) -> str:
    return f"learning.signal.{signal}"


def _dimension(name: str) -> str:
    """A preference's stored name. Raises InvalidValueError for an unknown one."""
    name = name.strip()
    if name in ALLOWED:
        return name
    if name.startswith(EXPERTISE_PREFIX):
        return normalised(name, "expert")[0]
    normalised(name, "")  # raises, and names the allowed ones
    raise AssertionError("unreachable")
