"""Deploying and rolling back from the window: off its thread, and said aloud."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import QObject

from ui.session import Session
from ui.words import privacy
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Version
from xeno.workers import gate_client


def deploy(
    session: Session, ref: str, owner: QObject, after: Callable[[bool], None] | None = None
) -> None:
    """Send the version `ref` through the gate and let it answer from the next reply on; the
    base model ("base") at once.

    `after` is told whether it worked; a failure is shown by the window.
    """

    def work() -> Version | None:
        return gate_client.deploy(session.profile, ref)

    _change(session, work, owner, after)


def roll_back(
    session: Session, ref: str | None, owner: QObject, after: Callable[[bool], None] | None = None
) -> None:
    """Go back to `ref`, or to what answered before the active version."""
    deployment = Deployment(session.profile)

    def work() -> Version | None:
        deployment.rollback(ref)
        return deployment.active()

    _change(session, work, owner, after)


def _change(
    session: Session,
    work: Callable[[], Version | None],
    owner: QObject,
    after: Callable[[bool], None] | None,
) -> None:
    def done(active: Version | None) -> None:
        if active is None:
            session.told.emit("The base model answers now.", "")
        else:
            how = privacy(active.manifest.private, active.manifest.epsilon)
            session.told.emit(f"{active.label} answers from the next reply on ({how}).", "")
        if after is not None:
            after(True)
        session.versions_changed.emit()

    def failed(error: BaseException) -> None:
        if after is not None:
            after(False)
        session.tasks.failed.emit(error)
        session.versions_changed.emit()

    session.do(work, done, owner=owner, failed=failed)
