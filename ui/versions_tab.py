"""Versions: every run's result, which one answers, and the ways forth and back."""

from __future__ import annotations

from PyQt6.QtCore import QPoint, Qt
from PyQt6.QtGui import QAction
from PyQt6.QtWidgets import QDialog, QMenu, QSplitter, QVBoxLayout, QWidget

from ui.adapter_import_dialog import AdapterImportDialog
from ui.compare_dialog import BASE, CompareDialog
from ui.deploy_dialog import DeployDialog
from ui.deploying import roll_back
from ui.session import Session
from ui.version_actions import VersionActions, allow_action, delete_reason
from ui.version_export_dialog import VersionExportDialog
from ui.version_reading import Overview, overview
from ui.version_words import cost
from ui.widgets.basics import Tool, allow, button, label, on_key, row
from ui.widgets.flow import Flow
from ui.widgets.notice import Notice
from ui.widgets.version_details import VersionDetails
from ui.widgets.version_list import VersionList
from ui.words import count, share, size
from xeno.experiments.canary import Canaries
from xeno.store.profile import Profile
from xeno.versions.records import ASSISTANT
from xeno.versions.registry import Version

_ONE = "Select one version first."
_DELETED = "It is deleted: restore it first."


class VersionsTab(QWidget):
    """The history of versions, the one selected in full, and what can be done with them.

    What takes long has a dialog of its own beside the window, one at a time.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._found: Overview | None = None
        self._busy = ""
        self._dialog: QDialog | None = None
        self.notice = Notice(session.theme)
        self.answering = label("", "heading")
        self.answering.setAccessibleName("Which version answers")
        self.tried = label("")
        self.tried.setAccessibleName("Which version is tried")
        self.promote = button("&Promote", name="Let the canary answer everywhere")
        self.take_back = button("Ta&ke back", name="Take the canary back")
        self.deploy = button("&Deploy…", "primary", name="Check and deploy the selected version")
        self.back = button("&Roll back", name="Roll back to what answered before")
        self.compare = button("Co&mpare…", name="Compare versions")
        self.export = button("E&xport…", name="Export the selected version")
        self.delete = Tool(session.theme, "trash", "Delete the selected versions", tip="Del")
        self.restore = button("&Restore", name="Restore the selected deleted versions")
        self.more = button("M&ore", name="More that can be done with versions")
        self.list = VersionList(session)
        self.details = VersionDetails(session)
        self.room = label("", "tiny")
        self.room.setAccessibleName("Room that versions take")
        self.actions_ = VersionActions(session, self, self.notice)
        self._build_menus()
        self._lay_out()
        self._connect()
        self._gate()

    def _build_menus(self) -> None:
        self.trial = QAction("Tr&y in a part of the conversations…", self)
        self.import_adapter = QAction("&Import an adapter…", self)
        actions = self.actions_
        self.more_menu = QMenu(self.more)
        self.context = QMenu(self.list)
        self.context.addActions([self._twin(self.deploy), self.trial])
        self.context.addActions([self._twin(self.compare), self._twin(self.export)])
        for menu in (self.more_menu, self.context):
            menu.setToolTipsVisible(True)
            if menu is self.more_menu:
                menu.addAction(self.trial)
                menu.addMenu(actions.back_to)
            menu.addSeparator()
            menu.addAction(actions.tag)
            menu.addMenu(actions.untag)
            menu.addAction(actions.describe)
            menu.addSeparator()
            menu.addActions([actions.delete, actions.restore])
        self.more_menu.addSeparator()
        self.more_menu.addActions([self.import_adapter, actions.prune])
        self.more.setMenu(self.more_menu)

    def _twin(self, control: QWidget) -> QAction:
        """An action of the context menu that does what a button does, while that is enabled."""
        action = QAction(control.text(), self)  # type: ignore[attr-defined]
        action.triggered.connect(lambda _=False: control.click())  # type: ignore[attr-defined]
        self.context.aboutToShow.connect(
            lambda: allow_action(action, "" if control.isEnabled() else control.toolTip())
        )
        return action

    def _lay_out(self) -> None:
        self.trying = QWidget()
        line = row(self.tried, self.promote, self.take_back)
        line.setStretch(0, 1)
        self.trying.setLayout(line)
        upper, lower = QWidget(), QWidget()
        for part, items in ((upper, (self.list,)), (lower, (self.details, self.room))):
            column = QVBoxLayout(part)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(4)
            for place, item in enumerate(items):
                column.addWidget(item, 0 if place else 1)
        self.split = QSplitter(Qt.Orientation.Vertical)
        self.split.setChildrenCollapsible(False)
        self.split.setHandleWidth(10)
        self.split.addWidget(upper)
        self.split.addWidget(lower)
        self.split.setStretchFactor(0, 1)
        self.split.setStretchFactor(1, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 14, 20, 12)
        layout.setSpacing(10)
        for part in (self.notice, self.answering, self.trying):
            layout.addWidget(part)
        layout.addLayout(
            Flow(
                self.deploy, self.back, self.compare, self.export, self.delete, self.restore,
                self.more,
            )
        )  # fmt: skip
        layout.addWidget(self.split, 1)

    def _connect(self) -> None:
        self._session.versions_changed.connect(self.reload)
        self.list.chosen_changed.connect(self._gate)
        self.list.chosen_changed.connect(self._show_details)
        self.list.opened.connect(lambda: self.details.bar.setFocus())
        self.list.menu_wanted.connect(self._open_menu)
        self.deploy.clicked.connect(self.open_deploy)
        self.trial.triggered.connect(lambda _=False: self.open_deploy(trial=True))
        self.back.clicked.connect(lambda: self._roll_back(None))
        self.compare.clicked.connect(self.open_compare)
        self.export.clicked.connect(self.open_export)
        self.import_adapter.triggered.connect(lambda _=False: self.open_import())
        self.delete.clicked.connect(self.actions_.delete_chosen)
        self.restore.clicked.connect(self.actions_.restore_chosen)
        self.promote.clicked.connect(self._promote)
        self.take_back.clicked.connect(self._take_back)
        on_key(self, "Ctrl+F", self.list.search.setFocus)

    def reload(self) -> None:
        """Read the versions and the history of deployments again."""
        profile: Profile = self._session.profile
        self._session.do(lambda: overview(profile), self._show, owner=self, key="versions")

    # Showing ------------------------------------------------------------------------------

    def _show(self, found: Overview) -> None:
        self._found = found
        active, tried, canary = found.active, found.tried, found.canary
        self.answering.setText(
            "The base model answers, without any version."
            if active is None
            else f"{active.label} answers now ({cost(active)})."
        )
        self.trying.setVisible(tried is not None)
        if tried is not None and canary is not None:
            self.tried.setText(
                f"{tried.label} is tried in {share(canary.traffic)} of the conversations "
                f"({cost(tried)})."
            )
        self.room.setText(_room(found))
        self.list.show_versions(found.versions, found.deleted)
        self._show_details()

    def _show_details(self) -> None:
        chosen = self.list.chosen()
        self.details.show_version(chosen[-1] if chosen else None)

    def _gate(self) -> None:
        chosen, found = self.list.chosen(), self._found
        deleted = any(each.deleted is not None for each in chosen)
        one = "" if len(chosen) == 1 else _ONE
        gone = _DELETED if deleted else ""
        waits = self._busy
        if self._dialog is not None:
            waits = waits or f"“{self._dialog.windowTitle()}” is open; close it first."
        serves = "This version answers already." if _is(chosen, "active") else ""
        tried = "It is tried already: promote it, or take it back." if _is(chosen, "canary") else ""
        none = "" if found is not None and found.versions else "There are no versions yet."
        allow(self.deploy, none or one or gone or serves or waits)
        allow_action(self.trial, none or one or gone or serves or tried or waits)
        allow(self.back, self._busy or _nothing_before(found))
        allow(self.compare, none or gone or waits)
        allow(self.export, none or one or gone or waits)
        allow_action(self.import_adapter, waits)
        some = "" if chosen else "Select a version first."
        allow(self.delete, none or some or gone or delete_reason(chosen))
        allow(self.restore, some)
        self.delete.setVisible(not self.list.shows_deleted)
        self.restore.setVisible(self.list.shows_deleted)
        for control in (self.promote, self.take_back):
            allow(control, self._busy)
        self.actions_.gate(chosen, found, self._roll_back)

    def _open_menu(self, where: QPoint) -> None:
        self.context.popup(where)

    # Doing --------------------------------------------------------------------------------

    def open_deploy(self, *, trial: bool = False) -> None:
        """Check the selected version and let the user deploy it."""
        version = self.list.chosen()[0]
        self._open(DeployDialog(self._session, version, self, trial=bool(trial)))

    def open_compare(self) -> None:
        """Compare the selected versions; one alone with what answers now."""
        assert self._found is not None
        chosen = [each.address for each in self.list.chosen()]
        if len(chosen) == 1:
            active = BASE if self._found.active is None else self._found.active.address
            chosen = [BASE if active == chosen[0] else active, *chosen]
        chosen = chosen or [BASE]
        self._open(CompareDialog(self._session, self._found.versions, chosen, self))

    def open_export(self) -> None:
        """Export the selected version."""
        self._open(VersionExportDialog(self._session, self.list.chosen()[0], self))

    def open_import(self) -> None:
        """Import an adapter."""
        self._open(AdapterImportDialog(self._session, self))

    def close_work(self) -> None:
        """End what goes on in a dialog, before the window goes."""
        if self._dialog is not None:
            self._dialog.reject()

    @property
    def dialog(self) -> QDialog | None:
        """The dialog that is open."""
        return self._dialog

    def _open(self, dialog: QDialog) -> None:
        self._dialog = dialog
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.finished.connect(lambda _: self._closed())
        dialog.show()
        self._gate()

    def _closed(self) -> None:
        self._dialog = None
        self._gate()

    def _promote(self) -> None:
        canaries = Canaries(self._session.profile)

        def done(version: Version) -> None:
            self._told(f"{version.label} answers everywhere from now on ({cost(version)}).")

        self._work("A version is being promoted.")
        self._session.do(canaries.promote, done, owner=self, failed=self._failed)

    def _take_back(self) -> None:
        canaries = Canaries(self._session.profile)
        self._work("A version is being taken back.")
        self._session.do(
            canaries.stop,
            lambda _: self._told("The version was taken back."),
            owner=self,
            failed=self._failed,
        )

    def _told(self, words: str) -> None:
        self._work("")
        self._session.told.emit(words, "")
        self._session.versions_changed.emit()

    def _roll_back(self, ref: str | None) -> None:
        self._work("Rolling back.")
        roll_back(self._session, ref, self, after=lambda _: self._work(""))

    def _failed(self, error: BaseException) -> None:
        self._work("")
        self.notice.explain(error)
        self._session.versions_changed.emit()

    def _work(self, busy: str) -> None:
        self._busy = busy
        self._gate()

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()


def _is(versions: list[Version], state: str) -> bool:
    return any(each.state == state for each in versions)


def _nothing_before(found: Overview | None) -> str:
    """Why there is nothing to roll back, empty if there is."""
    if found is None or (not found.deployed_before and found.canary is None):
        return "Nothing was deployed yet."
    if found.active is None and found.canary is None:
        return "The base model answers; there is nothing before it."
    return ""


def _room(found: Overview) -> str:
    """What the versions take on the disk, of all models."""
    parts = []
    for each in found.space:
        name = "" if each.model == ASSISTANT else f" of {each.model.replace('_', ' ')}"
        if each.versions:
            takes = "takes" if each.versions == 1 else "take"
            parts.append(f"{count(each.versions, 'version')}{name} {takes} {size(each.bytes)}")
        if each.deleted:
            room = size(each.deleted_bytes)
            parts.append(f"{each.deleted} deleted{name} {room} for up to 7 days")
    return "; ".join(parts) + "." if parts else ""
