"""The rows of a stage, found before training without the training libraries.

The texts go through the same code as in training, with the base's own tokenizer. Of many units
a sample is encoded, whose members are drawn by their content, so that the same units give the
same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xeno.errors import BaseModelError
from xeno.models.light_tokenizer import light_tokenizer
from xeno.training.encoding import Fit, LeftOut, encode_unit
from xeno.training.row import Row
from xeno.training.stages import NOUNS, StageData

if TYPE_CHECKING:
    from xeno.models.base import BaseModel
    from xeno.store.pairs import Pair
    from xeno.training.dataset import Sample

CHARACTERS = 200_000
"""About as much text as is encoded for an answer: some 0.2 s."""


@dataclass(frozen=True)
class Encoded:
    """The rows of a stage or of a sample of it, and what is left out of them.

    Attributes:
        units: how many units the stage has.
        looked_at: how many of them were encoded; 0 where the base's tokenizer cannot be used here.
    """

    units: int
    looked_at: int
    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def mean(self) -> float:
        """Tokens of a row on average; 0 where there is none."""
        return sum(row.tokens for row in self.rows) / len(self.rows) if self.rows else 0.0

    @property
    def misfits(self) -> int:
        """How many of the stage's units do not fit, scaled up from the sample."""
        return round(len(self.left_out) * self.units / max(1, self.looked_at))

    @property
    def sampled(self) -> bool:
        """Whether only a part was encoded."""
        return self.looked_at < self.units


def encoded(base: BaseModel, stage: StageData, characters: int = CHARACTERS) -> Encoded:
    """The rows that `stage` has for `base`, of about so many `characters` of text."""
    return _encoded(base, stage, Fit.of(stage.plan, limit(base, stage)), characters)


def uncut(base: BaseModel, stage: StageData, characters: int = CHARACTERS) -> Encoded:
    """The rows that `stage` would have if everything fitted."""
    return _encoded(base, stage, Fit(10**9), characters)


def limit(base: BaseModel, stage: StageData) -> int:
    """Most tokens of a prompt with one reply."""
    return min(stage.plan.max_length, base.context)


def said(base: BaseModel, stage: StageData, found: Encoded) -> dict[str, int]:
    """How many units do not fit, by reason in words."""
    if not found.left_out:
        return {}
    reason = f"{NOUNS[stage.name]} that cannot be used within {limit(base, stage)} tokens"
    if found.sampled:
        reason += f" (estimated from {found.looked_at})"
    return {reason: found.misfits}


def _encoded(base: BaseModel, stage: StageData, fit: Fit, characters: int) -> Encoded:
    from jinja2 import TemplateError

    units = _sample(stage.units, characters)
    tokenizer: Any
    try:
        tokenizer = light_tokenizer(base)
        made = [encode_unit(tokenizer, stage, unit, fit) for unit in units]
    except (BaseModelError, TemplateError, TypeError, ValueError, KeyError):
        return Encoded(len(stage.units), 0, (), ())
    return Encoded(
        len(stage.units),
        len(units),
        tuple(each for each in made if isinstance(each, Row)),
        tuple(each for each in made if isinstance(each, LeftOut)),
    )


def _sample(units: Sequence[Pair | Sample], characters: int) -> list[Pair | Sample]:
    sizes = [_characters(unit) for unit in units]
    if sum(sizes) <= characters:
        return list(units)
    chosen: list[Pair | Sample] = []
    left = characters
    for unit, size in sorted(zip(units, sizes, strict=True), key=lambda each: each[0].fingerprint):
        if chosen and size > left:
            break
        chosen.append(unit)
        left -= size
    return chosen


def _characters(unit: Pair | Sample) -> int:
    replies = (getattr(unit, name, "") for name in ("chosen", "rejected", "reply"))
    return sum(len(turn.content) for turn in unit.prompt) + sum(map(len, replies))
