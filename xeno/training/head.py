"""The log-probability of each reply token, without ever holding all predictions at once.

The last layer of a language model makes one number per token and word of the vocabulary: for
2,000 tokens and 50,000 words 400 MB, several times over once there are gradients. Here it is
computed for a few tokens at a time. The gradient of a token's log-probability with respect to
its hidden state,

    d log p / d h = (onehot(target) - softmax(z)) dz/d(W h) W,

is one row; it is computed while the predictions are at hand, kept in their place, and scaled
by what comes back from the loss. So each prediction is made once, and memory does not grow with
the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

CHUNK = 128
"""Tokens at once: their predictions stay in the processor's cache, and more gains nothing."""


@dataclass(frozen=True)
class Head:
    """What a model does after its last hidden state: z = cap tanh(scale (W h + b) / cap).

    Attributes:
        weight: W [vocabulary, hidden], frozen.
        bias: b [vocabulary] or None.
        scale: 1 for most models.
        cap: the bound of a model that caps its predictions (Gemma 2), or None.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None = None
    scale: float = 1.0
    cap: float | None = None

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """The predictions [tokens, vocabulary] in float32 for `hidden` [tokens, hidden]."""
        z = torch.nn.functional.linear(hidden, self.weight, self.bias).float()
        if self.scale != 1.0:
            z = z * self.scale
        return z if self.cap is None else self.cap * torch.tanh(z / self.cap)

    def token_logps(
        self, hidden: torch.Tensor, targets: torch.Tensor, chunk: int = CHUNK
    ) -> torch.Tensor:
        """Log-probability of each of `targets` [tokens] in float32 [tokens].

        Args:
            hidden: the hidden states that predict them [tokens, hidden].
            chunk: tokens at once.
        """
        result: torch.Tensor = _TokenLogps.apply(hidden, targets, self, chunk)  # type: ignore[no-untyped-call]
        return result


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, targets: torch.Tensor, head: Head, chunk: int
    ) -> torch.Tensor:
        wanted = ctx.needs_input_grad[0]
        gradient = torch.empty_like(hidden) if wanted else None
        logps = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        for begin in range(0, len(targets), chunk):
            part = slice(begin, begin + chunk)
            z = head.logits(hidden[part])
            at = targets[part, None]
            p = torch.softmax(z, -1)
            # log sum exp z = max z - log max p: one pass of exponentials serves both.
            total = z.amax(-1, keepdim=True) - p.amax(-1, keepdim=True).log()
            logps[part] = (z.gather(1, at) - total)[:, 0]
            if gradient is not None:
                p.scatter_add_(1, at, torch.full_like(total, -1.0))
                if head.cap is not None:
                    p.mul_(1 - (z / head.cap) ** 2)
                torch.mm(p.to(hidden.dtype), head.weight, out=gradient[part]).mul_(-head.scale)
        ctx.save_for_backward(gradient)
        return logps

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0][:, None].to(gradient.dtype), None, None, None
