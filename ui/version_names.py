"""What the versions are called, and which one answers: known here so that nobody waits for it."""

from __future__ import annotations

from PyQt6.QtCore import QObject, pyqtSignal

from ui.session import Session
from ui.words import privacy
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
        session.versions_changed.connect(self.reload)

    def reload(self) -> None:
        """Read the versions again."""

        def read() -> tuple[list[Version], Version | None]:
            return list(self._registry.all()), self._deployment.active()

        self._session.do(read, self._show, owner=self, key="version names")

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

    def _show(self, found: tuple[list[Version], Version | None]) -> None:
        versions, self.active = found
        self._versions = {each.address: each for each in versions}
        self.changed.emit()
