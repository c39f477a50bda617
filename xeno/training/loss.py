"""From logits to per-pair losses and measures. Every function keeps the pairs apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from xeno.training.rows import Batch


@dataclass(frozen=True)
class PairLoss:
    """Per-pair results [pairs]. `margin` is the difference of the two implicit rewards."""

    loss: torch.Tensor
    margin: torch.Tensor


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


def dpo_loss(
    logps: torch.Tensor, reference: torch.Tensor, batch: Batch, *, beta: float, sft_weight: float
) -> PairLoss:
    """The DPO loss of each pair, with a share of plain learning of the chosen reply.

    Rafailov et al. 2023 (arXiv 2305.18290), equation 7, with the likelihood term of Pang et al.
    2024 (arXiv 2404.19733), equation 1: DPO alone is content to make both replies unlikely as
    long as the rejected one suffers more, and the model then writes neither.

    Args:
        logps: summed log-probabilities under the model [2 pairs], (chosen, rejected) in turn.
        reference: the same under the untouched base.
        beta: strength of the tie to the base, above 0.
        sft_weight: weight of the chosen reply's negative log-probability per token, from 0.
    """
    rewards = beta * (logps - reference).view(batch.pairs, 2)
    margin = rewards[:, 0] - rewards[:, 1]
    loss = -F.logsigmoid(margin)
    if sft_weight:
        loss = loss - sft_weight * mean_logps(logps, batch)[:, 0]
    return PairLoss(loss * batch.weights, margin)


def mean_logps(logps: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Log-probability per token of both replies of each pair [pairs, 2]."""
    return (logps / batch.lengths).view(batch.pairs, 2)


def preferred(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """1 where `first` is larger, one half at a tie, 0 otherwise; same shape."""
    return (torch.sign(first - second) + 1) / 2
