"""What a run makes small: one loss per row, from the log-probabilities of its replies.

Every objective keeps the rows apart, so that the gradient of a loss is the gradient of one unit
of privacy. Preference pairs: the DPO family here. Rated replies: `xeno.training.kto`. Replies to
imitate: `Sft` here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F

from xeno.training.loss import mean_logps, preferred
from xeno.training.rows import Batch, Row

LossName = Literal["sigmoid", "robust", "conservative", "ipo", "hinge"]
MeanLogRatio = Callable[[Sequence[Row]], float]
"""The mean over replies of how much likelier the model finds them than its reference does."""


@dataclass(frozen=True)
class RowLoss:
    """Results per row [rows].

    `margin` is the objective's own measure of how far the row is learned: the difference of the
    implicit rewards of a pair, the signed reward of a rated reply, the gain in log-probability
    per token of an imitated one. `accuracy` is 1, one half or 0; None where there is nothing to
    be right about. `logps` is the log-probability of the chosen or only reply.
    """

    loss: torch.Tensor
    margin: torch.Tensor
    accuracy: torch.Tensor | None
    logps: torch.Tensor


class Objective(Protocol):
    """Losses from log-probabilities.

    Args of a call:
        logps: summed log-probabilities under the model [2 rows], (chosen, rejected) in turn;
            0 for a reply that is not there.
        reference: the same under the model before the first step.
    """

    def __call__(self, logps: torch.Tensor, reference: torch.Tensor, batch: Batch) -> RowLoss: ...

    def prepared(self, rows: Sequence[Row], mean_log_ratio: MeanLogRatio) -> Objective:
        """The objective for the step that has these rows: itself, unless it measures first."""


@dataclass(frozen=True)
class Dpo:
    """Direct preference optimisation: the chosen reply's reward over the rejected one's.

    The reward of a reply is beta times its log-ratio r = log pi(y|x) - log pi_ref(y|x)
    (Rafailov et al. 2023, arXiv 2305.18290, equation 5). With h = beta (r_chosen - r_rejected)
    and e = label_smoothing, the share of pairs that are taken to be the wrong way round:

        sigmoid        -log s(h)                                       (equation 7)
        robust         (-(1 - e) log s(h) + e log s(-h)) / (1 - 2 e)   (Chowdhury et al. 2024,
                       arXiv 2403.00409): unbiased where a share e of the pairs is flipped
        conservative   -(1 - e) log s(h) - e log s(-h)                 (Mitchell 2023, "A note on
                       DPO with noisy preferences"): aims at a finite h
        hinge          max(0, 1 - h)                                   (SLiC's loss on DPO's
                       rewards: Liu et al. 2024, arXiv 2309.06657)
        ipo            (d - 1 / (2 beta))^2, d the difference of the log-ratios per token (Azar
                       et al. 2023, arXiv 2310.12036, equation 17, per token as its authors do)

    `per_token` divides each log-ratio by the reply's tokens, so that length alone earns nothing.

    `sft_weight` a adds a times the chosen reply's negative log-probability per token (Pang et al.
    2024, arXiv 2404.19733, equation 1): DPO alone is content to make both replies unlikely as
    long as the rejected one suffers more, and the model then writes neither.
    """

    loss: LossName
    beta: float
    label_smoothing: float = 0.0
    per_token: bool = False
    sft_weight: float = 0.0

    def __call__(self, logps: torch.Tensor, reference: torch.Tensor, batch: Batch) -> RowLoss:
        rewards = (self.beta * (logps - reference)).view(batch.pairs, 2)
        margin = rewards[:, 0] - rewards[:, 1]
        judged = margin
        if self.per_token or self.loss == "ipo":
            per_token = rewards / batch.lengths.clamp(min=1).view(batch.pairs, 2)
            judged = per_token[:, 0] - per_token[:, 1]
        means = mean_logps(logps, batch)
        loss = self._loss(judged)
        if self.sft_weight:
            loss = loss - self.sft_weight * means[:, 0]
        accuracy = preferred(means[:, 0].detach(), means[:, 1].detach())
        return RowLoss(loss * batch.weights, margin, accuracy, logps[::2].detach())

    def prepared(self, rows: Sequence[Row], mean_log_ratio: MeanLogRatio) -> Dpo:
        return self

    def _loss(self, h: torch.Tensor) -> torch.Tensor:
        flipped = self.label_smoothing
        match self.loss:
            case "sigmoid":
                return -F.logsigmoid(h)
            case "robust":
                agreed, turned = F.logsigmoid(h), F.logsigmoid(-h)
                return (flipped * turned - (1 - flipped) * agreed) / (1 - 2 * flipped)
            case "conservative":
                return -(1 - flipped) * F.logsigmoid(h) - flipped * F.logsigmoid(-h)
            case "hinge":
                return torch.relu(1 - h)
            case "ipo":
                return (h / self.beta - 1 / (2 * self.beta)) ** 2


@dataclass(frozen=True)
class Sft:
    """Supervised fine-tuning: the negative log-probability per token of the reply.

    Every example counts the same, however long it is.
    """

    def __call__(self, logps: torch.Tensor, reference: torch.Tensor, batch: Batch) -> RowLoss:
        means = mean_logps(logps, batch)[:, 0]
        gain = means.detach() - mean_logps(reference, batch)[:, 0]
        return RowLoss(-means * batch.weights, gain, None, logps[::2].detach())

    def prepared(self, rows: Sequence[Row], mean_log_ratio: MeanLogRatio) -> Sft:
        return self
