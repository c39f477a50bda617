"""A version that is tried in a part of the conversations: begun, watched and ended here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QComboBox, QSpinBox, QVBoxLayout, QWidget

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import Card, allow, button, label, row
from ui.widgets.table import Table
from ui.words import figure, share, size
from xeno.experiments.ab import ABTest
from xeno.experiments.canary import Canaries, Canary
from xeno.experiments.canary_rules import Arm, Standing
from xeno.versions.registry import Version

_COUNTED = "A conversation counts once you have turned to another one, or paused for an hour."


@dataclass(frozen=True)
class CanaryState:
    """What is being tried, and how it does."""

    canary: Canary
    label: str
    standing: Standing


class CanaryPanel(Card):
    """`changed` hands on what is to be done, and the words for when it is done."""

    changed = pyqtSignal(object, str)

    def __init__(self, session: Session) -> None:
        super().__init__("Canary")
        self._canaries = Canaries(session.profile)
        self.told = label("", "muted")
        self.version = QComboBox()
        self.version.setAccessibleName("Version to try")
        self.traffic = QSpinBox()
        self.traffic.setAccessibleName("Share of the conversations, in percent")
        self.traffic.setRange(1, 100)
        self.traffic.setValue(10)
        self.traffic.setSuffix(" %")
        self.start = button("&Try it", name="Try the version in a part of the conversations")
        self.promote = button("&Promote", "primary", name="Let the canary answer everywhere")
        self.stop = button("Take &back", name="Take the canary back")
        self.model: RowsModel[tuple[str, Arm]] = RowsModel(_columns(), self)
        self.table = Table("How the canary does", "No version is being tried.", sortable=False)
        self.table.show_model(self.model)
        self.table.widths(9, 7, 5, 7, 7, 7)
        self.table.setFixedHeight(self.table.fontMetrics().height() * 2 * 3 + 8)
        self.beginning, self.going = QWidget(), QWidget()
        self.beginning.setLayout(row(self.version, self.traffic, self.start, None))
        column = QVBoxLayout(self.going)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        column.addLayout(row(self.promote, self.stop, None))
        for part in (self.told, self.beginning, self.going):
            self.add(part)
        self.going.hide()
        self.start.clicked.connect(self._start)
        self.promote.clicked.connect(
            lambda: self.changed.emit(self._canaries.promote, "The version answers everywhere now.")
        )
        self.stop.clicked.connect(
            lambda: self.changed.emit(self._canaries.stop, "The version was taken back.")
        )

    def show_state(
        self, state: CanaryState | None, versions: Sequence[Version], test: ABTest | None
    ) -> None:
        """Show what is being tried, or offer to begin."""
        self.beginning.setVisible(state is None)
        self.going.setVisible(state is not None)
        if state is not None:
            self._show_going(state)
            return
        self.told.setText(
            "A canary answers in a part of the conversations. It is taken back by itself where "
            "it fails, is slow, takes too much memory, or is liked less."
        )
        chosen = self.version.currentData()
        self.version.clear()
        for each in versions:
            if each.state != "active":
                self.version.addItem(each.label, each.address)
        self.version.setCurrentIndex(max(0, self.version.findData(chosen)))
        why = "" if self.version.count() else "No version that passed the gate is waiting."
        if test is not None:
            why = f"The test “{test.name}” goes on in the chat; end it first."
        for control in (self.version, self.traffic, self.start):
            allow(control, why)

    def _show_going(self, state: CanaryState) -> None:
        standing, limits = state.standing, state.canary.limits
        self.model.show([(state.label, standing.canary), ("Active", standing.active)])
        self.told.setText(
            f"{state.label} answers in {share(state.canary.traffic)} of the conversations. It is "
            f"taken back at over {share(limits.error_rate)} errors, {limits.seconds:g} s per "
            f"reply, {size(limits.memory_bytes)}, or evidence of {standing.needed:g} that its "
            f"replies are accepted less often (now {standing.evidence:.3g}). {_COUNTED}"
        )

    def _start(self) -> None:
        address, traffic = self.version.currentData(), self.traffic.value() / 100
        words = f"{self.version.currentText()} answers in {self.traffic.text()} of conversations."
        self.changed.emit(lambda: self._canaries.start(address, traffic), words)


def _columns() -> list[Column[tuple[str, Arm]]]:
    return [
        Column("Version", lambda each: each[0]),
        Column("Requests", lambda each: f"{each[1].requests:,}", tip="The latest 100 at most"),
        Column("Failed", lambda each: f"{each[1].failed:,}"),
        Column("Mean", lambda each: figure(each[1].seconds, 2, "s"), tip="Mean time of a reply"),
        Column(
            "Counted",
            lambda each: f"{each[1].conversations:,}",
            tip=f"Conversations whose acceptance counts. {_COUNTED}",
        ),
        Column("Accepted", lambda each: share(each[1].acceptance)),
    ]
