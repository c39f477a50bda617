"""What held-out pairs and the clock say of a version, beside what it is compared with.

A version fails where its interval lies wholly on the worse side: worse beyond noise. Where there
is too little to measure the question stays open, and the report says so.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from xeno.events import PairScore
from xeno.gate.intervals import Interval, median_interval, paired_bootstrap
from xeno.gate.replies import GateReply
from xeno.versions.gate import GateCheck

LEAST_PAIRS = 8
SLOWEST = 0.9
MOST_PERPLEXITY = 1.1
"""Preference training trades likelihood of the chosen replies for the distance to the rejected
ones, so that much perplexity more is no fault of a version."""
LEAST_LIKELY = 1.5
_LEAST_TOKENS = 4


@dataclass(frozen=True)
class HeldOut:
    """Pairs that neither version learned from. `scores` of the version and of what it is
    compared with, in the order of the pairs; `groups` say which belong together."""

    groups: tuple[str, ...]
    version: tuple[PairScore, ...]
    other: tuple[PairScore, ...]


def preferences(held_out: HeldOut, other: str) -> GateCheck:
    """Whether it prefers the chosen replies as often as `other`: mean log-probability per token,
    a tie counts one half."""
    name = "held-out preferences"
    if short := _cannot(held_out, name):
        return short
    mine, theirs = (_accuracies(each) for each in (held_out.version, held_out.other))
    found = paired_bootstrap([a - b for a, b in zip(mine, theirs, strict=True)], held_out.groups)
    pairs = len(mine)
    worse = found.high < 0
    detail = (
        f"On {pairs} pairs that neither learned from it prefers the chosen reply in "
        f"{sum(mine) / pairs:.0%}, {other} in {sum(theirs) / pairs:.0%}: {found.value:+.0%} "
        f"(95 % interval {found.low:+.0%} to {found.high:+.0%}), "
        f"{_verdict(found)}."
    )
    values = {
        "pairs": pairs,
        "accuracy": sum(mine) / pairs,
        "accuracy_compared": sum(theirs) / pairs,
        "difference": found.value,
        "low": found.low,
        "high": found.high,
    }
    return GateCheck(name=name, passed=not worse, detail=detail, values=values)


def perplexity(held_out: HeldOut, other: str) -> GateCheck:
    """Whether the chosen replies are as likely as under `other`, pair by pair: the geometric
    mean over pairs of the perplexity per token."""
    name = "held-out perplexity"
    if short := _cannot(held_out, name):
        return short
    mine, theirs = ([each.chosen for each in side] for side in (held_out.version, held_out.other))
    found = paired_bootstrap([b - a for a, b in zip(mine, theirs, strict=True)], held_out.groups)
    pairs = len(mine)
    low, ratio, high = (_exp(each) for each in (found.low, found.value, found.high))
    worse = low > MOST_PERPLEXITY
    mine_value, theirs_value = (_exp(-sum(each) / pairs) for each in (mine, theirs))
    detail = (
        f"The perplexity of the chosen replies of these {pairs} pairs is {mine_value:.3g}, with "
        f"{other} {theirs_value:.3g}: {ratio:.2f} times (95 % interval {low:.2f} to {high:.2f}), "
        f"{'' if worse else 'not '}beyond {MOST_PERPLEXITY:g} times."
    )
    values = {
        "pairs": pairs,
        "perplexity": mine_value,
        "perplexity_compared": theirs_value,
        "ratio": ratio,
        "low": low,
        "high": high,
    }
    return GateCheck(name=name, passed=not worse, detail=detail, values=values)


def coherence(own: Sequence[float], base: Sequence[float], taught: Sequence[float]) -> GateCheck:
    """Whether its replies are as likely under the base model as what it was taught, or as the
    base's own: a version that puts words together at random is neither.

    Args:
        own, base, taught: mean log-probability per token under the base, of each of the
            version's replies, the base's, and of chosen replies that the version learned from.
    """
    name = "coherent"
    if not own or not base:
        detail = "It wrote too little to judge."
        return GateCheck(name=name, passed=None, detail=detail)
    mine, usual = statistics.median(own), statistics.median(base)
    reference = min([usual, *([statistics.median(taught)] if taught else [])])
    passed = mine >= reference - LEAST_LIKELY
    detail = (
        f"Under the base model its replies have {-mine:.2f} nats per token, the base's own "
        f"{-usual:.2f}"
        + (f", what it was taught {-statistics.median(taught):.2f}" if taught else "")
        + f"; {LEAST_LIKELY:g} more than the larger of these is the most."
    )
    values = {"nats": -mine, "nats_base": -usual, "nats_most": LEAST_LIKELY - reference}
    return GateCheck(name=name, passed=passed, detail=detail, values=values)


def speed(version: Sequence[GateReply], base: Sequence[GateReply]) -> GateCheck:
    """Whether it writes as fast as the base: the median over the questions of the ratio of
    tokens per second, each question asked of both one right after the other."""
    ratios = [
        mine.tokens_per_second / theirs.tokens_per_second
        for mine, theirs in zip(version, base, strict=True)
        if min(mine.tokens, theirs.tokens) >= _LEAST_TOKENS
        and mine.tokens_per_second > 0
        and theirs.tokens_per_second > 0
    ]
    found = median_interval(ratios)
    if found is None:
        detail = f"Too few of its replies ({len(ratios)}) are long enough to measure its speed."
        return GateCheck(name="speed", passed=None, detail=detail)
    slow = found.high < SLOWEST
    detail = (
        f"It writes {found.value:.2f} times as fast as the base model (95 % interval "
        f"{found.low:.2f} to {found.high:.2f}); {SLOWEST:g} times is the least."
    )
    values = {"ratio": found.value, "low": found.low, "high": found.high}
    return GateCheck(name="speed", passed=not slow, detail=detail, values=values)


def _accuracies(scores: Sequence[PairScore]) -> list[float]:
    return [
        (1 + (each.chosen > each.rejected) - (each.chosen < each.rejected)) / 2 for each in scores
    ]


def _verdict(difference: Interval) -> str:
    if difference.high < 0:
        return "worse beyond noise"
    return "better beyond noise" if difference.low > 0 else "no difference beyond noise"


def _exp(value: float) -> float:
    """The exponential, where that is too large the largest there is."""
    return math.exp(min(value, 700.0))


def _cannot(held_out: HeldOut, name: str) -> GateCheck | None:
    """Why the two cannot be compared, if they cannot."""
    numbers = [each for side in (held_out.version, held_out.other) for each in side]
    if not all(math.isfinite(each.chosen + each.rejected) for each in numbers):
        detail = "It gives held-out replies probabilities that are no numbers."
        return GateCheck(name=name, passed=False, detail=detail)
    if len(held_out.groups) >= LEAST_PAIRS:
        return None
    detail = (
        f"There are {len(held_out.groups)} pairs that neither version learned from; "
        f"{LEAST_PAIRS} are needed to compare them."
    )
    return GateCheck(name=name, passed=None, detail=detail)
