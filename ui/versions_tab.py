"""Versions: every run's result, which one answers, and the ways forth and back."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QMenu, QMessageBox, QSplitter, QTextBrowser, QVBoxLayout, QWidget

from ui.deploying import deploy, roll_back
from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import Card, allow, button, label, row
from ui.widgets.notice import Notice
from ui.widgets.table import Table
from ui.words import NONE, count, figure, moment, privacy, share, size
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Registry, Version
from xeno.versions.retention import purge_expired

STATES = {
    "candidate": "not checked yet",
    "checked": "checked",
    "canary": "tried in some replies",
    "active": "answers now",
    "retired": "retired",
    "rolled_back": "rolled back",
    "quarantined": "quarantined",
}
ACCURACY_BEFORE = "heldout_preference_accuracy_before"
ACCURACY_AFTER = "heldout_preference_accuracy"
_CHOOSE_FIRST = "Select a version in the table first."


class VersionsTab(QWidget):
    """The table of versions, the one selected in full, and what can be done with it."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._registry = Registry(session.profile)
        self._deployment = Deployment(session.profile)
        self._active: Version | None = None
        self._deployed_before = False
        self._busy = ""
        self.notice = Notice(session.theme)
        self.answering = label("", "heading")
        self.deploy = button("&Deploy", "primary", name="Deploy the selected version")
        self.back = button("&Roll back", name="Roll back to the previous version")
        self.back_to = button("Roll back &to", name="Roll back to a chosen version")
        self.back_menu = QMenu(self.back_to)
        self.back_to.setMenu(self.back_menu)
        self.delete = button("D&elete…", "danger", name="Delete the selected version")
        self.model: RowsModel[Version] = RowsModel(_columns(), self)
        self.table = Table(
            "Versions",
            "No versions yet. Each training run that ends well makes one; until then the base "
            "model answers.",
        )
        self.table.show_model(self.model)
        self.table.widths(6, 12, 15, 11, 6, 6, 9, 4, 6)
        self.details = QTextBrowser()
        self.details.setAccessibleName("Details of the selected version")
        self.details.setOpenLinks(False)
        self._lay_out()
        self._connect()
        self._gate()

    def _lay_out(self) -> None:
        head = Card()
        head.add(self.answering)
        head.add(row(self.deploy, self.back, self.back_to, self.delete, None))
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.setHandleWidth(12)
        split.addWidget(self.table)
        split.addWidget(self.details)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 20)
        layout.setSpacing(14)
        layout.addWidget(self.notice)
        layout.addWidget(head)
        layout.addWidget(split, 1)

    def _connect(self) -> None:
        self._session.versions_changed.connect(self.reload)
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self._gate())
        self.deploy.clicked.connect(self._deploy)
        self.back.clicked.connect(lambda: self._roll_back(None))
        self.delete.clicked.connect(self._delete)
        self.table.activated.connect(lambda _: self.details.setFocus())

    def reload(self) -> None:
        """Read the versions and the history of deployments again."""

        def read() -> tuple[list[Version], Version | None, bool]:
            purge_expired(self._session.profile)
            versions = list(self._registry.all())
            return versions, self._deployment.active(), bool(self._deployment.history())

        self._session.do(read, self._show, owner=self, key="versions")

    def _show(self, found: tuple[list[Version], Version | None, bool]) -> None:
        chosen, before = self._chosen(), len(self.model.records)
        versions, self._active, self._deployed_before = found
        versions.sort(key=lambda each: -each.number)
        grew = 0 < before < len(versions)
        self.model.show(versions)
        if versions:
            rows = [each.address for each in versions]
            kept = chosen is not None and chosen.address in rows and not grew
            self.table.choose_row(rows.index(chosen.address) if kept and chosen else 0)
        active = self._active
        if active is None:
            self.answering.setText("The base model answers, without any version.")
        else:
            how = privacy(active.manifest.private, active.manifest.epsilon)
            self.answering.setText(f"{active.label} answers now ({how}).")
        self.back_menu.clear()
        for version in versions:
            if active is None or version.address != active.address:
                how = privacy(version.manifest.private, version.manifest.epsilon)
                title = f"{version.label}, {moment(version.created)}, {how}"
                self._offer(title, version.address)
        if active is not None:
            self._offer("Base model", "base")
        self._gate()

    def _offer(self, title: str, ref: str) -> None:
        action = self.back_menu.addAction(title)
        assert action is not None
        action.triggered.connect(lambda: self._roll_back(ref))

    def _chosen(self) -> Version | None:
        chosen = self.table.chosen_row()
        return self.model.records[chosen] if 0 <= chosen < len(self.model.records) else None

    def _gate(self) -> None:
        version = self._chosen()
        self.details.setHtml(_describe(version) if version else "")
        self.details.setVisible(version is not None)
        active = version is not None and version.state == "active"
        missing = self._busy or ("" if version else _CHOOSE_FIRST)
        allow(self.deploy, missing or ("This version answers already." if active else ""))
        cannot = "Deploy or roll back to another one first: this version answers now."
        allow(self.delete, missing or (cannot if active else ""))
        nothing = "" if self._deployed_before else "Nothing was deployed yet."
        at_base = "" if self._active else "The base model answers; there is nothing before it."
        allow(self.back, self._busy or nothing or at_base)
        none = "" if self.back_menu.actions() else "There is nothing else to go back to."
        allow(self.back_to, self._busy or nothing or none)

    def _work(self, busy: str) -> None:
        self._busy = busy
        self._gate()

    def _deploy(self) -> None:
        version = self._chosen()
        if version is not None:
            self._work("A version is being deployed.")
            deploy(self._session, version.address, self, after=lambda _: self._work(""))

    def _roll_back(self, ref: str | None) -> None:
        self._work("Rolling back.")
        roll_back(self._session, ref, self, after=lambda _: self._work(""))

    def _delete(self) -> None:
        version = self._chosen()
        if version is None:
            return
        answer = QMessageBox.question(
            self,
            f"Delete {version.label}?",
            f"{version.label} can be restored for 7 days (xeno versions restore). The privacy it "
            "has spent stays spent.",
            QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.Cancel,
            QMessageBox.StandardButton.Cancel,
        )
        if answer == QMessageBox.StandardButton.Yes:
            self._session.do(
                lambda: self._registry.delete(version.address),
                lambda _: self._session.versions_changed.emit(),
                owner=self,
                failed=self.notice.explain,
            )

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()


def _columns() -> list[Column[Version]]:
    return [
        Column("Version", lambda v: v.label, lambda v: v.number),
        Column("State", lambda v: STATES.get(v.state, v.state)),
        Column("Created", lambda v: moment(v.created), lambda v: v.created),
        Column("Base", lambda v: v.manifest.base_name),
        Column("Before", lambda v: share(_metric(v, ACCURACY_BEFORE)), right=True,
               tip="Held-out preference accuracy before training"),
        Column("After", lambda v: share(_metric(v, ACCURACY_AFTER)), right=True,
               tip="Held-out preference accuracy after training"),
        Column("Privacy", lambda v: privacy(v.manifest.private, v.manifest.epsilon)),
        Column("Pairs", lambda v: f"{len(v.manifest.pair_ids):,}",
               lambda v: len(v.manifest.pair_ids), right=True),
        Column("Size", lambda v: size(v.bytes), lambda v: v.bytes, right=True),
        Column("Description", lambda v: v.description),
    ]  # fmt: skip


def _metric(version: Version, name: str) -> float | None:
    return version.manifest.metrics.get(name)


def _describe(version: Version) -> str:
    """The manifest as a readable page (HTML; all of its text is escaped)."""
    manifest = version.manifest
    adapter = manifest.adapter
    lines: list[tuple[str, str]] = [
        ("State", STATES.get(version.state, version.state)),
        ("Description", version.description or NONE),
        ("Address", version.address),
        ("Base", f"{manifest.base_name} ({manifest.base_hash[:16]}…)"),
        ("Adapter", f"{adapter.kind}, rank {adapter.rank}, alpha {adapter.alpha:g}, on "
                    + ", ".join(adapter.target_modules)),
        ("Pairs", count(len(manifest.pair_ids), "pair")),
        ("Seed", str(manifest.seed)),
        ("Parent", manifest.parent[:16] + "…" if manifest.parent else "none"),
        ("Privacy", _privacy_words(version)),
        ("Check", _gate_words(version.gate)),
    ]  # fmt: skip
    lines += [
        (name.replace("_", " ").capitalize(), figure(value, 4))
        for name, value in sorted(manifest.metrics.items())
    ]
    if manifest.plan is not None:
        plan = manifest.plan.model_dump(exclude={"base"})
        shown = (f"{key} {'automatic' if value is None else value}" for key, value in plan.items())
        lines.append(("Plan", ", ".join(shown)))
    lines.append(("Environment", ", ".join(f"{k} {v}" for k, v in manifest.environment.items())))
    rows = "".join(
        f"<tr><td width='170' style='padding:3px 0'><b>{escape(name)}</b></td>"
        f"<td style='padding:3px 0'>{escape(text)}</td></tr>"
        for name, text in lines
    )
    return f"<h3>{escape(version.label)}</h3><table width='100%'>{rows}</table>"


def _privacy_words(version: Version) -> str:
    manifest = version.manifest
    if not manifest.private:
        return "not private: trained without noise, it may remember single pairs"
    delta = f"{manifest.delta:g}" if manifest.delta is not None else NONE
    return f"ε {figure(manifest.epsilon)}, δ {delta}, unit: {manifest.unit}"


def _gate_words(report: Mapping[str, Any]) -> str:
    checks = report.get("checks") or ()
    if not checks:
        return "not checked yet"
    answers = {True: "yes", False: "no", None: "could not be asked"}
    said = (
        f"{each['name']}: {answers[each['passed']]} {each['detail']}".strip() for each in checks
    )
    return ", ".join(said)
