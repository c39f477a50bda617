"""An adapter of another program taken as a version: from a folder, or by its name on the Hub."""

from __future__ import annotations

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QGridLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from ui.session import Session
from ui.widgets.basics import allow, button, label, row
from ui.widgets.work_dialog import WorkDialog
from xeno.events import AdapterImported, ImportAdapter
from xeno.workers.version_work_client import VersionWork

_ABOUT = (
    "A PEFT adapter (LoRA) for the base model in use becomes a version that is not checked yet. "
    "Pickled weights, other sizes and other bases are refused. Nothing is known of its training, "
    "so it counts as not private."
)


class AdapterImportDialog(WorkDialog):
    """A name on the Hub is fetched from there; a folder needs no network."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(session, "Import an adapter", "the import", parent)
        self.setMinimumWidth(620)
        self.source = QLineEdit()
        self.source.setAccessibleName("Folder, or name on the Hub")
        self.source.setPlaceholderText("A folder, or a name on the Hub such as someone/adapter")
        self.browse = button("&Browse…", name="Choose the adapter's folder")
        self.description = QLineEdit()
        self.description.setAccessibleName("Description of the version")
        self.description.setPlaceholderText("What it is (may stay empty)")
        self.for_this_base = QCheckBox("It belongs to the base &model in use under another name")
        self.for_this_base.setAccessibleName("It belongs to the base model in use")
        self.for_this_base.setToolTip("Where the adapter names its base model otherwise")
        self.start = button("&Import", "primary", name="Check and import the adapter")
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(8)
        for place, (title, control) in enumerate(
            (("&From", self.source), ("&Description", self.description))
        ):
            name = label(title, wrap=False)
            name.setTextFormat(Qt.TextFormat.AutoText)
            name.setBuddy(control)
            grid.addWidget(name, place, 0)
            grid.addWidget(control, place, 1)
        grid.addWidget(self.browse, 0, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(12)
        layout.addWidget(label(_ABOUT, "muted"))
        layout.addWidget(self.notice)
        layout.addLayout(grid)
        layout.addWidget(self.for_this_base)
        layout.addWidget(self.work)
        layout.addStretch(1)
        layout.addLayout(row(None, self.close_button, self.start))
        self._connect()
        self.gate()

    def _connect(self) -> None:
        self.source.textChanged.connect(lambda _: self.gate())
        self.browse.clicked.connect(self._browse)
        self.start.clicked.connect(self.take)

    def take(self) -> None:
        """Check the adapter in a child and keep it as a version."""
        profile = self._session.profile
        order = ImportAdapter(
            source=self.source.text().strip(),
            description=self.description.text().strip(),
            for_this_base=self.for_this_base.isChecked(),
        )
        self.notice.hide()
        self.work.begin(lambda tell: VersionWork(profile, order, tell))
        self.gate()

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "The adapter's folder")
        if folder:
            self.source.setText(folder)

    def gate(self) -> None:
        """Offer what can be done now."""
        busy = "The adapter is being checked." if self.work.busy else ""
        for control in (self.source, self.browse, self.description, self.for_this_base):
            allow(control, busy)
        why = "" if self.source.text().strip() else "Name a folder, or an adapter on the Hub."
        allow(self.start, busy or why)

    def show_outcome(self, answer: object) -> None:
        """Say what came of it."""
        assert isinstance(answer, AdapterImported)
        self.gate()
        if answer.known:
            said = (f"It is {answer.label}, which was here already.",)
        else:
            said = (
                f"It is {answer.label}, not private.",
                "It is not checked yet: Deploy does that.",
            )
        self.notice.inform(said[0], " ".join((*said[1:], *answer.notes)), stays=True)
        self._session.versions_changed.emit()
