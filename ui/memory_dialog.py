"""One memory, to be written or changed: a fact, an episode or a workflow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFormLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from ui.theme import Theme
from ui.widgets.basics import allow, button, label, row
from ui.widgets.notice import Notice
from xeno.personalization.memories import Kind, Memory

KINDS: dict[Kind, str] = {"fact": "Fact", "episode": "Episode", "workflow": "Workflow"}
_TOPICS: dict[Kind, str] = {"fact": "&Category", "episode": "&What kind", "workflow": "&Name"}
_CONTENTS: dict[Kind, str] = {
    "fact": "&Value",
    "episode": "What &happened",
    "workflow": "&Steps, one a line",
}
_HINTS: dict[Kind, str] = {
    "fact": "preferences",
    "episode": "meeting",
    "workflow": "morning routine",
}


@dataclass(frozen=True)
class Draft:
    """What was written in the dialog."""

    kind: Kind
    topic: str
    name: str
    content: Any
    importance: float
    pinned: bool


class MemoryDialog(QDialog):
    """Asks for one memory. `draft` is what was written, once it was accepted.

    Args:
        theme: the look.
        memory: the one to change; None asks for another one.
    """

    def __init__(self, theme: Theme, memory: Memory | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._memory = memory
        self.draft: Draft | None = None
        name = "Remember something" if memory is None else "Change a memory"
        self.setWindowTitle(name)
        self.setAccessibleName(name)
        self.setMinimumWidth(480)
        self.notice = Notice(theme)
        self.kind = QComboBox()
        self.kind.setAccessibleName("Kind of memory")
        for kind, title in KINDS.items():
            self.kind.addItem(title, kind)
        self.topic = QLineEdit()
        self.name = QLineEdit()
        self.name.setAccessibleName("Name of the fact")
        self.name.setPlaceholderText("favorite language")
        self.content = QPlainTextEdit()
        self.content.setTabChangesFocus(True)
        self.content.setMinimumHeight(self.fontMetrics().lineSpacing() * 5)
        self.importance = QSlider(Qt.Orientation.Horizontal)
        self.importance.setAccessibleName("Importance in percent")
        self.importance.setRange(0, 100)
        self.importance.setPageStep(10)
        self.importance.setValue(50)
        self.pinned = QCheckBox("&Tell it in every reply")
        self.pinned.setAccessibleName("Tell it in every reply")
        self.topic_title, self.name_title, self.content_title = QLabel(), QLabel("&Key"), QLabel()
        form = QFormLayout()
        form.setVerticalSpacing(10)
        form.setHorizontalSpacing(14)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        for title, field in (
            (QLabel("K&ind"), self.kind),
            (self.topic_title, self.topic),
            (self.name_title, self.name),
            (self.content_title, self.content),
            (QLabel("I&mportance"), self.importance),
        ):
            title.setBuddy(field)
            form.addRow(title, field)
        form.addRow("", self.pinned)
        self.save = button("&Save", "primary", tip="Ctrl+Enter", name="Save the memory")
        self.save.setShortcut("Ctrl+Return")
        self.cancel = button("&Cancel", tip="Esc", name="Leave without saving")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(12)
        layout.addWidget(self.notice)
        layout.addLayout(form)
        layout.addWidget(
            label("It is kept encrypted on this computer, and told where it fits.", "tiny")
        )
        layout.addLayout(row(None, self.cancel, self.save))
        self.kind.currentIndexChanged.connect(lambda _: self._shape())
        for line in (self.topic, self.name):
            line.textChanged.connect(lambda _: self._gate())
        self.content.textChanged.connect(self._gate)
        self.save.clicked.connect(self._accept)
        self.cancel.clicked.connect(self.reject)
        if memory is not None:
            self._fill(memory)
        self._shape()

    def _fill(self, memory: Memory) -> None:
        self.kind.setCurrentIndex(self.kind.findData(memory.kind))
        self.topic.setText(memory.topic)
        self.name.setText(memory.name)
        self.content.setPlainText(content_text(memory))
        self.importance.setValue(round(100 * memory.importance))
        self.pinned.setChecked(memory.pinned)

    def _shape(self) -> None:
        """The fields that the chosen kind has."""
        kind: Kind = self.kind.currentData()
        self.topic_title.setText(_TOPICS[kind])
        self.topic.setAccessibleName(_TOPICS[kind].replace("&", ""))
        self.topic.setPlaceholderText(_HINTS[kind])
        self.content_title.setText(_CONTENTS[kind])
        self.content.setAccessibleName(_CONTENTS[kind].replace("&", ""))
        for part in (self.name_title, self.name):
            part.setVisible(kind == "fact")
        fixed = "" if self._memory is None else "Only what it says can be changed."
        for part in (self.kind, self.topic, self.name):
            allow(part, fixed)
        self._gate()

    def _gate(self) -> None:
        named = self.topic.text().strip() and (
            self.kind.currentData() != "fact" or self.name.text().strip()
        )
        missing = "" if self.content.toPlainText().strip() else "Write what to remember first."
        allow(self.save, missing if named else "Give it a name first.")

    def _accept(self) -> None:
        if not self.save.isEnabled():
            return
        kind: Kind = self.kind.currentData()
        self.draft = Draft(
            kind=kind,
            topic=self.topic.text().strip(),
            name=self.name.text().strip(),
            content=self._content(kind),
            importance=self.importance.value() / 100,
            pinned=self.pinned.isChecked(),
        )
        self.accept()

    def _content(self, kind: Kind) -> Any:
        text = self.content.toPlainText().strip()
        if kind == "workflow":
            return [line.strip() for line in text.splitlines() if line.strip()]
        if self._memory is not None and text == content_text(self._memory):
            return self._memory.content
        if self._memory is not None and not isinstance(self._memory.content, str):
            try:
                return json.loads(text)  # it was a number, a list or a mapping, and may stay one
            except ValueError:
                return text
        return text


def content_text(memory: Memory) -> str:
    """The content as the user edits it."""
    if memory.kind == "workflow":
        return "\n".join(memory.content)
    if isinstance(memory.content, str):
        return memory.content
    return json.dumps(memory.content, ensure_ascii=False, indent=1)
