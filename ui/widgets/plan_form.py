"""All settings of a run in the order of their families, made from their declarations.

A family is folded up until it is opened or something in it is searched for, and its editors are
made then: a hundred of them at once would hold the window up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic.fields import FieldInfo
from PyQt6.QtCore import QTimer, pyqtSignal
from PyQt6.QtWidgets import QCheckBox, QLineEdit, QVBoxLayout, QWidget

from ui.theme import Theme
from ui.widgets.basics import allow, button, label, row
from ui.widgets.fold import Fold
from ui.widgets.setting_row import SettingRow
from ui.words import count
from xeno.training.plan import SECTIONS, TrainingPlan
from xeno.training.settings.declaration import effects, only

_SEARCH = 200  # ms after the last letter
_ONLY = {
    "private": "It matters only with differential privacy.",
    "plain": "It matters only without differential privacy.",
}


class PlanForm(QWidget):
    """The settings of the plan but for `elsewhere`. `edited` gives the name and the new value."""

    edited = pyqtSignal(str, object)

    def __init__(self, theme: Theme, elsewhere: Iterable[str] = ()) -> None:
        super().__init__()
        self._values: dict[str, Any] = {}
        self._busy = ""
        hidden = set(elsewhere)
        self.search = QLineEdit()
        self.search.setAccessibleName("Search the settings")
        self.search.setPlaceholderText("Search the settings")
        self.search.setClearButtonEnabled(True)
        self.changed_only = QCheckBox("Only c&hanged")
        self.changed_only.setAccessibleName("Show only settings that were changed")
        self.reset = button("Reset &all", name="Reset all settings to their defaults")
        self.reset.clicked.connect(self._reset_all)
        self.found = label("", "muted")
        self.sections = [
            _Section(theme, title, [name for name in family.model_fields if name not in hidden])
            for title, family in SECTIONS.items()
            if any(name not in hidden for name in family.model_fields)
        ]
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        line = row(self.search, self.changed_only, self.reset)
        line.setStretch(0, 1)
        layout.addLayout(line)
        layout.addWidget(self.found)
        for section in self.sections:
            section.edited.connect(self.edited)
            section.opened.connect(self._filled)
            layout.addWidget(section)
        self._later = QTimer(self, singleShot=True, interval=_SEARCH)
        self._later.timeout.connect(self._find)
        self.search.textChanged.connect(lambda _: self._later.start())
        self.changed_only.toggled.connect(lambda _: self._find())
        self.found.hide()

    @property
    def names(self) -> tuple[str, ...]:
        """The settings it has, in their order."""
        return tuple(name for section in self.sections for name in section.names)

    def editor(self, name: str) -> QWidget:
        """The widget that edits `name`; its family is opened for it."""
        section = next(each for each in self.sections if name in each.names)
        section.open()
        return section.rows[name].editor.widget

    def show_values(self, values: Mapping[str, Any]) -> None:
        """Show `values` without saying that anything was edited."""
        self._values = dict(values)
        self._filled()
        self._find()

    def allow_editing(self, reason: str = "") -> None:
        """Enable all editors, or disable them with the reason."""
        self._busy = reason
        self._filled()

    def changed(self) -> list[str]:
        """The settings that differ from their defaults."""
        return [name for name in self.names if self._is_changed(name)]

    def _is_changed(self, name: str) -> bool:
        return (
            name in self._values and self._values[name] != TrainingPlan.model_fields[name].default
        )

    def _filled(self) -> None:
        for section in self.sections:
            section.show_values(self._values, self._busy)
        none = "" if self.changed() else "Every setting has its default."
        allow(self.reset, self._busy or none)

    def _reset_all(self) -> None:
        for name in self.changed():
            self.edited.emit(name, TrainingPlan.model_fields[name].default)

    def _find(self) -> None:
        words = self.search.text().casefold().split()
        changed_only = self.changed_only.isChecked()
        looking = bool(words) or changed_only
        shown_now = 0
        for section in self.sections:
            wanted = {
                name
                for name in section.names
                if _matches(name, words) and (not changed_only or self._is_changed(name))
            }
            section.filter(wanted if looking else None)
            shown_now += len(wanted)
        self.found.setText(f"{count(shown_now, 'setting')} found." if looking else "")
        self.found.setVisible(looking)


class _Section(QWidget):
    """One family: a heading that folds it up, and a row for each setting."""

    edited = pyqtSignal(str, object)
    opened = pyqtSignal()

    def __init__(self, theme: Theme, title: str, names: list[str]) -> None:
        super().__init__()
        self._theme = theme
        self._title = title
        self._found: set[str] | None = None
        self.names = names
        self.rows: dict[str, SettingRow] = {}
        self.heading = Fold(theme, title, f"Settings of {title}")
        self.heading.toggled.connect(lambda _: self._unfold())
        self._body = QWidget()
        self._column = QVBoxLayout(self._body)
        self._column.setContentsMargins(6, 0, 0, 8)
        self._column.setSpacing(10)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.heading)
        layout.addWidget(self._body)
        self._body.hide()

    def open(self) -> None:
        """Unfold it."""
        self.heading.setChecked(True)

    def filter(self, wanted: set[str] | None) -> None:
        """Show only the rows that are `wanted`; None is all, folded up as before."""
        self._found = wanted
        self._unfold()

    def show_values(self, values: Mapping[str, Any], busy: str) -> None:
        """Fill in what is set, and how many of it differ from their defaults."""
        fields = TrainingPlan.model_fields
        changed = sum(
            name in values and values[name] != fields[name].default for name in self.names
        )
        words = f"{self._title}  ·  {len(self.names)}"
        self.heading.setText(f"{words}  ·  {changed} changed" if changed else words)
        for name, each in self.rows.items():
            if name in values:
                each.show_value(values[name])
            each.allow_editing(busy or _irrelevant(fields[name], bool(values.get("private"))))

    def _unfold(self) -> None:
        looking = self._found is not None
        visible = bool(self._found) if looking else self.heading.isChecked()
        if visible and not self.rows:
            self._build()
        for name, each in self.rows.items():
            each.setVisible(self._found is None or name in self._found)
        self._body.setVisible(visible)
        self.setVisible(visible or not looking)

    def _build(self) -> None:
        for name in self.names:
            line = self.rows[name] = SettingRow(self._theme, name, TrainingPlan.model_fields[name])
            line.edited.connect(self.edited)
            self._column.addWidget(line)
        self.opened.emit()


def _irrelevant(declared: FieldInfo, private: bool) -> str:
    """Why a setting does nothing in this kind of run; empty where it does."""
    kind = only(declared)
    if not kind or kind == ("private" if private else "plain"):
        return ""
    return _ONLY[kind]


def _matches(name: str, words: list[str]) -> bool:
    declared = TrainingPlan.model_fields[name]
    does = [word for effect in effects(declared).items() for word in effect]
    texts = (name, declared.title, declared.description, *does)
    text = " ".join(filter(None, texts)).casefold()
    return all(word in text for word in words)
