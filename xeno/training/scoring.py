"""What the model says of pairs: their losses against the base, and how it does on held-out ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from xeno.events import Evaluated
from xeno.training.loss import dpo_loss, mean_logps
from xeno.training.measures import Measures, shorter
from xeno.training.plan import TrainingPlan
from xeno.training.policy import Policy
from xeno.training.recipe import Recipe
from xeno.training.recovery import Memory
from xeno.training.rows import Row


class Scorer:
    """Scores rows with `policy`, in the parts that `memory` cuts.

    Attributes:
        reference: log-probabilities of both replies of each row under the base [2], by pair id.
    """

    def __init__(self, plan: TrainingPlan, recipe: Recipe, policy: Policy, memory: Memory) -> None:
        self._beta = plan.beta
        self._sft_weight = recipe.sft_weight
        self._policy = policy
        self._memory = memory
        self.reference: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def refer(self, rows: Sequence[Row]) -> None:
        """Keep the log-probabilities under the base: the adapter still changes nothing. Done
        again after an interruption, it goes on with the rows that are missing."""
        missing = [row for row in rows if row.pair_id not in self.reference]
        for part in self._memory.parts(missing):
            logps = self._policy.logps(self._policy.collate(part)).view(-1, 2)
            for row, both in zip(part, logps, strict=True):
                self.reference[row.pair_id] = both.clone()

    def losses(self, part: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(losses, margins) [pairs] and log-probabilities per token [pairs, 2] of `part`."""
        batch = self._policy.collate(part)
        logps = self._policy.logps(batch)
        reference = torch.cat([self.reference[row.pair_id] for row in part])
        result = dpo_loss(logps, reference, batch, beta=self._beta, sft_weight=self._sft_weight)
        return result.loss, result.margin, mean_logps(logps, batch)

    @torch.no_grad()
    def score(self, run_id: str, step: int, rows: Sequence[Row]) -> Evaluated:
        """The held-out `rows` scored after `step` steps."""
        measures, short = Measures(), 0.0
        for part in self._memory.parts(rows):
            measures = measures.plus(*self.losses(part))
            short += sum(shorter(row) for row in part)
        baseline = measures.mean(short)
        return Evaluated(
            run_id=run_id,
            step=step,
            preference_accuracy=measures.mean(measures.accuracy),
            loss=measures.mean(measures.loss),
            reward_margin=measures.mean(measures.margin),
            shorter_baseline=baseline,
            longer_baseline=None if baseline is None else 1 - baseline,
        )
