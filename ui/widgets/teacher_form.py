"""Naming the teacher: its address, model and key; and what it is to be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QComboBox, QLineEdit, QSpinBox, QVBoxLayout, QWidget

from ui.session import Session
from ui.widgets.basics import allow, button, label, row
from ui.widgets.notice import Notice
from xeno.collect.collecting import Collector
from xeno.collect.teacher import (
    Task,
    Teacher,
    TeacherAddress,
    prompts_of,
    replies_of,
    set_teacher,
    teacher_of,
)

_TASKS: dict[str, Task] = {
    "Correct the latest replies": "correct",
    "Compare two replies to the latest questions": "compare",
}


@dataclass(frozen=True)
class _Named:
    address: TeacherAddress | None


class TeacherForm(QWidget):
    """Off until an address is named. `changed` is emitted when something else would be asked."""

    changed = pyqtSignal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._named: TeacherAddress | None = None
        self.address = QLineEdit()
        self.address.setAccessibleName("Address of the teacher")
        self.address.setPlaceholderText("https://host/v1")
        self.model = QLineEdit()
        self.model.setAccessibleName("Model of the teacher")
        self.model.setPlaceholderText("Model")
        self.key = QLineEdit()
        self.key.setAccessibleName("Key of the teacher")
        self.key.setPlaceholderText("Key, if it needs one")
        self.key.setEchoMode(QLineEdit.EchoMode.Password)
        self.key.setToolTip("Kept encrypted in the profile; leave it empty to keep what is there")
        self.use = button("Nam&e it", name="Use this teacher")
        self.off = button("Switch &off", name="Switch the teacher off and forget its key")
        self.task = QComboBox()
        self.task.setAccessibleName("What the teacher is to do")
        for text, task in _TASKS.items():
            self.task.addItem(text, task)
        self.task.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.task.setMinimumContentsLength(14)
        self.limit = QSpinBox()
        self.limit.setAccessibleName("At most so many")
        self.limit.setRange(1, 10_000)
        self.limit.setValue(100)
        self.limit.setPrefix("At most ")
        self.state = label("", "muted")
        self.state.setAccessibleName("State of the teacher")
        self.notice = Notice(session.theme)
        first = row(self.address, self.model, self.key, spacing=8)
        for place, share in enumerate((3, 2, 2)):
            first.setStretch(place, share)
        second = row(self.state, self.use, self.off, spacing=8)
        second.setStretch(0, 1)
        third = row(self.task, self.limit, spacing=8)
        third.setStretch(0, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(first)
        layout.addLayout(second)
        layout.addWidget(self.notice)
        layout.addLayout(third)
        for edit in (self.address, self.model, self.key):
            edit.textChanged.connect(lambda _: self._gate())
            edit.returnPressed.connect(self._use)
        self.use.clicked.connect(self._use)
        self.off.clicked.connect(self._switch_off)
        self.task.activated.connect(lambda _: self.changed.emit())
        self.limit.valueChanged.connect(lambda _: self.changed.emit())
        self._gate()

    def reload(self) -> None:
        """Read which teacher is named."""
        profile = self._session.profile
        self._session.do(
            lambda: _Named(teacher_of(profile)), self._show, owner=self, key="teacher"
        )  # fmt: skip

    def missing(self) -> str:
        """Why nothing can be asked; empty if it can."""
        return "" if self._named else "Name a teacher first; until then nothing is sent."

    def maker(self) -> Callable[[], Collector]:
        """What makes the collector, for a task's thread."""
        profile, limit = self._session.profile, self.limit.value()
        task: Task = self.task.currentData()
        choose = replies_of if task == "correct" else prompts_of
        return lambda: Teacher(profile, task, choose(profile, limit))

    def _show(self, found: _Named) -> None:
        self._named = found.address
        if found.address is not None:
            self.address.setText(found.address.address)
            self.model.setText(found.address.model)
            self.state.setText("Named. Texts are sent only when you collect, and shown before.")
        else:
            self.state.setText("Off: nothing is sent anywhere until you name an address.")
        self._gate()
        self.changed.emit()

    def _gate(self) -> None:
        named = self.address.text().strip() and self.model.text().strip()
        allow(self.use, "" if named else "Write the address and the model first.")
        allow(self.off, "" if self._named else "No teacher is named.")
        for control in (self.task, self.limit):
            allow(control, self.missing())

    def _use(self) -> None:
        if not self.use.isEnabled():
            return
        profile, key = self._session.profile, self.key.text().strip() or None
        address, model = self.address.text().strip(), self.model.text().strip()
        self.key.clear()

        def work() -> _Named:
            set_teacher(profile, TeacherAddress(address, model), key)
            return _Named(teacher_of(profile))

        self._write(work)

    def _switch_off(self) -> None:
        profile = self._session.profile
        self.address.clear()
        self.model.clear()

        def work() -> _Named:
            set_teacher(profile, None)
            return _Named(None)

        self._write(work)

    def _write(self, work: Callable[[], _Named]) -> None:
        self.notice.hide()
        self._session.tasks.run(
            work, self._show, self.notice.explain, owner=self, in_order=True
        )  # fmt: skip
