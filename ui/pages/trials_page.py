"""Trials: a version tried in a part of the conversations, A/B tests, and what was decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PyQt6.QtCore import QTimer

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.version_names import VersionNames
from ui.widgets.ab_panel import ABPanel, Tests
from ui.widgets.basics import Card, Page, label
from ui.widgets.canary_panel import CanaryPanel, CanaryState
from ui.widgets.table import Table
from ui.words import count, figure, moment, share, short
from xeno.experiments.ab import ABTestingManager
from xeno.experiments.canary import Canaries
from xeno.experiments.decisions import Decision, history
from xeno.store.profile import Profile
from xeno.versions.activation import SERVED
from xeno.versions.registry import Registry, Version

_SOON = 1000  # ms until what has changed is read again
_ROWS = 5  # of a table that stands among others
_ANALYSED = 20  # of the tests, the newest
_WORDS = {
    "started": "begun",
    "promoted": "promoted",
    "rolled_back": "taken back",
    "replaced": "replaced",
    "ended": "ended",
}


@dataclass(frozen=True)
class _Read:
    versions: list[Version]
    canary: CanaryState | None
    tests: Tests
    decisions: list[Decision]


class TrialsPage(Page):
    """Live: read again, on another thread, soon after a reply."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._names = VersionNames(session)
        self.canary = CanaryPanel(session)
        self.tests = ABPanel(session)
        self.model: RowsModel[Decision] = RowsModel(
            [
                Column("When", lambda each: moment(each.created), lambda each: each.seq),
                Column("What", self._subject),
                Column("Decided", lambda each: _WORDS[each.action]),
                Column("By", lambda each: "itself" if each.automatic else "you"),
                Column("Why", lambda each: each.reason),
            ],
            self,
        )
        self.table = Table("Decisions", "Nothing was tried yet.")
        self.table.show_model(self.model)
        self.table.widths(14, 12, 9, 6, 40)
        self.table.setMinimumHeight(self.table.fontMetrics().height() * 2 * (_ROWS + 1))
        decided = Card("Decisions", "Each was written down with the numbers it was made on.")
        decided.add(self.table)
        self.numbers = label("", "muted")
        self.numbers.setAccessibleName("Numbers of the selected decision")
        decided.add(self.numbers)
        for part in (self.canary, self.tests, decided):
            self.add(part)
        self._soon = QTimer(self, singleShot=True, interval=_SOON)
        self._soon.timeout.connect(self.reload)
        for changed in (session.replies_changed, session.versions_changed):
            changed.connect(self._changed)
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self._tell_numbers())
        self.canary.changed.connect(self._act)
        self.tests.changed.connect(self._act)

    def reload(self) -> None:
        """Read again what is tried and what was decided."""
        profile = self._session.profile
        self._session.do(lambda: _read(profile), self._show, owner=self, key="trials")
        self._names.reload()

    def _changed(self) -> None:
        if self.isVisible() and not self._soon.isActive():
            self._soon.start()

    def _act(self, work: Callable[[], Any], said: str) -> None:
        """Carry out what a panel was asked for, then show how things are."""

        def done(_result: object) -> None:
            self._session.told.emit(said, "")
            self._session.versions_changed.emit()
            self.reload()

        def failed(error: BaseException) -> None:
            self._session.tasks.failed.emit(error)
            self.reload()

        self._session.tasks.run(work, done, failed, owner=self, in_order=True)

    def _show(self, found: _Read) -> None:
        self.canary.show_state(found.canary, found.versions, found.tests.going)
        self.tests.show_tests(found.tests, found.versions, found.canary is not None)
        self.model.show(found.decisions)
        self._tell_numbers()

    def _tell_numbers(self) -> None:
        place = self.table.chosen_row()
        chosen = self.model.records[place : place + 1] if place >= 0 else []
        self.numbers.setText(numbers_in_words(chosen[0]) if chosen else "Select one to see them.")

    def _subject(self, decision: Decision) -> str:
        subject = decision.subject
        return self._names.describe(subject).split(" · ")[0] if len(subject) == 64 else subject

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()


def numbers_in_words(decision: Decision) -> str:
    """What was known when the decision was made."""
    numbers = decision.numbers
    if "active" in numbers:
        sides = ((name, numbers[name.casefold()]) for name in ("Canary", "Active"))
        told = [
            f"{name}: {count(arm['requests'], 'request')}, {arm['failed']:,} failed, "
            f"{figure(arm['seconds'], 2, 's')} per reply, "
            f"{count(arm['conversations'], 'conversation')}, {share(arm['acceptance'])} accepted."
            for name, arm in sides
        ]
        return " ".join((*told, f"Evidence {short(numbers['evidence'])} of {numbers['needed']:g}."))
    if decision.action == "ended" and numbers:
        return " ".join(
            f"{metric}: {figure(each['variant_a_mean'])} and {figure(each['variant_b_mean'])}, "
            f"evidence {short(each['evidence'])} of {short(each['needed'])}."
            for metric, each in numbers.items()
        )
    return decision.reason


def _read(profile: Profile) -> _Read:
    canaries, tests = Canaries(profile), ABTestingManager(profile.name, profile=profile)
    canaries.settle()
    canary, every = canaries.current(), tests.all()
    state = None
    if canary is not None:
        state = CanaryState(canary, canaries.label(canary), canaries.standing(canary))
    analyses = {each.name: tests.analyze_test(each.name) for each in every[:_ANALYSED]}
    return _Read(
        versions=[each for each in Registry(profile).all() if each.state in SERVED],
        canary=state,
        tests=Tests(every, analyses, tests.in_chat()),
        decisions=history(profile.db),
    )
