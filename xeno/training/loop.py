"""The steps of a run: batches, losses, progress, measures on held-out pairs, stop."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psutil
import torch

from xeno.errors import XenoError
from xeno.events import Evaluated, Event, LogLine, Progress, SampleReplies, StopTraining
from xeno.privacy.noise import CipherStream
from xeno.training.adapters import dropping, switched_off, trainable
from xeno.training.batches import passes
from xeno.training.eta import TimeLeft
from xeno.training.gauges import Gauges
from xeno.training.learner import Learner
from xeno.training.microbatches import Limits, micro_batches
from xeno.training.objectives import Objective, RowLoss
from xeno.training.plan import TrainingPlan
from xeno.training.policy import Policy
from xeno.training.recipe import Recipe
from xeno.training.rows import Row
from xeno.training.samples import Samples

_PATIENCE = 2.0
"""Seconds that measuring a kept version may take after a stop."""


@dataclass(frozen=True)
class Outcome:
    """How the steps ended. `steps` counts those taken; `stop` is the order that ended them."""

    steps: int
    stop: StopTraining | None
    metrics: dict[str, float | None]
    dtype: str


@dataclass(frozen=True)
class _Measures:
    """Sums over pairs; the means are over `pairs`. `accuracy` is None where nothing has one;
    `logps` is of all `tokens` of chosen replies."""

    loss: float = 0.0
    margin: float = 0.0
    accuracy: float | None = None
    pairs: int = 0
    logps: float = 0.0
    tokens: int = 0

    def plus(self, rows: Sequence[Row], result: RowLoss) -> _Measures:
        right = result.accuracy
        return _Measures(
            self.loss + float(result.loss.detach().sum()),
            self.margin + float(result.margin.detach().sum()),
            None if right is None else (self.accuracy or 0.0) + float(right.sum()),
            self.pairs + len(rows),
            self.logps + float(result.logps.sum()),
            self.tokens + sum(len(row.chosen) for row in rows),
        )

    def mean_accuracy(self) -> float | None:
        return None if self.accuracy is None else self.mean(self.accuracy)

    def mean(self, total: float) -> float | None:
        """`total` per pair; None of no pairs, and where it is not a finite number."""
        return _finite(total / self.pairs) if self.pairs else None

    def perplexity(self) -> float | None:
        """Of the chosen replies, per token."""
        if not self.tokens:
            return None
        try:
            return _finite(math.exp(-self.logps / self.tokens))
        except OverflowError:
            return None


class _Stopped(Exception):  # noqa: N818 - an order, not an error
    def __init__(self, order: StopTraining) -> None:
        super().__init__()
        self.order = order


class Loop:
    """Trains `learner`'s adapter on `rows` and measures it on `held_out`.

    Args:
        objective: what is made small. Its reference is the model as it is before the first step.
        steps_before: steps that earlier stages of the run took; progress counts on from there.
        steps_after: steps that later stages will take.
        samples: writes the sample replies; None where none are wanted.
    """

    def __init__(
        self,
        run_id: str,
        plan: TrainingPlan,
        recipe: Recipe,
        policy: Policy,
        learner: Learner,
        objective: Objective,
        rows: Sequence[Row],
        held_out: Sequence[Row],
        emit: Callable[[Event], None],
        stop: Callable[[], StopTraining | None],
        samples: Samples | None = None,
        *,
        steps_before: int = 0,
        steps_after: int = 0,
    ) -> None:
        self._run_id = run_id
        self._plan = plan
        self._recipe = recipe
        self._policy = policy
        self._learner = learner
        self._objective = objective
        self._before, self._after = steps_before, steps_after
        self._rows = rows
        self._held_out = held_out
        self._emit = emit
        self._stop = stop
        self._samples = samples
        self._limits = Limits(plan.micro_batch_size, plan.tokens_at_once)
        self._reference: dict[str, torch.Tensor] = {}
        self._seconds = 0.0
        self._pairs_done = 0
        self._tokens_done = 0
        self._gauges = Gauges()
        self._time_left = TimeLeft(recipe.steps)
        self._evaluate_every = max(1, math.ceil(recipe.steps / plan.evaluations))
        self._sample_every = plan.sample_every or self._evaluate_every

    def run(self) -> Outcome:
        """Take the steps, or as many as there is time for before a stop."""
        taken, order = 0, None
        before = after = Evaluated(
            run_id=self._run_id,
            step=self._before,
            preference_accuracy=None,
            loss=None,
            reward_margin=None,
            shorter_baseline=None,
            longer_baseline=None,
        )
        try:
            self._refer()
            if self._plan.evaluate_first:
                before = after = self._evaluate(0)
            self._write_samples(0)
            for batch in self._batches():
                self._step(taken, batch)
                taken += 1
                last = taken == self._recipe.steps
                if taken % self._evaluate_every == 0 or last:
                    after = self._evaluate(taken)
                if taken % self._sample_every == 0 or last:
                    self._write_samples(taken)
        except _Stopped as stopped:
            order = stopped.order
            self._learner.discard()
            if order.keep and after.step != self._before + taken:
                after = self._evaluate_in_time(taken, after)
        metrics: dict[str, float | None] = {
            "steps": taken,
            "heldout_preference_accuracy_before": before.preference_accuracy,
            "heldout_preference_accuracy": after.preference_accuracy,
            "heldout_loss": after.loss,
            "heldout_reward_margin": after.reward_margin,
            "heldout_perplexity": after.perplexity,
            "shorter_baseline": after.shorter_baseline,
            "longer_baseline": after.longer_baseline,
            "pairs_per_second": self._pairs_per_second(),
            "tokens_per_second": self._tokens_done / self._seconds if self._seconds else 0.0,
            "peak_memory_bytes": peak_memory(),
        }
        return Outcome(taken, order, metrics, str(self._policy.model.dtype).removeprefix("torch."))

    # Steps ------------------------------------------------------------------------------

    def _batches(self) -> Iterator[list[Row]]:
        """One batch per step: sampled by the cipher stream in private runs, otherwise whole
        passes in an order that follows from the seed."""
        rows, recipe = list(self._rows), self._recipe
        if self._plan.private:
            stream = CipherStream()
            for _ in range(recipe.steps):
                yield [rows[i] for i in stream.poisson_sample(len(rows), recipe.sample_rate)]
            return
        yield from passes(rows, self._plan, int(recipe.batch_size), recipe.steps, self._ease)

    def _ease(self, row: Row) -> float:
        """By how much the base prefers the chosen reply, per token."""
        chosen, rejected = self._reference[row.pair_id].tolist()
        return float(chosen / max(1, len(row.chosen)) - rejected / max(1, len(row.rejected)))

    def _step(self, taken: int, batch: Sequence[Row]) -> None:
        begun = time.monotonic()
        measures = _Measures()
        objective = self._objective.prepared(batch, self._mean_log_ratio)
        with dropping(self._policy.model, self._plan.seed, self._before + taken):
            for part in self._parts(batch):
                result = self._losses(part, objective)
                self._learner.add(result.loss)
                measures = measures.plus(part, result)
        before = self._snapshot() if taken == 0 else None
        rate = self._recipe.schedule.rate(taken)
        norm = self._learner.step(len(batch), rate)
        if not self._plan.private and not math.isfinite(norm):
            words = f"Step {taken + 1} was left out: its gradient was not a finite number."
            self._emit(LogLine(level="warning", text=words))
        elif before is not None and batch and norm > 0:
            self._require_change(before)
        seconds = time.monotonic() - begun
        self._seconds += seconds
        self._time_left.step(seconds)
        self._pairs_done += len(batch)
        self._tokens_done += sum(row.tokens for row in batch)
        if (taken + 1) % self._plan.progress_every == 0 or taken + 1 == self._recipe.steps:
            self._report(taken + 1, measures, rate, norm)

    def _report(self, step: int, measures: _Measures, rate: float, norm: float) -> None:
        machine = self._gauges.read()
        self._emit(
            Progress(
                run_id=self._run_id,
                step=self._before + step,
                steps=self._before + self._recipe.steps + self._after,
                loss=measures.mean(measures.loss),
                reward_margin=measures.mean(measures.margin),
                preference_accuracy=measures.mean_accuracy(),
                learning_rate=rate,
                gradient_norm=_finite(norm),
                pairs_per_second=self._pairs_per_second(),
                tokens_per_second=self._tokens_done / self._seconds if self._seconds else 0.0,
                memory_bytes=machine.memory_bytes,
                processor_share=machine.processor_share,
                temperature=machine.temperature,
                eta_seconds=self._time_left.seconds(
                    self._recipe.steps - step, self._interludes_after(step)
                ),
            )
        )

    def _interludes_after(self, step: int) -> dict[str, int]:
        """How often the held-out pairs and the samples are still to come after `step` steps;
        after the step itself, and at the end in any case."""
        steps = self._recipe.steps

        def times(every: int) -> int:
            return -(-steps // every) - max(0, step - 1) // every

        return {"evaluation": times(self._evaluate_every), "samples": times(self._sample_every)}

    def _losses(self, part: Sequence[Row], objective: Objective) -> RowLoss:
        batch = self._policy.collate(part)
        reference = torch.cat([self._reference[row.pair_id] for row in part])
        return objective(self._policy.logps(batch), reference, batch)

    @torch.no_grad()
    def _mean_log_ratio(self, rows: Sequence[Row]) -> float:
        """The mean over the replies of `rows`, which have no kept reference, of the log-ratio
        between the model and the base."""
        self._policy.use_for(rows)
        total, replies = 0.0, 0
        for part in self._parts(rows):
            batch = self._policy.collate(part)
            now = self._policy.logps(batch)
            with switched_off(self._policy.model):
                base = self._policy.logps(batch)
            total += float((now - base).sum())
            replies += batch.pairs + int(batch.paired.sum())
        return total / replies if replies else 0.0

    def _parts(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        """The micro-batches of `rows`; stops are obeyed before each and once where none is."""
        parts = micro_batches(rows, self._limits)
        for part in parts:
            self._obey()
            yield part
        if not parts:
            self._obey()

    def _obey(self) -> None:
        order = self._stop()
        if order is not None:
            raise _Stopped(order)

    def _snapshot(self) -> list[torch.Tensor]:
        return [each.detach().clone() for each in trainable(self._policy.model)]

    def _require_change(self, before: list[torch.Tensor]) -> None:
        """A wrongly attached optimizer trains with plausible losses and changes nothing."""
        pairs = zip(before, trainable(self._policy.model), strict=True)
        if not any(bool((was != now).any()) for was, now in pairs):
            raise XenoError(
                "Training does not change the adapter.",
                "The first step left every number as it was.",
                "This is a fault of the program; nothing was released.",
            )

    # Measures ---------------------------------------------------------------------------

    @torch.no_grad()
    def _refer(self) -> None:
        """The log-probabilities under the base, kept once: the adapter still changes nothing."""
        for part in self._parts([*self._rows, *self._held_out]):
            logps = self._policy.logps(self._policy.collate(part)).view(-1, 2)
            for row, both in zip(part, logps, strict=True):
                self._reference[row.pair_id] = both.clone()

    @torch.no_grad()
    def _evaluate(self, step: int) -> Evaluated:
        """Score the held-out pairs and say so."""
        begun = time.monotonic()
        measures, shorter_ones = _Measures(), 0.0
        whole = step in {0, self._recipe.steps} or self._plan.evaluation_pairs is None
        held_out = self._held_out if whole else self._held_out[: self._plan.evaluation_pairs]
        objective = self._objective.prepared(held_out, self._mean_log_ratio)
        for part in self._parts(held_out):
            measures = measures.plus(part, self._losses(part, objective))
            shorter_ones += sum(shorter(row) for row in part)
        baseline = measures.mean(shorter_ones) if all(row.rejected for row in held_out) else None
        event = Evaluated(
            run_id=self._run_id,
            step=self._before + step,
            preference_accuracy=measures.mean_accuracy(),
            loss=measures.mean(measures.loss),
            reward_margin=measures.mean(measures.margin),
            shorter_baseline=baseline,
            longer_baseline=None if baseline is None else 1 - baseline,
            perplexity=measures.perplexity(),
        )
        self._emit(event)
        self._time_left.interlude("evaluation", time.monotonic() - begun)
        return event

    def _write_samples(self, step: int) -> None:
        """Let the model answer the plan's prompts, and say what it answered."""
        if self._samples is None:
            return
        begun = time.monotonic()
        replies = self._samples.write(lambda: self._stop() is not None)
        self._obey()
        self._emit(SampleReplies(run_id=self._run_id, step=self._before + step, replies=replies))
        self._time_left.interlude("samples", time.monotonic() - begun)

    def _evaluate_in_time(self, step: int, last: Evaluated) -> Evaluated:
        """Measure a stopped run's adapter where that is quick; it is unknown otherwise."""
        if len(self._held_out) <= _PATIENCE * 2 * self._pairs_per_second():
            self._stop = lambda: None
            return self._evaluate(step)
        return _unmeasured(last, self._before + step)

    def _pairs_per_second(self) -> float:
        return self._pairs_done / self._seconds if self._seconds else 0.0


def _unmeasured(event: Evaluated, step: int) -> Evaluated:
    """`event` for a later step at which nothing was measured."""
    measured = ("preference_accuracy", "loss", "reward_margin", "perplexity")
    return event.model_copy(update={"step": step, **dict.fromkeys(measured)})


def peak_memory() -> int:
    """The most memory this process has had so far, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def shorter(row: Row) -> float:
    """What picking the shorter reply scores: 1 if it is the chosen one, one half at a tie."""
    return (1 + (len(row.rejected) > len(row.chosen)) - (len(row.rejected) < len(row.chosen))) / 2


def _finite(value: float) -> float | None:
    """Events are JSON, which has no infinity."""
    return value if math.isfinite(value) else None
