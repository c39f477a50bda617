"""What happens to the loss of a batch: a plain step, or the private mechanism.

Both take a step's batch in micro-batches (`add`), then `step`; the result does not depend on
how the batch was cut. `discard` forgets an unfinished step.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from xeno.privacy.mechanism import PrivateOptimizer, forget_passes, per_row_gradients
from xeno.privacy.noise import CipherStream, StreamState
from xeno.training.adapters import trainable
from xeno.training.invariants import no_gradient
from xeno.training.optimizers import set_rate


@dataclass(frozen=True)
class LearnerState:
    """What a learner knows besides the adapter.

    Attributes:
        tensors: the optimizer's, under "<number of the parameter>.<name>".
        values: its other numbers, under the same names; anything JSON can hold.
        noise: the state of a private learner's stream.
    """

    tensors: Mapping[str, torch.Tensor]
    values: Mapping[str, Any]
    noise: StreamState | None = None


class Learner(Protocol):
    """Turns per-pair losses into steps of the adapter."""

    def add(self, losses: torch.Tensor, units: Sequence[str]) -> None:
        """Add the gradients of a micro-batch's `losses` [pairs] to the step.

        `units` names the unit of privacy of each pair; empty: the pair is one by itself. Pairs
        of one unit come one after the other, also over the micro-batches of a step.
        """

    def step(self, pairs: int, learning_rate: float) -> float:
        """Take the step for a batch of `pairs` (which may be 0 in private runs) and return the
        norm of its gradient: of the mean, or the median of the pairs' own in private runs."""

    def discard(self) -> None:
        """Forget what was added since the last step."""

    def state(self) -> LearnerState:
        """What the next step depends on, besides the adapter."""

    def restore(self, state: LearnerState) -> None:
        """Go on as the learner that had `state`, but for the noise: the stream is what this one
        was made with, since a state does not say whether its stream may be continued."""

    def close(self) -> None:
        """Let go of the model, so that another learner can take it."""


class PlainLearner:
    """Steps on the mean of the batch, its gradient's norm held at a limit.

    A step whose gradient is not finite is left out; its norm says so.

    Args:
        optimizer: over the trainable parameters of `model`.
        norm_limit: the norm to which a longer gradient is shortened; 0 is no limit.
    """

    def __init__(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, norm_limit: float
    ) -> None:
        self._parameters = trainable(model)
        self._optimizer = optimizer
        self._norm_limit = norm_limit or math.inf

    def add(self, losses: torch.Tensor, units: Sequence[str]) -> None:
        torch.autograd.backward(losses.sum())

    def step(self, pairs: int, learning_rate: float) -> float:
        for parameter in self._parameters:
            if parameter.grad is None:
                raise no_gradient()
            parameter.grad.div_(pairs)
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, self._norm_limit))
        if math.isfinite(norm):
            set_rate(self._optimizer, learning_rate)
            self._optimizer.step()
        self.discard()
        return norm

    def discard(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)

    def state(self) -> LearnerState:
        return LearnerState(*_optimizer_state(self._optimizer))

    def restore(self, state: LearnerState) -> None:
        _restore_optimizer(self._optimizer, state)

    def close(self) -> None:
        self.discard()


class PrivateLearner:
    """Steps on the clipped and noised sum over pairs.

    What the optimizer does, like all that happens after the noise was added, costs no privacy.

    Args:
        make_optimizer: called once the hooks are attached.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        make_optimizer: Callable[[], torch.optim.Optimizer],
        *,
        noise_multiplier: float,
        max_grad_norm: float,
        expected_batch_size: float,
        stream: CipherStream,
    ) -> None:
        # Attached to adapters that are in training mode, before the optimizer sees them.
        self._hooks = per_row_gradients(model)
        self._model = model
        self._stream = stream
        self.optimizer = PrivateOptimizer(
            make_optimizer(),
            noise_multiplier=noise_multiplier,
            max_grad_norm=max_grad_norm,
            expected_batch_size=expected_batch_size,
            stream=stream,
        )
        self._norms: list[float] = []
        self._numbers: dict[str, int] = {}

    def add(self, losses: torch.Tensor, units: Sequence[str]) -> None:
        with warnings.catch_warnings():
            # Where A is frozen, nothing before the first B has a gradient; that is meant.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            torch.autograd.backward(losses.sum())
        named: int | torch.Tensor = len(losses)
        if any(units):
            named = torch.tensor([self._numbers.setdefault(u, len(self._numbers)) for u in units])
        self._norms += self.optimizer.accumulate(named).tolist()

    def step(self, pairs: int, learning_rate: float) -> float:
        set_rate(self.optimizer, learning_rate)
        self._norms += self.optimizer.noisy_step().tolist()
        norm = statistics.median(self._norms) if self._norms else 0.0
        self._norms.clear()
        return norm

    def discard(self) -> None:
        self._norms.clear()
        self.optimizer.discard()
        forget_passes(self._model)

    def state(self) -> LearnerState:
        found = _optimizer_state(self.optimizer.original_optimizer)
        return LearnerState(*found, noise=self._stream.state)

    def restore(self, state: LearnerState) -> None:
        _restore_optimizer(self.optimizer.original_optimizer, state)

    def close(self) -> None:
        self.discard()
        self._hooks.cleanup()


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _optimizer_state(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors: dict[str, torch.Tensor] = {}
    values: dict[str, Any] = {}
    for number, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                tensors[f"{number}.{name}"] = value.detach().cpu().clone()
            else:
                values[f"{number}.{name}"] = value
    return tensors, values


def _restore_optimizer(optimizer: torch.optim.Optimizer, state: LearnerState) -> None:
    parameters = _parameters(optimizer)
    for key, tensor in state.tensors.items():
        number, _, name = key.partition(".")
        parameter = parameters[int(number)]
        # A step counter stays on the CPU, wherever the parameter is.
        device = "cpu" if tensor.dim() == 0 else parameter.device
        optimizer.state[parameter][name] = tensor.to(device)
    for key, value in state.values.items():
        number, _, name = key.partition(".")
        optimizer.state[parameters[int(number)]][name] = value
