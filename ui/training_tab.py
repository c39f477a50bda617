"""Training: from the pairs that are ready to a version that can be deployed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from PyQt6.QtCore import Qt, QTimer, pyqtSignal
from PyQt6.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QMessageBox,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ui.forecasting import ForecastFeed
from ui.session import PLAN, Session
from ui.tasks import Explanation
from ui.training_thread import TrainingThread
from ui.widgets.base_picker import BasePicker
from ui.widgets.basics import Card, Page, allow, button, label, row
from ui.widgets.forecast_panel import ForecastPanel
from ui.widgets.notice import Notice
from ui.widgets.plan_form import PlanForm
from ui.widgets.plots import LinePlot
from ui.widgets.result_card import ResultCard
from ui.widgets.runs_table import RunsTable
from ui.words import count, duration, size
from xeno.events import Evaluated, LogLine, Progress, RunFinished, RunStarted
from xeno.store.pairs import Pairs
from xeno.training.forecast import Forecast
from xeno.training.plan import MINIMUM_PAIRS, TrainingPlan

# How far a version may move from the base, in words: the plan's beta.
STRENGTHS = {"Gentle": 0.2, "Balanced": 0.05, "Strong": 0.02}
# These have a place of their own: the base picker, and the Privacy tab.
ELSEWHERE = {"base", "private", "epsilon", "delta", "max_grad_norm"}
ADVANCED = tuple(name for name in TrainingPlan.model_fields if name not in ELSEWHERE)
_APART = 150  # ms: the first painting of a plot takes a while, so one after the other
_PACE = 0.25  # seconds between two changes of the words beside the progress bar
ENDINGS = {
    "completed": "The run is complete.",
    "stopped": "The run was stopped, and what it had learned is kept.",
    "discarded": "The run was stopped and discarded.",
    "failed": "The run failed.",
}


class TrainingTab(QWidget):
    """Set up, start, watch and stop a run; read what came of it.

    Args:
        session: the open profile.
        feed: the forecast of the next run.
        import_pairs: opens the import dialog.
    """

    privacy_wanted = pyqtSignal()  # the user wants to see the Privacy tab

    def __init__(
        self, session: Session, feed: ForecastFeed, import_pairs: Callable[[], object]
    ) -> None:
        super().__init__()
        self._session = session
        self._feed = feed
        self._import_pairs = import_pairs
        self._no_base = ""
        self._stopping = False
        self.form: PlanForm | None = None
        self.reset: QPushButton | None = None
        self.thread_of_run: TrainingThread | None = None
        self.notice = Notice(session.theme)
        page = Page()
        page.add(self.notice)
        page.add(self._start_card())
        page.add(self._live_card())
        self.result = ResultCard(session)
        page.add(self.result)
        upper = QHBoxLayout()
        upper.setSpacing(16)
        upper.addWidget(self._data_card(), 1)
        upper.addWidget(self._settings_card(), 1)
        page.add(upper)
        page.add(self._advanced_card())
        page.add(self._history_card())
        page.column.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(page)
        self._connect()
        self._show_plan()
        self._gate()

    @property
    def training(self) -> bool:
        """Whether a run goes on."""
        return self.thread_of_run is not None

    # What the tab is made of --------------------------------------------------------------

    def _start_card(self) -> Card:
        card = Card("Next run")
        self.forecast = ForecastPanel(self._feed)
        card.add(self.forecast)
        self.start = button("&Start training", "primary", name="Start training")
        self.stop = button("S&top…", name="Stop training")
        self.state = label("", "muted")
        line = row(self.start, self.stop, self.state)
        line.setStretch(2, 1)
        card.add(line)
        return card

    def _live_card(self) -> Card:
        card = self.live = Card("This run")
        self.progress = QProgressBar()
        self.progress.setAccessibleName("Training progress")
        self.progress.setTextVisible(False)
        # Not a label: a label's new text lays the whole page out again, every step.
        self.pace = QLineEdit(readOnly=True)
        self.pace.setAccessibleName("Progress in words")
        self.pace.setProperty("kind", "plain")
        self._paced = 0.0
        session = self._session
        self.loss = LinePlot(session, "Loss", bottom="step")
        self.margin = LinePlot(session, "Reward margin", bottom="step", delay=80)
        self.accuracy = LinePlot(
            session,
            "Held-out preference accuracy",
            dots=True,
            shares=True,
            bottom="step",
            delay=160,
        )
        plots = QGridLayout()
        plots.setSpacing(12)
        for column, plot in enumerate((self.loss, self.margin, self.accuracy)):
            plot.setFixedHeight(220)
            plot.hide()
            plots.addWidget(plot, 0, column)
            plots.setColumnStretch(column, 1)
        self.log = QPlainTextEdit(readOnly=True)
        self.log.setAccessibleName("Log of the run")
        self.log.setMaximumBlockCount(2000)
        self.log.setFixedHeight(110)
        for part in (self.progress, self.pace):
            card.add(part)
        card.add(plots)
        card.add(self.log)
        card.hide()
        return card

    def _data_card(self) -> Card:
        card = Card("Base model and data")
        self.base = BasePicker(self._session)
        card.add(self.base)
        self.ready = label("", wrap=True)
        self.import_button = button("&Import pairs…", tip="Read pairs from a file (Ctrl+I)")
        self.import_button.clicked.connect(self._import_pairs)
        line = row(self.ready, self.import_button)
        line.setStretch(0, 1)
        card.add(line)
        card.body.addStretch(1)
        return card

    def _settings_card(self) -> Card:
        card = Card("How it learns")
        self.strength = QComboBox()
        self.strength.setAccessibleName("Strength of change")
        title = label("Strength of &change", wrap=False)
        title.setTextFormat(Qt.TextFormat.AutoText)
        title.setBuddy(self.strength)
        line = row(title, self.strength)
        line.setStretch(1, 1)
        card.add(line)
        card.add(label("How far the new version may move from the base model.", "tiny"))
        self.privacy = label("")
        self.privacy_link = button("Change in Privacy", "link", name="Go to the Privacy tab")
        self.privacy_link.clicked.connect(self.privacy_wanted)
        line = row(self.privacy, self.privacy_link)
        line.setStretch(0, 1)
        card.add(line)
        card.body.addStretch(1)
        return card

    def _advanced_card(self) -> Card:
        card = self.advanced = Card()
        self.advanced_switch = button("&Advanced settings", "link", name="Show advanced settings")
        self.advanced_switch.setCheckable(True)
        self.advanced_switch.toggled.connect(self._show_advanced)
        card.body.setContentsMargins(12, 8, 18, 8)
        card.add(self.advanced_switch)
        return card

    def _history_card(self) -> Card:
        card = Card("Earlier runs")
        self.runs = RunsTable(self._session)
        card.add(self.runs)
        return card

    def _connect(self) -> None:
        self.start.clicked.connect(self.begin)
        self.stop.clicked.connect(self._ask_stop)
        self.strength.activated.connect(self._strength_chosen)
        self._session.plan_changed.connect(self._show_plan)
        self._session.pairs_changed.connect(self._count_pairs)
        self._feed.updated.connect(lambda _: self._forecast_known(""))
        self._feed.failed.connect(lambda error: self._forecast_known(Explanation.of(error).what))
        self._feed.waiting.connect(self._gate)

    # Settings -----------------------------------------------------------------------------

    def _show_advanced(self, shown: bool) -> None:
        if self.form is None:  # most never open it, and its editors take time to make
            self.form = PlanForm(ADVANCED)
            self.form.edited.connect(lambda name, value: self._session.set(PLAN + name, value))
            self.reset = button("Reset to de&faults", name="Reset the advanced settings")
            self.reset.clicked.connect(self._reset_plan)
            self.advanced.add(self.form)
            self.advanced.add(self.reset)
            self._show_plan()
            self._gate()
        self.form.setVisible(shown)
        if self.reset is not None:
            self.reset.setVisible(shown)

    def _values(self) -> dict[str, Any]:
        return {
            name: self._session.setting(PLAN + name, field.default)
            for name, field in TrainingPlan.model_fields.items()
        }

    def _show_plan(self) -> None:
        values = self._values()
        if self.form is not None:
            self.form.show_values(values)
        self.strength.clear()
        for name, beta in STRENGTHS.items():
            self.strength.addItem(name, beta)
        place = self.strength.findData(values["beta"])
        if place < 0:
            self.strength.addItem(f"Custom (beta {values['beta']:g})", values["beta"])
            place = self.strength.count() - 1
        self.strength.setCurrentIndex(place)
        if values["private"]:
            self.privacy.setText(f"With differential privacy, ε at most {values['epsilon']:g}.")
        else:
            self.privacy.setText("Without privacy: the version may remember single pairs.")

    def _strength_chosen(self) -> None:
        self._session.set(PLAN + "beta", self.strength.currentData())

    def _reset_plan(self) -> None:
        for name in ADVANCED:
            self._session.set(PLAN + name, TrainingPlan.model_fields[name].default)

    def _count_pairs(self) -> None:
        pairs = Pairs(self._session.profile.db)

        def show(ready: int) -> None:
            missing = MINIMUM_PAIRS - ready
            more = f" {missing:,} more are needed." if missing > 0 else ""
            self.ready.setText(f"{count(ready, 'pair')} ready.{more}")

        self._session.do(lambda: pairs.count(active=True), show, owner=self, key="ready pairs")

    def _forecast_known(self, problem: str) -> None:
        self._no_base = problem
        self._gate()

    def _why_not(self) -> str:
        if self.training:
            return "A run is training. Stop it first, or wait until it ends."
        forecast: Forecast | None = self._feed.latest
        if forecast is None:
            return self._no_base or "The forecast is being made."
        return forecast.blockers[0] if forecast.blockers else ""

    def _gate(self) -> None:
        reason = self._why_not()
        allow(self.start, reason)
        busy = "Not while a run is training." if self.training else ""
        self.base.allow_choice(busy)
        allow(self.strength, busy)
        if self.form is not None and self.reset is not None:
            self.form.allow_editing(busy)
            allow(self.reset, busy)
        if self._stopping:
            allow(self.stop, "The run is being stopped.")
        else:
            allow(self.stop, "" if self.training else "No run is training.")
        if not self.training:
            self.state.setText(reason)

    # A run --------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start a run of the plan as it is set now."""
        if self._why_not():
            return
        thread = TrainingThread(self._session.profile, self._session.plan(), self)
        self.thread_of_run = thread
        thread.created.connect(self._created)
        thread.begun.connect(self._begun)
        thread.progressed.connect(self._progressed)
        thread.evaluated.connect(self._evaluated)
        thread.logged.connect(self._logged)
        thread.failed.connect(self._failed)
        thread.ended.connect(self._ended)
        for plot in (self.loss, self.margin, self.accuracy):
            plot.clear()
        self.log.clear()
        self.notice.hide()
        self.result.begin()
        self.progress.setRange(0, 0)
        self.pace.setText("")
        self.live.show()
        self.state.setText("Loading the model and the pairs…")
        self._stopping = False
        self._gate()
        thread.start()

    def _created(self, run_id: str) -> None:
        self.runs.reload()
        self._session.run_started.emit(run_id)

    def _begun(self, event: RunStarted) -> None:
        self.progress.setRange(0, event.steps)
        self.progress.setValue(0)
        for place, plot in enumerate((self.loss, self.margin, self.accuracy)):
            plot.clear(end=event.steps)
            QTimer.singleShot(_APART * place, plot.show)
        words = f"{count(event.pairs_training, 'pair')} to learn from"
        if event.pairs_heldout:
            words += f", {event.pairs_heldout:,} held out to measure"
        if event.pairs_left_out:
            words += f", {event.pairs_left_out:,} left out because they do not fit the model"
        self._write(f"{words}. {count(event.steps, 'step')}, {event.dtype}.")
        self.state.setText(
            "Training with privacy." if event.private else "Training without privacy."
        )

    def _progressed(self, event: Progress) -> None:
        self.progress.setValue(event.step)
        if event.loss is not None:  # no finite number: a gap in the curve, never a zero
            self.loss.add_point("loss", event.step, event.loss)
        if event.reward_margin is not None:
            self.margin.add_point("margin", event.step, event.reward_margin)
        now = time.monotonic()
        if now - self._paced < _PACE and event.step < event.steps:
            return
        self._paced = now
        self.pace.setText(
            f"Step {event.step:,} of {event.steps:,}, {duration(event.eta_seconds)} left, "
            f"{event.pairs_per_second:.1f} pairs/s, {size(event.memory_bytes)} of memory."
        )

    def _evaluated(self, event: Evaluated) -> None:
        if event.preference_accuracy is not None:
            self.accuracy.add_point("accuracy", event.step, event.preference_accuracy)
        self.result.evaluated(event)

    def _logged(self, event: LogLine) -> None:
        self._write(event.text if event.level == "info" else f"Warning: {event.text}")

    def _failed(self, error: BaseException) -> None:
        self.notice.explain(error)
        told = Explanation.of(error)
        self._write(f"{told.what} {told.why}".strip())

    def _ended(self, event: RunFinished) -> None:
        thread, self.thread_of_run = self.thread_of_run, None
        if thread is not None:
            thread.wait()
            thread.deleteLater()
        self._stopping = False
        if self.progress.maximum() == 0:
            self.progress.setRange(0, 1)
        self._write(f"{ENDINGS[event.status]} It took {duration(event.seconds)}.")
        self._gate()
        self.state.setText(ENDINGS[event.status])
        self.result.finished(event)
        self.runs.reload()
        self._session.run_finished.emit(event)
        if event.version is not None:
            self._session.versions_changed.emit()
        else:
            self._feed.refresh()

    def _write(self, text: str) -> None:
        self.log.appendPlainText(text)

    def _ask_stop(self) -> None:
        question = QMessageBox(self)
        question.setWindowTitle("Stop training")
        question.setText("Stop this run?")
        question.setInformativeText(
            "Keep makes a version of what was learned so far. Discard leaves nothing behind."
        )
        keep = question.addButton("&Keep", QMessageBox.ButtonRole.AcceptRole)
        discard = question.addButton("&Discard", QMessageBox.ButtonRole.DestructiveRole)
        go_on = question.addButton("&Go on training", QMessageBox.ButtonRole.RejectRole)
        question.setDefaultButton(go_on)
        question.setEscapeButton(go_on)
        question.exec()
        if question.clickedButton() in (keep, discard):
            self.stop_run(keep=question.clickedButton() is keep)

    def stop_run(self, keep: bool) -> None:
        """Stop the run; `keep` makes a version of what it has learned so far."""
        thread = self.thread_of_run
        if thread is None:
            return
        self._stopping = True
        self._gate()
        self.state.setText("Stopping…")
        self._session.do(lambda: thread.stop(keep))

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self._count_pairs()
        self.runs.reload()
        for plot in (self.loss, self.margin, self.accuracy):
            plot.prepare()
        if self._feed.latest is None:
            self._feed.refresh()
