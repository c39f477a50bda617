"""What the next run would be and cost, computed off the window's thread a moment after a change."""

from __future__ import annotations

from PyQt6.QtCore import QObject, QTimer, pyqtSignal

from ui.session import Session
from ui.theme import Theme
from xeno.training.forecast import Forecast, forecast
from xeno.training.plan import TrainingPlan

_DELAY = 200  # ms after the last change


class ForecastFeed(QObject):
    """Emits `updated` with a fresh forecast, or `failed` with the reason there is none."""

    waiting = pyqtSignal()
    updated = pyqtSignal(Forecast)
    failed = pyqtSignal(object)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.latest: Forecast | None = None
        self._timer = QTimer(self, singleShot=True, interval=_DELAY)
        self._timer.timeout.connect(self._compute)
        for news in (session.plan_changed, session.pairs_changed, session.versions_changed):
            news.connect(self.refresh)

    @property
    def theme(self) -> Theme:
        """The look of the window that it feeds."""
        return self._session.theme

    def refresh(self) -> None:
        """Compute again soon; several changes in a row give one forecast."""
        self.latest = None
        self.waiting.emit()
        self._timer.start()

    def _compute(self) -> None:
        session = self._session

        def work() -> Forecast:
            plan: TrainingPlan = session.plan()
            return forecast(session.profile, plan)

        session.do(work, self._show, owner=self, key="forecast", failed=self.failed.emit)

    def _show(self, result: Forecast) -> None:
        self.latest = result
        self.updated.emit(result)
