"""A run between its beginning and its release: reference, steps, measures, checkpoints, end.

How a step is taken is told in steps, how pairs are scored in scoring, what happens when memory
runs out in recovery, pauses in guards, orders to stop in stopping, measures and the best step in
held_out, what a checkpoint holds in checkpoint, and what a private run must count in noisy_steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from xeno.errors import StorageFullError
from xeno.events import Event, LogLine, SampleReplies, StopTraining
from xeno.training.adapters import adapter_weights
from xeno.training.batches import passes
from xeno.training.checkpoint import Checkpoint, LoopState, Stream
from xeno.training.compute import dtype_name
from xeno.training.guards import Guards, Trouble
from xeno.training.held_out import HeldOut, put
from xeno.training.learner import Learner, LearnerState
from xeno.training.measures import peak_memory
from xeno.training.microbatches import Limits
from xeno.training.noisy_steps import StageNoise, lost_steps, nothing_left
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
        noise: the streams of a private run, and what it must count.
        samples: writes the sample replies; None where none are wanted.
        kills: how often the trainer was killed for its memory in this run.
        steps_before, steps_after: those of earlier and of later stages.
    """

    policy: Policy
    learner: Learner
    objective: Objective
    rows: Sequence[Row]
    held_out: Sequence[Row]
    noise: StageNoise
    samples: Samples | None = None
    kills: int = 0
    steps_before: int = 0
    steps_after: int = 0


class _DrawnAgain(Exception):  # noqa: N818 - a turn, not an error
    """The streams were renewed while a step was under way: its batch is drawn from them again."""


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
            self._drawing,
            self._last,
            (work.steps_before, work.steps_after),
        )
        self._evaluate_every = max(1, math.ceil(recipe.steps / plan.evaluations))
        self._sample_every = plan.sample_every or self._evaluate_every
        self._held_out = HeldOut(
            run_id,
            plan,
            work.held_out,
            self._scorer,
            self._memory,
            self._model,
            emit,
            work.steps_before,
        )
        # Before the batch of the step that is under way.
        self._sampled_at = work.noise.sampling.state
        self._saved_at = time.monotonic()
        self._in_step = False
        self._kills = 0  # of the trainer, for its memory, that the cut of the batches answers
        if resumed is not None:
            self._restore(resumed)

    def run(self) -> Outcome:
        """Take the steps, or as many as there is time for before a stop."""
        order: StopTraining | None = None
        early = False
        try:
            self._answer_kills()
            if self._resumed:
                self.save()  # its streams may be fresh ones
                early = self._is_time_to_end()
            else:
                self._begin()
            going = not early
            while going:
                try:
                    early = self._take_all()
                    going = False
                except _DrawnAgain:
                    self._work.learner.discard()
            if not self._steps.taken:
                raise nothing_left()
            if self._held_out.after.step != self._now_at:  # resumed where no step was left
                self._evaluate()
        except Stopped as stopped:
            order = stopped.order
            self._work.learner.discard()
            if self._stopping.timed_out:
                self._emit(LogLine(text="The time limit is reached."))
            if order.keep and self._held_out.after.step != self._now_at:
                self._evaluate_in_time()
        if order is None or order.keep:
            self._steps.require_one()
        metrics = self._metrics(early)
        dtype = dtype_name(self._model)
        return Outcome(self._steps.taken, order, metrics, dtype)

    def _take_all(self) -> bool:
        """Take the steps that are left; whether they ended early."""
        for batch in self._batches():
            self._guards.check(self._now_at, self.save)
            self._in_step = True
            try:
                self._steps.take(batch, self._interludes())
            finally:
                self._in_step = False
            self._sampled_at = self._work.noise.sampling.state
            if self._measure_and_save():
                return True
        return False

    def _begin(self) -> None:
        rows = [*self._work.rows, *self._work.held_out]
        self._memory.enough_for(lambda: self._scorer.refer(rows), lambda: None)
        if self._plan.evaluate_first:
            self._evaluate()
        self._write_samples()
        self._begun = True
        self.save()

    def _answer_kills(self) -> None:
        """Cut batches in smaller parts for every time that the trainer was killed for its
        memory since they were cut as they are."""
        words = ""
        for _ in range(self._kills, self._work.kills):
            words = self._memory.smaller(math.ceil(self._recipe.batch_size)) or words
        self._kills = self._work.kills
        if words:
            why = "The system ended the process of this run, probably since memory ran out:"
            self._emit(LogLine(level="warning", text=f"{why} {words}"))
            self._parts_shrunk()

    @property
    def _now_at(self) -> int:
        """Steps of the whole run so far."""
        return self._work.steps_before + self._steps.taken

    @property
    def _last(self) -> int:
        """The step after which the stage ends."""
        return self._recipe.steps - self._work.noise.abandoned

    def _batches(self) -> Iterator[list[Row]]:
        """The batches of the steps that are left: sampled by the cipher stream in private runs,
        otherwise whole passes in an order that follows from the seed."""
        rows, recipe, work = self._work.rows, self._recipe, self._work
        begun = self._steps.taken
        if self._plan.private:
            units = by_unit(rows)
            for _ in range(begun, self._last):
                drawn = work.noise.sampling.poisson_sample(len(units), recipe.sample_rate)
                yield [row for i in drawn for row in units[i]]
            return
        size, ease = int(recipe.batch_size), self._scorer.ease
        yield from passes(rows, self._plan, size, self._last, ease, begun)

    def _measure_and_save(self) -> bool:
        """What is due after a step; whether the run should end early."""
        taken, early = self._steps.taken, False
        last = taken == self._last
        if last or taken % self._evaluate_every == 0:
            self._evaluate()
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
        taken = self._steps.taken
        return taken < self._last and self._held_out.is_time(taken)

    def _interludes(self) -> dict[str, int]:
        """How often the held-out pairs and the samples are still to come, the one after the
        step under way and the one at the end among them."""
        taken, last = self._steps.taken, self._last

        def times(every: int) -> int:
            return -(-last // every) - taken // every

        return {"evaluation": times(self._evaluate_every), "samples": times(self._sample_every)}

    # Measures ---------------------------------------------------------------------------

    def _evaluate(self) -> None:
        """Measure the adapter as it is on the held-out pairs."""
        begun, taken = time.monotonic(), self._steps.taken
        if taken:
            self._held_out.measure(self._now_at, last=taken == self._last)
        else:
            self._held_out.first(self._now_at)
        self._steps.time_left.interlude("evaluation", time.monotonic() - begun)

    def _write_samples(self) -> None:
        """Let the model answer the plan's prompts, and say what it answered."""
        if self._work.samples is None:
            return
        begun = time.monotonic()
        replies = self._work.samples.write(self._stopping.wanted)
        self._stopping.obey()
        self._emit(SampleReplies(run_id=self._run_id, step=self._now_at, replies=replies))
        self._steps.time_left.interlude("samples", time.monotonic() - begun)

    def _evaluate_in_time(self) -> None:
        """Measure a stopped run's adapter where that is quick; it is unknown otherwise."""
        in_time = self._plan.stop_measure_seconds * 2 * self._steps.pairs_per_second
        if len(self._work.held_out) <= in_time:
            self._stopping.ignore()
            self._evaluate()
        else:
            self._held_out.pass_over(self._now_at)

    def _metrics(self, early: bool) -> dict[str, float | None]:
        """Those of the stage; the adapter that is to be released is on the model afterwards."""
        self._begun = False  # which need not be that of the last step: no more checkpoints
        return self._held_out.metrics(self._held_out.released()) | {
            "steps": self._steps.taken,
            "steps_left_out": self._steps.stability.state.skipped,
            "ended_early": float(early),
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

    def _drawing(self, step: int) -> None:
        """Note that the noise of `step` is drawn next; where the disk is full, wait first."""

        def noted() -> bool:
            try:
                self._work.noise.drawing(step)
            except StorageFullError:
                return False
            return True

        if not noted():
            trouble = Trouble("disk", "The disk is full: a noisy step cannot be noted.")
            self._guards.hold(self._now_at, trouble, noted)

    def _saves(self) -> bool:
        try:
            self._keep(*self._now())
        except StorageFullError:
            return False
        return True

    def _parts_shrunk(self) -> None:
        """Batches are cut in smaller parts from here on. After a crash the same cut must hold,
        and steps that an earlier attempt took with another cut must not be taken again under the
        same noise (see `xeno.training.resume`)."""
        noise, taken = self._work.noise, self._steps.taken
        renewed = noise.ahead(taken)
        if renewed:
            before = noise.abandoned
            noise.renew(taken)
            self._sampled_at = noise.sampling.state
            self._steps.last = self._last
            self._emit(lost_steps(noise.abandoned - before))
        if self._begun:
            self.save()
        if renewed and self._in_step:
            raise _DrawnAgain

    def _now(self) -> tuple[LoopState, dict[str, torch.Tensor]]:
        """The run between two steps; while one is under way, as it was before that."""
        learner = self._work.learner.state()
        streams = self._plan.private and learner.noise is not None
        state = LoopState(
            step=self._steps.taken,
            seconds=self._steps.seconds,
            pairs_done=self._steps.pairs_done,
            tokens_done=self._steps.tokens_done,
            spent=self._stopping.spent,
            rows_at_once=self._memory.limits.rows,
            tokens_at_once=self._memory.limits.tokens,
            twice=self._memory.twice,
            kills=self._kills,
            before=self._held_out.before,
            after=self._held_out.after,
            best=self._held_out.state,
            stability=self._steps.stability.state,
            sampling=Stream.of(self._sampled_at) if streams else None,
            noise=Stream.of(learner.noise) if learner.noise is not None else None,
            stream=self._work.noise.number,
            abandoned=self._work.noise.abandoned,
            learner=dict(learner.values),
        )
        rows = (*self._work.rows, *self._work.held_out)
        tensors = {"reference": torch.stack([self._scorer.reference[r.pair_id] for r in rows])}
        for prefix, part in (
            ("adapter", adapter_weights(self._model)),
            ("best", self._held_out.weights),
            ("learner", learner.tensors),
        ):
            tensors |= {f"{prefix}.{name}": tensor for name, tensor in part.items()}
        return state, tensors

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Go on where `checkpoint` is; its streams are restored by whoever made ours."""
        state, steps = checkpoint.state, self._steps
        put(self._model, checkpoint.part("adapter"))
        self._work.learner.restore(LearnerState(checkpoint.part("learner"), state.learner))
        rows = (*self._work.rows, *self._work.held_out)
        for row, both in zip(rows, checkpoint.tensors["reference"], strict=True):
            self._scorer.reference[row.pair_id] = both.clone()
        self._memory.restore(Limits(state.rows_at_once, state.tokens_at_once), state.twice)
        self._kills = state.kills
        self._held_out.restore(state.before, state.after, state.best, checkpoint.part("best"))
        steps.stability.state = state.stability
        steps.taken, steps.seconds = state.step, state.seconds
        steps.pairs_done, steps.tokens_done = state.pairs_done, state.tokens_done
