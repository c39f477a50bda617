"""Blind side by side: both versions of the test in the chat answer the same message, and the
user picks without being told which is which. A pick is a preference pair and a result of the test.

Both replies are written anew, with the same settings: the one in the chat would be recognised.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage, Sampling
from xeno.experiments.ab import ABTest, ABTestingManager
from xeno.feedback.recorder import FeedbackRecorder
from xeno.store.conversations import Conversations
from xeno.store.pairs import Pair
from xeno.store.profile import Profile

if TYPE_CHECKING:
    from xeno.feedback.asking import Answer, Handle

EVERY = 4  # replies between two questions
_TRIES = 3  # until the two replies differ
_SAMPLING = Sampling(max_tokens=256, temperature=0.7, top_p=0.95)


class Host(Protocol):
    """What is needed of `xeno.workers.host_client.HostClient`."""

    def generate(
        self, messages: Sequence[ChatMessage], sampling: Sampling | None, version: str, /
    ) -> Handle: ...


@dataclass(frozen=True)
class BlindQuestion:
    """Which of two replies to `asked` is better? Which stands first is chance."""

    id: str
    asked: str
    first: str
    second: str


class SideBySide:
    """Asks the user of one profile to pick, while a test goes on in the chat."""

    def __init__(self, profile: Profile, host: Host) -> None:
        self._db = profile.db
        self._host = host
        self._tests = ABTestingManager(profile.name, profile=profile)
        self._recorder = FeedbackRecorder(profile)
        self._stopped = threading.Event()
        self._handle: Handle | None = None

    def going(self) -> bool:
        """Whether a test goes on in the chat."""
        return self._tests.in_chat() is not None

    def due(self) -> bool:
        """Whether a test goes on, and enough replies have come since the last question."""
        if not self.going():
            return False
        row = self._db.one(
            "SELECT count(*) FROM messages WHERE role = 'assistant' AND superseded = 0 "
            "AND created > (SELECT coalesce(max(created), 0) FROM blind_choices)"
        )
        return row is not None and int(row[0]) >= EVERY

    def ask_next(self) -> BlindQuestion | None:
        """Both versions' replies to the latest message; None where there is none, no test goes
        on, both say the same, or `stop` was called. Takes as long as two replies.

        Raises:
            ChildError: the host died.
            XenoError: one of the versions cannot answer.
        """
        self._stopped.clear()
        test, message_id = self._tests.in_chat(), Conversations(self._db).latest_reply()
        if test is None or message_id is None:
            return None
        prompt = self._recorder.prompt_of(message_id)
        texts = self._write(test, prompt)
        if texts is None:
            return None
        question_id, first = uuid.uuid4().hex, random.SystemRandom().choice("ab")
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO blind_choices (id, test, message_id, text_a, text_b, first, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (question_id, test.id, message_id, *texts, first, time.time()),
            )
        shown = texts if first == "a" else texts[::-1]
        return BlindQuestion(question_id, prompt[-1].content, *shown)

    def stop(self) -> None:
        """End the writing of replies now, from any thread."""
        self._stopped.set()
        handle = self._handle
        if handle is not None:
            handle.stop()

    def answer(self, question_id: str, answer: Answer) -> Pair | None:
        """Keep the user's pick, as a preference pair and as a result of the test, both or
        neither; the pair, None where nothing was picked.

        Raises:
            InvalidValueError: there is no such question, it is answered already, or the answer
                is none of first, second, equal, dismissed.
        """
        if answer not in ("first", "second", "equal", "dismissed"):
            raise InvalidValueError(
                f"{answer!r} is no answer.", "", "Say first, second, equal or dismissed."
            )
        with self._db.transaction() as connection:
            row = self._db.one(
                "SELECT blind_choices.*, name FROM blind_choices "
                "JOIN ab_tests ON ab_tests.id = test WHERE blind_choices.id = ?",
                (question_id,),
            )
            if row is None or row["answer"] is not None:
                raise InvalidValueError(
                    "This question is not open.",
                    "There is no such question." if row is None else "It was answered before.",
                )
            pair, won = None, None
            if answer in ("first", "second"):
                won = row["first"] if answer == "first" else {"a": "b", "b": "a"}[row["first"]]
                lost = {"a": "b", "b": "a"}[won]
                chosen, rejected = row[f"text_{won}"], row[f"text_{lost}"]
                pair = self._recorder.prefer(row["message_id"], chosen, rejected)
            connection.execute(
                "UPDATE blind_choices SET answer = ?, pair_id = ? WHERE id = ?",
                (answer, pair.id if pair else None, question_id),
            )
            if answer != "dismissed":
                self._count(self._tests.get(row["name"]), won)
        return pair

    def _count(self, test: ABTest, won: str | None) -> None:
        if test.ended is not None or "preferred" not in test.metrics:
            return
        for arm in "ab":
            picked = 0.5 if won is None else float(arm == won)
            self._tests.record_result(test.name, f"variant_{arm}", {"preferred": picked})

    def _write(self, test: ABTest, prompt: Sequence[ChatMessage]) -> tuple[str, str] | None:
        """Replies of variant_a and variant_b that differ; None if none came."""
        seeds = random.SystemRandom()
        for _ in range(_TRIES):
            texts = []
            for model in (test.model_a, test.model_b):
                sampling = _SAMPLING.model_copy(update={"seed": seeds.randrange(2**31)})
                self._handle = self._host.generate(prompt, sampling, model)
                if self._stopped.is_set():  # it came while the request was on its way
                    self._handle.stop()
                reply = self._handle.result()
                self._handle = None
                if reply.reason == "stopped" or self._stopped.is_set():
                    return None
                texts.append(reply.text.strip())
            if all(texts) and texts[0] != texts[1]:
                return texts[0], texts[1]
        return None
