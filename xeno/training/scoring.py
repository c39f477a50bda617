"""What the model says of rows: their losses against the reference, and how it does on held-out
ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from xeno.events import Evaluated
from xeno.training.adapters import switched_off
from xeno.training.measures import Measures, shorter
from xeno.training.objectives import Objective, RowLoss
from xeno.training.policy import Policy
from xeno.training.recovery import Memory
from xeno.training.rows import Row


class Scorer:
    """Scores rows with `policy` by `objective`, in the parts that `memory` cuts.

    Attributes:
        reference: log-probabilities of both replies of each row [2] under the model before the
            first step, by pair id.
    """

    def __init__(self, policy: Policy, objective: Objective, memory: Memory) -> None:
        self._policy = policy
        self._objective = objective
        self._memory = memory
        self.reference: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def refer(self, rows: Sequence[Row]) -> None:
        """Keep the log-probabilities of before the first step. Done again after an interruption,
        it goes on with the rows that are missing."""
        missing = [row for row in rows if row.pair_id not in self.reference]
        for part in self._memory.parts(missing):
            logps = self._policy.logps(self._policy.collate(part)).view(-1, 2)
            for row, both in zip(part, logps, strict=True):
                self.reference[row.pair_id] = both.clone()

    def ease(self, row: Row) -> float:
        """By how much the reference prefers the chosen reply, per token."""
        chosen, rejected = self.reference[row.pair_id].tolist()
        return float(chosen / max(1, len(row.chosen)) - rejected / max(1, len(row.rejected)))

    def prepared(self, rows: Sequence[Row]) -> Objective:
        """The objective for the step or the evaluation that has these rows."""
        return self._objective.prepared(rows, self._mean_log_ratio)

    def losses(self, part: Sequence[Row], objective: Objective) -> RowLoss:
        """What `objective`, prepared for the whole batch, says of a part of it."""
        batch = self._policy.collate(part)
        reference = torch.cat([self.reference[row.pair_id] for row in part])
        return objective(self._policy.logps(batch), reference, batch)

    @torch.no_grad()
    def score(self, run_id: str, step: int, rows: Sequence[Row]) -> Evaluated:
        """The held-out `rows` scored after `step` steps of the run."""
        measures, short = Measures(), 0.0
        objective = self.prepared(rows)
        for part in self._memory.parts(rows):
            measures = measures.plus(part, self.losses(part, objective))
            short += sum(shorter(row) for row in part)
        baseline = measures.mean(short) if all(row.rejected for row in rows) else None
        return Evaluated(
            run_id=run_id,
            step=step,
            preference_accuracy=measures.mean_accuracy(),
            loss=measures.mean(measures.loss),
            reward_margin=measures.mean(measures.margin),
            shorter_baseline=baseline,
            longer_baseline=None if baseline is None else 1 - baseline,
            perplexity=measures.perplexity(),
        )

    @torch.no_grad()
    def _mean_log_ratio(self, rows: Sequence[Row]) -> float:
        """The mean over the replies of `rows`, which have no kept reference, of the log-ratio
        between the model and the base."""
        self._policy.use_for(rows)
        total, replies = 0.0, 0
        for part in self._memory.parts(rows):
            batch = self._policy.collate(part)
            now = self._policy.logps(batch)
            with switched_off(self._policy.model):
                base = self._policy.logps(batch)
            total += float((now - base).sum())
            replies += batch.pairs + int(batch.paired.sum())
        return total / replies if replies else 0.0
