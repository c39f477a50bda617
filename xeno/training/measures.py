"""What is measured of pairs: sums over them, and their means."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import psutil
import torch

from xeno.training.loss import preferred
from xeno.training.rows import Row


@dataclass(frozen=True)
class Measures:
    """Sums over pairs; the means are over `pairs`."""

    loss: float = 0.0
    margin: float = 0.0
    accuracy: float = 0.0
    pairs: int = 0

    def plus(self, loss: torch.Tensor, margin: torch.Tensor, means: torch.Tensor) -> Measures:
        """With more pairs: losses and margins [pairs], mean log-probabilities [pairs, 2]."""
        return Measures(
            self.loss + float(loss.sum()),
            self.margin + float(margin.sum()),
            self.accuracy + float(preferred(means[:, 0], means[:, 1]).sum()),
            self.pairs + len(loss),
        )

    def mean(self, total: float) -> float | None:
        """None where there is no pair, or the mean is no finite number."""
        return finite(total / self.pairs) if self.pairs else None


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
