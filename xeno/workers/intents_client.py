"""Talks to the intents child. Light, without Qt: scikit-learn stays in the child.

    client = IntentsClient(profile)
    client.train()
    client.predict("Arrange a call with Tom").intent
    client.close()

The child starts with the first request and stays warm for the next ones until `close`.
"""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import Future
from typing import Any

from xeno.errors import ChildError, XenoError
from xeno.events import (
    Event,
    Failure,
    IntentPredicted,
    IntentsTrained,
    PredictIntent,
    Quit,
    TrainIntents,
)
from xeno.store.profile import Profile
from xeno.workers.child import Child, ChildExit, opening

MODULE = "xeno.workers.intents"
STOPPED = "It was stopped."


class IntentsClient:
    """The intents of one profile, learned and predicted by a child. Safe from any thread.

    Args:
        profile: the open profile whose examples are learned from.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._open: dict[str, Future[Event]] = {}
        self._closed = False

    def train(self) -> dict[str, Any]:
        """Learn the intents of all examples; blocks. See
        `CustomModelTrainer.train_intent_classifier` for what comes back.

        Raises:
            ChildError: the child died or was stopped; the earlier classifier stays.
            XenoError: why it could not be learned.
        """
        answer = self._ask(TrainIntents(request=uuid.uuid4().hex))
        assert isinstance(answer, IntentsTrained)
        return dict(answer.result)

    def predict(self, text: str) -> IntentPredicted:
        """What `text` means; blocks. Raises what `CustomModelTrainer.predict` does."""
        answer = self._ask(PredictIntent(request=uuid.uuid4().hex, text=text))
        assert isinstance(answer, IntentPredicted)
        return answer

    def stop(self) -> None:
        """End the child, and with it what it is doing; the next request starts another."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.stop(Quit(), grace=0.2)
            child.wait(10.0)

    def close(self) -> None:
        """End the child for good and wait for it."""
        self._closed = True
        self.stop()

    def _ask(self, command: TrainIntents | PredictIntent) -> Event:
        future: Future[Event] = Future()
        with self._lock:
            if self._closed:
                raise ChildError("The profile is closed.")
            if self._child is None or not self._child.alive:
                self._child = self._started()
            self._open[command.request] = future
            sent = self._child.send(command)
        if not sent:
            self._fail("The process that learns intents ended.")
        return future.result()

    def _started(self) -> Child:
        log = self._profile.paths.logs / "intents.log"
        child = Child(MODULE, on_event=self._receive, on_exit=self._ended, nice=5, log=log)
        profile = self._profile
        child.start([opening(profile)])
        return child

    def _receive(self, event: Event) -> None:
        request = getattr(event, "request", None)
        with self._lock:
            future = self._open.pop(request, None) if request else None
        if future is None:
            if isinstance(event, Failure):  # the profile could not be opened: the child ends
                self._fail(event.what, event.why, event.todo)
        elif isinstance(event, Failure):
            future.set_exception(XenoError(event.what, event.why, event.todo))
        else:
            future.set_result(event)

    def _ended(self, end: ChildExit) -> None:
        what = STOPPED if end.wanted else end.sentence
        self._fail(what, "What was learned before stays.", "Try again.")

    def _fail(self, what: str, why: str = "", todo: str = "") -> None:
        with self._lock:
            futures, self._open = list(self._open.values()), {}
        for future in futures:
            future.set_exception(ChildError(what, why, todo))
