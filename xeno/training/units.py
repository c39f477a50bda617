"""The rows of a run by unit of privacy: each alone, or those of a conversation together. Light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from xeno.training.plan import TrainingPlan


class _Member(Protocol):
    @property
    def unit(self) -> str: ...


class _Grouped(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def group_id(self) -> str: ...


_AnyMember = TypeVar("_AnyMember", bound=_Member)


def by_unit(rows: Sequence[_AnyMember]) -> list[list[_AnyMember]]:
    """`rows` by their unit, in the order in which units first appear; a row without a name for
    its unit is one by itself."""
    found: dict[str | int, list[_AnyMember]] = {}
    for number, row in enumerate(rows):
        found.setdefault(row.unit or number, []).append(row)
    return list(found.values())


def unit_of(plan: TrainingPlan, pair: _Grouped) -> str:
    """The name of the unit of which `pair` is a part; empty where it is one by itself."""
    together = plan.private and plan.privacy_unit == "conversation"
    return (pair.group_id or pair.id) if together else ""


def count_units(plan: TrainingPlan, pairs: Sequence[_Grouped]) -> int:
    """How many units of privacy `pairs` are."""
    names = [unit_of(plan, pair) for pair in pairs]
    return len(set(filter(None, names))) + names.count("")
