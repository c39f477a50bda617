"""A version written for other programs: in which form, where to, and what leaves with it."""

from __future__ import annotations

from pathlib import Path

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from ui.session import Session
from ui.version_words import BASE_MODEL, privacy_sentence, titled
from ui.widgets.basics import allow, button, label, row
from ui.widgets.work_dialog import WorkDialog
from ui.words import count, size
from xeno.events import ExportVersion, VersionExported
from xeno.versions.export.forms import FORMS, WHAT, Form, checked_in_words, file_name
from xeno.versions.registry import Version
from xeno.workers.version_work_client import PromptToExport, VersionWork, prompt_to_export

BASE = "base"
_NAMES: dict[Form, str] = {
    "peft": "PEFT",
    "merged": "Merged model",
    "gguf-f16": "GGUF, 16 bits",
    "gguf-q8_0": "GGUF, 8 bits",
    "gguf-adapter": "GGUF adapter",
}
_BASE_ALONE = "The base model holds nothing of yours."


class VersionExportDialog(WorkDialog):
    """Nothing is written before its content was compared with the original."""

    def __init__(self, session: Session, version: Version, parent: QWidget) -> None:
        super().__init__(session, f"Export {version.label}", "the export", parent)
        self._version = version
        self._prompt: PromptToExport | None = None
        self._suggested = ""
        self.setMinimumWidth(620)
        self.what = QComboBox()
        self.what.setAccessibleName("What is exported")
        self.what.addItem(titled(version), version.address)
        self.what.addItem(BASE_MODEL, BASE)
        self.leaves = label("", "muted")
        self.form = QComboBox()
        self.form.setAccessibleName("Form of the export")
        for form in FORMS:
            self.form.addItem(f"{_NAMES[form]}: {WHAT[form]}", form)
        self.folder = QLineEdit()
        self.folder.setAccessibleName("Folder to make")
        self.browse = button("&Browse…", name="Choose the folder above the export")
        self.carry = QCheckBox("The Modelfile carries my &personal prompt")
        self.carry.setAccessibleName("The Modelfile carries my personal prompt")
        self.carry.setChecked(True)
        self.prompt = label("", "muted")
        self.prompt.setAccessibleName("Personal prompt")
        self.found = label("", "warning")
        self.found.setAccessibleName("Personal data in the prompt")
        self.consent = QCheckBox("This may &leave with the export")
        self.consent.setAccessibleName("This may leave with the export")
        self.start = button("&Export", "primary", name="Write and check the export")
        self._lay_out()
        self._connect()
        self._suggest()
        self.gate()
        profile = session.profile
        session.do(lambda: prompt_to_export(profile), self._show_prompt, owner=self)

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(8)
        grid.setColumnStretch(1, 1)
        for place, (title, control) in enumerate(
            (("&What", self.what), ("&Form", self.form), ("F&older", self.folder))
        ):
            name = label(title, wrap=False)
            name.setTextFormat(Qt.TextFormat.AutoText)
            name.setBuddy(control)
            grid.addWidget(name, place, 0)
            grid.addWidget(control, place, 1, 1, 1 if control is self.folder else 2)
        grid.addWidget(self.browse, 2, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(12)
        layout.addWidget(self.notice)
        layout.addLayout(grid)
        for part in (self.leaves, self.carry, self.prompt, self.found, self.consent):
            layout.addWidget(part)
        layout.addWidget(self.work)
        layout.addStretch(1)
        layout.addLayout(row(None, self.close_button, self.start))

    def _connect(self) -> None:
        self.what.currentIndexChanged.connect(lambda _: self._suggest())
        self.form.currentIndexChanged.connect(lambda _: self._suggest())
        self.folder.textChanged.connect(lambda _: self.gate())
        self.carry.toggled.connect(lambda _: self.gate())
        self.consent.toggled.connect(lambda _: self.gate())
        self.browse.clicked.connect(self._browse)
        self.start.clicked.connect(self.export)

    def export(self) -> None:
        """Write the export in a child, which checks it before it appears."""
        profile = self._session.profile
        order = ExportVersion(
            version=str(self.what.currentData()),
            form=str(self.form.currentData()),
            folder=str(Path(self.folder.text().strip()).expanduser()),
            with_prompt=self._carries(),
            consent=self._carries() and self.consent.isChecked(),
        )
        self.notice.hide()
        self.work.begin(lambda tell: VersionWork(profile, order, tell))
        self.gate()

    def _has_modelfile(self) -> bool:
        return str(self.form.currentData()).startswith("gguf")

    def _carries(self) -> bool:
        return self._has_modelfile() and self.carry.isChecked()

    def _suggest(self) -> None:
        """Name a folder in the home folder, unless the user has named one."""
        if self.folder.text() in ("", self._suggested):
            base = self.what.currentData() == BASE
            manifest = self._version.manifest
            name = manifest.base_name if base else f"{manifest.base_name}-{self._version.label}"
            self._suggested = str(Path.home() / f"{file_name(name)}-{self.form.currentData()}")
            self.folder.setText(self._suggested)
        self.gate()

    def _browse(self) -> None:
        above = QFileDialog.getExistingDirectory(self, "Make the folder of the export in")
        if above:
            name = Path(self.folder.text().strip() or self._suggested).name
            self.folder.setText(str(Path(above) / name))

    def _show_prompt(self, prompt: PromptToExport) -> None:
        self._prompt = prompt
        self.prompt.setText(f"“{prompt.text}”")
        self.found.setText(f"It holds {', '.join(prompt.found)}." if prompt.found else "")
        self.gate()

    def gate(self) -> None:
        """Offer what can be done now."""
        busy = "The export is being written and checked." if self.work.busy else ""
        carries, prompt = self._carries(), self._prompt
        names_somebody = carries and prompt is not None and bool(prompt.found)
        self.carry.setVisible(self._has_modelfile())
        self.prompt.setVisible(carries and prompt is not None)
        self.found.setVisible(names_somebody)
        self.consent.setVisible(names_somebody)
        base = self.what.currentData() == BASE
        self.leaves.setText(
            _BASE_ALONE
            if base
            else f"{privacy_sentence(self._version)} What the weights learned leaves with them."
        )
        why = ""
        if base and self.form.currentData() in ("peft", "gguf-adapter"):
            why = "The base model is no adapter; choose another form."
        elif not self.folder.text().strip():
            why = "Name the folder to make."
        elif carries and prompt is None:
            why = "The personal prompt is being read."
        elif names_somebody and not self.consent.isChecked():
            why = "The prompt holds personal data: say that it may leave, or leave the prompt out."
        allow(self.start, busy or why)
        for control in (self.what, self.form, self.folder, self.browse, self.carry, self.consent):
            allow(control, busy)

    def show_outcome(self, answer: object) -> None:
        """Say what came of it."""
        assert isinstance(answer, VersionExported)
        self.gate()
        whole = sum(answer.files.values())
        self.notice.inform(
            f"{count(len(answer.files), 'file')}, {size(whole)}, in {answer.folder}.",
            " ".join(checked_in_words(answer)),
            stays=True,
        )
