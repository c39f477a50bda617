"""How a step's batch is cut into micro-batches, the parts that are in memory at once.

The gradients of the parts are added, so the result of a step does not depend on the cut, beyond
rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from xeno.training.rows import Row
from xeno.training.settings.compute import TOKENS_AT_ONCE
from xeno.training.units import by_unit


@dataclass(frozen=True)
class Limits:
    """The most that one micro-batch may hold: `rows` pairs, and `tokens` with their padding.

    A single row may have more tokens: a pair is never cut.
    """

    rows: int
    tokens: int = TOKENS_AT_ONCE


def micro_batches(rows: Sequence[Row], limits: Limits) -> list[list[Row]]:
    """`rows` in parts of like length, shortest first; none is empty.

    The rows of a unit of privacy come one after the other: only then can its gradient be added
    up over several parts while no other unit is kept.
    """
    parts: list[list[Row]] = []
    units = [sorted(unit, key=lambda row: row.tokens) for unit in by_unit(rows)]
    units.sort(key=lambda unit: unit[-1].tokens)
    longest = 0
    for row in chain.from_iterable(units):
        part = parts[-1] if parts else []
        longest = max(longest, row.tokens)  # all rows of a part are padded to its longest
        if part and len(part) < limits.rows and longest * (len(part) + 1) <= limits.tokens:
            part.append(row)
        else:
            parts.append([row])
            longest = row.tokens
    return parts
