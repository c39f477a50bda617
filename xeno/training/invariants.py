"""What must hold of every step, whichever engine takes it.

A wrongly attached optimizer, a kernel without a backward pass or a number format that overflows
train with plausible losses; what comes out is an adapter that does nothing, or harm.
"""

from __future__ import annotations

import torch

from xeno.errors import XenoError
from xeno.training.adapters import trainable


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    """What is trained of `model`, as it is now."""
    return [each.detach().clone() for each in trainable(model)]


@torch.no_grad()
def require_change(model: torch.nn.Module, before: list[torch.Tensor]) -> None:
    """Raise XenoError where a step has left every B of the adapter as it was `before`."""
    names = [name for name, each in model.named_parameters() if each.requires_grad]
    pairs = zip(names, before, trainable(model), strict=True)
    moved = [float((now - was).abs().max()) for name, was, now in pairs if "lora_B" in name]
    if not max(moved, default=0.0) > 0:
        raise XenoError(
            "Training does not change the adapter.",
            "The first step left every number of its B as it was.",
            "This is a fault of the program; nothing was released.",
        )


def require_finite(model: torch.nn.Module, step: int) -> None:
    """Raise XenoError where the adapter is no longer finite after `step`."""
    if not all(bool(each.isfinite().all()) for each in trainable(model)):
        raise XenoError(
            "The adapter is no longer made of finite numbers.",
            f"Step {step} destroyed it.",
            "Start a new run with a smaller learning rate.",
        )


def require_gradients(model: torch.nn.Module, step: int) -> None:
    """Raise XenoError where a part of the adapter has no gradient in `step`, or one that is not
    finite."""
    gradients = [each.grad for each in trainable(model)]
    if any(each is None for each in gradients):
        raise no_gradient()
    if not all(bool(each.isfinite().all()) for each in gradients if each is not None):
        raise XenoError(
            "A gradient is not made of finite numbers.",
            f"That happened in step {step}.",
            "Start a new run with a smaller learning rate, or float32 as number format.",
        )


def no_gradient() -> XenoError:
    """A part of the adapter is not connected to the loss, or a kernel has no backward pass."""
    return XenoError(
        "This base model cannot be trained.",
        "A part of the adapter gets no gradient.",
        "Choose another base model, or other modules for the adapter.",
    )
