"""A run as it goes: progress, time left, charts, sample replies, log."""

from __future__ import annotations

from PyQt6.QtCore import QTimer
from PyQt6.QtWidgets import QProgressBar, QTabBar

from ui.session import Session
from ui.widgets.basics import Card, button, row
from ui.widgets.charts_panel import ChartsPanel
from ui.widgets.readout import Readout
from ui.widgets.run_log import RunLog
from ui.widgets.sample_panel import SamplePanel
from ui.words import count, duration, share, size
from xeno.events import (
    Evaluated,
    Event,
    LogLine,
    Progress,
    RunFinished,
    RunStarted,
    SampleReplies,
    TrainingContinued,
    TrainingPaused,
)

ENDINGS = {
    "completed": "The run is complete.",
    "stopped": "The run was stopped, and what it had learned is kept.",
    "discarded": "The run was stopped and discarded.",
    "failed": "The run failed.",
}
MEASURED = "The trial has been measured. It makes no version."
_PACE = 250  # ms between two changes of the words under the progress bar


class RunView(Card):
    """Hidden until the first run begins; then it shows the run that trains, or the last one."""

    def __init__(self, session: Session) -> None:
        super().__init__("This run")
        self.progress = QProgressBar()
        self.progress.setAccessibleName("Training progress")
        self.progress.setTextVisible(False)
        self.pace = Readout("Progress in words", strong=True)
        self.machine = Readout("What it runs on")
        self.stop = button("S&top…", name="Stop training")
        self._latest: Progress | None = None  # not in words yet
        self._pace_timer = QTimer(self, singleShot=True, interval=_PACE)
        self._pace_timer.timeout.connect(self._show_pace)
        self._computes = ""
        self._resumed_at = 0
        self._held: list[Event] | None = None  # until what came before is read
        self.charts = ChartsPanel(session)
        self.samples = SamplePanel()
        self.log = RunLog()
        self.bar = QTabBar()
        self.bar.setProperty("kind", "pages")
        self.bar.setAccessibleName("Views of the run")
        self.bar.setDrawBase(False)
        self.bar.setExpanding(False)
        self._views = (self.charts, self.samples, self.log)
        line = row(self.pace, self.stop)
        line.setStretch(0, 1)
        for part in (self.progress, line, self.machine, self.bar):
            self.add(part)
        for title, view in (
            ("Charts", self.charts),
            ("Sample replies", self.samples),
            ("Log", self.log),
        ):
            view.setAccessibleName(title)
            self.bar.addTab(title)
            self.add(view)
        self.bar.currentChanged.connect(self._turn)
        self._turn(0)
        self.hide()

    def begin(self) -> None:
        """A run was asked for; its trainer loads."""
        self.charts.begin()
        self.samples.begin()
        self.log.begin()
        self.progress.setRange(0, 0)
        self.pace.setText("Loading the model and the pairs…")
        self.machine.setText("")
        self._computes = ""
        self.show()

    def started(self, event: RunStarted) -> None:
        """The trainer has loaded what it needs."""
        self.progress.setRange(0, event.steps)
        self.progress.setValue(0)
        self.charts.begin(event.steps)
        self._resumed_at = event.resumed_at
        self._held = [] if event.resumed_at else None
        words = f"{count(event.pairs_training, 'pair')} to learn from"
        if event.pairs_heldout:
            words += f", {event.pairs_heldout:,} held out to measure"
        if event.pairs_left_out:
            words += f", {event.pairs_left_out:,} left out because they do not fit the model"
        self._computes = f"{event.dtype}, {count(event.threads, 'thread')}"
        self.log.write(f"{words}. {count(event.steps, 'step')}, {self._computes}.")
        self.pace.setText("Measuring the base model, to compare with…")
        self.machine.setText(self._computes)

    def recall(self, events: list[Event]) -> None:
        """Show what a resumed run had measured and written before; then what came meanwhile."""
        self.samples.begin()
        for event in events:
            if getattr(event, "step", self._resumed_at + 1) <= self._resumed_at:
                if isinstance(event, SampleReplies):
                    self.samples.add(event)
                else:
                    self.charts.add(event)
        held, self._held = self._held or [], None
        for event in held:
            self.charts.add(event)

    def _draw(self, event: Event) -> None:
        if self._held is None:
            self.charts.add(event)
        else:
            self._held.append(event)

    def progressed(self, event: Progress) -> None:
        """A step was taken."""
        self._draw(event)
        self._latest = event
        if not self._pace_timer.isActive():
            self._show_pace()
            self._pace_timer.start()

    def _show_pace(self) -> None:
        event, self._latest = self._latest, None
        if event is None:
            return
        self.progress.setValue(event.step)  # painted at once, so not for every step
        self.pace.setText(
            f"Step {event.step:,} of {event.steps:,}, about {duration(event.eta_seconds)} left, "
            f"{event.pairs_per_second:.1f} pairs/s, {event.tokens_per_second:,.0f} tokens/s"
        )
        self.machine.setText(", ".join(self._on_machine(event)))

    def evaluated(self, event: Evaluated) -> None:
        """The held-out pairs were scored."""
        self._draw(event)
        if event.preference_accuracy is not None:
            words = f"Held-out preference accuracy {share(event.preference_accuracy)}"
            if event.loss is not None:
                words += f", loss {event.loss:.3f}"
            if event.perplexity is not None:
                words += f", perplexity {event.perplexity:.2f}"
            self.log.write(f"{words} after step {event.step:,}.")

    def sampled(self, event: SampleReplies) -> None:
        """Sample replies were written."""
        self.samples.add(event)

    def paused(self, event: TrainingPaused) -> None:
        """The run waits for the machine."""
        self._latest = None
        self.pace.setText(f"Paused after step {event.step:,}. {event.reason}")
        self.log.write(f"Paused. {event.reason}", "warning")

    def continued(self, event: TrainingContinued) -> None:
        """The run goes on after a pause."""
        self.pace.setText("Training goes on.")
        self.log.write(f"Training goes on after a pause of {duration(event.seconds)}.")

    def logged(self, event: LogLine) -> None:
        """A line for the log."""
        self.log.write(event.text, event.level)

    def ended(self, event: RunFinished, how: str = "") -> None:
        """The run has ended; `how` says it in other words than its status."""
        if self.progress.maximum() == 0:
            self.progress.setRange(0, 1)
        words = f"{how or ENDINGS[event.status]} It took {duration(event.seconds)}."
        self.log.write(words)
        self._show_pace()
        self.pace.setText(words)

    def _turn(self, place: int) -> None:
        for each, view in enumerate(self._views):
            view.setVisible(each == place)

    def _on_machine(self, event: Progress) -> list[str]:
        memory = "the card's memory" if event.memory_of == "card" else "memory"
        words = [self._computes, f"{size(event.memory_bytes)} of {memory}"]
        if event.processor_share is not None:
            words.append(f"{share(event.processor_share)} of the processor")
        if event.temperature is not None:
            words.append(f"{event.temperature:.0f} °C")
        return words
