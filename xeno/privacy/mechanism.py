"""The private optimizer: Opacus' DPOptimizer, with our noise and our notion of a unit.

Per step: sum the rows of a unit (a pair, or all pairs of a conversation), clip each unit's
gradient to `max_grad_norm` C, add up, add Gaussian noise of standard deviation sigma C, divide by
C times the expected batch size. The division by C lets the learning rate keep its meaning when C
changes (De et al. 2022, arXiv 2204.13650, section 3); the expected size is a constant, since the
true one is private.

Nothing here looks at the data outside the clipped sum: a batch may be empty, a unit may have a
gradient that is not finite (it then contributes nothing), and the noise is the same.
"""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

import torch
from opacus.grad_sample.grad_sample_module import GradSampleHooks
from opacus.optimizers import DPOptimizer

from xeno.errors import BaseModelError

if TYPE_CHECKING:
    from xeno.privacy.noise import CipherStream, Numbers


def per_row_gradients(model: torch.nn.Module) -> GradSampleHooks:
    """Make every backward pass of a summed loss leave `grad_sample` [rows, *shape] on the
    trainable parameters of `model`, which must be in training mode and is not wrapped."""
    return GradSampleHooks(model, loss_reduction="sum", strict=False)


def forget_passes(model: torch.nn.Module) -> None:
    """Forget what the hooks kept of passes that did not come to their end: a stop or a lack of
    memory interrupted them, and the next backward pass would take it for its own."""
    for module in model.modules():
        if getattr(module, "activations", None):
            module.activations = []  # type: ignore[assignment]
        if hasattr(module, "max_batch_len"):
            del module.max_batch_len
    for parameter in model.parameters():
        if hasattr(parameter, "_forward_counter"):
            parameter._forward_counter = 0
        if hasattr(parameter, "_current_grad_sample"):
            del parameter._current_grad_sample


class PrivateOptimizer(DPOptimizer):  # type: ignore[misc]
    """An optimizer whose every step is one release of the Gaussian mechanism.

    Args:
        optimizer: the optimizer that applies the noisy gradients.
        noise_multiplier: sigma; 0 only in tests of the clipping.
        max_grad_norm: C, the norm to which a unit's gradient is clipped.
        expected_batch_size: sample rate times the number of units, a constant of the run.
        stream: source of the noise.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        noise_multiplier: float,
        max_grad_norm: float,
        expected_batch_size: float,
        stream: CipherStream,
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=max_grad_norm,
            expected_batch_size=None,
            loss_reduction="sum",
        )
        self._divisor = expected_batch_size * max_grad_norm
        self._stream = stream
        self._open: tuple[int, list[torch.Tensor]] | None = None
        self._closed: set[int] = set()
        self.steps_taken = 0

    def accumulate(self, units: int | torch.Tensor) -> torch.Tensor:
        """Clip the gradients of the last backward pass and add them to the step's sum.

        Args:
            units: number of units in the pass, each with the same number of adjacent rows; or,
                where a unit may have several pairs, the number (from 0) of each pair's unit
                [pairs]. The pairs of a unit come one after the other, also over the passes of a
                step; the last one is clipped when it is known to be whole.

        Returns:
            The norm of each gradient that was clipped, before [units]; 0 where not finite.

        Raises:
            BaseModelError: if the base does not keep the rows of a batch apart.
            ValueError: if a unit comes again after another one: it would be clipped twice.
        """
        per_pair = self._per_pair(units if isinstance(units, int) else len(units))
        if isinstance(units, int):
            return self._clip(per_pair)
        found = [name for name, _ in groupby(units.tolist())]
        ends = torch.nn.functional.pad(units[1:] != units[:-1], (1, 0))
        places = ends.cumsum(0).to(per_pair[0].device)
        grouped = [
            each.new_zeros(len(found), *each.shape[1:]).index_add_(0, places, each)
            for each in per_pair
        ]
        clipped = self._no_norms()
        if self._open is not None and self._open[0] == found[0]:
            for group, begun in zip(grouped, self._open[1], strict=True):
                group[0] += begun
            self._open = None
        else:
            clipped = self._close()
        if self._closed & set(found) or len(set(found)) < len(found):
            raise ValueError("the pairs of a unit must come one after the other")
        self._open = (found[-1], [each[-1].clone() for each in grouped])
        self._closed |= set(found[:-1])
        return torch.cat([clipped, self._clip([each[:-1] for each in grouped])])

    def _per_pair(self, pairs: int) -> list[torch.Tensor]:
        """The gradients of the last pass, the rows of each pair added up: [pairs, *shape]."""
        found = []
        for parameter in self.params:
            rows = parameter.grad_sample
            if not isinstance(rows, torch.Tensor) or len(rows) == 0 or len(rows) % pairs:
                raise BaseModelError(
                    "This base model cannot be trained with differential privacy.",
                    "It mixes the rows of a batch, so the influence of one pair is not known.",
                    "Train it without differential privacy, or choose another base.",
                )
            if len(rows) > pairs:
                rows = rows.reshape(pairs, len(rows) // pairs, *parameter.shape).sum(dim=1)
            found.append(rows)
        self._forget_rows()
        return found

    def _close(self) -> torch.Tensor:
        """Clip the unit that is open: nothing of it comes any more. Its norm [1], or [0]."""
        if self._open is None:
            return self._no_norms()
        name, gradients = self._open
        self._open = None
        self._closed.add(name)
        return self._clip([each[None] for each in gradients])

    def _clip(self, per_unit: list[torch.Tensor]) -> torch.Tensor:
        """Clip gradients [units, *shape] and add them to the sum; their norms before [units]."""
        if len(per_unit[0]) == 0:
            return self._no_norms()
        each_norm = [each.flatten(1).norm(dim=1) for each in per_unit]
        norms: torch.Tensor = torch.stack(each_norm).norm(dim=0)
        # A sum of squares is finite only where all of them are.
        broken = ~norms.isfinite()
        norms[broken] = 0.0
        for parameter, gradients in zip(self.params, per_unit, strict=True):
            gradients[broken] = 0.0
            parameter.grad_sample = gradients
        self.clip_and_accumulate()
        self._forget_rows()
        return norms

    def _no_norms(self) -> torch.Tensor:
        return torch.zeros(0, device=self.params[0].device)

    def discard(self) -> None:
        """Forget what was accumulated since the last step: it was not released."""
        self._forget_rows()
        self._open = None
        self._closed.clear()
        for parameter in self.params:
            parameter.summed_grad = None

    def noisy_step(self) -> torch.Tensor:
        """Release the accumulated sum with noise, also where nothing was accumulated.

        Returns:
            The norm of the unit that was still open, before clipping [1], or [0].
        """
        norms = self._close()
        for parameter in self.params:
            if parameter.summed_grad is None:
                parameter.summed_grad = torch.zeros_like(parameter)
        self.add_noise()
        for parameter in self.params:
            parameter.grad.div_(self._divisor)
        self.original_optimizer.step()
        self.steps_taken += 1
        self.discard()
        return norms

    def add_noise(self) -> None:
        """Set each `grad` to the clipped sum plus noise, added in double precision."""
        deviation = self.noise_multiplier * self.max_grad_norm
        count = sum(parameter.numel() for parameter in self.params)
        everything, begin = torch.from_numpy(self._stream.gaussian(count, _box_muller)), 0
        for parameter in self.params:
            end = begin + parameter.numel()
            noise = everything[begin:end].view_as(parameter).to(parameter.device)
            noisy = parameter.summed_grad.double().add_(noise, alpha=deviation)
            parameter.grad, begin = noisy.to(parameter.dtype), end

    def _forget_rows(self) -> None:
        for parameter in self.params:
            parameter.grad = None
            parameter.grad_sample = None


def _box_muller(uniform: Numbers) -> Numbers:
    """`xeno.privacy.noise.box_muller` on all the threads that train, in double precision too."""
    radius, angle = torch.from_numpy(uniform).view(2, -1)
    radius.log_().mul_(-2.0).sqrt_()
    angle.mul_(2.0 * math.pi)
    found = torch.stack((angle.cos(), angle.sin())).mul_(radius)
    return found.view(-1).numpy()
