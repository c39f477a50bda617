"""The accuracy to expect of a private run, from a small model of what noise leaves of learning.

With s = batch sqrt(steps) / sigma, what pairs that agree teach over the noise in any direction, a
run with the private default's adapter reaches

    accuracy = floor + (ceiling - floor) sigmoid(bias + by_signal ln s)

on the scripted taste of `xeno bench privacy --fit`, which fits the coefficients on its grid and
writes them to resources/accuracy_forecast.json together with what they were fitted on. `floor` is
the base's accuracy there, `ceiling` the best that was reached. Light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

import resources
from xeno.privacy import rdp
from xeno.privacy.rdp import Mechanism
from xeno.training.noise_forecast import PROOF_MARGIN
from xeno.training.plan import TrainingPlan
from xeno.training.recipe import Recipe

FILE = Path(resources.__file__).parent / "accuracy_forecast.json"
_BAND = 2.0  # errors to both sides
VISIBLE = 0.1
"""Learning is visible where even the band's lower end is so far above the base."""
_MOST_EPSILON = 100.0


class AccuracyModel(BaseModel):
    """The coefficients, and where they are from.

    Attributes:
        error: root of the mean squared error at cells of the grid that the coefficients were not
            fitted on, each left out in turn.
        cells: how many there were.
        pairs: the smallest and largest number of pairs among them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    floor: float
    ceiling: float
    bias: float
    by_signal: float
    error: float
    cells: int
    pairs: tuple[int, int]

    def accuracy(self, signal: float) -> float:
        """The expected accuracy at s = `signal`, above 0."""
        kept = self.bias + self.by_signal * math.log(signal)
        return self.floor + (self.ceiling - self.floor) * _sigmoid(kept)

    def signal(self, accuracy: float) -> float | None:
        """The s at which `accuracy` is expected; None where no s is enough."""
        share = (accuracy - self.floor) / (self.ceiling - self.floor)
        if not 0 < share < 1:
            return None
        kept = math.log(share / (1 - share))
        return math.exp((kept - self.bias) / self.by_signal)


@dataclass(frozen=True)
class AccuracyForecast:
    """What to expect on held-out pairs with one clear taste.

    Attributes:
        low, high: the band, twice the model's error to both sides.
        base, most: without any training, and with the least noise.
        visible_epsilon: the epsilon of such a run from which on even `low` is visibly above
            `base`; None where none up to 100 is.
    """

    low: float
    high: float
    base: float
    most: float
    error: float
    visible_epsilon: float | None

    def sentence(self) -> str:
        """All of it in words, with what it was measured on."""
        seen = (
            "Learning becomes visible at no epsilon up to 100: collect more pairs."
            if self.visible_epsilon is None
            else f"Learning becomes visible from about epsilon {self.visible_epsilon:.2g} on."
        )
        return (
            f"Expected: {self.low:.0%} to {self.high:.0%} of held-out pairs preferred rightly, if "
            f"your pairs share one clear taste (the base alone: {self.base:.0%}, at best: "
            f"{self.most:.0%}). {seen} Measured with a scripted taste on the starter model; your "
            "own pairs may differ, and less clear ones teach less."
        )


def accuracy_forecast(
    plan: TrainingPlan, recipe: Recipe, noise_multiplier: float
) -> AccuracyForecast:
    """What a run of `recipe` with so much noise may reach."""
    model = _model()
    middle = model.accuracy(_signal(recipe, noise_multiplier))
    margin = _BAND * model.error
    return AccuracyForecast(
        low=min(max(middle - margin, 0.0), 1.0),
        high=min(max(middle + margin, 0.0), 1.0),
        base=model.floor,
        most=model.ceiling,
        error=model.error,
        visible_epsilon=_visible(model, plan, recipe, model.floor + VISIBLE + margin),
    )


def _visible(
    model: AccuracyModel, plan: TrainingPlan, recipe: Recipe, accuracy: float
) -> float | None:
    """The epsilon that a run of `recipe` costs with as much noise as leaves `accuracy`."""
    signal = model.signal(accuracy)
    if signal is None:
        return None
    run = Mechanism(
        sample_rate=recipe.sample_rate,
        noise_multiplier=_signal(recipe, 1.0) / signal,
        steps=recipe.steps,
    )
    found = rdp.epsilon([run], plan.delta) + PROOF_MARGIN
    return found if found <= _MOST_EPSILON else None


def _signal(recipe: Recipe, noise_multiplier: float) -> float:
    return recipe.batch_size * math.sqrt(recipe.steps) / noise_multiplier


@lru_cache(maxsize=1)
def _model() -> AccuracyModel:
    return AccuracyModel.model_validate_json(FILE.read_bytes())


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
