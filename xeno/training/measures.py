"""What is measured of rows: sums over them, and their means."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from xeno.training.objectives import RowLoss
from xeno.training.rows import Row


@dataclass(frozen=True)
class Measures:
    """Sums over pairs; the means are over `pairs`. `accuracy` is None where nothing has one;
    `logps` is of all `tokens` of chosen replies."""

    loss: float = 0.0
    margin: float = 0.0
    accuracy: float | None = None
    pairs: int = 0
    logps: float = 0.0
    tokens: int = 0

    def plus(self, rows: Sequence[Row], result: RowLoss) -> Measures:
        right = result.accuracy
        return Measures(
            self.loss + float(result.loss.detach().sum()),
            self.margin + float(result.margin.detach().sum()),
            None if right is None else (self.accuracy or 0.0) + float(right.sum()),
            self.pairs + len(rows),
            self.logps + float(result.logps.sum()),
            self.tokens + sum(len(row.chosen) for row in rows),
        )

    def mean_accuracy(self) -> float | None:
        return None if self.accuracy is None else self.mean(self.accuracy)

    def mean(self, total: float) -> float | None:
        """`total` per pair; None of no pairs, and where it is not a finite number."""
        return finite(total / self.pairs) if self.pairs else None

    def perplexity(self) -> float | None:
        """Of the chosen replies, per token."""
        if not self.tokens:
            return None
        try:
            return finite(math.exp(-self.logps / self.tokens))
        except OverflowError:
            return None


def finite(value: float) -> float | None:
    """`value`, or None where it is infinite or not a number: events are JSON, which has neither,
    and a curve must not show them as some number."""
    return value if math.isfinite(value) else None


def shorter(row: Row) -> float:
    """What picking the shorter reply scores: 1 if it is the chosen one, one half at a tie."""
    return (1 + (len(row.rejected) > len(row.chosen)) - (len(row.rejected) < len(row.chosen))) / 2


def peak_memory() -> int:
    """The most memory this process has had so far, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
