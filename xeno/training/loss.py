"""From logits to the log-probabilities of replies. Every function keeps the rows apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from xeno.training.rows import Batch


def branch_logps(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Summed log-probability of each branch's completion [2 pairs], in float32.

    Args:
        logits: the predictions at the batch's (rows, columns) [targets, vocabulary].
    """
    return summed(-F.cross_entropy(logits.float(), batch.targets, reduction="none"), batch)


def summed(token_logps: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The sum over each branch's completion [2 pairs] of the log-probabilities [targets]."""
    sums = torch.zeros(2 * batch.pairs, dtype=token_logps.dtype)
    return sums.index_add(0, batch.branches, token_logps)


def mean_logps(logps: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Log-probability per token of both replies of each pair [pairs, 2]; 0 of a missing one."""
    return (logps / batch.lengths.clamp(min=1)).view(batch.pairs, 2)


def preferred(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """1 where `first` is larger, one half at a tie, 0 otherwise; same shape."""
    return (torch.sign(first - second) + 1) / 2
