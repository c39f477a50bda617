"""Which comparison to ask the user next: the one whose answer would tell most (feature P13).

For some of the user's questions the active model writes further replies. Every two replies to
one question are a comparison that could be asked. How the user would answer is predicted by the
active model and by all answers so far together: the active version's implicit reward (how much
likelier it finds a reply than the base does: Rafailov et al. 2023, eq. 5, per token) enters as
one feature with a prior in its favour, the replies' looks as the others, with a prior of not
mattering; every stored correction and choice updates the weights. The comparison that is most
informative in expectation is asked (see `preference_model`).

Never in the way: nothing is asked unless it is due; asking is due every few replies, more rarely
after each dismissal; and `stop` ends the writing of replies at once when the user sends a message.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage, ReplyFinished, Sampling, Scored, ScorePair
from xeno.feedback.preference_model import PreferenceModel, Vector
from xeno.feedback.recorder import FeedbackRecorder
from xeno.feedback.reply_features import (
    DIMENSION,
    LAYOUT,
    MANNER,
    WORDS,
    Features,
    features,
)
from xeno.store.conversations import Conversations
from xeno.store.database import Row
from xeno.store.pairs import Pair
from xeno.store.profile import Profile

Answer = Literal["first", "second", "equal", "dismissed"]

ON_SETTING = "asking.on"
EVERY_SETTING = "asking.every"
EVERY = 6  # replies between two questions
_RAREST = 16  # times as rare, after dismissals
CANDIDATES = 6  # replies to a question, the one in the chat among them
_POOL = 50  # questions whose replies can still be compared
_LEARNED_FROM = 500  # of the latest corrections and choices
_WARM = Sampling(max_tokens=256, temperature=0.9, top_p=0.95)

# Prior standard deviations of the weights, chosen on scripted users other than those measured.
_REWARD_MEAN, _REWARD_DEVIATION = 5.0, 2.5  # per nat and token
_LAYOUT_DEVIATION, _MANNER_DEVIATION, _WORD_DEVIATION, _EDGE_DEVIATION = 2.0, 1.0, 0.1, 0.2


class Handle(Protocol):
    """A reply on its way; see `xeno.workers.host_client.ReplyHandle`."""

    def result(self, timeout: float | None = None) -> ReplyFinished: ...

    def stop(self) -> None: ...


class Host(Protocol):
    """What is needed of `xeno.workers.host_client.HostClient`."""

    def generate(
        self, messages: Sequence[ChatMessage], sampling: Sampling | None = None, /
    ) -> Handle: ...

    def score(self, pairs: Sequence[ScorePair], version: str = "active", /) -> Scored: ...


@dataclass(frozen=True)
class Question:
    """Which of two replies to `asked` is better? Which stands first is chance.

    `message_id` is the reply in the chat to the same message; `information` (0 to 1 bit) is what
    the answer is expected to tell; `probability` is how likely `first` is thought to be preferred.
    """

    id: str
    message_id: str
    asked: str
    first: str
    second: str
    information: float
    probability: float


def blank_model() -> PreferenceModel:
    """What is thought before any answer: the active version's reward counts, looks do not."""
    mean = np.zeros(1 + DIMENSION)
    mean[0] = _REWARD_MEAN
    deviations = np.concatenate(
        [
            [_REWARD_DEVIATION],
            np.full(LAYOUT, _LAYOUT_DEVIATION),
            np.full(MANNER, _MANNER_DEVIATION),
            np.full(WORDS, _WORD_DEVIATION),
            np.full(DIMENSION - LAYOUT - MANNER - WORDS, _EDGE_DEVIATION),
        ]
    )
    return PreferenceModel(mean, deviations)


class Asking:
    """Chooses questions for one profile and keeps the answers.

    Args:
        host: writes and scores replies; without it only what is already there can be asked.
    """

    def __init__(self, profile: Profile, host: Host | None = None) -> None:
        self._profile = profile
        self._db = profile.db
        self._host = host
        self._recorder = FeedbackRecorder(profile)
        self._stopped = threading.Event()
        self._handle: Handle | None = None

    @property
    def on(self) -> bool:
        """Whether the user wants to be asked."""
        return bool(self._profile.setting(ON_SETTING, True))

    def switch(self, on: bool) -> None:
        """Ask, or never ask."""
        self._profile.set_setting(ON_SETTING, on)

    def due(self) -> bool:
        """Whether enough replies have come since the last question. Quick; starts nothing."""
        if not self.on:
            return False
        recent = self._db.read(
            "SELECT answer, created FROM questions ORDER BY created DESC, rowid DESC LIMIT 8"
        )
        unwanted = list(
            itertools.takewhile(lambda row: row["answer"] in (None, "dismissed"), recent)
        )
        every = int(self._profile.setting(EVERY_SETTING, EVERY))
        every *= min(_RAREST, 2 ** len(unwanted))
        since = recent[0]["created"] if recent else 0.0
        row = self._db.one(
            "SELECT count(*) FROM messages WHERE role = 'assistant' AND superseded = 0 "
            "AND created > ?",
            (since,),
        )
        return row is not None and int(row[0]) >= every

    def ask_next(self, message_id: str | None = None) -> Question | None:
        """The comparison to ask now, or None: nothing can be compared, or `stop` was called.

        Takes as long as a few replies; for a thread of its own.

        Args:
            message_id: the reply to whose message further replies are written first; None takes
                the latest reply.

        Raises:
            InvalidValueError: there is no such reply.
            ChildError: the host died.
        """
        self._stopped.clear()
        message_id = message_id or Conversations(self._db).latest_reply()
        if message_id is None:
            return None
        if self._host is not None and not self._write(self._host, message_id):
            return None
        return self._choose()

    def stop(self) -> None:
        """End the writing of replies now, from any thread: the user has something to say."""
        self._stopped.set()
        handle = self._handle
        if handle is not None:
            handle.stop()

    def answer(self, question_id: str, answer: Answer) -> Pair | None:
        """Keep the user's answer; the pair that it makes, None where it makes none.

        Raises:
            InvalidValueError: there is no such question, it is answered already, or the answer is
                none of first, second, equal, dismissed.
        """
        if answer not in ("first", "second", "equal", "dismissed"):
            raise InvalidValueError(
                f"{answer!r} is no answer.", "", "Say first, second, equal or dismissed."
            )
        with self._db.transaction() as connection:
            row = self._db.one(
                "SELECT q.answer, a.message_id, a.text AS first, b.text AS second FROM questions q "
                "JOIN candidates a ON a.id = q.first JOIN candidates b ON b.id = q.second "
                "WHERE q.id = ?",
                (question_id,),
            )
            if row is None or row["answer"] is not None:
                raise InvalidValueError(
                    "This question is not open.",
                    "There is no such question." if row is None else "It was answered before.",
                )
            pair = None
            if answer in ("first", "second"):
                chosen, rejected = row["first"], row["second"]
                if answer == "second":
                    chosen, rejected = rejected, chosen
                pair = self._recorder.prefer(row["message_id"], chosen, rejected)
            connection.execute(
                "UPDATE questions SET answer = ?, pair_id = ? WHERE id = ?",
                (answer, pair.id if pair else None, question_id),
            )
        return pair

    def model(self) -> PreferenceModel:
        """What all corrections, choices and answers so far say of the user's preferences."""
        model = blank_model()
        rows = self._db.read(
            "SELECT chosen, rejected, confidence FROM (SELECT rowid AS place, * FROM pairs "
            "WHERE active = 1 AND weight > 0 AND feedback_type IN ('correction', 'choice') "
            "ORDER BY created DESC LIMIT ?) ORDER BY created, place",
            (_LEARNED_FROM,),
        )
        for row in rows:
            difference = _difference(
                (features(row["chosen"]), 0.0), (features(row["rejected"]), 0.0)
            )
            model.update(difference, True, row["confidence"])
        for row in self._db.read(
            "SELECT a.text AS first, b.text AS second FROM questions q "
            "JOIN candidates a ON a.id = q.first JOIN candidates b ON b.id = q.second "
            "WHERE q.answer = 'equal' ORDER BY q.created"
        ):
            model.update_equal(_looks(row["first"], row["second"]))
        return model

    def _write(self, host: Host, message_id: str) -> bool:
        """Have further replies written and scored; False if `stop` came between."""
        known = self._db.one("SELECT 1 FROM candidates WHERE message_id = ?", (message_id,))
        if known is not None:
            return True
        prompt = self._recorder.prompt_of(message_id)
        texts = [Conversations(self._db).message(message_id).content.strip()]
        seeds = random.SystemRandom()
        for _ in range(CANDIDATES - 1):
            seed = seeds.randrange(2**31)
            self._handle = host.generate(prompt, _WARM.model_copy(update={"seed": seed}))
            if self._stopped.is_set():  # it came while the request was on its way
                self._handle.stop()
            reply = self._handle.result()
            self._handle = None
            if reply.reason == "stopped" or self._stopped.is_set():
                return False
            if reply.text.strip() and reply.text.strip() not in texts:
                texts.append(reply.text.strip())
        rewards = _rewards(host, prompt, texts) if len(texts) > 1 else [0.0]
        if self._stopped.is_set():
            return False
        now = time.time()
        with self._db.transaction() as connection:
            connection.executemany(
                "INSERT INTO candidates (message_id, text, reward, created) VALUES (?, ?, ?, ?)",
                [
                    (message_id, text, reward, now)
                    for text, reward in zip(texts, rewards, strict=True)
                ],
            )
        return True

    def _choose(self) -> Question | None:
        comparisons = self._comparisons()
        if not comparisons:
            return None
        looks = {row["id"]: features(row["text"]) for pair in comparisons for row in pair}
        differences = np.array(
            [
                _difference(*((looks[row["id"]], float(row["reward"])) for row in pair))
                for pair in comparisons
            ]
        )
        model = self.model()
        told = model.information(differences)
        best = int(np.argmax(told))
        first, second = comparisons[best]
        likely = model.probability(differences[best])
        if random.SystemRandom().random() < 0.5:
            first, second, likely = second, first, 1 - likely
        question = Question(
            id=uuid.uuid4().hex,
            message_id=first["message_id"],
            asked=self._recorder.prompt_of(first["message_id"])[-1].content,
            first=first["text"],
            second=second["text"],
            information=float(told[best]),
            probability=likely,
        )
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO questions (id, first, second, information, created) "
                "VALUES (?, ?, ?, ?, ?)",
                (question.id, first["id"], second["id"], question.information, time.time()),
            )
        return question

    def _comparisons(self) -> list[tuple[Row, Row]]:
        """Every two replies to one of the latest questions that were not compared yet."""
        rows = self._db.read(
            "SELECT * FROM candidates WHERE message_id IN (SELECT message_id FROM candidates "
            "GROUP BY message_id ORDER BY max(id) DESC LIMIT ?) ORDER BY message_id, id",
            (_POOL,),
        )
        asked = {
            frozenset((row["first"], row["second"]))
            for row in self._db.read("SELECT first, second FROM questions")
        }
        return [
            pair
            for _, group in itertools.groupby(rows, key=lambda row: row["message_id"])
            for pair in itertools.combinations(group, 2)
            if frozenset((pair[0]["id"], pair[1]["id"])) not in asked
        ]


def _rewards(host: Host, prompt: tuple[ChatMessage, ...], texts: Sequence[str]) -> list[float]:
    """Log-probability per token under the active version less that under the base."""
    last = len(texts) - 1
    halves = [(i, min(i + 1, last)) for i in range(0, len(texts), 2)]
    pairs = [ScorePair(prompt=prompt, chosen=texts[a], rejected=texts[b]) for a, b in halves]
    active = host.score(pairs, "active")
    if active.version is None:  # the base is active: there is nothing that it would like better
        return [0.0] * len(texts)
    base = host.score(pairs, "base")
    rewards = [0.0] * len(texts)
    for (a, b), scored, reference in zip(halves, active.scores, base.scores, strict=True):
        rewards[a] = scored.chosen - reference.chosen
        rewards[b] = scored.rejected - reference.rejected
    return [reward if np.isfinite(reward) else 0.0 for reward in rewards]


def _looks(first: str, second: str) -> Vector:
    """How two replies differ whose rewards are not known."""
    return _difference((features(first), 0.0), (features(second), 0.0))


def _difference(first: tuple[Features, float], second: tuple[Features, float]) -> Vector:
    return np.concatenate([[first[1] - second[1]], first[0] - second[0]])
