"""Which pairs to show, and in which order: the controls above the table of pairs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from PyQt6.QtCore import QDate, QDateTime, Qt, QTime, QTimer, pyqtSignal
from PyQt6.QtWidgets import QComboBox, QDateEdit, QGridLayout, QLineEdit, QVBoxLayout, QWidget

from ui.widgets.basics import allow, button, label, row
from xeno.store.pair_browsing import FINDINGS, PairFilter
from xeno.store.pairs import FeedbackType

_DELAY = 250  # ms after the last key
_DAY = 86_400.0
_BETWEEN = "between"
_TIP = Qt.ItemDataRole.ToolTipRole

_KINDS: Mapping[str, tuple[FeedbackType, ...]] = {
    "Any kind": (),
    "Corrections": ("correction",),
    "Choices": ("choice",),
    "Imported": ("import",),
}
_USED: Mapping[str, bool | None] = {
    "Used or not": None,
    "Used in training": True,
    "Left out": False,
}
_SCORES: Mapping[str, tuple[float | None, float | None]] = {
    "Any score": (None, None),
    "Below 0.5": (None, 0.499),
    "0.5 to 0.8": (0.5, 0.8),
    "Above 0.8": (0.801, None),
}
_TIMES: Mapping[str, float | str | None] = {
    "Any time": None,
    "Last 24 hours": _DAY,
    "Last 7 days": 7 * _DAY,
    "Last 30 days": 30 * _DAY,
    "Between two days": _BETWEEN,
}
# (column of the table, downwards)
ORDERS: Mapping[str, tuple[int, bool]] = {
    "Newest first": (6, True),
    "Oldest first": (6, False),
    "Lowest score first": (4, False),
    "Highest score first": (4, True),
    "Longest first": (1, True),
    "Shortest first": (1, False),
    "Heaviest first": (5, True),
    "By kind": (3, False),
}
FINDING_NAMES: Mapping[str, str] = {
    "alike": "Replies alike",
    "no_words": "Chosen has no words",
    "repetitive": "Repeats itself",
    "lengths": "Lengths far apart",
    "prompt": "Prompt says nothing",
    "too_long": "Too long",
    "language": "Other language",
    "secret": "Secret",
    "personal_data": "Personal data",
    "near_duplicate": "Near-duplicate",
    "contradiction": "Contradiction",
}


class PairFilters(QWidget):
    """The filter as controls. `changed` is emitted when the user has chosen another."""

    changed = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search in prompts and replies")
        self.search.setAccessibleName("Search pairs")
        self.search.setClearButtonEnabled(True)
        self.kind = _combo("Kind of feedback", _KINDS)
        self.used = _combo("Used in training or left out", _USED)
        self.score = _combo("Score", _SCORES)
        self.time = _combo("Time", _TIMES)
        self.finding = _combo("Finding of the doctor", {"Any findings": None})
        self.finding.addItem("With any finding", "any")
        for kind, name in FINDING_NAMES.items():
            self.finding.addItem(name, kind)
            self.finding.setItemData(self.finding.count() - 1, _sentence(kind), _TIP)
        self.version = _combo("Version that learned from them", {"Any version": None})
        self.order = _combo("Order", ORDERS)
        self.since, self.until = _day("From this day"), _day("To this day, included")
        self.clear = button("Clear fil&ters", name="Clear all filters")
        self._wait = QTimer(self, singleShot=True, interval=_DELAY)
        self._lay_out()
        self._connect()
        self._gate()

    def filter(self) -> PairFilter:
        """What is chosen."""
        low, high = self.score.currentData()
        since, until = self._bounds()
        return PairFilter(
            text=self.search.text().strip(),
            kinds=tuple(self.kind.currentData()),
            lowest_score=low,
            highest_score=high,
            since=since,
            until=until,
            active=self.used.currentData(),
            version=self.version.currentData(),
            finding=self.finding.currentData(),
        )

    def show_finding(self, kind: str) -> None:
        """Show all pairs with the finding `kind`, whatever was chosen before."""
        self.reset(tell=False)
        self.finding.setCurrentIndex(max(0, self.finding.findData(kind)))
        self._change()

    def show_versions(self, versions: Sequence[tuple[str, str]]) -> None:
        """Offer the versions (name, content address); what was chosen stays."""
        chosen = self.version.currentData()
        self.version.blockSignals(True)
        while self.version.count() > 1:
            self.version.removeItem(1)
        for name, address in versions:
            self.version.addItem(name, address)
        self.version.setCurrentIndex(max(0, self.version.findData(chosen)))
        self.version.blockSignals(False)
        allow(self.version, "" if versions else "There are no versions yet.")

    def reset(self, *, tell: bool = True) -> None:
        """Show everything; the order stays."""
        self.search.blockSignals(True)
        self.search.clear()
        self.search.blockSignals(False)
        for combo in self._combos:
            combo.setCurrentIndex(0)
        if tell:
            self._change()

    def _lay_out(self) -> None:
        self._combos = (
            self.kind, self.used, self.score, self.time, self.finding, self.version,
        )  # fmt: skip
        self.days = QWidget()
        days = row(label("From", wrap=False), self.since, label("to", wrap=False), self.until, None)
        days.setContentsMargins(0, 0, 0, 0)
        self.days.setLayout(days)
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(8)
        for place, combo in enumerate(self._combos):
            grid.addWidget(combo, place // 3, place % 3)
            grid.setColumnStretch(place % 3, 1)
        head = row(self.search, self.order, self.clear, spacing=8)
        head.setStretch(0, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(head)
        layout.addLayout(grid)
        layout.addWidget(self.days)

    def _connect(self) -> None:
        self.search.textChanged.connect(lambda _: self._wait.start())
        self._wait.timeout.connect(self._change)
        for combo in self._combos:
            combo.activated.connect(lambda _: self._change())
        for day in (self.since, self.until):
            day.dateChanged.connect(lambda _: self._change())
        self.clear.clicked.connect(lambda: self.reset())

    def _change(self) -> None:
        self._wait.stop()
        self._gate()
        self.changed.emit()

    def _gate(self) -> None:
        self.days.setVisible(self.time.currentData() == _BETWEEN)
        plain = self.filter() == PairFilter()
        allow(self.clear, "Nothing is filtered." if plain else "")

    def _bounds(self) -> tuple[float | None, float | None]:
        chosen = self.time.currentData()
        if chosen is None:
            return None, None
        if chosen != _BETWEEN:
            # To the minute, so that the filter is the same when it is asked twice.
            return (time.time() - float(chosen)) // 60 * 60, None
        first, last = self.since.date(), self.until.date()
        return _midnight(first), _midnight(last.addDays(1))


def _sentence(kind: str) -> str:
    return FINDINGS[kind][:1].upper() + FINDINGS[kind][1:]


def _midnight(day: QDate) -> float:
    return float(QDateTime(day, QTime(0, 0)).toSecsSinceEpoch())


def _combo(name: str, choices: Mapping[str, Any]) -> QComboBox:
    combo = QComboBox()
    combo.setAccessibleName(name)
    combo.setToolTip(name)
    combo.setMinimumContentsLength(8)
    for text, value in choices.items():
        combo.addItem(text, value)
    return combo


def _day(name: str) -> QDateEdit:
    edit = QDateEdit(QDate.currentDate())
    edit.setAccessibleName(name)
    edit.setCalendarPopup(True)
    edit.setDisplayFormat("yyyy-MM-dd")
    return edit
