"""The privacy of a run as a slider in plain words, from more private to learns more."""

from __future__ import annotations

import math

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtWidgets import QHBoxLayout, QSlider, QVBoxLayout, QWidget

from ui.widgets.basics import label, set_kind
from xeno.privacy.budget import strength

LOWEST, HIGHEST = 0.1, 20.0
_STEPS = 400
_WORDS = {
    "strong": "Strong: hardly anything about a single pair can be found in the version.",
    "moderate": "Moderate: a single pair is hidden well in practice.",
    "weak": "Weak: better than nothing, but a determined look could find traces of a pair.",
}
_KINDS = {"strong": "good", "moderate": "", "weak": "warning"}


class EpsilonSlider(QWidget):
    """Epsilon on a logarithmic scale from 0.1 to 20."""

    changed = pyqtSignal(float)

    def __init__(self) -> None:
        super().__init__()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, _STEPS)
        self.slider.setPageStep(20)
        self.slider.setAccessibleName("Privacy of the next run, epsilon")
        self.slider.setToolTip("Left is more private, right learns more. Arrow keys move it.")
        self.value_label = label("", "heading", wrap=False)
        self.words = label("")
        ends = QHBoxLayout()
        ends.addWidget(label("more private", "tiny", wrap=False))
        ends.addStretch(1)
        ends.addWidget(label("learns more", "tiny", wrap=False))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.value_label)
        layout.addWidget(self.slider)
        layout.addLayout(ends)
        layout.addWidget(self.words)
        self.slider.valueChanged.connect(self._moved)
        self._describe(self.epsilon())

    def epsilon(self) -> float:
        """The chosen epsilon, rounded to what is shown."""
        return _epsilon(self.slider.value())

    def show_epsilon(self, epsilon: float) -> None:
        """Show `epsilon` without saying that it was changed."""
        blocked = self.slider.blockSignals(True)
        if self.epsilon() != epsilon:
            self.slider.setValue(_place(epsilon))
        self.slider.blockSignals(blocked)
        self._describe(epsilon)

    def _moved(self) -> None:
        self._describe(self.epsilon())
        self.changed.emit(self.epsilon())

    def _describe(self, epsilon: float) -> None:
        word = strength(epsilon)
        self.value_label.setText(f"ε = {epsilon:g}  ·  {word}")
        self.words.setText(_WORDS[word])
        set_kind(self.value_label, "heading")
        set_kind(self.words, _KINDS[word] or "muted")
        self.slider.setAccessibleDescription(f"{epsilon:g}, {word}")


def _place(epsilon: float) -> int:
    share = math.log(max(LOWEST, min(HIGHEST, epsilon)) / LOWEST) / math.log(HIGHEST / LOWEST)
    return round(_STEPS * share)


def _epsilon(place: int) -> float:
    value = LOWEST * (HIGHEST / LOWEST) ** (place / _STEPS)
    return float(f"{value:.2g}")
