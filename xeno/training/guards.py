"""Pauses a run while the machine is not fit for it: disk full, battery low, too hot, no memory.

The run says why it waits, goes on by itself, and obeys a stop meanwhile. What it pauses for has
nothing to do with the pairs, so a private run may do it too. A pause begins at one level and ends
at a better one, so that it does not begin again at once.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import psutil

from xeno.errors import PausedTooLongError
from xeno.events import Event, TrainingContinued, TrainingPaused
from xeno.training.gauges import temperature
from xeno.training.settings.safety import SafetySettings

Cause = Literal["disk", "battery", "temperature", "memory"]

_MEGABYTE = 10**6
_COOLER = 10.0
_FULLER = 5.0
_ROOMIER = 1.1
_SLICE = 0.1  # seconds between two looks for a stop


@dataclass(frozen=True)
class Battery:
    """Charge in percent, and whether the computer is plugged in."""

    percent: float
    plugged: bool


class Readings(Protocol):
    """What the machine says of itself; None where it does not know."""

    def disk_free(self, folder: Path) -> int | None:
        """Bytes that can still be written to `folder`."""

    def memory_free(self) -> int | None:
        """Bytes of memory that programs can still take."""

    def battery(self) -> Battery | None:
        """The battery; None without one."""

    def temperature(self) -> float | None:
        """The hottest sensor of the processor in degrees Celsius."""


class MachineReadings:
    """The readings of this machine."""

    def disk_free(self, folder: Path) -> int | None:
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            return None

    def memory_free(self) -> int | None:
        return int(psutil.virtual_memory().available)

    def battery(self) -> Battery | None:
        read = getattr(psutil, "sensors_battery", None)  # not on every system
        try:
            found = None if read is None else read()
        except (OSError, ValueError, RuntimeError):
            return None
        if found is None:
            return None
        return Battery(float(found.percent), found.power_plugged is not False)

    def temperature(self) -> float | None:
        return temperature()


@dataclass(frozen=True)
class Trouble:
    """Why the run waits. `reason` is a sentence."""

    cause: Cause
    reason: str


class Guards:
    """Looks at the machine between the steps of one run.

    Args:
        folder: where the run writes.
        obey: raises where the run is to stop.
        paused: told the length of every pause in seconds.
        writable: whether all that the run had to write could be written.
    """

    def __init__(
        self,
        run_id: str,
        plan: SafetySettings,
        folder: Path,
        emit: Callable[[Event], None],
        obey: Callable[[], None],
        paused: Callable[[float], None],
        writable: Callable[[], bool],
        readings: Readings | None = None,
    ) -> None:
        self._run_id = run_id
        self._plan = plan
        self._folder = folder
        self._emit = emit
        self._obey = obey
        self._paused = paused
        self._writable = writable
        self._readings = readings or MachineReadings()
        self._next = 0.0

    def check(self, step: int, before_pause: Callable[[], None]) -> None:
        """Wait here, after `step` steps, until the machine is fit.

        Args:
            before_pause: called once if there is a pause and the disk has room: who knows
                whether the battery lasts.

        Raises:
            PausedTooLongError: if that takes longer than the plan allows.
        """
        now = time.monotonic()
        if now < self._next and self._writable():
            return
        self._next = now + self._plan.guard_seconds
        trouble = self.trouble()
        if trouble is not None:
            if trouble.cause != "disk":
                before_pause()
            self.hold(step, trouble, lambda: self.trouble(trouble.cause) is None)

    def hold(self, step: int, trouble: Trouble, fit: Callable[[], bool]) -> None:
        """Wait until `fit`, which is asked again and again, says so."""
        begun = time.monotonic()
        self._emit(
            TrainingPaused(
                run_id=self._run_id, step=step, cause=trouble.cause, reason=trouble.reason
            )
        )
        limit = self._plan.longest_pause_minutes
        try:
            while True:
                look = time.monotonic() + self._plan.guard_seconds
                while time.monotonic() < look:
                    self._obey()
                    time.sleep(min(_SLICE, self._plan.guard_seconds))
                if fit():
                    break
                if limit is not None and time.monotonic() - begun > 60 * limit:
                    raise PausedTooLongError(
                        "The run paused for too long.",
                        trouble.reason,
                        "Mend that, then resume the run; nothing of it is lost.",
                    )
        finally:
            seconds = time.monotonic() - begun
            self._paused(seconds)
        self._emit(TrainingContinued(run_id=self._run_id, step=step, seconds=seconds))

    def trouble(self, paused_for: Cause | None = None) -> Trouble | None:
        """What the machine is not fit for; a pause for `paused_for` ends at a better level."""
        plan, readings = self._plan, self._readings
        if not self._writable():
            return Trouble("disk", "The disk is full: the events of the run cannot be written.")
        free = readings.disk_free(self._folder)
        floor = plan.disk_floor * _MEGABYTE * (_ROOMIER if paused_for == "disk" else 1)
        if free is not None and free < floor:
            return Trouble(
                "disk", f"The disk has {free // _MEGABYTE} MB left; {plan.disk_floor} MB are kept."
            )
        free = readings.memory_free()
        floor = plan.memory_floor * _MEGABYTE * (_ROOMIER if paused_for == "memory" else 1)
        if free is not None and free < floor:
            return Trouble(
                "memory",
                f"Other programs leave {free // _MEGABYTE} MB of memory; "
                f"{plan.memory_floor} MB are kept.",
            )
        battery = readings.battery()
        least = min(100.0, plan.battery_floor + (_FULLER if paused_for == "battery" else 0))
        if (
            battery is not None
            and plan.battery_floor
            and not battery.plugged
            and battery.percent < least
        ):
            return Trouble("battery", f"The battery holds {battery.percent:.0f} %.")
        heat = readings.temperature()
        most = plan.temperature_limit - (_COOLER if paused_for == "temperature" else 0)
        if heat is not None and heat > most:
            return Trouble("temperature", f"The processor is {heat:.0f} °C hot.")
        return None
