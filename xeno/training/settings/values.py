"""What values a declared setting takes, in numbers for editors and in words for people."""

from __future__ import annotations

import math
import types
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Values:
    """The values of a setting.

    Attributes:
        kind: bool, int, float, str, tuple, or Literal for one of `choices`.
        optional: whether None, "automatic", is one of them.
        low, high: of numbers and of the length of texts; infinite where there is no bound.
        above_low, below_high: whether the bound itself is excluded.
    """

    kind: Any
    optional: bool
    choices: tuple[Any, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    above_low: bool = False
    below_high: bool = False

    def words(self) -> str:
        """For example "a whole number from 1 to 1000, or automatic"."""
        return self._alone() + (", or automatic" if self.optional else "")

    def _alone(self) -> str:
        if self.choices:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        if self.kind is bool:
            return "yes or no"
        if self.kind is str:
            return "a text" if self.high == math.inf else f"a text of at most {self.high:g} letters"
        if self.kind is tuple:
            return "a list of texts"
        name = "a whole number" if self.kind is int else "a number"
        low, high = _number(self.low), _number(self.high)
        if self.low == -math.inf or self.high == math.inf:
            from_low = f"above {low}" if self.above_low else f"of at least {low}"
            to_high = f"below {high}" if self.below_high else f"of at most {high}"
            bounds = [from_low] * (self.low > -math.inf) + [to_high] * (self.high < math.inf)
            return " ".join([name, *bounds])
        if self.above_low or self.below_high:
            from_low = f"above {low}" if self.above_low else f"from {low}"
            to_high = f"below {high}" if self.below_high else f"at most {high}"
            return f"{name} {from_low} and {to_high}"
        return f"{name} from {low} to {high}"


def values_of(declared: FieldInfo) -> Values:
    """The values that the setting `declared` takes."""
    kind, optional = declared.annotation, False
    if get_origin(kind) in (Union, types.UnionType):
        kinds = [each for each in get_args(kind) if each is not type(None)]
        kind, optional = kinds[0], len(kinds) < len(get_args(kind))
    if get_origin(kind) is Literal:
        return Values(Literal, optional, choices=get_args(kind))
    low, high, above, below = -math.inf, math.inf, False, False
    for rule in declared.metadata:
        match rule:
            case Ge(ge=bound):
                low = float(bound)  # type: ignore[arg-type]
            case Gt(gt=bound):
                low, above = float(bound), True  # type: ignore[arg-type]
            case Le(le=bound):
                high = float(bound)  # type: ignore[arg-type]
            case Lt(lt=bound):
                high, below = float(bound), True  # type: ignore[arg-type]
            case MinLen(min_length=bound):
                low = float(bound)
            case MaxLen(max_length=bound):
                high = float(bound)
            case _:
                pass
    if kind is int and below:  # the largest whole number that is allowed says it better
        high, below = high - 1, False
    return Values(get_origin(kind) or kind, optional, (), low, high, above, below)


def shown(value: Any) -> str:
    """A value of a setting as a person writes it."""
    if value is None:
        return "automatic"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _number(value: float) -> str:
    whole = math.isfinite(value) and value == int(value) and abs(value) < 1e15
    return f"{value:.0f}" if whole else f"{value:g}"
