"""The curves of a run, made from its events: for the charts in the window and for comparisons.

A value that is not known at a step is NaN, which is a gap in the curve.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from xeno.events import Evaluated, Event, Progress

TRAINING, HELD_OUT = "training", "held out"


@dataclass(frozen=True)
class Chart:
    """One quantity over the steps of a run.

    Attributes:
        name: the field of `Progress`, and of `Evaluated` where it is measured there.
        held_out: measured on the held-out pairs; `training`: on the batch of each step.
        scale: what a value is multiplied with to be in `unit`.
        share: all values lie between 0 and 1.
        noisy: worth smoothing.
    """

    name: str
    title: str
    meaning: str
    unit: str = ""
    training: bool = True
    held_out: bool = False
    scale: float = 1.0
    share: bool = False
    noisy: bool = True


CHARTS = (
    Chart("loss", "Loss", "What training makes small; of each batch and held out.", held_out=True),
    Chart(
        "reward_margin",
        "Reward margin",
        "By how much the preferred reply became likelier than the other, against the base.",
        held_out=True,
    ),
    Chart(
        "preference_accuracy",
        "Accuracy",
        "Share of pairs whose preferred reply is the likelier one per token.",
        held_out=True,
        share=True,
    ),
    Chart(
        "perplexity",
        "Perplexity",
        "How surprised the model is by the preferred replies that were held out.",
        training=False,
        held_out=True,
    ),
    Chart("learning_rate", "Learning rate", "Size of the steps.", noisy=False),
    Chart("gradient_norm", "Gradient norm", "Length of the step before the learning rate."),
    Chart("tokens_per_second", "Speed", "Tokens learned from per second.", "tokens/s"),
    Chart(
        "memory_bytes",
        "Memory",
        "Memory of the trainer; on a graphics card, of the card.",
        "GB",
        scale=1e-9,
        noisy=False,
    ),
    Chart(
        "processor_share",
        "Processor",
        "Share of all processor cores that the trainer uses.",
        share=True,
        noisy=False,
    ),
    Chart("temperature", "Temperature", "Of the processor.", "°C", noisy=False),
)
_TRAINING = tuple(chart for chart in CHARTS if chart.training)
_HELD_OUT = tuple(chart for chart in CHARTS if chart.held_out)


@dataclass
class Curve:
    """Values over steps; they only ever grow at the end."""

    steps: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, step: float, value: float | None) -> None:
        """Add a value; None is a gap."""
        self.steps.append(step)
        self.values.append(math.nan if value is None else value)

    def last(self) -> float | None:
        """The last value that is known."""
        return next((value for value in reversed(self.values) if not math.isnan(value)), None)

    def __len__(self) -> int:
        return len(self.steps)


class Curves:
    """All curves of one run by chart and line ("training" or "held out").

    Attributes:
        begun: how many curves have begun, each with its first value.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._curves: dict[tuple[str, str], Curve] = {}
        self.begun = 0
        for event in events:
            self.add(event)

    def add(self, event: Event) -> set[str]:
        """Take over what `event` measures, if anything; the charts that have grown."""
        if isinstance(event, Progress):
            return self._take(event, TRAINING, _TRAINING)
        if isinstance(event, Evaluated):
            return self._take(event, HELD_OUT, _HELD_OUT)
        return set()

    def curve(self, chart: str, line: str = TRAINING) -> Curve:
        """The curve, empty if nothing was measured."""
        return self._curves.get((chart, line), Curve())

    def lines(self, chart: str) -> dict[str, Curve]:
        """The lines of `chart` that have a value, in their order."""
        both = {line: self.curve(chart, line) for line in (TRAINING, HELD_OUT)}
        return {line: curve for line, curve in both.items() if curve.last() is not None}

    def _take(self, event: Progress | Evaluated, line: str, charts: Iterable[Chart]) -> set[str]:
        grown = set()
        for chart in charts:
            value = getattr(event, chart.name)
            curve = self._curves.get((chart.name, line))
            if curve is None:
                if value is None:
                    continue  # begins with the first value
                curve = self._curves[chart.name, line] = Curve()
                self.begun += 1
            curve.add(event.step, None if value is None else value * chart.scale)
            grown.add(chart.name)
        return grown


class Smoothing:
    """An exponential moving average with bias correction: the first value is itself and not
    drawn towards 0 (Kingma and Ba 2015, arXiv 1412.6980, section 3).

    Args:
        weight: of what was before, from 0 (no smoothing) to below 1.
    """

    def __init__(self, weight: float) -> None:
        self._weight = weight
        self._sum = 0.0
        self._mass = 0.0

    def push(self, value: float) -> float:
        """The average after `value`; NaN for NaN, which leaves the average as it was."""
        if math.isnan(value):
            return value
        self._sum = self._weight * self._sum + (1 - self._weight) * value
        self._mass = self._weight * self._mass + (1 - self._weight)
        return self._sum / self._mass
