"""A search for settings: begin one, see what each trial scored, and use the best."""

from __future__ import annotations

from PyQt6.QtCore import QTimer, pyqtSignal
from PyQt6.QtGui import QHideEvent, QShowEvent
from PyQt6.QtWidgets import QSpinBox, QVBoxLayout, QWidget

from ui.rows_model import Column, RowsModel
from ui.session import PLAN, Session
from ui.widgets.basics import allow, button, label, labelled
from ui.widgets.flow import Flow
from ui.widgets.notice import Notice
from ui.widgets.table import Table
from ui.words import NONE, share
from xeno.jobs.search import FEWEST, MOST, Trial, begin, give_up, trials
from xeno.training.plan import TrainingPlan

LOOK_MILLISECONDS = 3000  # between two looks while a trial waits or runs
_ABOUT = (
    "Tries the settings above with other learning rates, betas and ranks in short runs, which "
    "stand in the queue and make no version. The best has the highest accuracy on the held-out "
    "pairs; with few of them the first place means little."
)
_PRIVATE_BY_DEFAULT = TrainingPlan.model_fields["private"].default
_GOING = "A search is going on."
_PRIVATE = (
    "Not with differential privacy: the best of several runs would depend on the pairs past the "
    "noise. Choose from my pairs instead."
)


class SearchPanel(QWidget):
    """The newest search of the profile, whoever began it, kept up to date while it can be seen."""

    use = pyqtSignal(TrainingPlan)  # the user wants the settings of this trial
    ended = pyqtSignal(Trial)  # the last trial of a search has ended; the best of them

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._why_not = ""
        self._busy = ""
        self._beginning = False
        self.model: RowsModel[Trial] = RowsModel(
            [
                Column("Rate scale", lambda each: f"{each.values['rate_scale']:.3g}", right=True),
                Column("Beta", lambda each: f"{each.values['beta']:.3g}", right=True),
                Column("Rank", lambda each: str(each.values["lora_rank"]), right=True),
                Column("Accuracy", lambda each: share(each.accuracy), right=True),
                Column("Loss", lambda each: _number(each.loss), right=True),
                Column("State", self._state),
            ],
            self,
        )
        self.table = Table("Trials of the search", "No search yet.", sortable=False)
        self.table.show_model(self.model, stretch=5)
        self.table.widths(8, 5, 5, 8, 6)
        self.table.setMinimumHeight(140)
        self.count = QSpinBox()
        self.count.setAccessibleName("How many trials")
        self.count.setRange(FEWEST, MOST)
        self.count.setValue(6)
        self.begin = button("Search for settings")
        self.stop = button("End the search", tip="Measured trials stay")
        self.apply = button("Use these settings", name="Use the settings of the chosen trial")
        self.notice = Notice(session.theme, "Message about the search")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(label(_ABOUT, "muted"))
        layout.addWidget(self.notice)
        layout.addLayout(Flow(labelled("Trials", self.count), self.begin, self.stop, self.apply))
        layout.addWidget(self.table)
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MILLISECONDS)
        self._timer.timeout.connect(self.reload)
        self.begin.clicked.connect(self._begin)
        self.stop.clicked.connect(self._give_up)
        self.apply.clicked.connect(self._apply)
        session.run_started.connect(lambda _: self.reload())
        session.run_finished.connect(lambda _: self.reload())
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self._gate())
        self._gate()

    @property
    def going(self) -> bool:
        """Whether a trial waits or runs."""
        return any(each.open for each in self.model.records)

    def reload(self) -> None:
        """Read the trials again, off this thread."""
        profile = self._session.profile
        self._session.do(lambda: trials(profile), self._show, owner=self, key="search")

    def allow_search(self, why_not: str, busy: str) -> None:
        """Let a search begin unless there is a reason `why_not`, and settings be taken over
        unless a run is `busy` with them."""
        self._why_not, self._busy = why_not, busy
        self._gate()

    # Parts --------------------------------------------------------------------------------

    def _show(self, found: list[Trial]) -> None:
        ended = self.going and not any(each.open for each in found)
        chosen = None if ended else self._chosen()
        if found != self.model.records:
            self.model.show(found)
            places = {each.run.id: place for place, each in enumerate(found)}
            self.table.choose_row(places.get(chosen.run.id, 0) if chosen else 0)
        if ended:
            self.ended.emit(found[0])
        self._gate()

    def _chosen(self) -> Trial | None:
        return self.model.at(self.table.chosen_row())

    def _state(self, trial: Trial) -> str:
        if trial.open:
            return trial.run.status
        if trial.accuracy is None and trial.loss is None:
            failure = trial.run.failure
            return f"failed: {failure.what}" if failure else "not measured"
        best = not self.going and trial is self.model.records[0]
        return "measured, the best" if best else "measured"

    def _gate(self) -> None:
        beginning = "The search is being queued." if self._beginning else ""
        private = self._session.setting(PLAN + "private", _PRIVATE_BY_DEFAULT)
        why_not = _GOING if self.going else _PRIVATE if private else self._why_not
        allow(self.begin, beginning or why_not)
        allow(self.count, beginning or (_GOING if self.going else ""))
        allow(self.stop, "" if self.going else "No search is going on.")
        none = "" if self._chosen() else "Choose a trial in the table first."
        allow(self.apply, none or self._busy)
        looking = self.going and self.isVisible()
        if looking != self._timer.isActive():
            self._timer.start() if looking else self._timer.stop()

    # Actions ------------------------------------------------------------------------------

    def _begin(self) -> None:
        session, plan, count = self._session, self._session.plan(), self.count.value()

        def work() -> list[Trial]:
            begin(session.queue, session.profile, plan, count)
            return trials(session.profile)

        def begun(found: list[Trial]) -> None:
            self._beginning = False
            self._show(found)

        def failed(error: BaseException) -> None:
            self._beginning = False
            self.notice.explain(error)
            self._gate()

        self.notice.hide()
        self._beginning = True
        self._gate()
        session.do(work, begun, owner=self, failed=failed)

    def _give_up(self) -> None:
        session = self._session
        session.do(
            lambda: give_up(session.queue, session.profile),
            lambda _: self.reload(),
            owner=self,
            failed=self.notice.explain,
        )

    def _apply(self) -> None:
        if (trial := self._chosen()) is not None:
            self.use.emit(trial.run.plan)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        super().showEvent(event)
        self.reload()

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802
        self._timer.stop()
        super().hideEvent(event)


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"
