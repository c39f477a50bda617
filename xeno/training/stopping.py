"""How an order to stop reaches the work: between micro-batches, and within a pass at every layer.

A pass of a large model takes longer than a user waits. Its layers ask too, so that a stop takes
as long as one layer; the unfinished step is forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from xeno.events import StopTraining


class Stopped(Exception):  # noqa: N818 - an order, not an error
    """The run ends here, as `order` says."""

    def __init__(self, order: StopTraining) -> None:
        super().__init__()
        self.order = order


class Stopping:
    """Obeys the orders that `stop` gives, and the time limit.

    Args:
        time_limit: seconds after which the run ends and keeps what it has; None for no limit.
        spent: seconds that the run took before it was resumed.
    """

    def __init__(
        self,
        stop: Callable[[], StopTraining | None],
        time_limit: float | None = None,
        spent: float = 0.0,
    ) -> None:
        self._stop = stop
        self._limit = time_limit
        self._begun = time.monotonic() - spent
        self.timed_out = False

    @property
    def spent(self) -> float:
        """Seconds that the run took so far, also before it was resumed, without its pauses."""
        return time.monotonic() - self._begun

    def wanted(self) -> bool:
        """Whether the run is to end now."""
        return self._stop() is not None or self._is_late()

    def obey(self) -> None:
        """Raise Stopped if the run is to end now."""
        order = self._stop()
        if order is not None:
            raise Stopped(order)
        if self._is_late():
            self.timed_out = True
            raise Stopped(StopTraining(keep=True))

    def _is_late(self) -> bool:
        return self._limit is not None and self.spent > self._limit

    def pause(self, seconds: float) -> None:
        """Leave out `seconds` in which the run waited."""
        self._begun += seconds

    def ignore(self) -> None:
        """Obey no more, for the last thing that a stopped run does."""
        self._stop, self._limit = lambda: None, None

    def watch(self, model: torch.nn.Module) -> None:
        """Make every adapted layer of `model` obey, forward and backward."""

        def passed(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
            self.obey()
            if isinstance(output, torch.Tensor) and output.requires_grad:
                output.register_hook(self._passed_back)  # type: ignore[no-untyped-call]

        for module in model.modules():
            if hasattr(module, "lora_A"):
                module.register_forward_hook(passed)

    def _passed_back(self, _gradient: torch.Tensor) -> None:
        self.obey()
