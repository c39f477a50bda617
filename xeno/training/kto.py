"""Kahneman-Tversky optimisation: learning from replies that were rated alone.

Ethayarajh et al. 2024 (arXiv 2402.01306), equation 7. With the reward r = beta (log pi(y|x) -
log pi_ref(y|x)) and the reference point z = beta KL(pi || pi_ref), a good reply's loss is
w_good (1 - s(r - z)) and a bad one's w_bad (1 - s(z - r)).

The divergence is estimated as in the paper's section 4.1 (and in TRL): the mean log-ratio of
replies under prompts of other rows, at least 0, through which no gradient flows. The estimate
mixes the rows of a batch, so a private run takes it as 0: a row's loss is then its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from xeno.training.loss import preferred
from xeno.training.objectives import MeanLogRatio, RowLoss
from xeno.training.rows import Batch, Row


@dataclass(frozen=True)
class Kto:
    """The loss of each row: of its one reply, rated by `desirable`, or of both replies of a
    pair, the chosen one as good and the rejected one as bad.

    Attributes:
        limit: most tokens of a prompt with a reply, also where they are mismatched.
        estimate_kl: whether each step measures the divergence first; False in private runs.
        kl: the divergence [nats], at least 0.
    """

    beta: float
    desirable_weight: float
    undesirable_weight: float
    limit: int
    estimate_kl: bool
    kl: float = 0.0

    def __call__(self, logps: torch.Tensor, reference: torch.Tensor, batch: Batch) -> RowLoss:
        there = torch.stack([torch.ones_like(batch.paired), batch.paired], dim=1)
        good = torch.stack([batch.desirable, torch.zeros_like(batch.desirable)], dim=1)
        sign = torch.where(good, 1.0, -1.0)
        log_ratios = (logps - reference).view(batch.pairs, 2)
        weight = torch.where(good, self.desirable_weight, self.undesirable_weight)
        lifted = sign * self.beta * (log_ratios - self.kl)
        losses = torch.where(there, weight * (1 - torch.sigmoid(lifted)), 0.0)
        count = there.sum(1)
        margin = torch.where(there, sign * self.beta * log_ratios, 0.0).sum(1) / count
        right = torch.where(there, preferred(lifted.detach(), torch.zeros(())), 0.0).sum(1) / count
        return RowLoss(losses.sum(1) * batch.weights, margin, right, logps[::2].detach())

    def prepared(self, rows: Sequence[Row], mean_log_ratio: MeanLogRatio) -> Kto:
        """With the divergence measured on the replies of `rows`, each under another's prompt."""
        turned = mismatched(rows, self.limit) if self.estimate_kl else []
        return replace(self, kl=max(0.0, mean_log_ratio(turned))) if turned else self


def mismatched(rows: Sequence[Row], limit: int) -> list[Row]:
    """Each prompt with the replies of the row before it; none where there is only one row.

    A reply that no longer fits into `limit` tokens loses its end, and a row that then has none
    is left out.
    """
    if len(rows) < 2:
        return []
    found = []
    for row, other in zip(rows, [rows[-1], *rows[:-1]], strict=True):
        room = max(0, limit - len(row.prompt))
        chosen, rejected = other.chosen[:room], other.rejected[:room]
        if chosen:
            found.append(replace(row, chosen=chosen, rejected=rejected))
    return found
