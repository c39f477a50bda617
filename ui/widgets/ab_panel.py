"""A/B tests: created, watched and ended here. The chat does not say which version answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QComboBox, QLineEdit, QMenu

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import Card, allow, button, row
from ui.widgets.table import Table
from ui.words import NONE, moment, short
from xeno.experiments.ab import ABTest, ABTestingManager
from xeno.versions.registry import Version

_NARROW = 660  # px of a table, below which less important columns go
_ROWS = 3  # of a table that stands among others
_WINNERS = {None: "without a winner", "variant_a": "A is better", "variant_b": "B is better"}
_METRICS = {"rating": "Rating", "accepted": "Accepted", "preferred": "Picked side by side"}

Analysis = Mapping[str, Any]


@dataclass(frozen=True)
class Tests:
    """All tests, the newest first, the analyses of the newest ones, and the one in the chat."""

    every: Sequence[ABTest]
    analyses: Mapping[str, Analysis]
    going: ABTest | None


class ABPanel(Card):
    """`changed` hands on what is to be done, and the words for when it is done."""

    changed = pyqtSignal(object, str)

    def __init__(self, session: Session) -> None:
        super().__init__(
            "A/B tests",
            "Two versions answer by turns, a conversation by one of them, and the chat does not "
            "say which. Of tests without a difference one in twenty at most names a winner.",
        )
        self._manager = ABTestingManager(session.profile.name, profile=session.profile)
        self._analyses: Mapping[str, Analysis] = {}
        self._labels: dict[str, str] = {}
        self.name = QLineEdit()
        self.name.setAccessibleName("Name of the test")
        self.name.setPlaceholderText("Name of the test")
        self.sides = tuple(_versions(f"Version {side}") for side in "AB")
        self.create = button("&Begin", name="Begin the test in the chat")
        self.model: RowsModel[ABTest] = RowsModel(self._columns(), self)
        self.table = _table("A/B tests", "No test was begun yet.")
        self.table.show_model(self.model)
        self.table.widths(12, 6, 6, 14, 14, 7)
        self.table.hide_when_narrow(_NARROW, 3)
        self.metrics: RowsModel[tuple[str, Analysis]] = RowsModel(_metric_columns(), self)
        self.analysis = _table("Results of the selected test", "Select a test above.")
        self.analysis.show_model(self.metrics)
        self.analysis.widths(14, 5, 5, 7, 9, 12, 16)
        self.analysis.hide_when_narrow(_NARROW, 3, 4)
        self.end = button("&End", name="End the selected test")
        self.end_menu = QMenu(self.end)
        for winner, words in _WINNERS.items():
            action = self.end_menu.addAction(words[0].upper() + words[1:])
            assert action is not None
            action.triggered.connect(lambda _=False, winner=winner: self._end(winner))
        self.end.setMenu(self.end_menu)
        begin = row(self.name, *self.sides, self.create)
        begin.setStretch(0, 1)
        self.add(begin)
        self.add(self.table)
        self.add(self.analysis)
        self.add(row(self.end, None))
        self.create.clicked.connect(self._create)
        self.name.returnPressed.connect(self.create.click)
        self.name.textChanged.connect(lambda _: self._gate())
        for side in self.sides:
            side.currentIndexChanged.connect(lambda _: self._gate())
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self._chosen_changed())
        self._busy = ""
        self._gate()

    def show_tests(self, tests: Tests, versions: Sequence[Version], canary: bool) -> None:
        """Show how the tests do, and offer to begin one."""
        chosen = self._chosen()
        self._analyses = tests.analyses
        self._labels = {"base": "Base"} | {each.address: each.label for each in versions}
        self._busy = "A canary is being tried; promote it or take it back first." if canary else ""
        if tests.going is not None:
            self._busy = f"The test “{tests.going.name}” goes on in the chat; end it first."
        for place, side in enumerate(self.sides):
            _refill(side, self._labels, place)
        self.model.show(tests.every)
        names = [each.name for each in tests.every]
        if names:
            self.table.choose_row(names.index(chosen.name) if chosen else 0)
        self._chosen_changed()

    def _chosen(self) -> ABTest | None:
        place = self.table.chosen_row()
        return self.model.records[place] if 0 <= place < len(self.model.records) else None

    def _chosen_changed(self) -> None:
        chosen = self._chosen()
        found = self._analyses.get(chosen.name) if chosen else None
        self.metrics.show(list(found["metrics"].items()) if found else [])
        self._gate()

    def _gate(self) -> None:
        a, b = (side.currentData() for side in self.sides)
        why = self._busy
        if not why and a == b:
            why = "Choose two different versions." if a else "There is no version to test yet."
        if not why and not self.name.text().strip():
            why = "Give the test a name."
        allow(self.create, why)
        for control in (self.name, *self.sides):
            allow(control, self._busy)
        chosen = self._chosen()
        if chosen is None:
            allow(self.end, "Select a test in the table first.")
        else:
            allow(self.end, "" if chosen.ended is None else "This test has ended.")

    def _create(self) -> None:
        name = self.name.text().strip()
        a, b = (str(side.currentData()) for side in self.sides)
        self.name.clear()
        self.changed.emit(
            lambda: self._manager.create_test(name, a, b, in_chat=True), f"The test {name} begins."
        )

    def _end(self, winner: str | None) -> None:
        chosen = self._chosen()
        if chosen is not None:
            self.changed.emit(
                lambda: self._manager.end_test(chosen.name, winner),
                f"The test {chosen.name} has ended, {_WINNERS[winner]}.",
            )

    def _columns(self) -> list[Column[ABTest]]:
        return [
            Column("Test", lambda each: each.name),
            Column("A", lambda each: self._model(each.model_a)),
            Column("B", lambda each: self._model(each.model_b)),
            Column("Begun", lambda each: moment(each.created), lambda each: each.created),
            Column("Ended", lambda each: moment(each.ended), lambda each: each.ended or 0.0),
            Column("Winner", lambda each: {"variant_a": "A", "variant_b": "B"}.get(
                each.winner or "", NONE)),
        ]  # fmt: skip

    def _model(self, name: str) -> str:
        return self._labels.get(name, name[:12])


def _metric_columns() -> list[Column[tuple[str, Analysis]]]:
    def number(key: str) -> Any:
        return lambda each: NONE if each[1][key] is None else short(each[1][key])

    return [
        Column("Metric", lambda each: _METRICS.get(each[0], each[0])),
        Column("A", number("variant_a_mean")),
        Column("B", number("variant_b_mean")),
        Column(
            "Results", lambda each: f"{each[1]['variant_a_count']} + {each[1]['variant_b_count']}"
        ),
        Column("Difference", number("difference")),
        Column(
            "Evidence",
            lambda each: f"{short(each[1]['evidence'])} of {short(each[1]['needed'])}",
            tip="1 is none; at the second number a winner is named",
        ),
        Column("Better", lambda each: _BETTER[each[1]["winner"]]),
    ]


_BETTER = {None: "not enough evidence", "variant_a": "A", "variant_b": "B"}


def _table(name: str, empty: str) -> Table:
    table = Table(name, empty)
    table.setFixedHeight(table.fontMetrics().height() * 2 * (_ROWS + 1) + 8)
    return table


def _versions(name: str) -> QComboBox:
    combo = QComboBox()
    combo.setAccessibleName(name)
    combo.setMinimumContentsLength(5)
    return combo


def _refill(combo: QComboBox, labels: Mapping[str, str], place: int) -> None:
    """Offer these versions; the first choice is another for each side."""
    chosen = combo.currentData()
    combo.blockSignals(True)
    combo.clear()
    for address, words in labels.items():
        combo.addItem(words, address)
    found = combo.findData(chosen)
    combo.setCurrentIndex(found if found >= 0 else min(place, combo.count() - 1))
    combo.blockSignals(False)
