"""What the next run is, in the few choices that matter most: base, method, preset, strength."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import QObject, Qt, pyqtSignal
from PyQt6.QtGui import QResizeEvent
from PyQt6.QtWidgets import QComboBox, QGridLayout, QLabel, QVBoxLayout, QWidget

from ui.session import Session
from ui.widgets.base_picker import BasePicker
from ui.widgets.basics import allow, button, label, row
from ui.widgets.flow import Flow
from ui.words import count
from xeno.store.pairs import Pairs
from xeno.training.choice import Choice, choose
from xeno.training.plan import MINIMUM_PAIRS, TrainingPlan
from xeno.training.presets import (
    PRESETS,
    STRENGTHS,
    detect,
    method_of,
    preset_of,
    preset_values,
    strength_of,
    strength_values,
)

METHODS = {
    "dpo": ("Preferences (DPO)", "Learns which of two replies is the better one."),
    "kto": ("Ratings (KTO)", "Learns from replies that were only rated good or bad."),
    "sft": ("Examples (SFT)", "Imitates the replies of instructions and chats."),
    "sft_dpo": ("Examples, then preferences", "SFT first, then DPO on the same adapter."),
}
_CUSTOM = "Custom"
_COLUMNS = 3
_WIDE = 600  # pixels, from which the choices stand side by side


class RunSetup(QWidget):
    """Shows and changes the next run's plan.

    Args:
        session: the open profile.
        import_pairs: opens the import dialog.
    """

    privacy_wanted = pyqtSignal()  # the user wants to see the Privacy tab
    chosen = pyqtSignal(object)  # settings were chosen from the pairs: tuple of Choice

    def __init__(self, session: Session, import_pairs: Callable[[], object]) -> None:
        super().__init__()
        self._session = session
        self.base = BasePicker(session)
        self.method = _Choice("&Method")
        self.preset = _Choice("Pre&set")
        self.strength = _Choice("Stren&gth")
        for name, (title, sentence) in METHODS.items():
            self.method.add(name, title, sentence)
        for each in PRESETS.values():
            self.preset.add(each.name, each.title, each.sentence)
        for each in STRENGTHS.values():
            self.strength.add(each.name, each.title, each.sentence)
        self.ready = label("", wrap=True)
        self.import_button = button("&Import pairs…", tip="Read pairs from a file (Ctrl+I)")
        self.import_button.clicked.connect(import_pairs)
        self.advise = button(
            "Choose from my &pairs",
            tip="Set rank, batch size, longest text and more by how many and how long your pairs "
            "are, and say why",
        )
        self.advise.clicked.connect(self._advise)
        self.privacy = label("")
        self.privacy_link = button("Change in Privacy", "link", name="Go to the Privacy tab")
        self.privacy_link.clicked.connect(self.privacy_wanted)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        layout.addWidget(label("Base model", "tiny", wrap=False))
        layout.addWidget(self.base)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(18)
        self._grid.setVerticalSpacing(3)
        self._columns = 0
        self._arrange(_COLUMNS)
        layout.addLayout(self._grid)
        line = row(self.privacy, self.privacy_link)
        line.setStretch(0, 1)
        layout.addWidget(self.ready)
        layout.addLayout(Flow(self.advise, self.import_button))
        layout.addLayout(line)
        self.method.picked.connect(lambda name: session.set_plan({"method": name}))
        self.preset.picked.connect(self._preset_picked)
        self.strength.picked.connect(lambda name: session.set_plan(strength_values(name)))
        session.do(detect, self._mark_fitting, owner=self, key="fitting preset")

    def show_plan(self, plan: TrainingPlan) -> None:
        """Show what `plan` says."""
        self.method.show_name(plan.method)
        self.preset.show_name(preset_of(plan))
        self.strength.show_name(strength_of(plan))
        if plan.private:
            self.privacy.setText(f"With differential privacy, ε at most {plan.epsilon:g}.")
        else:
            self.privacy.setText("Without privacy: the version may remember single pairs.")

    def count_pairs(self) -> None:
        """Count again how many pairs there are."""
        pairs = Pairs(self._session.profile.db)

        def show(ready: int) -> None:
            missing = MINIMUM_PAIRS - ready
            more = f" {count(missing, 'more is', 'more are')} needed." if missing > 0 else ""
            self.ready.setText(f"{count(ready, 'pair')} ready.{more}")

        self._session.do(lambda: pairs.count(active=True), show, owner=self, key="ready pairs")

    def allow_editing(self, reason: str = "") -> None:
        """Enable all choices, or disable them with the reason."""
        self.base.allow_choice(reason)
        for each in (self.method.combo, self.preset.combo, self.strength.combo, self.advise):
            allow(each, reason)

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._arrange(_COLUMNS if self.width() >= _WIDE else 1)

    def _arrange(self, columns: int) -> None:
        """Put the choices side by side, or one under the other."""
        if columns == self._columns:
            return
        self._columns = columns
        while self._grid.count():
            self._grid.takeAt(0)
        for place, each in enumerate((self.method, self.preset, self.strength)):
            line, column = divmod(place, columns)
            for part, widget in enumerate((each.title, each.combo, each.sentence)):
                self._grid.addWidget(widget, 3 * line + part, column, Qt.AlignmentFlag.AlignTop)
        for column in range(_COLUMNS):
            self._grid.setColumnStretch(column, 1 if column < columns else 0)

    def _preset_picked(self, name: str) -> None:
        plan = self._session.plan()
        values = preset_values(name, private=plan.private, method=method_of(plan))
        self._session.set_plan(values)

    def _mark_fitting(self, name: str) -> None:
        self.preset.recommend(name, "Fits this computer.")

    def _advise(self) -> None:
        session = self._session

        def take(found: tuple[Choice, ...]) -> None:
            session.set_plan({each.setting: each.value for each in found})
            self.chosen.emit(found)

        session.do(lambda: choose(session.profile, session.plan()), take, owner=self)


class _Choice(QObject):
    """A named choice with a sentence about what is chosen. A plan of its own is "Custom"."""

    picked = pyqtSignal(str)

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = label(title, "tiny", wrap=False)
        self.title.setTextFormat(Qt.TextFormat.AutoText)
        self.combo = QComboBox()
        self.combo.setAccessibleName(title.replace("&", ""))
        self.combo.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.combo.setMinimumContentsLength(5)
        self.title.setBuddy(self.combo)
        self.sentence: QLabel = label("", "tiny")
        self._sentences: dict[str, str] = {}
        self.combo.activated.connect(self._activated)

    def add(self, name: str, title: str, sentence: str) -> None:
        """Offer `name` under `title`."""
        self.combo.addItem(title, name)
        self._sentences[name] = sentence

    def recommend(self, name: str, why: str) -> None:
        """Say with `name` why it is the one to take."""
        self._sentences[name] = f"{why} {self._sentences[name]}"
        self.show_name(self.combo.currentData())

    def show_name(self, name: str | None) -> None:
        """Show `name`; None is a plan of the user's own."""
        custom = self.combo.findData(None)
        if name is None and custom < 0:
            self.combo.addItem(_CUSTOM, None)
        elif name is not None and custom >= 0:
            self.combo.removeItem(custom)
        self.combo.setCurrentIndex(self.combo.findData(name))
        words = self._sentences[name] if name else "Settings of your own, under Advanced settings."
        self.sentence.setText(words)
        self.combo.setToolTip(words)

    def _activated(self) -> None:
        if (name := self.combo.currentData()) is not None:
            self.picked.emit(name)
