"""What the held-out pairs say of a stage: before training, on the way, at the end; and which of
its steps is released.

Before the first step and after the last one all of them are told of. Steps are compared on the
same pairs, though: all but the last are only measured on `evaluation_pairs` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from xeno.events import Evaluated, Event, LogLine
from xeno.training.adapters import adapter_weights
from xeno.training.early_stopping import BestState, EarlyStopping
from xeno.training.plan import TrainingPlan
from xeno.training.recovery import Memory
from xeno.training.row import Row
from xeno.training.scoring import Scorer
from xeno.training.stopping import Stopped


class HeldOut:
    """Measures the adapter on `rows`, and remembers the best one.

    Args:
        step: steps of the whole run before the stage.

    Attributes:
        before, after: the first and the newest evaluation.
        weights: the adapter of the best step; empty while there is none.
    """

    def __init__(
        self,
        run_id: str,
        plan: TrainingPlan,
        rows: Sequence[Row],
        scorer: Scorer,
        memory: Memory,
        model: torch.nn.Module,
        emit: Callable[[Event], None],
        step: int,
    ) -> None:
        self._run_id = run_id
        self._plan = plan
        self._rows = rows
        self._some = rows[: plan.evaluation_pairs]  # by which steps are compared
        self._scorer = scorer
        self._memory = memory
        self._model = model
        self._emit = emit
        self._early = EarlyStopping(plan, private=plan.private)
        self.weights: dict[str, torch.Tensor] = {}
        self.before = self.after = self._unmeasured(step)

    def first(self, step: int) -> None:
        """Measure what the stage begins with."""
        self.before = self.after = self._score(self._rows, step)
        self._emit(self.after)

    def measure(self, step: int, *, last: bool) -> None:
        """Score the adapter after `step` steps of the run, say so, and keep it if it is the best
        so far."""
        self.after = compared = self._score(self._rows if last else self._some, step)
        self._emit(self.after)
        if last and len(self._some) < len(self._rows):
            compared = self._score(self._some, step)
        if self._early.is_best(compared):
            self.weights = adapter_weights(self._model)

    def pass_over(self, step: int) -> None:
        """The adapter after `step` steps is not measured."""
        self.after = self._unmeasured(step)

    def is_time(self, taken: int) -> bool:
        """Whether the stage should end after `taken` steps of its own; said if so."""
        if self.best is None or not self._early.is_time(taken):
            return False
        words = f"The held-out pairs have not gained since step {self.best.step}, so this ends "
        self._emit(LogLine(text=f"{words}here."))
        return True

    @property
    def best(self) -> Evaluated | None:
        """The evaluation by which a step is the best one."""
        return self._early.state.best

    @property
    def state(self) -> BestState:
        return self._early.state

    def restore(
        self,
        before: Evaluated,
        after: Evaluated,
        state: BestState,
        weights: dict[str, torch.Tensor],
    ) -> None:
        """Go on as an earlier part of the stage ended."""
        self.before, self.after, self.weights = before, after, weights
        self._early.state = state

    def released(self) -> Evaluated:
        """Put the adapter that is to be released on the model; the evaluation of it."""
        best = self.best
        wanted = self._plan.releases_best(self._plan.private)
        if best is None or not wanted or best.step == self.after.step:
            return self.after
        self._emit(LogLine(text=f"Step {best.step} did best on the held-out pairs."))
        put(self._model, self.weights)
        if len(self._some) == len(self._rows):
            return best
        try:
            return self._score(self._rows, best.step)
        except Stopped:  # whoever stops a run does not wait for all pairs
            return best

    def metrics(self, released: Evaluated) -> dict[str, float | None]:
        """Of the released step, of the last one and of the best one; never a mean over steps."""
        before, final, best = self.before, self.after, self.best
        if best is not None and best.step == released.step:
            best = released  # measured on as many pairs
        # The baselines are of the pairs: any evaluation knows them.
        known = (each for each in (released, final, before) if each.loss is not None)
        measured = next(known, final)
        return {
            "heldout_preference_accuracy_before": before.preference_accuracy,
            "heldout_loss_before": before.loss,
            "released_step": released.step,
            "heldout_preference_accuracy": released.preference_accuracy,
            "heldout_loss": released.loss,
            "heldout_reward_margin": released.reward_margin,
            "heldout_perplexity": released.perplexity,
            "final_step": final.step,
            "final_preference_accuracy": final.preference_accuracy,
            "final_loss": final.loss,
            "best_step": None if best is None else best.step,
            "best_preference_accuracy": None if best is None else best.preference_accuracy,
            "best_loss": None if best is None else best.loss,
            "shorter_baseline": measured.shorter_baseline,
            "longer_baseline": measured.longer_baseline,
        }

    def _score(self, rows: Sequence[Row], step: int) -> Evaluated:
        return self._memory.enough_for(
            lambda: self._scorer.score(self._run_id, step, rows), lambda: None
        )

    def _unmeasured(self, step: int) -> Evaluated:
        return Evaluated(
            run_id=self._run_id,
            step=step,
            preference_accuracy=None,
            loss=None,
            reward_margin=None,
            shorter_baseline=None,
            longer_baseline=None,
        )


def put(model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Give the adapter on `model` these `weights`."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)
