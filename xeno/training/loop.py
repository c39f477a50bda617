"""A run between its beginning and its release: reference, steps, measures, checkpoints, end.

How a step is taken is told in steps, how pairs are scored in scoring, what happens when memory
runs out in recovery, pauses in guards, orders to stop in stopping, the best step in
early_stopping, what a checkpoint holds in checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from xeno.errors import StorageFullError
from xeno.events import Evaluated, Event, LogLine, SampleReplies, StopTraining
from xeno.privacy.noise import CipherStream
from xeno.training.adapters import adapter_weights
from xeno.training.batches import passes
from xeno.training.checkpoint import Checkpoint, LoopState, Stream
from xeno.training.compute import dtype_name
from xeno.training.early_stopping import EarlyStopping
from xeno.training.guards import Guards, Trouble
from xeno.training.learner import Learner, LearnerState
from xeno.training.measures import peak_memory
from xeno.training.microbatches import Limits
from xeno.training.objectives import Objective
from xeno.training.plan import TrainingPlan
from xeno.training.policy import Policy
from xeno.training.recipe import Recipe
from xeno.training.recovery import Memory
from xeno.training.rows import Row
from xeno.training.samples import Samples
from xeno.training.scoring import Scorer
from xeno.training.steps import Steps
from xeno.training.stopping import Stopped, Stopping
from xeno.training.units import by_unit


@dataclass(frozen=True)
class Outcome:
    """How the steps ended. `steps` counts those taken; `stop` is the order that ended them."""

    steps: int
    stop: StopTraining | None
    metrics: dict[str, float | None]
    dtype: str


@dataclass(frozen=True)
class Work:
    """What a stage of a run works on and with.

    Attributes:
        objective: what is made small. Its reference is the model before the first step.
        rows, held_out: those to learn from, and those to measure on.
        sampling: the stream that samples the batches of a private run.
        last_step: the step after which the stage ends.
        samples: writes the sample replies; None where none are wanted.
        steps_before, steps_after: those of earlier and of later stages.
    """

    policy: Policy
    learner: Learner
    objective: Objective
    rows: Sequence[Row]
    held_out: Sequence[Row]
    sampling: CipherStream
    last_step: int
    samples: Samples | None = None
    steps_before: int = 0
    steps_after: int = 0


class Loop:
    """Trains the adapter on the rows and measures it on the held-out ones.

    Args:
        guards: wait where the machine is not fit.
        keep: writes a checkpoint.
        resumed: the checkpoint to go on from; model and learner are as a run begins.
    """

    def __init__(
        self,
        run_id: str,
        plan: TrainingPlan,
        recipe: Recipe,
        work: Work,
        emit: Callable[[Event], None],
        stopping: Stopping,
        guards: Guards,
        keep: Callable[[LoopState, Mapping[str, torch.Tensor]], None],
        resumed: Checkpoint | None = None,
    ) -> None:
        self._run_id = run_id
        self._plan = plan
        self._recipe = recipe
        self._work = work
        self._model = work.policy.model
        self._emit = emit
        self._stopping = stopping
        self._guards = guards
        self._keep = keep
        self._resumed = self._begun = resumed is not None
        limits = Limits(plan.micro_batch_size, plan.tokens_at_once)
        self._memory = Memory(plan, limits, self._model, emit, stopping.obey, self._parts_shrunk)
        self._scorer = Scorer(work.policy, work.objective, self._memory)
        self._steps = Steps(
            run_id,
            plan,
            recipe,
            self._model,
            work.learner,
            self._scorer,
            self._memory,
            emit,
            work.last_step,
            (work.steps_before, work.steps_after),
        )
        self._evaluate_every = max(1, math.ceil(recipe.steps / plan.evaluations))
        self._sample_every = plan.sample_every or self._evaluate_every
        self._early = EarlyStopping(plan, private=plan.private)
        self._best: dict[str, torch.Tensor] = {}
        self._before = self._after = _unmeasured(run_id, work.steps_before)
        self._sampled_at = work.sampling.state  # before the batch of the step that is under way
        self._saved_at = time.monotonic()
        if resumed is not None:
            self._restore(resumed)

    def run(self) -> Outcome:
        """Take the steps, or as many as there is time for before a stop."""
        order: StopTraining | None = None
        early = False
        try:
            if self._resumed:
                self.save()  # its streams may be fresh ones
                early = self._is_time_to_end()
            else:
                self._begin()
            for batch in () if early else self._batches():
                self._guards.check(self._now_at, self.save)
                self._steps.take(batch, self._interludes())
                self._sampled_at = self._work.sampling.state
                early = self._measure_and_save()
                if early:
                    break
            if self._after.step != self._now_at:  # resumed where no step was left
                self._after = self._evaluate()
        except Stopped as stopped:
            order = stopped.order
            self._work.learner.discard()
            if self._stopping.timed_out:
                self._emit(LogLine(text="The time limit is reached."))
            if order.keep and self._after.step != self._now_at:
                self._after = self._evaluate_in_time()
        if order is None or order.keep:
            self._steps.require_one()
        metrics = self._metrics(self._choose_release(), early)
        dtype = dtype_name(self._model)
        return Outcome(self._steps.taken, order, metrics, dtype)

    def _begin(self) -> None:
        rows = [*self._work.rows, *self._work.held_out]
        self._memory.enough_for(lambda: self._scorer.refer(rows), lambda: None)
        if self._plan.evaluate_first:
            self._before = self._after = self._evaluate()
        self._write_samples()
        self._begun = True
        self.save()

    @property
    def _now_at(self) -> int:
        """Steps of the whole run so far."""
        return self._work.steps_before + self._steps.taken

    def _batches(self) -> Iterator[list[Row]]:
        """The batches of the steps that are left: sampled by the cipher stream in private runs,
        otherwise whole passes in an order that follows from the seed."""
        rows, recipe, work = self._work.rows, self._recipe, self._work
        begun = self._steps.taken
        if self._plan.private:
            units = by_unit(rows)
            for _ in range(begun, work.last_step):
                drawn = work.sampling.poisson_sample(len(units), recipe.sample_rate)
                yield [row for i in drawn for row in units[i]]
            return
        size, ease = int(recipe.batch_size), self._scorer.ease
        yield from passes(rows, self._plan, size, work.last_step, ease, begun)

    def _measure_and_save(self) -> bool:
        """What is due after a step; whether the run should end early."""
        taken, early = self._steps.taken, False
        last = taken == self._work.last_step
        if last or taken % self._evaluate_every == 0:
            self._after = self._evaluate()
            early = self._is_time_to_end()
        if last or early or taken % self._sample_every == 0:
            self._write_samples()
        minutes = (time.monotonic() - self._saved_at) / 60
        due = taken % self._plan.checkpoint_steps == 0 or minutes >= self._plan.checkpoint_minutes
        if last or early or due:
            self.save()
        return early

    def _is_time_to_end(self) -> bool:
        """Whether the held-out pairs have not gained for long enough; said if so."""
        best, taken = self._early.state.best, self._steps.taken
        if best is None or taken >= self._work.last_step or not self._early.is_time(taken):
            return False
        words = f"The held-out pairs have not gained since step {best.step}, so this ends here."
        self._emit(LogLine(text=words))
        return True

    def _interludes(self) -> dict[str, int]:
        """How often the held-out pairs and the samples are still to come, the one after the
        step under way and the one at the end among them."""
        taken, last = self._steps.taken, self._work.last_step

        def times(every: int) -> int:
            return -(-last // every) - taken // every

        return {"evaluation": times(self._evaluate_every), "samples": times(self._sample_every)}

    # Measures ---------------------------------------------------------------------------

    def _evaluate(self) -> Evaluated:
        """Score the held-out pairs, say so, and keep the adapter if it is the best so far."""
        begun, taken = time.monotonic(), self._steps.taken
        rows, most = self._work.held_out, self._plan.evaluation_pairs
        whole = taken in {0, self._work.last_step} or most is None
        some = rows if whole else rows[:most]
        event = self._memory.enough_for(
            lambda: self._scorer.score(self._run_id, self._now_at, some), lambda: None
        )
        self._emit(event)
        if taken and self._early.is_best(event):
            self._best = adapter_weights(self._model)
        self._steps.time_left.interlude("evaluation", time.monotonic() - begun)
        return event

    def _write_samples(self) -> None:
        """Let the model answer the plan's prompts, and say what it answered."""
        if self._work.samples is None:
            return
        begun = time.monotonic()
        replies = self._work.samples.write(self._stopping.wanted)
        self._stopping.obey()
        self._emit(SampleReplies(run_id=self._run_id, step=self._now_at, replies=replies))
        self._steps.time_left.interlude("samples", time.monotonic() - begun)

    def _evaluate_in_time(self) -> Evaluated:
        """Measure a stopped run's adapter where that is quick; it is unknown otherwise."""
        in_time = self._plan.stop_measure_seconds * 2 * self._steps.pairs_per_second
        if len(self._work.held_out) <= in_time:
            self._stopping.ignore()
            return self._evaluate()
        return _unmeasured(self._run_id, self._now_at)

    def _choose_release(self) -> Evaluated:
        """Put the adapter that is to be released on the model; the evaluation of it."""
        best = self._early.state.best
        if best is None or not self._plan.releases_best(self._plan.private):
            return self._after
        if best.step != self._now_at:
            self._emit(LogLine(text=f"Step {best.step} did best on the held-out pairs."))
            _put(self._model, self._best)
        return best

    def _metrics(self, released: Evaluated, early: bool) -> dict[str, float | None]:
        """Of the released step, of the last one and of the best one; never a mean over steps."""
        before, final, best = self._before, self._after, self._early.state.best
        return {
            "steps": self._steps.taken,
            "steps_left_out": self._steps.stability.state.skipped,
            "ended_early": float(early),
            "heldout_preference_accuracy_before": before.preference_accuracy,
            "released_step": released.step,
            "heldout_preference_accuracy": released.preference_accuracy,
            "heldout_loss": released.loss,
            "heldout_reward_margin": released.reward_margin,
            "heldout_perplexity": released.perplexity,
            "final_preference_accuracy": final.preference_accuracy,
            "final_loss": final.loss,
            "best_step": None if best is None else best.step,
            "best_preference_accuracy": None if best is None else best.preference_accuracy,
            "best_loss": None if best is None else best.loss,
            "shorter_baseline": final.shorter_baseline,
            "longer_baseline": final.longer_baseline,
            "pairs_per_second": self._steps.pairs_per_second,
            "tokens_per_second": self._steps.tokens_per_second,
            "peak_memory_bytes": peak_memory(),
        }

    # Checkpoints ------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of the run between two steps, or as it was before the step that is
        under way; where the disk is full, wait until it is not."""
        try:
            self._keep(*self._now())
        except StorageFullError as error:
            trouble = Trouble("disk", f"A checkpoint could not be written. {error.why}")
            self._guards.hold(self._now_at, trouble, self._saves)
        self._saved_at = time.monotonic()

    def _saves(self) -> bool:
        try:
            self._keep(*self._now())
        except StorageFullError:
            return False
        return True

    def _parts_shrunk(self) -> None:
        """Memory ran out and batches are cut in smaller parts from here on. After a crash the
        same cut must hold, and in a resumed run the noise of the step under way may have been
        drawn for another cut before (see `xeno.training.resume`)."""
        if self._resumed:
            self._work.learner.renew_noise()
        if self._begun:
            self.save()

    def _now(self) -> tuple[LoopState, dict[str, torch.Tensor]]:
        """The run between two steps; while one is under way, as it was before that."""
        learner = self._work.learner.state()
        streams = self._plan.private and learner.noise is not None
        state = LoopState(
            step=self._steps.taken,
            seconds=self._steps.seconds,
            pairs_done=self._steps.pairs_done,
            tokens_done=self._steps.tokens_done,
            rows_at_once=self._memory.limits.rows,
            tokens_at_once=self._memory.limits.tokens,
            twice=self._memory.twice,
            before=self._before,
            after=self._after,
            best=self._early.state,
            stability=self._steps.stability.state,
            sampling=Stream.of(self._sampled_at) if streams else None,
            noise=Stream.of(learner.noise) if learner.noise is not None else None,
            learner=dict(learner.values),
        )
        rows = (*self._work.rows, *self._work.held_out)
        tensors = {"reference": torch.stack([self._scorer.reference[r.pair_id] for r in rows])}
        for prefix, part in (
            ("adapter", adapter_weights(self._model)),
            ("best", self._best),
            ("learner", learner.tensors),
        ):
            tensors |= {f"{prefix}.{name}": tensor for name, tensor in part.items()}
        return state, tensors

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Go on where `checkpoint` is; its streams are restored by whoever made ours."""
        state, steps = checkpoint.state, self._steps
        _put(self._model, checkpoint.part("adapter"))
        self._best = checkpoint.part("best")
        self._work.learner.restore(LearnerState(checkpoint.part("learner"), state.learner))
        rows = (*self._work.rows, *self._work.held_out)
        for row, both in zip(rows, checkpoint.tensors["reference"], strict=True):
            self._scorer.reference[row.pair_id] = both.clone()
        self._memory.restore(Limits(state.rows_at_once, state.tokens_at_once), state.twice)
        self._before, self._after = state.before, state.after
        self._early.state = state.best
        steps.stability.state = state.stability
        steps.taken, steps.seconds = state.step, state.seconds
        steps.pairs_done, steps.tokens_done = state.pairs_done, state.tokens_done


def _put(model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Give the adapter on `model` these `weights`."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)


def _unmeasured(run_id: str, step: int) -> Evaluated:
    return Evaluated(
        run_id=run_id,
        step=step,
        preference_accuracy=None,
        loss=None,
        reward_margin=None,
        shorter_baseline=None,
        longer_baseline=None,
    )
