"""What a run does when memory runs out: the same work again, in smaller parts.

First the micro-batch is halved, then only long texts are taken apart (fewer tokens at once), and
where even a single pair does not fit, activations are computed twice instead of kept. A step's
result does not depend on how its batch is cut, beyond rounding, and the interrupted step is
repeated as a whole: its gradients so far are forgotten, and noise is only drawn when all of its
parts are there.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch

from xeno.errors import MemoryFullError
from xeno.events import Event, LogLine
from xeno.training.microbatches import Limits, micro_batches
from xeno.training.rows import Row
from xeno.training.settings.safety import SafetySettings
from xeno.words import count

_NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")

T = TypeVar("T")


def is_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in _NO_MEMORY
    )


def memory_full(error: BaseException) -> MemoryFullError:
    """What the user is told when nothing smaller is left to try."""
    lines = str(error).splitlines()
    return MemoryFullError(
        "Training needs more memory than there is.",
        f"It stopped at a request for more ({lines[0][:200]})."
        if lines
        else "It stopped at a request for more.",
        "Close other programs and resume the run, set a shorter longest text, or choose a smaller "
        "base.",
    )


class Memory:
    """Cuts batches into parts that fit, and into smaller ones when they do not.

    Args:
        limits: of the parts at the beginning.
        model: the model with its adapter.
        obey: raises where the run is to stop; asked before every part.
        shrunk: called when the parts became smaller, before the work is done again.

    Attributes:
        limits: of the parts now.
        twice: whether activations are computed twice.
    """

    def __init__(
        self,
        plan: SafetySettings,
        limits: Limits,
        model: Any,
        emit: Callable[[Event], None],
        obey: Callable[[], None],
        shrunk: Callable[[], None],
    ) -> None:
        self._plan = plan
        self.limits = limits
        self.twice = False
        self._model = model
        self._emit = emit
        self._obey = obey
        self._shrunk = shrunk
        self._halvings = plan.memory_halvings
        self._part: list[Row] = []

    def parts(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        """The micro-batches of `rows`; stops are obeyed before each and once where none is."""
        self._obey()
        for part in micro_batches(rows, self.limits):
            self._obey()
            self._part = part
            yield part

    def enough_for(self, work: Callable[[], T], forget: Callable[[], None]) -> T:
        """The result of `work`, done again from its beginning whenever memory runs out.

        Args:
            work: goes through `parts` and can be repeated.
            forget: undoes what a `work` that was not finished has left behind.

        Raises:
            MemoryFullError: if there is nothing smaller to try, or the plan wants to stop.
        """
        while True:
            try:
                return work()
            except (MemoryError, RuntimeError) as error:
                if not is_memory(error):
                    raise
                told = memory_full(error)
                if self._plan.on_memory == "stop":
                    raise told from error
            # Out of the handler: the exception held on to every tensor of the pass.
            forget()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            words = self._shrink()
            if words is None:
                raise told
            self._emit(
                LogLine(level="warning", text=f"Memory ran out: {words} It learns the same.")
            )
            self._shrunk()

    def restore(self, limits: Limits, twice: bool) -> None:
        """Go on with the parts that an earlier part of the run came to."""
        self.limits = limits
        if twice:
            self._compute_twice()

    def smaller(self, most: int) -> str | None:
        """Halve the parts of batches of `most` pairs, though none was seen to fail: the system
        ends a process that is too large without a word. How, in words; None where nothing is
        left to try, or the plan does not want it."""
        if self._plan.on_memory == "stop":
            return None
        rows = min(self.limits.rows, most)
        if rows > 1:
            self.limits = Limits(rows // 2, max(1, self.limits.tokens // 2))
            pairs = count(self.limits.rows, "pair")
            tokens = count(self.limits.tokens, "token")
            return f"at most {pairs} and {tokens} are computed at once from here on."
        if self._plan.memory_checkpointing and not self.twice:
            self._compute_twice()
            return "activations are computed twice from here on, which is slower."
        return None

    def _shrink(self) -> str | None:
        """Make the next parts smaller than the one that did not fit; how, in words."""
        size = len(self._part)
        if size > 1 and self._halvings:
            self._halvings -= 1
            self.limits = Limits(size // 2, self.limits.tokens)
            half = count(size // 2, "pair is", "pairs are")
            return f"at most {half} computed at once from here on."
        if size > 1:
            tokens = sum(row.tokens for row in self._part) // 2
            self.limits = Limits(self.limits.rows, tokens)
            return f"at most {tokens} tokens are computed at once from here on."
        if self._plan.memory_checkpointing and not self.twice:
            self._compute_twice()
            return "activations are computed twice from here on, which is slower."
        return None

    def _compute_twice(self) -> None:
        """Gradient checkpointing. The reentrant form leaves the gradients of single rows intact,
        which the other does not."""
        from transformers.modeling_layers import GradientCheckpointingLayer

        self.twice = True
        new_name = getattr(self._model, "activation_checkpointing_enable", None)
        (new_name or self._model.gradient_checkpointing_enable)({"use_reentrant": True})
        self._model.enable_input_require_grads()
        for module in self._model.modules():
            if isinstance(module, GradientCheckpointingLayer):
                module.training = True  # it looks at itself; what is inside stays without dropout
