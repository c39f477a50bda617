"""The private optimizer: Opacus' DPOptimizer, with our noise and our notion of a unit.

Per step: sum the rows of a unit, clip each unit's gradient to `max_grad_norm` C, add up, add
Gaussian noise of standard deviation sigma C, divide by C times the expected batch size. The
division by C lets the learning rate keep its meaning when C changes (De et al. 2022, arXiv
2204.13650, section 3); the expected size is a constant, since the true one is private.

Nothing here looks at the data outside the clipped sum: a batch may be empty, a unit may have a
gradient that is not finite (it then contributes nothing), and the noise is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from opacus.grad_sample.grad_sample_module import GradSampleHooks
from opacus.optimizers import DPOptimizer

from xeno.errors import BaseModelError

if TYPE_CHECKING:
    from xeno.privacy.noise import CipherStream


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
        self.steps_taken = 0

    def accumulate(self, units: int) -> torch.Tensor:
        """Clip the gradients of the last backward pass and add them to the step's sum.

        Args:
            units: number of units in the pass; each had the same number of adjacent rows.

        Returns:
            The norm of each unit's gradient before clipping [units]; 0 where not finite.

        Raises:
            BaseModelError: if the base does not keep the rows of a batch apart.
        """
        finite = torch.ones(units, dtype=torch.bool, device=self.params[0].device)
        for parameter in self.params:
            rows = parameter.grad_sample
            if not isinstance(rows, torch.Tensor) or len(rows) == 0 or len(rows) % units:
                raise BaseModelError(
                    "This base model cannot be trained with differential privacy.",
                    "It mixes the rows of a batch, so the influence of one pair is not known.",
                    "Train it without differential privacy, or choose another base.",
                )
            per_unit = rows.reshape(units, len(rows) // units, *parameter.shape).sum(dim=1)
            finite &= per_unit.flatten(1).isfinite().all(dim=1)
            parameter.grad_sample = per_unit
        for parameter in self.params:
            parameter.grad_sample[~finite] = 0.0
        norms: torch.Tensor = torch.stack(
            [p.grad_sample.flatten(1).norm(dim=1) for p in self.params]
        ).norm(dim=0)
        self.clip_and_accumulate()
        self._forget_rows()
        return norms

    def discard(self) -> None:
        """Forget what was accumulated since the last step: it was not released."""
        self._forget_rows()
        for parameter in self.params:
            parameter.summed_grad = None

    def noisy_step(self) -> None:
        """Release the accumulated sum with noise, also where nothing was accumulated."""
        for parameter in self.params:
            if parameter.summed_grad is None:
                parameter.summed_grad = torch.zeros_like(parameter)
        self.add_noise()
        for parameter in self.params:
            parameter.grad.div_(self._divisor)
        self.original_optimizer.step()
        self.steps_taken += 1
        self.discard()

    def add_noise(self) -> None:
        """Set each `grad` to the clipped sum plus noise, added in double precision."""
        deviation = self.noise_multiplier * self.max_grad_norm
        for parameter in self.params:
            noise = torch.from_numpy(self._stream.gaussian(parameter.numel())).view_as(parameter)
            noise = noise.to(parameter.device)
            noisy = parameter.summed_grad.double() + deviation * noise
            parameter.grad = noisy.to(parameter.dtype)

    def _forget_rows(self) -> None:
        for parameter in self.params:
            parameter.grad = None
            parameter.grad_sample = None
