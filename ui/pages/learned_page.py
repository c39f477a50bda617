"""What was learned of the user: consent, beliefs, and the evidence each of them rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import QCheckBox, QComboBox, QMessageBox, QTextBrowser

from ui.preference_words import how_sure, in_effect, title, value_name
from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import Card, Page, allow, button, label, row
from ui.widgets.distribution import Distribution, DistributionDelegate, spoken
from ui.widgets.notice import Notice
from ui.widgets.table import Table
from ui.words import NONE, count, moment, share
from xeno.personalization.evidence import SIGNALS, Evidence
from xeno.personalization.learning import Belief, Learner

_SHOWN = 300  # pieces of evidence of one belief
_DID = {
    "message": "You wrote",
    "rating": "You rated",
    "thumb": "You gave a thumb",
    "correction": "You corrected",
    "choice": "You chose",
}
_SIGNAL_TITLES = {
    "writing": "&Writing",
    "rating": "&Ratings",
    "correction": "&Corrections",
    "choice": "Ch&oices",
}
_CHOOSE_BELIEF = "Select a line in the table of beliefs first."
_CHOOSE_EVIDENCE = "Select a piece of evidence first."


@dataclass(frozen=True)
class _State:
    consent: bool
    signals: dict[str, bool]
    beliefs: tuple[Belief, ...]


class LearnedPage(Page):
    """Beliefs in a table; below, why the selected one is held, and what can be done about it.

    Args:
        session: the open profile.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._learner = Learner(session.profile)
        self._consent = False
        self._dimension = ""
        self._in_effect: str | None = None
        self.notice = Notice(session.theme)
        self.add(self.notice)
        self.add(self._consent_card())
        self.add(self._beliefs_card())
        self.add(self._why_card(), 1)
        for signal in (session.preferences_changed, session.replies_changed):
            signal.connect(self._changed)
        self._gate()

    def reload(self) -> None:
        """Read what is believed again, after the writes before it."""

        def read() -> _State:
            learner = self._learner
            return _State(bool(learner.consent), learner.signals(), tuple(learner.beliefs()))

        self._session.tasks.run(read, self._show, owner=self, key="beliefs", in_order=True)

    # Parts --------------------------------------------------------------------------------

    def _consent_card(self) -> Card:
        card = Card()
        self.consent = QCheckBox("&Learn from what I do")
        self.consent.setProperty("kind", "switch")
        self.consent.setAccessibleName("Learn from what I do")
        self.consent.clicked.connect(self._agree)
        self.consent_words = label("", "muted")
        card.add(self.consent)
        card.add(self.consent_words)
        self.signals: dict[str, QCheckBox] = {}
        for name, what in SIGNALS.items():
            box = QCheckBox(_SIGNAL_TITLES[name])
            box.setAccessibleName(f"Learn from {_SIGNAL_TITLES[name].replace('&', '').lower()}")
            box.setToolTip(what[0].upper() + what[1:] + ".")
            box.clicked.connect(lambda on, name=name: self._switch(name, on))
            self.signals[name] = box
        card.add(row(label("Learn from", wrap=False), *self.signals.values(), None, spacing=10))
        return card

    def _beliefs_card(self) -> Card:
        card = Card(
            "What is believed of you",
            "What you set wins, then what was learned surely enough, then the default.",
        )
        self.beliefs: RowsModel[Belief] = RowsModel(
            [
                Column("Preference", lambda b: title(b.dimension, brief=True)),
                Column("Belief", spoken, tip="How likely each value is"),
                Column("Likeliest", lambda b: value_name(b.value) if b.evidence else NONE),
                Column("How sure", how_sure),
                Column("Replies follow", lambda b: in_effect(b, self._consent)),
            ],
            self,
        )
        self.table = Table("What is believed of you", "Nothing yet.", sortable=False)
        self.table.show_model(self.beliefs, stretch=0)
        self.table.widths(18, 10, 11, 14, 19)
        self.table.hide_when_narrow(680, 3)  # how sure is what the drawing shows
        self.table.setItemDelegateForColumn(
            1, DistributionDelegate(self._session.theme, self.table)
        )
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self._selected())
        self.reset_all = button("Forget &everything learned…", "danger")
        self.reset_all.clicked.connect(lambda: self._reset(None))
        card.add(self.table, 1)
        card.add(row(None, self.reset_all))
        return card

    def _why_card(self) -> Card:
        card = Card("Why")
        self.why = card.heading
        self.said = label("", "muted")
        self.distribution = Distribution(self._session.theme)
        self.value = QComboBox()
        self.value.setAccessibleName("Value to set")
        self.value.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.pin = button("&Set", tip="Replies follow this value, whatever is learned")
        self.unpin = button("Let it &be learned", tip="Take back what you set")
        self.reset = button("For&get this…", "danger", name="Forget what was learned of this")
        self.evidence: RowsModel[Evidence] = RowsModel(
            [
                Column("When", lambda e: moment(e.created)[:10]),
                Column("What you did", lambda e: _DID[e.kind]),
                Column("It speaks for", lambda e: value_name(e.favours)),
                Column("Moved", _moved, right=True, tip="How much of the belief it moved"),
                Column("What was seen in it", lambda e: e.reason),
            ],
            self,
        )
        self.evidence_table = Table(
            "Evidence of this belief", "Nothing you did says anything about this yet."
        )
        self.evidence_table.show_model(self.evidence, stretch=4)
        self.evidence_table.widths(10, 15, 12, 7)
        self.evidence_table.hide_when_narrow(640, 0)
        self.evidence_table.setMinimumHeight(170)
        selection = self.evidence_table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self._evidence_selected())
        self.words = QTextBrowser()
        self.words.setAccessibleName("The words of the selected evidence")
        self.words.setFixedHeight(self.fontMetrics().lineSpacing() * 6 + 24)
        self.words.hide()
        self.count = button("Do &not count this", name="Count the selected evidence or not")
        self.pin.clicked.connect(self._pin)
        self.unpin.clicked.connect(self._unpin)
        self.reset.clicked.connect(lambda: self._reset(self._dimension))
        self.count.clicked.connect(self._count)
        key = QShortcut(QKeySequence(Qt.Key.Key_Delete), self.evidence_table)
        key.setContext(Qt.ShortcutContext.WidgetShortcut)
        key.activated.connect(self._count)
        card.add(self.said)
        card.add(self.distribution)
        card.add(row(self.value, self.pin, self.unpin, None, self.reset, spacing=8))
        card.add(self.evidence_table, 1)
        card.add(self.words)
        card.add(row(self.count, None))
        return card

    # Showing ------------------------------------------------------------------------------

    def _show(self, state: _State) -> None:
        self._consent = state.consent
        self.consent.setChecked(state.consent)
        self.consent_words.setText(
            "Nothing leaves this computer. Switched off, what was learned has no effect."
            if state.consent
            else "Nothing is learned until you switch this on. What you write, rate, correct and "
            "choose then tells how you like to be answered, on this computer only."
        )
        for name, box in self.signals.items():
            box.setChecked(state.signals[name])
        wanted = self._dimension
        self.beliefs.show(state.beliefs)
        one = self.table.verticalHeader()
        head = self.table.horizontalHeader()
        assert one is not None
        assert head is not None
        shown = min(7, max(4, len(state.beliefs)))
        self.table.setFixedHeight(one.defaultSectionSize() * shown + head.sizeHint().height() + 10)
        names = [each.dimension for each in state.beliefs]
        self.table.choose_row(names.index(wanted) if wanted in names else 0)
        self._gate()

    def _belief(self) -> Belief | None:
        chosen = self.table.chosen_row()
        return self.beliefs.records[chosen] if 0 <= chosen < len(self.beliefs.records) else None

    def _selected(self) -> None:
        belief = self._belief()
        if belief is None:
            return
        same = (belief.dimension, belief.in_effect) == (self._dimension, self._in_effect)
        if belief.dimension != self._dimension:
            self.evidence.show([])
        self._dimension, self._in_effect = belief.dimension, belief.in_effect
        self.why.setText(f"Why: {title(belief.dimension)}")
        self.said.setText(_sentence(belief, self._consent))
        self.distribution.show_belief(belief)
        if not same:  # a value that the user is about to set stays chosen
            self.value.clear()
            for value in belief.values:
                self.value.addItem(value_name(value), value)
            self.value.setCurrentIndex(self.value.findData(belief.in_effect or belief.value))
        dimension, learner = belief.dimension, self._learner
        self._session.tasks.run(
            lambda: learner.evidence(dimension, limit=_SHOWN),
            self._show_evidence,
            owner=self,
            key="evidence",
            in_order=True,
        )
        self._gate()

    def _show_evidence(self, found: list[Evidence]) -> None:
        kept = self._evidence()
        self.evidence.show(found)
        names = [each.id for each in found]
        if kept is not None and kept.id in names:
            self.evidence_table.choose_row(names.index(kept.id))
        self._evidence_selected()

    def _evidence(self) -> Evidence | None:
        chosen = self.evidence_table.chosen_row()
        return self.evidence.records[chosen] if 0 <= chosen < len(self.evidence.records) else None

    def _evidence_selected(self) -> None:
        found = self._evidence()
        self.words.setVisible(found is not None)
        if found is not None:
            words = found.text or "The words are deleted."
            self.words.setPlainText(f"{moment(found.created)}: {found.reason}\n\n{words}")
        self._gate()

    def _gate(self) -> None:
        belief, found = self._belief(), self._evidence()
        off = "" if self._consent else "Switch learning on first."
        for box in self.signals.values():
            allow(box, off)
        missing = "" if belief else _CHOOSE_BELIEF
        allow(self.value, missing)
        allow(self.pin, missing)
        pinned = belief is not None and belief.pinned is not None
        allow(self.unpin, missing or ("" if pinned else "You have not set this."))
        nothing = "" if self.evidence.records else "Nothing was learned of this."
        allow(self.reset, missing or nothing)
        learned = any(each.evidence for each in self.beliefs.records) or self.evidence.records
        allow(self.reset_all, "" if learned else "Nothing was learned yet.")
        off_kind = found is not None and not found.counted and not found.undone
        reason = "" if found else _CHOOSE_EVIDENCE
        allow(
            self.count,
            reason or ("Its kind is switched off, or it is too old to count." if off_kind else ""),
        )
        undone = found is not None and found.undone
        self.count.setText("Count it aga&in" if undone else "Do &not count this")

    # What the user decides ----------------------------------------------------------------

    def _agree(self, given: bool) -> None:
        self._write(lambda: self._learner.set_consent(given))

    def _switch(self, name: str, on: bool) -> None:
        self._write(lambda: self._learner.set_signal(name, on))

    def _pin(self) -> None:
        dimension, value = self._dimension, str(self.value.currentData())
        self._write(lambda: self._learner.pin(dimension, value))

    def _unpin(self) -> None:
        dimension = self._dimension
        self._write(lambda: self._learner.unpin(dimension))

    def _count(self) -> None:
        found = self._evidence()
        if found is None or not self.count.isEnabled():
            return
        change = self._learner.restore if found.undone else self._learner.undo
        self._write(lambda: change(found.id))

    def _reset(self, dimension: str | None) -> None:
        what = "everything that was learned" if dimension is None else title(dimension)
        answer = QMessageBox.question(
            self,
            "Forget what was learned?",
            f"The evidence of {what} is deleted for good. What you set stays, and so do your "
            "messages and pairs.",
            QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.Cancel,
            QMessageBox.StandardButton.Cancel,
        )
        if answer == QMessageBox.StandardButton.Yes:
            self._write(lambda: self._learner.reset(dimension))

    def _write(self, change: Callable[[], object]) -> None:
        self.notice.hide()
        self._session.tasks.run(
            change,
            lambda _: self._session.preferences_changed.emit(),
            self._failed,
            owner=self,
            in_order=True,
        )

    def _failed(self, error: BaseException) -> None:
        self.notice.explain(error)
        self.reload()

    def _changed(self) -> None:
        if self.isVisible():
            self.reload()

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()


def _moved(evidence: Evidence) -> str:
    if evidence.undone:
        return "not counted"
    return share(evidence.moved) if evidence.counted else "off"


def _sentence(belief: Belief, consent: bool) -> str:
    """The belief in plain words."""
    following = f"Replies follow: {in_effect(belief, consent)}."
    if belief.in_effect is None:
        following = "The model is not told a level in this topic."
    if not belief.evidence:
        return f"Nothing you did says anything about this yet. {following}"
    seen = count(belief.evidence, "piece of evidence", "pieces of evidence")
    return f"{value_name(belief.value)}: {how_sure(belief).lower()}, from {seen}. {following}"
