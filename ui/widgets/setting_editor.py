"""The editor of one setting, made from its declaration: a switch, a choice, a number or a text."""

from __future__ import annotations

import math
from typing import Any

from pydantic.fields import FieldInfo
from PyQt6.QtCore import QEvent, QObject, Qt, QTimer, pyqtSignal
from PyQt6.QtGui import QWheelEvent
from PyQt6.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QLineEdit,
    QPlainTextEdit,
    QSpinBox,
    QWidget,
)

from xeno.training.settings.declaration import unit
from xeno.training.settings.values import Values, values_of

AUTOMATIC = "automatic"
_LARGEST = 2**31 - 1
_LARGEST_FLOAT = 1e9
_TYPING = 600  # ms after the last letter of a text


class NumberBox(QDoubleSpinBox):
    """A number with up to eight decimals, shown with no more of them than it has."""

    def __init__(self) -> None:
        super().__init__()
        self.setDecimals(8)
        self.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)

    def textFromValue(self, value: float) -> str:  # noqa: N802
        text = self.locale().toString(value, "f", self.decimals())
        point = self.locale().decimalPoint()
        return text.rstrip(self.locale().zeroDigit()).rstrip(point) if point in text else text


class SettingEditor(QObject):
    """Makes the `widget` that edits one setting, and speaks the setting's own values.

    Args:
        declared: the setting's declaration.
        parent: owns this object; the widget goes where a layout puts it.
    """

    edited = pyqtSignal(object)

    def __init__(self, name: str, declared: FieldInfo, parent: QObject) -> None:
        super().__init__(parent)
        self._values = values_of(declared)
        self.multiline = isinstance(declared.default, str) and "\n" in declared.default
        self.widget = self._make(declared.title or name, unit(declared))
        self.widget.setAccessibleName(declared.title or name)
        self.widget.setToolTip(declared.description or "")
        if isinstance(self.widget, QAbstractSpinBox | QComboBox):
            self.widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            self.widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        # Scrolling the page must not change the settings that pass under the pointer.
        if isinstance(event, QWheelEvent) and not self.widget.hasFocus():
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    def show_value(self, value: Any) -> None:
        """Show `value` without saying that it was edited."""
        blocked = self.widget.blockSignals(True)
        if isinstance(self.widget, QCheckBox):
            self.widget.setChecked(bool(value))
        elif isinstance(self.widget, QComboBox):
            self.widget.setCurrentIndex(self.widget.findData(value))
        elif isinstance(self.widget, QSpinBox):
            self.widget.setValue(self.widget.minimum() if value is None else int(value))
        elif isinstance(self.widget, QDoubleSpinBox):
            self.widget.setValue(self.widget.minimum() if value is None else float(value))
        elif isinstance(self.widget, QLineEdit):
            text = ", ".join(value) if isinstance(value, tuple | list) else str(value or "")
            if text != self.widget.text():
                self.widget.setText(text)
        elif isinstance(self.widget, QPlainTextEdit) and value != self.widget.toPlainText():
            self.widget.setPlainText(str(value or ""))
        self.widget.blockSignals(blocked)

    # Kinds --------------------------------------------------------------------------------

    def _make(self, title: str, unit_of: str) -> QWidget:
        values = self._values
        if values.kind is bool:
            check = QCheckBox(title)
            check.toggled.connect(lambda on: self.edited.emit(on))
            return check
        if values.choices:
            return self._choice(values)
        if values.kind in (int, float):
            return self._number(values, unit_of)
        return self._paragraph() if self.multiline else self._text(values)

    def _choice(self, values: Values) -> QComboBox:
        combo = QComboBox()
        if values.optional:
            combo.addItem(AUTOMATIC, None)
        for value in values.choices:
            combo.addItem(str(value).replace("_", " "), value)
        combo.currentIndexChanged.connect(lambda _: self.edited.emit(combo.currentData()))
        return combo

    def _number(self, values: Values, unit_of: str) -> QWidget:
        box: QSpinBox | NumberBox
        if values.kind is int:
            box = QSpinBox()
            low = max(values.low + values.above_low, -_LARGEST)
            box.setRange(int(low) - values.optional, int(min(values.high, _LARGEST)))
            box.setGroupSeparatorShown(True)
            box.setStepType(QSpinBox.StepType.AdaptiveDecimalStepType)
        else:
            box = NumberBox()
            least = 10.0 ** -box.decimals()
            low = -_LARGEST_FLOAT if values.low == -math.inf else values.low
            high = min(values.high, _LARGEST_FLOAT) - values.below_high * least
            # Where 0 is excluded it stands for "automatic", if that is a value.
            box.setRange(low + (values.above_low and not values.optional) * least, high)
            if values.optional and not values.above_low:
                box.setMinimum(low - 1)
        if values.optional:
            box.setSpecialValueText(AUTOMATIC)
        if unit_of:
            box.setSuffix(f" {unit_of}")
        box.setKeyboardTracking(False)
        box.valueChanged.connect(lambda _: self.edited.emit(self._number_in(box)))
        return box

    def _number_in(self, box: QSpinBox | NumberBox) -> int | float | None:
        if self._values.optional and box.value() == box.minimum():
            return None
        return max(box.value(), self._values.low) if self._values.optional else box.value()

    def _text(self, values: Values) -> QLineEdit:
        edit = QLineEdit()
        if values.optional:
            edit.setPlaceholderText(AUTOMATIC)

        def done() -> None:
            text = edit.text().strip()
            if values.kind is tuple:
                self.edited.emit(tuple(part.strip() for part in text.split(",") if part.strip()))
            else:
                self.edited.emit(text if text or not values.optional else None)

        edit.editingFinished.connect(done)
        return edit

    def _paragraph(self) -> QPlainTextEdit:
        edit = QPlainTextEdit()
        edit.setTabChangesFocus(True)
        edit.setFixedHeight(edit.fontMetrics().lineSpacing() * 4 + 20)
        later = QTimer(self, singleShot=True, interval=_TYPING)
        later.timeout.connect(lambda: self.edited.emit(edit.toPlainText()))
        edit.textChanged.connect(later.start)
        return edit
