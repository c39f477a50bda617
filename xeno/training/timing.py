"""How long a run will take, from how long runs took on this machine.

A run's time is T = start + (w t + f) / v: the libraries and the base are loaded, then t tokens
are trained on and f are only scored, at v scored tokens a second; a trained token costs as much
as w scored ones. What a run shows is kept as a fact of the machine under the base's size and
number format, never under its pairs. A base that was never trained here is judged by the nearest
one that was, in proportion to its parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xeno.models.machine import read_fact, write_fact
from xeno.training.plan import TrainingPlan
from xeno.training.recipe import Recipe

if TYPE_CHECKING:
    from xeno.models.base import BaseModel
    from xeno.paths import Home

_FACT = "training speeds"
_TRAINED = 2.5
"""Cost of a trained token in scored ones: forward, and a backward pass without weights' own."""
_REMEMBERED = 16
_FASTEST, _SLOWEST = 1e9, 1e-3


@dataclass(frozen=True)
class Work:
    """Tokens that a run trains on and tokens that it only scores."""

    trained: float
    scored: float

    @property
    def total(self) -> float:
        """All of it in scored tokens."""
        return _TRAINED * self.trained + self.scored


def work(plan: TrainingPlan, recipe: Recipe, tokens: float, training: int, held_out: int) -> Work:
    """What a run on `training` rows and `held_out` ones of `tokens` tokens on average has to
    do."""
    first, between = 1 + int(plan.evaluate_first), min(plan.evaluations, recipe.steps) - 1
    some = min(held_out, plan.evaluation_pairs or held_out)
    # The reference and the evaluations at both ends take all, those between may take some.
    scored = training + held_out * (first + 1) + some * between
    return Work(trained=recipe.steps * recipe.batch_size * tokens, scored=scored * tokens)


def total(parts: Iterable[Work]) -> Work:
    """The work of all stages of a run."""
    found = list(parts)
    return Work(sum(each.trained for each in found), sum(each.scored for each in found))


def form(device: str, dtype: str, quantisation: str = "none") -> str:
    """How a run is computed, as far as its speed follows from it."""
    return f"{dtype} on {device}" + (f", {quantisation}" if quantisation == "nf4" else "")


def remember(base: BaseModel, form: str, done: Work, start: float, seconds: float) -> None:
    """Keep what a run showed: `start` seconds before its first token, `seconds` in all."""
    busy = seconds - start
    if base.home is None or done.total <= 0 or busy <= 0:
        return
    known = _known(base.home)
    entry = {
        "parameters": base.parameters,
        "speed": done.total / busy,
        "start": start,
    }
    known.pop(_key(base, form), None)
    kept = list(known.items())[-(_REMEMBERED - 1) :]
    write_fact(base.home, _FACT, dict([*kept, (_key(base, form), entry)]))


def seconds(base: BaseModel, form: str, ahead: Work) -> float | None:
    """How long a run with this work will take; None where no run has shown this machine's
    speed."""
    known = _known(base.home)
    exact = known.get(_key(base, form))
    if exact is not None:
        return float(exact["start"] + ahead.total / exact["speed"])
    same = [each for name, each in known.items() if name.endswith(form)] or list(known.values())
    if not same:
        return None
    near = min(same, key=lambda each: _apart(each["parameters"], base.parameters))
    scale = base.parameters / near["parameters"]
    return float(near["start"] + ahead.total * scale / near["speed"])


def _apart(one: float, other: float) -> float:
    return max(one, other) / max(1.0, min(one, other))


def _key(base: BaseModel, form: str) -> str:
    return f"{base.architecture} {base.parameters} {form}"


def _known(home: Home | None) -> dict[str, dict[str, Any]]:
    """The usable entries; the file may have been written by anybody."""
    found = read_fact(home, _FACT)
    if not isinstance(found, dict):
        return {}
    return {str(name): entry for name, entry in found.items() if _usable(entry)}


def _usable(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    try:
        parameters, speed, start = (float(entry[name]) for name in ("parameters", "speed", "start"))
    except (KeyError, TypeError, ValueError):
        return False
    return parameters > 0 and _SLOWEST < speed < _FASTEST and 0 <= start < _FASTEST
