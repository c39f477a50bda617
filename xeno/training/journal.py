"""The events of a run, written to the profile and passed on.

Where the disk is full the events are passed on all the same and wait to be written, so that the
run can say that it pauses.
"""

from __future__ import annotations

from collections.abc import Callable

from xeno.errors import StorageFullError
from xeno.events import Event
from xeno.store.runs import Runs


class Journal:
    """Keeps the events of the run `run_id`, and passes each to `emit`."""

    def __init__(self, runs: Runs, run_id: str, emit: Callable[[Event], None]) -> None:
        self._runs = runs
        self._run_id = run_id
        self._emit = emit
        self._waiting: list[Event] = []

    def note(self, event: Event) -> None:
        """Keep `event`, now or when there is room again."""
        self._waiting.append(event)
        self.flush()
        self._emit(event)

    def flush(self) -> bool:
        """Write what waits; False where there still is no room for it."""
        try:
            while self._waiting:
                self._runs.append_event(self._run_id, self._waiting[0])
                del self._waiting[0]
        except StorageFullError:
            return False
        return True
