"""What the results of one metric of an A/B test say, in the words of its contract."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xeno.experiments.sequential import compare
from xeno.performance.trends import lower_is_better


def analysis(
    metric: str, results: Sequence[tuple[float, str, float]], alpha: float
) -> dict[str, Any]:
    """See `ABTestingManager.analyze_test`.

    Args:
        results: (Unix seconds, "a" or "b", value), the oldest first.
        alpha: the false-alarm rate of this metric.
    """
    found = compare(((side, value) for _, side, value in results), alpha)
    values = {arm: [value for _, side, value in results if side == arm] for arm in "ab"}
    a, b = (math.fsum(values[arm]) / len(values[arm]) if values[arm] else None for arm in "ab")
    difference = None if a is None or b is None else float(f"{b - a:.6g}")
    higher = found.winner
    better = {"a": "b", "b": "a"}[higher] if higher and lower_is_better(metric) else higher
    return {
        "variant_a_mean": a,
        "variant_b_mean": b,
        "variant_a_count": len(values["a"]),
        "variant_b_count": len(values["b"]),
        "difference": difference,
        "percent_change": None if difference is None or not a else round(100 * difference / a, 2),
        "pairs": found.pairs,
        "evidence": found.evidence,
        "needed": found.needed,
        "winner": None if better is None else f"variant_{better}",
    }
