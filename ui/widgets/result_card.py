"""What came of a run: what was held out says of its steps, and the way to deploy it."""

from __future__ import annotations

from PyQt6.QtWidgets import QGridLayout, QLabel

from ui.deploying import deploy
from ui.session import Session
from ui.widgets.basics import Card, allow, button, label, row
from ui.words import NONE, figure, privacy, share
from xeno.events import RunFinished
from xeno.store.runs import Run, Runs

_STEPS = {"Released": "heldout", "Last step": "final", "Best step": "best"}
_FIGURES = ("Before", *_STEPS, "Always the shorter", "Always the longer")
_ACCURACY = (
    "Share of held-out pairs, never trained on, whose preferred reply the model finds likelier. "
    "Beside it: what always picking the shorter or the longer reply would score."
)
_LOSS = "Loss on what was held out, never trained on; smaller is better."


class ResultCard(Card):
    """Hidden until a run has ended in a version."""

    def __init__(self, session: Session) -> None:
        super().__init__("Result")
        self._session = session
        self._version: str | None = None
        self.sentence = label("")
        self.figures: dict[str, QLabel] = {}
        grid = QGridLayout()
        grid.setHorizontalSpacing(28)
        grid.setVerticalSpacing(0)
        for column, name in enumerate(_FIGURES):
            value = label(NONE, "number", wrap=False)
            value.setAccessibleName(name)
            grid.addWidget(label(name, "tiny", wrap=False), 0, column)
            grid.addWidget(value, 1, column)
            self.figures[name] = value
        grid.setColumnStretch(len(_FIGURES), 1)
        self.steps = label("", "tiny")
        self.explanation = label(_ACCURACY, "tiny")
        self.deploy = button("&Deploy", "primary", name="Deploy this version")
        self.deploy.clicked.connect(self._deploy)
        self.add(self.sentence)
        self.add(grid)
        self.add(self.steps)
        self.add(self.explanation)
        self.add(row(self.deploy, None))
        self.hide()

    def begin(self) -> None:
        """A run begins: forget the last one."""
        self._version = None
        for each in self.figures.values():
            each.setText(NONE)
        self.steps.setText("")
        self.hide()

    def finished(self, event: RunFinished) -> None:
        """Show the version that the run ended in, if it did."""
        if event.version is None:
            return
        self._version = event.version
        name = f"v{event.number}" if event.number is not None else event.version[:12]
        how = privacy(event.epsilon is not None, event.epsilon)
        self.sentence.setText(f"{name} is ready: {how}. It answers once it is deployed.")
        runs = Runs(self._session.profile.db)
        self._session.do(lambda: runs.get(event.run_id), self._measured, owner=self)
        allow(self.deploy)
        self.show()

    def _measured(self, run: Run) -> None:
        """Show what the held-out part says of the released, the last and the best step."""
        if run.version != self._version:
            return  # another run has begun meanwhile
        known = run.metrics.get
        accuracy = known("heldout_preference_accuracy") is not None
        measure = "preference_accuracy" if accuracy else "loss"
        names = (f"heldout_{measure}_before", *(f"{at}_{measure}" for at in _STEPS.values()))
        values = [known(name) for name in (*names, "shorter_baseline", "longer_baseline")]
        for place, value in enumerate(values):
            words = share(value) if accuracy else figure(value, 3)
            self.figures[_FIGURES[place]].setText(words)
        steps = {
            "Released": known("released_step"),
            "Last step": known("final_step"),
            "Best step": known("best_step"),
        }
        said = [f"{name}: step {step:.0f}" for name, step in steps.items() if step is not None]
        self.steps.setText(f"{', '.join(said)}." if said else "")
        self.explanation.setText(_ACCURACY if accuracy else _LOSS)

    def _deploy(self) -> None:
        if self._version is None:
            return
        allow(self.deploy, "It is being deployed.")
        deploy(self._session, self._version, owner=self, after=self._deployed)

    def _deployed(self, worked: bool) -> None:
        allow(self.deploy, "This version answers already." if worked else "")
        if worked:
            self.sentence.setText("This version answers now.")
