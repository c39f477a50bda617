"""What the versions are called, and which one answers: known here so that nobody waits for it."""

from __future__ import annotations

from PyQt6.QtCore import QObject, pyqtSignal

from ui.session import Session
from ui.words import privacy
from xeno.experiments.ab import ABTestingManager
from xeno.store.conversations import StoredMessage
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Registry, Version


class VersionNames(QObject):
    """The versions by content address, read again when they change."""

    changed = pyqtSignal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._registry = Registry(session.profile)
        self._deployment = Deployment(session.profile)
        self._versions: dict[str, Version] = {}
        self.active: Version | None = None
        self._test: int | None = None  # goes on in the chat, where nobody is to know who answers
        session.versions_changed.connect(self.reload)

    def reload(self) -> None:
        """Read the versions again."""

        def read() -> tuple[list[Version], Version | None, int | None]:
            test = ABTestingManager(self._session.profile.name, profile=self._session.profile)
            going = test.in_chat()
            return list(self._registry.all()), self._deployment.active(), going and going.id

        self._session.do(read, self._show, owner=self, key="version names")

    def of(self, reply: StoredMessage) -> str:
        """What answered: as `describe`, and nothing of it while a test wants the user blind."""
        trial = reply.metadata.get("trial")
        if trial and trial["kind"] == "test" and trial["id"] == self._test:
            return "one of two versions"
        return self.describe(reply.version)

    def describe(self, address: str | None) -> str:
        """'v3 · not private', 'v4 · ε 7.92', or 'base model' for None."""
        if address is None:
            return "base model"
        version = self._versions.get(address)
        if version is None:
            return f"deleted version {address[:8]}"
        manifest = version.manifest
        return f"{version.label} · {privacy(manifest.private, manifest.epsilon)}"

    def answering(self) -> str:
        """What answers now: 'v3 answers, not private', or nothing where the base does."""
        if self.active is None:
            return ""
        manifest = self.active.manifest
        return f"{self.active.label} answers · {privacy(manifest.private, manifest.epsilon)}"

    def _show(self, found: tuple[list[Version], Version | None, int | None]) -> None:
        versions, self.active, self._test = found
        self._versions = {each.address: each for each in versions}
        self.changed.emit()
