"""Composes the starter model's dialogues: an endless stream, each from (seed, index) alone.

A reply is an opener of the style, a body in the wanted detail and format, and a closer of the
tone. The bodies are built from a topic's own sentences, so a reply is right by construction
and the rules in `xeno.benchmarking.reply_rules` hold for every one.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from tools.starter_model.phrases import (
    CONTRACTIONS,
    QUESTIONS,
    REQUESTS,
    SMALL_TALK,
    SUGGESTIONS,
    UNKNOWN_QUESTIONS,
    UNKNOWN_REPLIES,
    UNKNOWN_TASKS,
    UNKNOWN_TOPICS,
    WISHES,
)
from tools.starter_model.topics import Topic
from xeno.benchmarking.reply_rules import (
    BANDS,
    CLOSERS,
    OPENERS,
    SHORT_CLOSER_WORDS,
    SHORT_OPENERS,
    word_count,
    words,
)
from xeno.personalization.preferences import (
    ALLOWED,
    EXPERTISE_LEVELS,
    Preferences,
    prompt_prefix,
)

# Shares of the stream. What is left after small talk and the unknown is about a topic.
UNKNOWN_SHARE = 0.09
SMALL_TALK_SHARE = 0.09
GREETING_SHARE = 0.4  # of small talk
SECOND_TURN_SHARE = 0.14
WISH_SHARE = 0.03
DEFAULT_SHARE = 0.20  # dialogues with the default preferences, beyond the even spread
NO_SYSTEM_SHARE = 0.5  # of those with the default preferences, and of small talk
EXPERTISE_SHARE = 0.12
SLOPPY_SHARE = 0.35  # questions in lower case, without the final mark, or with a typo
HELD_OUT_IN = 10  # one in so many (topic, wording) pairs is never trained on

Message = dict[str, str]


@dataclass(frozen=True)
class Dialogue:
    """The messages in the chat template's form, and how the replies were asked for."""

    messages: tuple[Message, ...]
    preferences: Preferences
    topic: str  # the first turn's topic, "" for small talk and the unknown


@dataclass(frozen=True)
class Reply:
    """A reply's text and which points of its topic it uses."""

    text: str
    used: tuple[int, ...]


def is_heldout(topic: Topic, wording: int) -> bool:
    """Whether QUESTIONS[wording] about `topic` is kept out of training (about one in ten)."""
    digest = hashlib.sha256(f"{topic.name}|{wording}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % HELD_OUT_IN == 0


def question(topic: Topic, wording: int) -> str:
    """The question about `topic` in the given wording of QUESTIONS."""
    text = QUESTIONS[wording].format(topic=topic.name, do=topic.do)
    return text[0].upper() + text[1:]


def system_messages(preferences: Preferences) -> list[Message]:
    """The system prompt as XENO sends it."""
    return [{"role": "system", "content": prompt_prefix(preferences)}]


def compose_reply(
    topic: Topic,
    preferences: Preferences,
    rng: random.Random,
    points: Sequence[Sequence[int]] | None = None,
) -> Reply:
    """A reply about `topic` that keeps `preferences`, its number of words within the band.

    `points` are the allowed choices of points, all choices of the usual size by default.
    """
    detail = preferences.detail_level
    low, high = BANDS[detail]
    openers = OPENERS[preferences.communication_style]
    closers = CLOSERS[preferences.tone]
    if detail == "brief":
        openers = openers[:SHORT_OPENERS]
        closers = tuple(c for c in closers if word_count(c) <= SHORT_CLOSER_WORDS)
    opener = rng.choice(openers)
    closer = rng.choice(closers) if closers else ""
    sizes = {"brief": (3, 2), "medium": (3, 2, 4), "detailed": (4, 5, 3, 6)}[detail]
    by_size = [list(combinations(range(len(topic.points)), size)) for size in sizes]
    choices = [[tuple(choice) for choice in points], *by_size] if points is not None else by_size
    with_term = preferences.communication_style == "technical" and detail == "detailed"
    for sized in choices:
        for term in (True, False) if with_term else (False,):
            for used in rng.sample(sized, len(sized)):
                text = _layout(topic, preferences, opener, used, closer, term)
                if low <= word_count(text) <= high:
                    return Reply(text, used)
    raise ValueError(f"No {detail} reply about {topic.name!r} fits {low} to {high} words.")


def _layout(
    topic: Topic,
    preferences: Preferences,
    opener: str,
    used: Sequence[int],
    closer: str,
    with_term: bool,
) -> str:
    detail = preferences.detail_level
    before = [] if detail == "brief" else [topic.about]
    halves = [topic.points[i] for i in used]
    points = [f"{what}." if detail == "brief" else f"{what}, {why}." for what, why in halves]
    after = [f"For example: {topic.example}"] if detail == "detailed" else []
    if with_term:
        after.append(f"The technical term is {topic.term}: {topic.meaning}.")
    if preferences.communication_style == "casual":
        before, points, after = (
            [_contracted(text) for text in texts] for texts in (before, points, after)
        )
    first = " ".join([opener, *before])
    last = " ".join([*after, closer]).strip()
    if preferences.response_format == "conversational":
        return " ".join([first, *points, last]).strip()
    if preferences.response_format == "bullet_points":
        points = [f"- {point}" for point in points]
    else:
        points = [f"{number}. {point}" for number, point in enumerate(points, start=1)]
    return "\n".join([first, *points, last]).strip()


def _contracted(text: str) -> str:
    for full, short in CONTRACTIONS:
        text = text.replace(f" {full} ", f" {short} ")
    return text


class Composer:
    """The stream of dialogues over `topics`; `dialogue(i)` depends on the seed and i only."""

    def __init__(self, topics: Sequence[Topic], seed: int) -> None:
        self.topics = list(topics)
        self.seed = seed
        known = {word for topic in topics for word in words(f"{topic.name} {topic.do}")}
        known -= {"the", "of", "in", "and", "a"}
        self.unknown_topics = [name for name in UNKNOWN_TOPICS if not known & set(words(name))]
        self.trained = {
            topic.name: [w for w in range(len(QUESTIONS)) if not is_heldout(topic, w)]
            for topic in topics
        }

    def stream(self, start: int = 0) -> Iterator[Dialogue]:
        """The dialogues from index `start` on, without end."""
        while True:
            yield self.dialogue(start)
            start += 1

    def dialogue(self, index: int) -> Dialogue:
        """Dialogue number `index`."""
        rng = random.Random(f"{self.seed}:{index}")
        preferences, system = self._asked_for(rng)
        kind = rng.random()
        if kind < UNKNOWN_SHARE:
            turns, topic = self._unknown(preferences, rng), ""
        elif kind < UNKNOWN_SHARE + SMALL_TALK_SHARE:
            if rng.random() < NO_SYSTEM_SHARE:
                preferences, system = Preferences(), []
            turns, topic = self._small_talk(preferences, rng), ""
        else:
            turns, topic = self._about_a_topic(preferences, rng)
        if rng.random() < SECOND_TURN_SHARE / 4:
            more = rng.choice((self._unknown, self._small_talk))(preferences, rng)
            turns += more
        return Dialogue((*system, *turns), preferences, topic)

    def _asked_for(self, rng: random.Random) -> tuple[Preferences, list[Message]]:
        if rng.random() < DEFAULT_SHARE:
            preferences = Preferences()
            if rng.random() < NO_SYSTEM_SHARE:
                return preferences, []
        else:
            preferences = Preferences(**{key: rng.choice(ALLOWED[key]) for key in ALLOWED})
        if rng.random() < EXPERTISE_SHARE:
            names = rng.sample([topic.name for topic in self.topics], rng.choice((1, 1, 2)))
            levels = {name: rng.choice(EXPERTISE_LEVELS) for name in names}
            preferences = replace(preferences, expertise=levels)
        return preferences, system_messages(preferences)

    def _about_a_topic(
        self, preferences: Preferences, rng: random.Random
    ) -> tuple[list[Message], str]:
        topic = rng.choice(self.topics)
        asked = self._question(topic, rng)
        if rng.random() < WISH_SHARE:
            key, value, wordings = rng.choice(WISHES)
            asked = f"{asked} {rng.choice(wordings)}"
            preferences = preferences.updated(key, value)
        reply = compose_reply(topic, preferences, rng)
        turns = _turn(asked, reply.text)
        if rng.random() < SECOND_TURN_SHARE:
            turns += self._second(topic, reply, preferences, rng)
        return turns, topic.name

    def _second(
        self, topic: Topic, reply: Reply, preferences: Preferences, rng: random.Random
    ) -> list[Message]:
        if rng.random() < 0.35:
            other = rng.choice([t for t in self.topics if t is not topic])
            return _turn(self._question(other, rng), compose_reply(other, preferences, rng).text)
        key, value, wordings = rng.choice(
            [request for request in REQUESTS if getattr(preferences, request[0]) != request[1]]
        )
        if value == "brief":  # keep the first points of what was said
            points = [reply.used[:3], reply.used[:2]]
        elif value == "detailed":
            points = None
        else:
            points = [reply.used]
        changed = preferences.updated(key, value)
        second = compose_reply(topic, changed, rng, points)
        return _turn(_sloppy(rng.choice(wordings), rng), second.text)

    def _question(self, topic: Topic, rng: random.Random) -> str:
        return _sloppy(question(topic, rng.choice(self.trained[topic.name])), rng)

    def _unknown(self, preferences: Preferences, rng: random.Random) -> list[Message]:
        if rng.random() < 0.3:
            asked = rng.choice(UNKNOWN_QUESTIONS)
        else:
            wanted = {"topic": rng.choice(self.unknown_topics), "do": rng.choice(UNKNOWN_TASKS)}
            asked = rng.choice(QUESTIONS).format(**wanted)
            asked = asked[0].upper() + asked[1:]
        reply = rng.choice(UNKNOWN_REPLIES[preferences.communication_style])
        return _turn(_sloppy(asked, rng), _named(reply, rng))

    def _small_talk(self, preferences: Preferences, rng: random.Random) -> list[Message]:
        greeting = rng.random() < GREETING_SHARE
        wordings, replies = SMALL_TALK[0] if greeting else rng.choice(SMALL_TALK)
        said = rng.choice(wordings)
        if rng.random() < 0.5:
            said = said.lower().rstrip(".!?")
        reply = rng.choice(replies[preferences.communication_style])
        return _turn(said, _named(reply, rng))


def _named(reply: str, rng: random.Random) -> str:
    a, b, c = rng.choice(SUGGESTIONS)
    return reply.format(a=a, b=b, c=c)


def _turn(asked: str, reply: str) -> list[Message]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]


def _sloppy(text: str, rng: random.Random) -> str:
    """`text` as people type it: now and then in lower case, unmarked, with a slip of a key."""
    if rng.random() >= SLOPPY_SHARE:
        return text
    if rng.random() < 0.6:
        text = text.lower()
    if rng.random() < 0.6:
        text = text.rstrip(".?!")
    if rng.random() < 0.35 and len(text) > 8:
        i = rng.randrange(2, len(text) - 2)
        swapped = text[:i] + text[i + 1] + text[i] + text[i + 2 :]
        dropped = text[:i] + text[i + 1 :]
        text = rng.choice((swapped, dropped))
    return text
