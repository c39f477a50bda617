"""One optimizer step: gradients of the batch in parts, the learner's step, and what must hold.

All that is random in a step but privacy's noise follows from the seed and the step's number, and
the noise is drawn once all parts are there: a step that is taken again is the same step.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence

import psutil
import torch

from xeno.errors import XenoError
from xeno.events import Event, LogLine, Progress, StopTraining
from xeno.training.adapters import trainable
from xeno.training.learner import Learner
from xeno.training.measures import Measures, finite
from xeno.training.plan import TrainingPlan
from xeno.training.recipe import Recipe
from xeno.training.recovery import Memory
from xeno.training.rows import Row
from xeno.training.scoring import Scorer
from xeno.training.stability import Stability
from xeno.training.stopping import Stopped

_WARM_UP = 0.1
_LAST_RATE = 0.1


class Steps:
    """Takes the steps of one run.

    Attributes:
        taken: how many there were.
        seconds, pairs_done: what they took and saw.
        stability: judges them.
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
        last_step: int,
    ) -> None:
        self._run_id = run_id
        self._plan = plan
        self._recipe = recipe
        self._model = model
        self._learner = learner
        self._scorer = scorer
        self._memory = memory
        self._emit = emit
        self._last = last_step
        self._changed = False  # whether a step of this process was seen to change the adapter
        self.stability = Stability(plan)
        self.taken = 0
        self.seconds = 0.0
        self.pairs_done = 0

    @property
    def pairs_per_second(self) -> float:
        return self.pairs_done / self.seconds if self.seconds else 0.0

    def take(self, batch: Sequence[Row]) -> None:
        """The step of `batch`; in private runs it may be empty.

        Raises:
            Stopped: if it is interrupted, and then it was not taken; or if so many steps had to
                be left out that the run ends here.
            XenoError: if what must hold of every step does not.
        """
        begun = time.monotonic()
        private = self._plan.private
        measures = self._memory.enough_for(lambda: self._gradients(batch), self._learner.discard)
        loss = measures.loss / max(1, measures.pairs)
        rate = self._rate(self.taken) * self.stability.state.rate_factor
        norm, trouble = math.nan, "" if private else self.stability.trouble(loss)
        before = None if self._changed else self._trained()
        if trouble:
            self._learner.discard()
        else:
            norm = self._learner.step(len(batch), rate)
            if not private and not math.isfinite(norm):
                trouble = "its gradient was not a finite number"
        self._require_finite()
        if not trouble and before is not None and norm > 0 and rate > 0:
            self._require_change(before)
        self.taken += 1
        self.seconds += time.monotonic() - begun
        self.pairs_done += len(batch)
        self._report(measures, rate, norm)
        if trouble:
            self._left_out(trouble)
        elif not private:
            self.stability.taken(loss)

    def require_one(self) -> None:
        """Raise XenoError if there were steps and all of them had to be left out."""
        if self.taken and self.stability.state.skipped == self.taken:
            raise XenoError(
                "Nothing could be learned.",
                f"All {self.taken} steps had to be left out; the log says why.",
                "Start a new run with a smaller learning rate, or float32 as number format.",
            )

    def _gradients(self, batch: Sequence[Row]) -> Measures:
        """Add the gradients of `batch` to the learner's step."""
        torch.manual_seed(_seed(self._plan.seed, self.taken))
        measures = Measures()
        for part in self._memory.parts(batch):
            losses, margins, means = self._scorer.losses(part)
            self._learner.add(losses)
            measures = measures.plus(losses.detach(), margins.detach(), means.detach())
        return measures

    def _rate(self, taken: int) -> float:
        """Warm-up and cosine; in private runs straight down to nothing: the first steps travel,
        the last ones average the noise out."""
        peak, steps = self._recipe.learning_rate, self._recipe.steps
        if self._plan.private:
            return peak * (1 - taken / steps)
        warm_up = max(1, round(_WARM_UP * steps))
        if taken < warm_up:
            return peak * (taken + 1) / warm_up
        way = (taken - warm_up) / max(1, steps - warm_up)
        return peak * (_LAST_RATE + (1 - _LAST_RATE) * (1 + math.cos(math.pi * way)) / 2)

    def _left_out(self, trouble: str) -> None:
        words = f"Step {self.taken} was left out: {trouble}."
        self._emit(LogLine(level="warning", text=words))
        measure = self.stability.left_out()
        if measure == "lower_rate":
            factor = self.stability.state.rate_factor
            self._emit(LogLine(text=f"The learning rate is now {factor:g} times what was planned."))
        elif measure == "stop":
            skipped = self.stability.state.skipped
            self._emit(LogLine(level="warning", text=f"The run ends here: {skipped} left out."))
            raise Stopped(StopTraining(keep=True))

    def _report(self, measures: Measures, rate: float, norm: float) -> None:
        self._emit(
            Progress(
                run_id=self._run_id,
                step=self.taken,
                steps=self._recipe.steps,
                loss=measures.mean(measures.loss),
                reward_margin=measures.mean(measures.margin),
                preference_accuracy=measures.mean(measures.accuracy),
                learning_rate=rate,
                gradient_norm=finite(norm),
                pairs_per_second=self.pairs_per_second,
                memory_bytes=psutil.Process().memory_info().rss,
                eta_seconds=self.seconds / self.taken * (self._last - self.taken),
            )
        )

    def _trained(self) -> list[torch.Tensor]:
        return [each.detach().clone() for each in trainable(self._model)]

    @torch.no_grad()
    def _require_change(self, before: list[torch.Tensor]) -> None:
        """A wrongly attached optimizer trains with plausible losses and changes nothing."""
        names = [name for name, each in self._model.named_parameters() if each.requires_grad]
        pairs = zip(names, before, trainable(self._model), strict=True)
        moved = [float((now - was).abs().max()) for name, was, now in pairs if "lora_B" in name]
        if not max(moved, default=0.0) > 0:
            raise XenoError(
                "Training does not change the adapter.",
                "The first step left every number of its B as it was.",
                "This is a fault of the program; nothing was released.",
            )
        self._changed = True

    def _require_finite(self) -> None:
        """The adapter after every step. In private runs this looks at what was noised already."""
        if not all(bool(each.isfinite().all()) for each in trainable(self._model)):
            raise XenoError(
                "The adapter is no longer made of finite numbers.",
                f"Step {self.taken + 1} destroyed it.",
                "Start a new run with a smaller learning rate.",
            )


def _seed(seed: int, step: int) -> int:
    """A seed of the step's own."""
    digest = hashlib.sha256(f"{seed}\0step {step}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
