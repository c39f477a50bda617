"""One optimizer step: gradients of the batch in parts, the learner's step, and what must hold.

All that is random in a step but privacy's noise follows from the seed and the step's number, and
the noise is drawn once all parts are there: a step that is taken again is the same step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch

from xeno.errors import XenoError
from xeno.events import Event, LogLine, Progress, StopTraining
from xeno.training.adapters import dropping
from xeno.training.eta import TimeLeft
from xeno.training.gauges import Gauges
from xeno.training.invariants import require_change, require_finite, weights
from xeno.training.learner import Learner
from xeno.training.measures import Measures, finite
from xeno.training.plan import TrainingPlan
from xeno.training.recipe import Recipe
from xeno.training.recovery import Memory
from xeno.training.rows import Row
from xeno.training.scoring import Scorer
from xeno.training.stability import Stability
from xeno.training.stopping import Stopped
from xeno.words import count


class Steps:
    """Takes the steps of one stage of a run.

    Args:
        drawing: told every step (from 1) of a private run before its noise is drawn; it must not
            be drawn where this raises.
        last_step: the step after which the stage ends, as far as that is known.
        place: steps of the stages before and after this one; progress is told for the whole run.

    Attributes:
        last: the step after which the stage ends.
        taken: how many there were.
        seconds, pairs_done, tokens_done: what they took and saw.
        stability: judges them.
        time_left: learns from them how long the rest takes.
    """

    def __init__(
        self,
        run_id: str,
        plan: TrainingPlan,
        recipe: Recipe,
        model: torch.nn.Module,
        learner: Learner,
        scorer: Scorer,
        memory: Memory,
        emit: Callable[[Event], None],
        drawing: Callable[[int], None],
        last_step: int,
        place: tuple[int, int],
    ) -> None:
        self._run_id = run_id
        self._plan = plan
        self._recipe = recipe
        self._model = model
        self._learner = learner
        self._scorer = scorer
        self._memory = memory
        self._emit = emit
        self._drawing = drawing
        self.last = last_step
        self._before, self._after = place
        self._gauges = Gauges(plan.device)
        self._changed = False  # whether a step of this process was seen to change the adapter
        self.stability = Stability(plan)
        self.taken = 0
        self.seconds = 0.0
        self.pairs_done = 0
        self.tokens_done = 0
        self.time_left = TimeLeft(recipe.steps)

    @property
    def pairs_per_second(self) -> float:
        return self.pairs_done / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        return self.tokens_done / self.seconds if self.seconds else 0.0

    def take(self, batch: Sequence[Row], interludes: dict[str, int]) -> None:
        """The step of `batch`; in private runs it may be empty.

        Args:
            interludes: what is still to come between the steps from this one on, for the time
                that is left.

        Raises:
            Stopped: if it is interrupted, and then it was not taken; or if so many steps had to
                be left out that the run ends here.
            XenoError: if what must hold of every step does not.
        """
        begun = time.monotonic()
        private = self._plan.private
        measures = self._memory.enough_for(lambda: self._gradients(batch), self._learner.discard)
        loss = measures.loss / max(1, measures.pairs)
        rate = self._recipe.schedule.rate(self.taken) * self.stability.state.rate_factor
        norm, trouble = math.nan, "" if private else self.stability.trouble(loss)
        before = None if self._changed else weights(self._model)
        if trouble:
            self._learner.discard()
        else:
            if private:
                self._drawing(self.taken + 1)
            norm = self._learner.step(len(batch), rate)
            if not private and not math.isfinite(norm):
                trouble = "its gradient was not a finite number"
        # In private runs this looks at what was noised already.
        require_finite(self._model, self._before + self.taken + 1)
        if not trouble and before is not None and norm > 0 and rate > 0:
            require_change(self._model, before)
            self._changed = True
        seconds = time.monotonic() - begun
        self.taken += 1
        self.seconds += seconds
        self.time_left.step(seconds)
        self.pairs_done += len(batch)
        self.tokens_done += sum(row.tokens for row in batch)
        if self.taken % self._plan.progress_every == 0 or self.taken == self.last:
            self._report(measures, rate, norm, interludes)
        if trouble:
            self._left_out(trouble)
        elif not private:
            self.stability.taken(loss)

    def require_one(self) -> None:
        """Raise XenoError if there were steps and all of them had to be left out."""
        if self.taken and self.stability.state.skipped == self.taken:
            raise XenoError(
                "Nothing could be learned.",
                f"All of {count(self.taken, 'step')} had to be left out; the log says why.",
                "Start a new run with a smaller learning rate, or float32 as number format.",
            )

    def _gradients(self, batch: Sequence[Row]) -> Measures:
        """Add the gradients of `batch` to the learner's step."""
        measures = Measures()
        objective = self._scorer.prepared(batch)
        with dropping(self._model, self._plan.seed, self._before + self.taken):
            for part in self._memory.parts(batch):
                result = self._scorer.losses(part, objective)
                self._learner.add(result.loss, [row.unit for row in part])
                measures = measures.plus(part, result)
        return measures

    def _left_out(self, trouble: str) -> None:
        words = f"Step {self._before + self.taken} was left out: {trouble}."
        self._emit(LogLine(level="warning", text=words))
        measure = self.stability.left_out()
        if measure == "lower_rate":
            factor = self.stability.state.rate_factor
            self._emit(LogLine(text=f"The learning rate is now {factor:g} times what was planned."))
        elif measure == "stop":
            skipped = self.stability.state.skipped
            self._emit(LogLine(level="warning", text=f"The run ends here: {skipped} left out."))
            raise Stopped(StopTraining(keep=True))

    def _report(
        self, measures: Measures, rate: float, norm: float, interludes: dict[str, int]
    ) -> None:
        machine = self._gauges.read()
        self._emit(
            Progress(
                run_id=self._run_id,
                step=self._before + self.taken,
                steps=self._before + self._recipe.steps + self._after,
                loss=measures.mean(measures.loss),
                reward_margin=measures.mean(measures.margin),
                preference_accuracy=measures.mean_accuracy(),
                learning_rate=rate,
                gradient_norm=finite(norm),
                pairs_per_second=self.pairs_per_second,
                tokens_per_second=self.tokens_per_second,
                memory_bytes=machine.memory_bytes,
                memory_of=machine.memory_of,
                processor_share=machine.processor_share,
                temperature=machine.temperature,
                eta_seconds=self.time_left.seconds(self.last - self.taken, interludes),
            )
        )
