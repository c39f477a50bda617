"""What intents are learned with: n-grams, or a sentence encoder that the user has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PyQt6.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from ui.session import Session
from ui.widgets.basics import ElidedLabel, button, row
from ui.widgets.notice import Notice

if TYPE_CHECKING:  # brings numpy
    from xeno.personalization.intents import CustomModelTrainer


class EncoderLine(QWidget):
    """Says what the next training learns with, and changes it.

    Args:
        session: the open profile.
        trainer: gives its intents; called on a task's thread, one at a time.
    """

    def __init__(self, session: Session, trainer: Callable[[], CustomModelTrainer]) -> None:
        super().__init__()
        self._session = session
        self._trainer = trainer
        self.said = ElidedLabel("")
        self.said.setAccessibleName("What the next training learns with")
        self.choose = button(
            "Sentence &encoder…",
            tip="Choose a local folder with safetensors and a tokenizer; its code is never run",
            name="Learn with a sentence encoder",
        )
        self.leave = button("Words and &letters", name="Learn with words and letters again")
        self.notice = Notice(session.theme, "Message about the sentence encoder")
        line = row(self.said, self.choose, self.leave, spacing=8)
        line.setStretch(0, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(line)
        layout.addWidget(self.notice)
        self.choose.clicked.connect(self._choose)
        self.leave.clicked.connect(lambda: self.use(None))
        self._show(None)

    def reload(self) -> None:
        """Read again what is chosen."""
        self._session.tasks.run(
            lambda: self._trainer().encoder, self._show, owner=self, key="encoder", in_order=True
        )

    def use(self, folder: Path | None) -> None:
        """Learn with the encoder in `folder` from the next training on; None: with n-grams."""
        self.notice.hide()
        self._session.tasks.run(
            lambda: self._trainer().use_encoder(folder),
            lambda _: self.reload(),
            self.notice.explain,
            owner=self,
            in_order=True,
        )

    def _choose(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Folder of the sentence encoder")
        if name:
            self.use(Path(name))

    def _show(self, folder: Path | None) -> None:
        chosen = "words and letters" if folder is None else f"the encoder {folder.name}"
        self.said.setText(f"The next training learns with {chosen}.")
        self.said.setToolTip("" if folder is None else str(folder))
        self.leave.setVisible(folder is not None)
