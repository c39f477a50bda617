"""Work in a child process, in a dialog: how far it is, and the button that ends it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from ui.session import Session
from ui.widgets.basics import allow, button, row
from ui.widgets.readout import Readout

_STEPS = 1000


class Step(Protocol):
    """How far a child is, from 0 to 1, and what it does."""

    @property
    def share(self) -> float: ...
    @property
    def text(self) -> str: ...


class Run(Protocol):
    """A child at work, such as `GateRun` and `VersionWork`."""

    def stop(self) -> None: ...
    def wait(self) -> Any: ...


class _StoppedError(Exception):
    """It was stopped before its child was started."""


class ChildWork(QWidget):
    """Hidden while nothing goes on. One of the signals ends every run.

    Args:
        name: what is done, as a screen reader says it: "the check".
    """

    finished = pyqtSignal(object)  # the answer
    failed = pyqtSignal(object)  # the error
    stopped = pyqtSignal()
    _progressed = pyqtSignal(float, str)

    def __init__(self, session: Session, name: str) -> None:
        super().__init__()
        self._session = session
        self._run: Run | None = None
        self._wanted = False
        self.busy = False
        self.progress = QProgressBar()
        self.progress.setAccessibleName(f"Progress of {name}")
        self.progress.setTextVisible(False)
        self.progress.setRange(0, _STEPS)
        self.told = Readout(f"State of {name}")
        self.stop_button = button("&Stop", name=f"Stop {name}")
        line = row(self.told, self.stop_button)
        line.setStretch(0, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.progress)
        layout.addLayout(line)
        self.stop_button.clicked.connect(self.stop)
        self._progressed.connect(self._show)
        self.hide()

    def begin(self, start: Callable[[Callable[[Step], None]], Run]) -> None:
        """Call `start` on another thread: it starts the child and hands on its progress."""
        if self.busy:
            return
        self.busy = self._wanted = True
        self._show(0.0, "Starting…")
        allow(self.stop_button)
        self.show()

        def work() -> Any:
            if not self._wanted:
                raise _StoppedError
            run = start(self._tell)
            self._run = run
            if not self._wanted:  # stopped while the child was being started
                run.stop()
            return run.wait()

        self._session.do(work, self._done, owner=self, failed=self._ended)

    def stop(self) -> None:
        """Ask the child to end, and return at once."""
        if not self.busy:
            return
        self._wanted = False
        if self._run is not None:
            self._run.stop()
        self.told.setText("Stopping…")
        allow(self.stop_button, "It is being stopped.")

    def _tell(self, step: Step) -> None:
        """Called on the child's reader thread."""
        with contextlib.suppress(RuntimeError):  # the dialog is gone
            self._progressed.emit(step.share, step.text)

    def _show(self, share: float, text: str) -> None:
        if self.busy and self._wanted:
            self.progress.setValue(round(_STEPS * share))
            self.told.setText(text)

    def _done(self, answer: object) -> None:
        self._rest()
        self.finished.emit(answer)

    def _ended(self, error: BaseException) -> None:
        stopped = not self._wanted
        self._rest()
        if stopped:
            self.stopped.emit()
        else:
            self.failed.emit(error)

    def _rest(self) -> None:
        self.busy, self._run = False, None
        self.hide()
