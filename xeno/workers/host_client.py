"""Talks to the model host: one warm child that answers and scores. Light, and without Qt.

    host = HostClient(profile)
    handle = host.generate(messages, on_delta=print)
    reply = handle.result()
    host.close()

The child starts with the first request. When it dies, the requests it had raise a ChildError,
and the next request starts another. Callbacks are called on the child's reader thread.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from xeno.errors import ChildError, StoppedError, XenoError
from xeno.events import (
    ChatMessage,
    Event,
    Failure,
    Generate,
    HostReady,
    LoadBase,
    Quit,
    ReplyDelta,
    ReplyFinished,
    Sampling,
    Score,
    Scored,
    ScorePair,
    StopReply,
)
from xeno.models.starter import starter_folder
from xeno.store.profile import Profile
from xeno.workers.child import Child, ChildExit, opening

MODULE = "xeno.workers.host"
START_SECONDS = 300.0  # importing torch and loading a large base from a slow disk
BASE_SETTING = "base"  # the folder of the base model that the chat uses


def base_folder(profile: Profile) -> Path:
    """The base model that the profile's chat uses: the chosen one, otherwise the starter."""
    chosen = profile.setting(BASE_SETTING)
    return Path(str(chosen)) if chosen else starter_folder()


class _Answer:
    """One request's answer, delivered by the reader thread and waited for by another."""

    def __init__(self, on_done: Callable[[], None] | None = None) -> None:
        self._done = threading.Event()
        self._on_done = on_done
        self.event: Event | None = None
        self.error: XenoError | None = None

    def deliver(self, event: Event | None = None, error: XenoError | None = None) -> None:
        if self._done.is_set():
            return
        self.event, self.error = event, error
        self._done.set()
        if self._on_done is not None:
            self._on_done()

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def wait(self, timeout: float | None, what: str) -> Event:
        if not self._done.wait(timeout):
            raise ChildError(
                f"{what} took longer than {timeout:g} seconds.",
                "The model host is still working on it, or it hangs.",
                "Wait, or stop it and try again.",
            )
        if self.error is not None:
            raise self.error
        assert self.event is not None
        return self.event


class ReplyHandle:
    """A reply on its way. Safe from any thread.

    Attributes:
        request: the id that its events carry.
    """

    def __init__(
        self,
        on_delta: Callable[[str], None] | None,
        on_done: Callable[[ReplyHandle], None] | None,
    ) -> None:
        self.request = uuid.uuid4().hex
        self._on_delta = on_delta
        self._child: Child | None = None
        self._answer = _Answer(None if on_done is None else lambda: on_done(self))

    @property
    def done(self) -> bool:
        """Whether the reply is whole or has failed."""
        return self._answer.done

    def result(self, timeout: float | None = None) -> ReplyFinished:
        """The whole reply; blocks up to `timeout` seconds (None: as long as it takes).

        Raises:
            ChildError: the host died, or the time is over.
            XenoError: the host could not answer; says why.
        """
        event = self._answer.wait(timeout, "The reply")
        assert isinstance(event, ReplyFinished)
        return event

    def stop(self) -> None:
        """End the reply after the token it is at; `result` then has reason "stopped"."""
        if self._child is not None:
            self._child.send(StopReply(request=self.request))


class HostClient:
    """The model host of one profile, started when it is first needed.

    Args:
        profile: the open profile whose versions the host uses.
        base: folder of the base model; None takes `base_folder(profile)`.
        on_event: called with every event of the child, on its reader thread (for a log view).
    """

    def __init__(
        self,
        profile: Profile,
        base: Path | None = None,
        *,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self._profile = profile
        self._base = base
        self._on_event = on_event
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._closed = False

    @property
    def base(self) -> Path:
        """The folder of the base model that this client asks for."""
        return self._base or base_folder(self._profile)

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is none."""
        session = self._session
        return session.child.pid if session is not None and session.child.alive else None

    def start(self) -> None:
        """Start the child now, without waiting, so that the first reply comes sooner."""
        self._running()

    def ready(self, timeout: float = START_SECONDS) -> HostReady:
        """What the host has loaded; starts it if need be and blocks up to `timeout` seconds.

        Raises:
            ChildError: the host could not start, died, or takes too long.
            XenoError: the base cannot be used; says why.
        """
        event = self._running().ready.wait(timeout, "Loading the model")
        assert isinstance(event, HostReady)
        return event

    def generate(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling | None = None,
        version: str = "active",
        on_delta: Callable[[str], None] | None = None,
        on_done: Callable[[ReplyHandle], None] | None = None,
        *,
        conversation: str | None = None,
    ) -> ReplyHandle:
        """Ask for a reply and return at once.

        Args:
            messages: the system prompt and the turns, the last one the user's.
            sampling: how it is drawn; None is greedy with at most 256 tokens.
            version: "active" (what is deployed when the reply begins), "base", or a content
                address.
            on_delta: called with each next piece of text.
            on_done: called once when the reply is whole or has failed.
            conversation: its id: with "active" a canary or a test may choose another version
                for it.
        """
        handle = ReplyHandle(on_delta, on_done)
        command = Generate(
            request=handle.request,
            messages=tuple(messages),
            sampling=sampling or Sampling(),
            version=version,
            conversation=conversation,
        )
        self._running().ask(command, handle)
        return handle

    def score(
        self,
        pairs: Sequence[ScorePair],
        version: str = "active",
        timeout: float | None = None,
    ) -> Scored:
        """Mean log-probability per token of both replies of every pair; blocks.

        Raises:
            ChildError: the host died, or the time is over.
            XenoError: the version or a pair could not be used; says why.
        """
        answer = _Answer()
        command = Score(request=uuid.uuid4().hex, pairs=tuple(pairs), version=version)
        self._running().ask(command, answer)
        event = answer.wait(timeout, "Scoring")
        assert isinstance(event, Scored)
        return event

    def use_base(self, base: Path | None) -> None:
        """Change the base model: the running child ends, the next request loads `base`."""
        self._end()
        self._base = base

    def close(self) -> None:
        """End the child and wait for it. Further requests raise a ChildError."""
        self._closed = True
        self._end()

    def __enter__(self) -> HostClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end(self) -> None:
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.child.stop(Quit(), grace=1.0)
            session.child.wait(10.0)

    def _running(self) -> _Session:
        with self._lock:
            if self._closed:
                raise ChildError("The model host is closed.")
            if self._session is None or not self._session.child.alive:
                self._session = _Session(self._profile, self.base, self._on_event)
            return self._session


class _Session:
    """One life of the child, with the requests it owes an answer to."""

    def __init__(
        self, profile: Profile, base: Path, on_event: Callable[[Event], None] | None
    ) -> None:
        self.ready = _Answer()
        self._on_event = on_event
        self._lock = threading.Lock()
        self._open: dict[str, ReplyHandle | _Answer] = {}
        self._lost: XenoError | None = None
        self.child = Child(
            MODULE,
            on_event=self._receive,
            on_exit=self._ended,
            log=profile.paths.logs / "host.log",
        )
        self.child.start([opening(profile), LoadBase(folder=str(base))])

    def ask(self, command: Generate | Score, answer: ReplyHandle | _Answer) -> None:
        """Send `command`; its outcome, the child's death included, goes to `answer`."""
        if isinstance(answer, ReplyHandle):
            answer._child = self.child
        with self._lock:
            lost = self._lost
            if lost is None:
                self._open[command.request] = answer
        if lost is not None:
            _deliver(answer, error=lost)
        else:
            self.child.send(command)  # if it died just now, its end fails the request

    def _receive(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)
        match event:
            case HostReady():
                self.ready.deliver(event)
            case ReplyDelta():
                handle = self._open.get(event.request)
                if isinstance(handle, ReplyHandle) and handle._on_delta is not None:
                    handle._on_delta(event.text)
            case ReplyFinished() | Scored():
                self._answer(event.request, event=event)
            case Failure():
                error = event.error()
                if event.request is None:  # the base or the profile: the child ends itself
                    self._fail_all(error)
                else:
                    self._answer(event.request, error=error)
            case _:
                pass

    def _answer(
        self, request: str, *, event: Event | None = None, error: XenoError | None = None
    ) -> None:
        with self._lock:
            answer = self._open.pop(request, None)
        if answer is not None:
            _deliver(answer, event=event, error=error)

    def _ended(self, end: ChildExit) -> None:
        kind = StoppedError if end.wanted else ChildError
        self._fail_all(
            kind(
                end.sentence,
                "It is started again with the next message.",
                "Send the message again.",
            )
        )

    def _fail_all(self, error: XenoError) -> None:
        with self._lock:
            self._lost = self._lost or error
            answers, self._open = list(self._open.values()), {}
        self.ready.deliver(error=error)
        for answer in answers:
            _deliver(answer, error=error)


def _deliver(
    answer: ReplyHandle | _Answer, *, event: Event | None = None, error: XenoError | None = None
) -> None:
    (answer._answer if isinstance(answer, ReplyHandle) else answer).deliver(event, error)
