"""What happens to the loss of a batch: plain AdamW, or the private mechanism.

Both take a step's batch in micro-batches (`add`), then `step`; the result does not depend on
how the batch was cut. `discard` forgets an unfinished step.
"""

from __future__ import annotations

import math
import statistics
import warnings
from typing import TYPE_CHECKING, Protocol

import torch

from xeno.privacy.mechanism import PrivateOptimizer, per_row_gradients
from xeno.training.adapters import trainable

if TYPE_CHECKING:
    from xeno.privacy.noise import CipherStream

_LARGEST_NORM = 1.0
_MOMENTUM = 0.9


class Learner(Protocol):
    """Turns per-pair losses into steps of the adapter."""

    def add(self, losses: torch.Tensor) -> None:
        """Add the gradients of a micro-batch's `losses` [pairs] to the step."""

    def step(self, pairs: int, learning_rate: float) -> float:
        """Take the step for a batch of `pairs` (which may be 0 in private runs) and return the
        norm of its gradient: of the mean, or the median of the pairs' own in private runs."""

    def discard(self) -> None:
        """Forget what was added since the last step."""

    def close(self) -> None:
        """Let go of the model, so that another learner can take it."""


class PlainLearner:
    """AdamW on the mean of the batch, its gradient's norm held at 1.

    A step whose gradient is not finite is left out; its norm says so.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._parameters = trainable(model)
        self._optimizer = torch.optim.AdamW(self._parameters, weight_decay=0.0)

    def add(self, losses: torch.Tensor) -> None:
        torch.autograd.backward(losses.sum())

    def step(self, pairs: int, learning_rate: float) -> float:
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter.grad.div_(pairs)
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, _LARGEST_NORM))
        if math.isfinite(norm):
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate
            self._optimizer.step()
        self.discard()
        return norm

    def discard(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)

    def close(self) -> None:
        self.discard()


class PrivateLearner:
    """SGD with momentum on the clipped and noised sum over pairs.

    Adam would divide by a second moment that is mostly noise, and so blow up the directions
    that carry nothing; plain SGD keeps signal and noise in proportion. Momentum, like all that
    happens after the noise was added, costs no privacy.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        noise_multiplier: float,
        max_grad_norm: float,
        expected_batch_size: float,
        stream: CipherStream,
    ) -> None:
        # Attached to adapters that are in training mode, before the optimizer sees them.
        self._hooks = per_row_gradients(model)
        sgd = torch.optim.SGD(trainable(model), lr=1.0, momentum=_MOMENTUM)
        self.optimizer = PrivateOptimizer(
            sgd,
            noise_multiplier=noise_multiplier,
            max_grad_norm=max_grad_norm,
            expected_batch_size=expected_batch_size,
            stream=stream,
        )
        self._norms: list[float] = []

    def add(self, losses: torch.Tensor) -> None:
        with warnings.catch_warnings():
            # Where A is frozen, nothing before the first B has a gradient; that is meant.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            torch.autograd.backward(losses.sum())
        self._norms += self.optimizer.accumulate(len(losses)).tolist()

    def step(self, pairs: int, learning_rate: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.noisy_step()
        norm = statistics.median(self._norms) if self._norms else 0.0
        self._norms.clear()
        return norm

    def discard(self) -> None:
        self._norms.clear()
        self.optimizer.discard()

    def close(self) -> None:
        self.discard()
        self._hooks.cleanup()
