"""Training: from the pairs that are ready to a version that can be deployed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QCheckBox, QMessageBox, QVBoxLayout, QWidget

from ui import notification
from ui.forecasting import ForecastFeed
from ui.session import PLAN, Session
from ui.tasks import Explanation
from ui.training_thread import TrainingThread
from ui.widgets.basics import Card, Page, allow, button, label
from ui.widgets.flow import Flow
from ui.widgets.fold import Fold
from ui.widgets.forecast_panel import ForecastPanel
from ui.widgets.notice import Notice
from ui.widgets.plan_file_buttons import PlanFileButtons
from ui.widgets.plan_form import PlanForm
from ui.widgets.queue_panel import QueuePanel
from ui.widgets.result_card import ResultCard
from ui.widgets.run_setup import RunSetup
from ui.widgets.run_view import ENDINGS, MEASURED, RunView
from ui.widgets.runs_panel import RunsPanel
from ui.widgets.search_panel import SearchPanel
from ui.words import count, share
from xeno.errors import XenoError
from xeno.events import Evaluated, RunFinished, RunStarted
from xeno.jobs.search import Trial
from xeno.store.runs import Run, Runs
from xeno.training.candidates import repeated
from xeno.training.choice import Choice
from xeno.training.forecast import Forecast
from xeno.training.plan import TrainingPlan

# These have a place of their own: the choices above, and the Privacy tab.
ELSEWHERE = {"base", "method", "private", "privacy_unit", "epsilon", "delta", "max_grad_norm"}
_BUSY = "Not while a run is training."


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
        self._no_forecast = ""
        self._stopping = False
        self._begin_when_ready = False
        self._trial = False
        self.form: PlanForm | None = None
        self.thread_of_run: TrainingThread | None = None
        self.notice = Notice(session.theme)
        self.setup = RunSetup(session, import_pairs)
        self.forecast = ForecastPanel(feed)
        self.view = RunView(session)
        self.result = ResultCard(session)
        self.runs = RunsPanel(session)
        self.page = Page()
        for part in (
            self.notice,
            self.view,
            self.result,
            self._start_card(),
            self._advanced_card(),
            self._search_card(),
            self._queue_card(),
            self._history_card(),
        ):
            self.page.add(part)
        self.page.column.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.page)
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
        card.add(self.setup)
        card.add(self.forecast)
        self.start = button("&Start training", "primary", name="Start training")
        self.stop = self.view.stop
        self.state = label("", "muted")
        self.notify = QCheckBox("Tell me on the &desktop when it ends")
        self.notify.setAccessibleName("Tell me on the desktop when a run ends")
        self.notify.setChecked(bool(self._session.setting(notification.SETTING, True)))
        self.notify.toggled.connect(lambda on: self._session.set(notification.SETTING, on))
        card.add(Flow(self.start, self.notify, spacing=14))
        card.add(self.state)
        return card

    def _advanced_card(self) -> Card:
        card = self.advanced = Card()
        self.advanced_switch = Fold(
            self._session.theme, "&Advanced settings", "Show advanced settings"
        )
        self.advanced_switch.toggled.connect(self._show_advanced)
        card.body.setContentsMargins(12, 8, 18, 8)
        card.add(self.advanced_switch)
        return card

    def _search_card(self) -> Card:
        card = Card()
        self.search = SearchPanel(self._session)
        self.search.hide()
        fold = self.search_switch = Fold(
            self._session.theme, "Search &for settings", "Show the search for settings"
        )
        fold.toggled.connect(self.search.setVisible)
        card.body.setContentsMargins(12, 8, 18, 8)
        card.add(fold)
        card.add(self.search)
        return card

    def _history_card(self) -> Card:
        card = Card("Earlier runs")
        card.add(self.runs)
        return card

    def _queue_card(self) -> Card:
        card = Card("Queue", "Runs that wait for their turn on this computer, of all profiles.")
        self.queue = QueuePanel(self._session)
        card.add(self.queue)
        return card

    def _connect(self) -> None:
        self.start.clicked.connect(self.begin)
        self._session.runs.opened.connect(self._opened)
        self.stop.clicked.connect(self._ask_stop)
        self.setup.privacy_wanted.connect(self.privacy_wanted)
        self.setup.chosen.connect(self._tell_choices)
        self.runs.again.connect(self.begin_again)
        self.runs.resume.connect(self.resume)
        self.search.use.connect(lambda plan: self.take_over(repeated(plan), self._say_taken_over))
        self.search.ended.connect(self._search_ended)
        self._session.plan_changed.connect(self._show_plan)
        self._session.pairs_changed.connect(self.setup.count_pairs)
        self._feed.updated.connect(lambda _: self._forecast_known(""))
        self._feed.failed.connect(lambda error: self._forecast_known(Explanation.of(error).what))
        self._feed.waiting.connect(self._gate)

    # Settings -----------------------------------------------------------------------------

    def _show_advanced(self, shown: bool) -> None:
        if self.form is None:  # most never open it, and it takes time to make
            self.form = PlanForm(self._session.theme, ELSEWHERE)
            self.form.edited.connect(lambda name, value: self._session.set_plan({name: value}))
            self.files = PlanFileButtons(self._session)
            self.files.opened.connect(lambda plan: self.take_over(plan, self._say_taken_over))
            self.advanced.add(self.files)
            self.advanced.add(self.form)
            self._show_plan()
            self._gate()
        self.files.setVisible(shown)
        self.form.setVisible(shown)

    def _values(self) -> dict[str, Any]:
        return {
            name: self._session.setting(PLAN + name, field.default)
            for name, field in TrainingPlan.model_fields.items()
        }

    def _show_plan(self) -> None:
        if self.form is not None:
            self.form.show_values(self._values())
        try:
            self.setup.show_plan(self._session.plan())
        except XenoError as error:  # the forecast says so too, beside Start
            self._forecast_known(Explanation.of(error).what)

    def _tell_choices(self, choices: tuple[Choice, ...]) -> None:
        if not choices:
            self.notice.inform("There are no pairs yet to choose settings from.", kind="warning")
            return
        fields = TrainingPlan.model_fields
        self.notice.inform(
            f"{count(len(choices), 'setting')} chosen from your pairs.",
            "\n".join(
                f"{fields[each.setting].title}: {each.value}. {each.reason}" for each in choices
            ),
            action="&Good",
        )

    def _forecast_known(self, problem: str) -> None:
        self._no_forecast = problem
        self._gate()
        if not self._begin_when_ready or self.training:
            return
        self._begin_when_ready = False
        if reason := self._why_not():
            self.notice.inform("The run cannot be started again.", reason, kind="warning")
        else:
            self.begin()

    def _why_not(self) -> str:
        if self.training:
            return "A run is training. Stop it first, or wait until it ends."
        forecast: Forecast | None = self._feed.latest
        if forecast is None:
            return self._no_forecast or "The forecast is being made."
        return forecast.blockers[0] if forecast.blockers else ""

    def _gate(self) -> None:
        reason = self._why_not()
        allow(self.start, reason)
        busy = _BUSY if self.training else ""
        self.setup.allow_editing(busy)
        self.runs.allow_runs(busy)
        if self.form is not None:
            self.form.allow_editing(busy)
            self.files.allow_editing(busy)
        blockers = self._feed.latest.blockers if self._feed.latest else ()
        self.search.allow_search(blockers[0] if blockers else "", busy)
        if self._stopping:
            allow(self.stop, "The run is being stopped.")
        else:
            allow(self.stop, "" if self.training else "No run is training.")
        if not self.training:
            self._say(reason)

    # A run --------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start a run of the plan as it is set now."""
        if self._why_not():
            return
        self._session.runs.start(self._session.plan())

    def resume(self, run: Run) -> None:
        """Go on with an interrupted run from its newest checkpoint."""
        if not self.training:
            self._session.runs.resume(run.id)

    def _opened(self, thread: TrainingThread) -> None:
        """Show a run that begins: by the button, or because its turn in the queue has come."""
        self.thread_of_run = thread
        thread.created.connect(self._created)
        thread.begun.connect(self._begun)
        thread.progressed.connect(self.view.progressed)
        thread.evaluated.connect(self._evaluated)
        thread.sampled.connect(self.view.sampled)
        thread.logged.connect(self.view.logged)
        thread.paused.connect(self.view.paused)
        thread.continued.connect(self.view.continued)
        thread.failed.connect(self._failed)
        thread.ended.connect(self._ended)
        self.notice.hide()
        self.result.begin()
        self.view.begin()
        bar = self.page.verticalScrollBar()
        if bar is not None:
            bar.setValue(0)
        self._say("Loading the model and the pairs…")
        self._stopping = False
        self._gate()

    def begin_again(self, run: Run) -> None:
        """Take over the settings of `run`, then start as soon as the forecast allows it."""

        def begin() -> None:
            self._begin_when_ready = True
            self._feed.refresh()

        self.take_over(repeated(run.plan), begin)

    def take_over(self, plan: TrainingPlan, then: Callable[[], object]) -> None:
        """Make `plan` that of the next run, with its base if that can be used."""

        def taken() -> None:
            self.setup.base.reload()
            then()

        self._session.adopt(plan, taken, self.notice.explain, owner=self)

    def _say_taken_over(self) -> None:
        self._feed.refresh()
        self._session.told.emit("The next run has these settings.", "")

    def _search_ended(self, best: Trial) -> None:
        if best.accuracy is None and best.loss is None:
            self.notice.inform("The search has ended, and nothing was measured.", kind="warning")
            return
        self.notice.inform(
            "The search has ended.",
            f"Held-out preference accuracy of the best settings: {share(best.accuracy)}.",
            action="&Use them",
            do=lambda: self.take_over(repeated(best.run.plan), self._say_taken_over),
        )

    def _created(self, run_id: str) -> None:
        self.runs.reload()
        self._trial = False
        runs = Runs(self._session.profile.db)
        self._session.do(lambda: runs.get(run_id).plan.trial, self._is_trial, owner=self)
        self._session.run_started.emit(run_id)

    def _is_trial(self, trial: bool) -> None:
        self._trial = trial

    def _begun(self, event: RunStarted) -> None:
        self.view.started(event)
        if event.resumed_at:
            runs = Runs(self._session.profile.db)
            self._session.do(lambda: runs.events(event.run_id), self.view.recall, owner=self)
        self._say("Training with privacy." if event.private else "Training without privacy.")

    def _evaluated(self, event: Evaluated) -> None:
        self.view.evaluated(event)

    def _failed(self, error: BaseException) -> None:
        self.notice.explain(error)
        told = Explanation.of(error)
        self.view.log.write(f"{told.what} {told.why}".strip(), "error")

    def _ended(self, event: RunFinished) -> None:
        self.thread_of_run = None
        self._stopping = False
        measured = self._trial and event.status == "discarded"
        words = MEASURED if measured else ENDINGS[event.status]
        self.view.ended(event, words)
        self._gate()
        self._say(words)
        self.result.finished(event)
        self.runs.reload()
        if self.notify.isChecked() and not self.isActiveWindow():
            notification.notify("Training has ended", words)
        self._session.run_finished.emit(event)
        if event.version is not None:
            self._session.versions_changed.emit()
        else:
            self._feed.refresh()

    def _say(self, text: str) -> None:
        """Say how things stand, below Start."""
        self.state.setText(text)
        self.state.setVisible(bool(text))

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
        self._say("Stopping…")
        self._session.do(lambda: thread.stop(keep))

    def put_back(self) -> None:
        """Leave the run in the queue, to go on from its newest checkpoint next time."""
        self._stopping = True
        self._gate()
        self._say("Putting the run back into the queue…")
        self._session.runs.put_back()

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.setup.count_pairs()
        self.runs.reload()
        allow(self.notify, notification.why_not())
        if self._feed.latest is None:
            self._feed.refresh()
