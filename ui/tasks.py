"""Work off the window's thread, with its result back on it; and how an error is shown.

    tasks.run(lambda: registry.all(), done=self._show, owner=self)

`done` and `failed` are called on the window's thread, and never after `owner` is gone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from PyQt6 import sip
from PyQt6.QtCore import QObject, Qt, pyqtSignal, pyqtSlot

from xeno.errors import XenoError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Explanation:
    """An error in the words the user reads. `is_bug`: it is ours, not theirs."""

    what: str
    why: str
    todo: str
    is_bug: bool = False

    @classmethod
    def of(cls, error: BaseException) -> Explanation:
        """The explanation that `error` carries; for anything but a `XenoError`, a plain one."""
        if isinstance(error, XenoError):
            return cls(error.what, error.why, error.todo)
        return cls(
            "XENO made a mistake.",
            f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
            "Your data is kept as it was. The details are in the crash report.",
            is_bug=True,
        )


@dataclass(frozen=True)
class _Delivery:
    callback: Callable[[Any], None]
    value: Any
    owner: QObject | None
    key: str | None
    ticket: int


class Tasks(QObject):
    """Runs functions on worker threads and brings their results to the window's thread.

    Python's own pool and not QThreadPool: its threads live on, and with them the database
    connection that each of them has open.
    """

    failed = pyqtSignal(object)  # an error that nobody else takes
    _delivered = pyqtSignal(object)

    def __init__(self, parent: QObject | None = None, threads: int = 4) -> None:
        super().__init__(parent)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="task")
        self._line = ThreadPoolExecutor(1, thread_name_prefix="task-in-order")
        self._tickets: dict[str, int] = {}
        self._closed = False
        self._delivered.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def run(
        self,
        work: Callable[[], Result],
        done: Callable[[Result], None] | None = None,
        failed: Callable[[BaseException], None] | None = None,
        *,
        owner: QObject | None = None,
        key: str | None = None,
        in_order: bool = False,
    ) -> None:
        """Call `work` on a worker thread, then `done(result)` or `failed(error)` here.

        Args:
            owner: no callback is called after this object was deleted.
            key: of several tasks with one key only the last one started is heard.
            in_order: run after all earlier tasks in order, one at a time (for writes).
        """
        if self._closed:
            return
        ticket = 0
        if key is not None:
            ticket = self._tickets[key] = self._tickets.get(key, 0) + 1
        pool = self._line if in_order else self._pool
        future: Future[Result] = pool.submit(work)

        def finished(future: Future[Result]) -> None:
            if future.cancelled() or self._closed:
                return
            error = future.exception()
            if error is None:
                delivery = _Delivery(done or _ignore, future.result(), owner, key, ticket)
            else:
                delivery = _Delivery(failed or self.failed.emit, error, owner, key, ticket)
            self._delivered.emit(delivery)

        future.add_done_callback(finished)

    def close(self) -> None:
        """Wait for what runs, drop what waits (writes in order are completed)."""
        self._closed = True
        self._line.shutdown(wait=True)
        self._pool.shutdown(wait=True, cancel_futures=True)

    @pyqtSlot(object)
    def _deliver(self, delivery: _Delivery) -> None:
        if self._closed or (delivery.owner is not None and sip.isdeleted(delivery.owner)):
            return
        if delivery.key is not None and self._tickets[delivery.key] != delivery.ticket:
            return
        delivery.callback(delivery.value)


def _ignore(_result: object) -> None:
    """For tasks whose result nobody needs."""


def report_bug(error: BaseException) -> None:
    """Hand an unexpected error to the crash report, as if it had been raised in a slot."""
    sys.excepthook(type(error), error, error.__traceback__)
