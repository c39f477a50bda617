"""A form made from the declaration of the training plan: one line per setting.

Titles, descriptions, ranges and defaults come from `TrainingPlan`; a setting that is added
there appears here.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QSpinBox,
    QWidget,
)

from ui.widgets.basics import allow, label
from xeno.training.plan import TrainingPlan

_AUTOMATIC = "automatic"
_LARGEST = 2**31 - 1


class NumberBox(QDoubleSpinBox):
    """A number with up to six decimals, shown with no more of them than it has."""

    def __init__(self) -> None:
        super().__init__()
        self.setDecimals(6)
        self.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)

    def textFromValue(self, value: float) -> str:  # noqa: N802
        text = self.locale().toString(value, "f", self.decimals())
        point = self.locale().decimalPoint()
        return text.rstrip(self.locale().zeroDigit()).rstrip(point) if point in text else text


class PlanForm(QWidget):
    """Editors for the plan's `fields`. `edited` gives the name and the new value."""

    edited = pyqtSignal(str, object)

    def __init__(self, fields: Iterable[str], columns: int = 2) -> None:
        super().__init__()
        self.editors: dict[str, QWidget] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(24)
        grid.setVerticalSpacing(4)
        for place, name in enumerate(fields):
            declared = TrainingPlan.model_fields[name]
            editor = self._editor(name, declared)
            title, description = declared.title or name, declared.description or ""
            editor.setAccessibleName(title)
            editor.setToolTip(description)
            self.editors[name] = editor
            line, column = divmod(place, columns)
            heading = label(title, wrap=False)
            heading.setBuddy(editor)
            grid.addWidget(heading, 3 * line, column)
            grid.addWidget(editor, 3 * line + 1, column)
            grid.addWidget(label(description, "tiny"), 3 * line + 2, column)
            grid.setRowMinimumHeight(3 * line + 2, 34)
            grid.setColumnStretch(column, 1)

    def show_values(self, values: dict[str, Any]) -> None:
        """Show `values` without saying that anything was edited."""
        for name, editor in self.editors.items():
            if name not in values:
                continue
            blocked = editor.blockSignals(True)
            _put(editor, values[name])
            editor.blockSignals(blocked)

    def allow_editing(self, reason: str = "") -> None:
        """Enable all editors, or disable them with the reason."""
        for editor in self.editors.values():
            allow(editor, reason)

    def _editor(self, name: str, declared: FieldInfo) -> QWidget:
        kind, optional = _kind(declared.annotation)
        if kind is bool:
            check = QCheckBox(declared.title or name)
            check.toggled.connect(lambda on: self.edited.emit(name, on))
            return check
        if get_origin(kind) is Literal:
            combo = QComboBox()
            for value in get_args(kind):
                combo.addItem(str(value), value)
            combo.currentIndexChanged.connect(lambda _: self.edited.emit(name, combo.currentData()))
            return combo
        low, high = _range(declared)
        box: QSpinBox | QDoubleSpinBox
        if kind is int:
            box = QSpinBox()
            box.setRange(int(low) - (1 if optional else 0), int(min(high, _LARGEST)))
        else:
            box = NumberBox()
            above_zero = low == 0 and not optional and _exclusive(declared)
            box.setRange(10.0 ** -box.decimals() if above_zero else low, min(high, 1e6))
        if optional:
            box.setSpecialValueText(_AUTOMATIC)
        box.setKeyboardTracking(False)
        box.setProperty("optional", optional)
        box.valueChanged.connect(lambda _: self.edited.emit(name, _value(box)))
        return box


def _kind(annotation: Any) -> tuple[Any, bool]:
    """The type without None, and whether None is allowed."""
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [each for each in get_args(annotation) if each is not type(None)]
        return kinds[0], len(kinds) < len(get_args(annotation))
    return annotation, False


def _range(declared: FieldInfo) -> tuple[float, float]:
    low, high = 0.0, float("inf")
    whole = _kind(declared.annotation)[0] is int
    for rule in declared.metadata:
        if isinstance(rule, Ge):
            low = float(rule.ge)  # type: ignore[arg-type]
        elif isinstance(rule, Gt):
            low = float(rule.gt) + (1 if whole else 0)  # type: ignore[arg-type]
        elif isinstance(rule, Le):
            high = float(rule.le)  # type: ignore[arg-type]
        elif isinstance(rule, Lt):
            high = float(rule.lt) - (1 if whole else 0)  # type: ignore[arg-type]
    return low, high


def _exclusive(declared: FieldInfo) -> bool:
    return any(isinstance(rule, Gt) for rule in declared.metadata)


def _value(box: QSpinBox | QDoubleSpinBox) -> int | float | None:
    if box.property("optional") and box.value() == box.minimum():
        return None
    return box.value()


def _put(editor: QWidget, value: Any) -> None:
    if isinstance(editor, QCheckBox):
        editor.setChecked(bool(value))
    elif isinstance(editor, QComboBox):
        editor.setCurrentIndex(editor.findData(value))
    elif isinstance(editor, QSpinBox):
        editor.setValue(editor.minimum() if value is None else int(value))
    elif isinstance(editor, QDoubleSpinBox):
        editor.setValue(editor.minimum() if value is None else float(value))
