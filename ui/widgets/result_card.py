"""What came of a run: held-out accuracy beside its baselines, and the way to deploy it."""

from __future__ import annotations

from PyQt6.QtWidgets import QGridLayout, QLabel

from ui.deploying import deploy
from ui.session import Session
from ui.widgets.basics import Card, allow, button, label, row
from ui.words import NONE, privacy, share
from xeno.events import Evaluated, RunFinished

_FIGURES = ("Before", "After", "Always the shorter", "Always the longer")


class ResultCard(Card):
    """Hidden until a run has ended in a version."""

    def __init__(self, session: Session) -> None:
        super().__init__("Result")
        self._session = session
        self._first: Evaluated | None = None
        self._last: Evaluated | None = None
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
        self.explanation = label(
            "Share of held-out pairs, never trained on, whose preferred reply the model finds "
            "likelier. Beside it: what always picking the shorter or the longer reply would score.",
            "tiny",
        )
        self.deploy = button("&Deploy", "primary", name="Deploy this version")
        self.deploy.clicked.connect(self._deploy)
        self.add(self.sentence)
        self.add(grid)
        self.add(self.explanation)
        self.add(row(self.deploy, None))
        self.hide()

    def begin(self) -> None:
        """A run begins: forget the last one."""
        self._first = self._last = self._version = None
        self.hide()

    def evaluated(self, event: Evaluated) -> None:
        """The held-out pairs were scored; at step 0 before training."""
        if event.step == 0:
            self._first = event
        self._last = event

    def finished(self, event: RunFinished) -> None:
        """Show the version that the run ended in, if it did."""
        if event.version is None:
            return
        self._version = event.version
        name = f"v{event.number}" if event.number is not None else event.version[:12]
        how = privacy(event.epsilon is not None, event.epsilon)
        self.sentence.setText(f"{name} is ready: {how}. It answers once it is deployed.")
        last = self._last
        first = self._first if self._first is not last else None
        values = (
            share(first.preference_accuracy if first else None),
            share(last.preference_accuracy if last else None),
            share(last.shorter_baseline if last else None),
            share(last.longer_baseline if last else None),
        )
        for figure, value in zip(_FIGURES, values, strict=True):
            self.figures[figure].setText(value)
        allow(self.deploy)
        self.show()

    def _deploy(self) -> None:
        if self._version is None:
            return
        allow(self.deploy, "It is being deployed.")
        deploy(self._session, self._version, owner=self, after=self._deployed)

    def _deployed(self, worked: bool) -> None:
        allow(self.deploy, "This version answers already." if worked else "")
        if worked:
            self.sentence.setText("This version answers now.")
