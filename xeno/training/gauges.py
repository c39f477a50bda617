"""What the machine is doing while a run trains: memory, processor, temperature."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import psutil

MemoryOf = Literal["machine", "card"]
_EVERY = 1.0  # seconds between two readings of what is slow or jumpy to read


@dataclass(frozen=True)
class Reading:
    """Memory in bytes that this process has taken, of the machine or of the graphics card that
    it computes on; its share of all cores (0 to 1), and the processor's temperature in degrees
    Celsius; None where it is not known (yet)."""

    memory_bytes: int
    memory_of: MemoryOf
    processor_share: float | None
    temperature: float | None


class Gauges:
    """Reads the machine for this process; quick enough to be asked after every step.

    Args:
        device: what the run computes on, as torch names it.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._on_card = device == "cuda"
        self._process = psutil.Process()
        self._cores = psutil.cpu_count() or 1
        self._process.cpu_percent()  # the first call only begins to count
        self._read_at = time.monotonic()
        self._share: float | None = None
        self._temperature = temperature()

    def read(self) -> Reading:
        """The machine now; processor and temperature are at most a second old."""
        now = time.monotonic()
        if now - self._read_at >= _EVERY:
            self._read_at = now
            self._share = self._process.cpu_percent() / (100.0 * self._cores)
            self._temperature = temperature()
        return Reading(*self._memory(), self._share, self._temperature)

    def _memory(self) -> tuple[int, MemoryOf]:
        if not self._on_card:
            return self._process.memory_info().rss, "machine"
        import torch  # the trainer has it by now; who only asks for the temperature need not

        # With what torch keeps for later: nobody else can have that.
        return torch.cuda.memory_reserved(), "card"


def temperature() -> float | None:
    """The hottest sensor of the processor in degrees Celsius, None where there is none."""
    read = getattr(psutil, "sensors_temperatures", None)  # not on every system
    if read is None:
        return None
    try:
        sensors = read()
    except (OSError, ValueError, RuntimeError):
        return None
    processor = [
        each.current
        for name, group in sensors.items()
        if name in {"coretemp", "k10temp", "zenpower", "cpu_thermal", "acpitz", "cpu-thermal"}
        for each in group
        if each.current is not None and 0 < each.current < 150
    ]
    return max(processor, default=None)
