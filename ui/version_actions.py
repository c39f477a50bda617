"""What can be done with the selected versions, as actions: for the menus and for the keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PyQt6.QtCore import QObject, Qt
from PyQt6.QtGui import QAction, QKeySequence
from PyQt6.QtWidgets import QInputDialog, QMenu, QWidget

from ui.session import Session
from ui.version_reading import Overview
from ui.version_words import BASE_MODEL, titled
from ui.widgets.notice import Notice
from ui.words import count, moment, size
from xeno.store.database import Row
from xeno.versions.activation import SERVED
from xeno.versions.deployment import BASE
from xeno.versions.records import ASSISTANT, Records
from xeno.versions.registry import Version
from xeno.versions.retention import LEAST_KEPT, Retention

_ONE = "Select one version first."
_SOME = "Select a version first."
_DELETED = "It is deleted: restore it first."
_NONE = "There are no versions yet."


class VersionActions(QObject):
    """Tags, descriptions, deletes and what undoes them; changes are told by `notice`.

    Args:
        owner: the widget in which the keys count.
        notice: says what was done, and offers to undo it.
    """

    def __init__(self, session: Session, owner: QWidget, notice: Notice) -> None:
        super().__init__(owner)
        self._session = session
        self._owner = owner
        self._notice = notice
        self._records = Records(session.profile, ASSISTANT)
        self._chosen: Sequence[Version] = ()
        self.tag = self._action("&Tag…", self._ask_tag, "Ctrl+T")
        self.describe = self._action("De&scribe…", self._ask_text, "F2")
        self.delete = self._action("D&elete", self.delete_chosen, "Del")
        self.restore = self._action("&Restore", self.restore_chosen)
        self.prune = self._action("Delete &old versions…", self._ask_prune)
        self.untag = QMenu("Remove ta&g", owner)
        self.back_to = QMenu("Roll &back to", owner)

    def _action(self, text: str, do: Callable[[], object], key: str = "") -> QAction:
        action = QAction(text, self._owner)
        if key:
            action.setShortcut(QKeySequence(key))
            action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        action.triggered.connect(lambda _=False: do())
        self._owner.addAction(action)
        return action

    def gate(
        self, chosen: Sequence[Version], found: Overview | None, roll_back: Callable[[str], None]
    ) -> None:
        """Offer what goes with the selected versions; what does not says why."""
        self._chosen = chosen
        some = "" if chosen else _SOME
        one = "" if len(chosen) == 1 else _ONE
        gone = _DELETED if any(each.deleted is not None for each in chosen) else ""
        allow_action(self.tag, one or gone)
        allow_action(self.describe, one or gone)
        allow_action(self.delete, some or gone or delete_reason(chosen))
        allow_action(self.restore, some or ("" if gone else "It is not deleted."))
        allow_action(self.prune, "" if found is not None and found.versions else _NONE)
        self._fill_untag(one or gone)
        self._fill_back_to(found, roll_back)

    def _fill_untag(self, why: str) -> None:
        self.untag.clear()
        tags = self._chosen[0].tags if not why else ()
        for tag in tags:
            action = self.untag.addAction(tag)
            assert action is not None
            action.triggered.connect(lambda _=False, tag=tag: self.remove_tag(tag))
        action = self.untag.menuAction()
        assert action is not None
        allow_action(action, why or ("" if tags else "It has no tag."))

    def _fill_back_to(self, found: Overview | None, roll_back: Callable[[str], None]) -> None:
        self.back_to.clear()
        if found is not None and found.deployed_before:
            active = found.active
            for each in found.versions:
                if each.state in SERVED and each.state != "active":
                    self._offer(f"{titled(each)}, {moment(each.created)}", each.address, roll_back)
            if active is not None:
                self._offer(BASE_MODEL, BASE, roll_back)
        action = self.back_to.menuAction()
        assert action is not None
        nothing = "" if self.back_to.actions() else "There is nothing else to go back to."
        allow_action(action, nothing)

    def _offer(self, title: str, ref: str, roll_back: Callable[[str], None]) -> None:
        action = self.back_to.addAction(title)
        assert action is not None
        action.triggered.connect(lambda _=False: roll_back(ref))

    # Doing it -----------------------------------------------------------------------------

    def add_tag(self, tag: str) -> None:
        """Name the selected version `tag`."""
        address = self._chosen[0].address
        self._change(lambda: self._records.tag(address, tag))

    def remove_tag(self, tag: str) -> None:
        """Take a tag away."""
        self._change(lambda: self._records.untag(tag))

    def set_text(self, text: str) -> None:
        """Describe the selected version."""
        address = self._chosen[0].address
        self._change(lambda: self._records.describe(address, text))

    def delete_chosen(self) -> None:
        """Delete the selected versions; the notice offers to undo it."""
        addresses = [each.address for each in self._chosen]

        def work() -> list[Row]:
            return [self._records.delete(each) for each in addresses]

        self._change(work, self._deleted)

    def restore_chosen(self) -> None:
        """Bring the selected deleted versions back."""
        self._restore([each.address for each in self._chosen])

    def delete_old(self, keep: int) -> None:
        """Delete all but the newest `keep`, and those that are needed."""
        retention = Retention(self._session.profile)
        self._change(lambda: retention.prune(keep), self._deleted)

    def _deleted(self, rows: Sequence[Row]) -> None:
        if not rows:
            self._notice.inform("Nothing is old enough, or all of it is needed.")
            return
        labels = ", ".join(f"v{row['number']}" for row in rows)
        freed = size(sum(row["bytes"] for row in rows))
        addresses = [row["address"] for row in rows]
        self._notice.inform(
            f"{labels} {'is' if len(rows) == 1 else 'are'} deleted.",
            f"Restored on request for 7 days; then {freed} are free. Privacy that was spent stays "
            "spent.",
            action="&Undo",
            do=lambda: self._restore(addresses),
        )

    def _restore(self, addresses: Sequence[str]) -> None:
        def done(_: object) -> None:
            self._notice.inform(f"{count(len(addresses), 'version is', 'versions are')} restored.")

        self._change(lambda: [self._records.restore(each) for each in addresses], done)

    def _change(
        self, work: Callable[[], object], said: Callable[[list[Row]], None] | None = None
    ) -> None:
        def done(result: object) -> None:
            if said is not None:
                said(result)  # type: ignore[arg-type]
            self._session.versions_changed.emit()

        def failed(error: BaseException) -> None:
            self._notice.explain(error)
            self._session.versions_changed.emit()

        self._session.tasks.run(work, done, failed, owner=self._owner, in_order=True)

    # Asking -------------------------------------------------------------------------------

    def _ask_tag(self) -> None:
        title = f"Tag {self._chosen[0].label}"
        hint = "A name such as best; another version that has it loses it."
        text, agreed = QInputDialog.getText(self._owner, title, hint)
        if agreed and text.strip():
            self.add_tag(text.strip())

    def _ask_text(self) -> None:
        version = self._chosen[0]
        text, agreed = QInputDialog.getText(
            self._owner, f"Describe {version.label}", "What it is:", text=version.description
        )
        if agreed:
            self.set_text(text)

    def _ask_prune(self) -> None:
        keep, agreed = QInputDialog.getInt(
            self._owner,
            "Delete old versions",
            "How many of the newest are kept? What answers or is tried, what either of them\n"
            "continued, and what is tagged stays in any case.",
            10,
            LEAST_KEPT,
            10_000,
        )
        if agreed:
            self.delete_old(keep)


def delete_reason(versions: Sequence[Version]) -> str:
    """Why these cannot be deleted, empty if they can."""
    for each in versions:
        if each.state == "active":
            return "Deploy or roll back to another one first: this version answers now."
        if each.state == "canary":
            return "Take it back first: it is tried in some replies."
    return ""


def allow_action(action: QAction, reason: str = "") -> None:
    """Enable `action`, or disable it and say why, in its tip and in the status bar."""
    action.setEnabled(not reason)
    action.setToolTip(reason)
    action.setStatusTip(reason)
