"""Exports, imports and comparisons from outside: the child, its progress, its end. Light.

work = VersionWork(profile, ExportVersion(version="v3", form="peft", folder="out"), print)
exported = work.wait()
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from xeno.errors import ChildError, XenoError
from xeno.events import (
    AdapterImported,
    CompareVersions,
    Event,
    ExportVersion,
    Failure,
    ImportAdapter,
    OpenProfile,
    StopWork,
    VersionExported,
    VersionsCompared,
    WorkProgress,
)
from xeno.feedback import personal_data
from xeno.personalization.engine import PersonalizationEngine
from xeno.store.profile import Profile
from xeno.workers.child import Child, ChildExit

MODULE = "xeno.workers.version_work"
_NICE = 5
_GRACE = 4.0

Answer = VersionExported | AdapterImported | VersionsCompared


@dataclass(frozen=True)
class PromptToExport:
    """The prompt that an Ollama Modelfile would carry, and what personal data it holds, each
    named with its words: "a telephone number: +44 …"."""

    text: str
    found: tuple[str, ...]


def prompt_to_export(profile: Profile) -> PromptToExport:
    """What would leave with an export that carries the personal prompt."""
    text = PersonalizationEngine(profile=profile).get_personalized_prompt_prefix()
    found = [
        f"{personal_data.KINDS[span.kind]}: {text[span.start : span.end]}"
        for span in personal_data.find(text)
    ]
    return PromptToExport(text, tuple(dict.fromkeys(found)))


class VersionWork:
    """One order in a child, begun at once. Safe from any thread.

    Args:
        profile: the open profile.
        order: what is to be done.
        on_progress: called on the child's reader thread.
        on_done: called once when there is an answer or a failure, on that thread too.

    Raises:
        ChildError: if the process cannot be started.
    """

    def __init__(
        self,
        profile: Profile,
        order: ExportVersion | ImportAdapter | CompareVersions,
        on_progress: Callable[[WorkProgress], None] = lambda _: None,
        on_done: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_progress, self._on_done = on_progress, on_done
        self._answer: Answer | None = None
        self._failure: Failure | None = None
        self._stopped = False
        self._ended = threading.Event()
        self._child = Child(
            MODULE,
            on_event=self._receive,
            on_exit=self._end,
            nice=_NICE,
            log=profile.paths.logs / "version_work.log",
        )
        opening = OpenProfile(
            home=str(profile.home.folder), profile=profile.name, key=profile.key.hex()
        )
        self._child.start([opening, order])

    def stop(self) -> None:
        """Ask it to end and return at once."""
        self._stopped = True
        self._child.stop(StopWork(), grace=_GRACE)

    def wait(self) -> Answer:
        """The answer; blocks.

        Raises:
            ChildError: if the child died or was stopped.
            XenoError: why it could not be done.
        """
        self._ended.wait()
        self._child.wait(5.0)
        if self._answer is not None:
            return self._answer
        if self._stopped:
            raise ChildError("It was stopped.", "Nothing is left of it.", "Start it again.")
        assert self._failure is not None
        raise XenoError(self._failure.what, self._failure.why, self._failure.todo)

    def _receive(self, event: Event) -> None:
        if isinstance(event, Answer):
            self._answer = event
        elif isinstance(event, Failure):
            self._failure = event
        elif isinstance(event, WorkProgress):
            self._on_progress(event)

    def _end(self, end: ChildExit) -> None:
        if self._failure is None:
            self._failure = Failure(what="It ended early.", why=end.sentence, todo="Try again.")
        self._ended.set()
        self._on_done()
