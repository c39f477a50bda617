"""A version's examination at the gate from outside: the child, its progress, its end. Light,
without Qt.

    run = GateRun(profile, "v3", on_progress=print)
    report = run.wait()
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from xeno.errors import ChildError, XenoError
from xeno.events import (
    CheckVersion,
    Event,
    Failure,
    GateFinished,
    GateProgress,
    OpenProfile,
    StopTraining,
)
from xeno.store.profile import Profile
from xeno.versions.deployment import BASE, Deployment
from xeno.versions.gate import GateReport, report_of
from xeno.versions.registry import Registry, Version
from xeno.workers.child import Child, ChildExit

MODULE = "xeno.workers.gate"
_NICE = 5
_GRACE = 4.0

Progress = Callable[[GateProgress], None]


class GateRun:
    """One examination in a child, begun at once.

    Args:
        profile: the open profile.
        ref: the version, as in `Registry.get`.
        on_progress: called on the child's reader thread.

    Raises:
        InvalidValueError: if there is no such version.
        ChildError: if the process cannot be started.
    """

    def __init__(
        self, profile: Profile, ref: int | str, on_progress: Progress = lambda _: None
    ) -> None:
        version = Registry(profile).get(ref)
        self._on_progress = on_progress
        self._report: GateReport | None = None
        self._failure: Failure | None = None
        self._stopped = False
        self._ended = threading.Event()
        self._child = Child(
            MODULE,
            on_event=self._receive,
            on_exit=self._end,
            nice=_NICE,
            log=profile.paths.logs / "gate.log",
        )
        opening = OpenProfile(
            home=str(profile.home.folder), profile=profile.name, key=profile.key.hex()
        )
        self._child.start([opening, CheckVersion(address=version.address)])

    def stop(self) -> None:
        """Ask the examination to end and return at once; nothing of it is kept."""
        self._stopped = True
        self._child.stop(StopTraining(keep=False), grace=_GRACE)

    def wait(self) -> GateReport:
        """The report, which is kept with the version; blocks.

        Raises:
            ChildError: if the child died or was stopped.
            XenoError: why the version could not be examined.
        """
        try:
            self._ended.wait()
        except BaseException:  # Ctrl-C: the child must not go on alone
            self.stop()
            raise
        finally:
            self._child.wait(5.0)
        if self._report is not None:
            return self._report
        if self._stopped:
            raise ChildError("The check was stopped.", "Nothing was found out.", "Start it again.")
        assert self._failure is not None
        raise XenoError(self._failure.what, self._failure.why, self._failure.todo)

    def _receive(self, event: Event) -> None:
        if isinstance(event, GateFinished):
            self._report = GateReport.model_validate(event.report)
        elif isinstance(event, Failure):
            self._failure = event
        elif isinstance(event, GateProgress):
            self._on_progress(event)

    def _end(self, end: ChildExit) -> None:
        if self._failure is None:
            self._failure = Failure(what="The check ended early.", why=end.sentence, todo="")
        self._ended.set()


def valid_report(profile: Profile, version: Version) -> GateReport | None:
    """The report that is kept with `version`, if it still says whether it may answer: it is
    complete, was made of what answers now, and the version passed."""
    report = report_of(version)
    active = Deployment(profile).active()
    compared = None if active is None else active.address
    if report is None or not report.complete or not report.passed:
        return None
    return report if compared in (report.compared, version.address) else None


def deploy(
    profile: Profile,
    ref: int | str,
    reason: str = "",
    *,
    override: str = "",
    on_progress: Progress = lambda _: None,
) -> Version | None:
    """Send the version `ref` through the gate, unless a valid report says that it passed, and
    let it answer from the next reply on. Blocks; what answers then.

    Args:
        override: why it answers also if the gate says no; kept in the history.

    Raises:
        InvalidValueError: if it did not pass, or there is no such version.
        DamagedDataError: if it is damaged.
        XenoError: if it could not be examined.
    """
    if ref != BASE:
        version = Registry(profile).get(ref)
        if valid_report(profile, version) is None and not override:
            GateRun(profile, version.address, on_progress).wait()
    return Deployment(profile).deploy(ref, reason, override=override)
