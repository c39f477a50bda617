"""An audit from outside: the child, its progress, its end. Light, without Qt.

run = AuditRun(profile, base, canaries=200, plan={"epsilon": 8.0}, on_progress=print)
found = run.wait()
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xeno.errors import ChildError, XenoError
from xeno.events import (
    AuditFinished,
    AuditProgress,
    Event,
    Failure,
    RunAudit,
    StopTraining,
)
from xeno.store.profile import Profile
from xeno.workers.child import Child, ChildExit, opening

MODULE = "xeno.workers.audit"
_NICE = 10
_GRACE = 4.0


class AuditRun:
    """One audit in a child, begun at once.

    Args:
        profile: the open profile whose books are checked; nothing else of it is used.
        base: the folder of the base that is trained on the canaries.
        canaries: how many; 0 leaves the leak check out.
        plan: settings of the throw-away run.
        on_progress: called on the child's reader thread.

    Raises:
        ChildError: if the process cannot be started.
    """

    def __init__(
        self,
        profile: Profile,
        base: Path,
        canaries: int,
        plan: Mapping[str, bool | int | float | str | None],
        on_progress: Callable[[AuditProgress], None] = lambda _: None,
    ) -> None:
        self._on_progress = on_progress
        self._found: dict[str, Any] | None = None
        self._failure: Failure | None = None
        self._stopped = False
        self._ended = threading.Event()
        self._child = Child(
            MODULE,
            on_event=self._receive,
            on_exit=self._end,
            nice=_NICE,
            log=profile.paths.logs / "audit.log",
        )
        order = RunAudit(base=str(base), canaries=canaries, plan=dict(plan))
        self._child.start([opening(profile), order])

    def stop(self) -> None:
        """Ask the audit to end and return at once."""
        self._stopped = True
        self._child.stop(StopTraining(keep=False), grace=_GRACE)

    def wait(self) -> dict[str, Any]:
        """What was found, see `xeno.benchmarking.leak_check.Audit`; blocks.

        Raises:
            ChildError: if the child died or was stopped.
            XenoError: why the audit could not be carried out.
        """
        self._ended.wait()
        self._child.wait(5.0)
        if self._found is not None:
            return self._found
        if self._stopped:
            raise ChildError("The audit was stopped.", "Nothing was found out.", "Start it again.")
        assert self._failure is not None
        raise XenoError(self._failure.what, self._failure.why, self._failure.todo)

    def _receive(self, event: Event) -> None:
        if isinstance(event, AuditFinished):
            self._found = event.found
        elif isinstance(event, Failure):
            self._failure = event
        elif isinstance(event, AuditProgress):
            self._on_progress(event)

    def _end(self, end: ChildExit) -> None:
        if self._failure is None:
            self._failure = Failure(what="The audit ended early.", why=end.sentence, todo="")
        self._ended.set()
