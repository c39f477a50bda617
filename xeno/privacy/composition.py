"""What several private queries reveal together, by the tightest bound that holds for them. Light.

basic       k queries of (epsilon, delta) are (k epsilon, k delta) private.
advanced    the optimal bound where no more is known of the queries than (epsilon, delta):
            Kairouz, Oh and Viswanath 2015 (arXiv 1311.0776), theorem 3.3.
gaussian    exact where every query adds Gaussian noise: k queries of sensitivity over
            deviation mu are one with mu sqrt(k) (Dong, Roth and Su 2019, arXiv 1905.02383).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from xeno.errors import InvalidValueError
from xeno.privacy import rdp

Composition = Literal["basic", "advanced", "gaussian"]
Known = Literal["any", "gaussian"]

MAX_EPSILON = 100.0


@dataclass(frozen=True)
class Composed:
    """Epsilon of all queries together at a delta, and the bound that gave it."""

    epsilon: float
    composition: Composition


def gaussian_mu(epsilon: float, delta: float) -> float:
    """The largest sensitivity over deviation with which Gaussian noise is (epsilon, delta) private.

    The analytic Gaussian mechanism: Balle and Wang 2018 (arXiv 1805.06530), theorem 8, exact
    for every epsilon above 0.
    """
    low, high = -30.0, 10.0  # natural logarithms of mu
    for _ in range(200):
        middle = (low + high) / 2
        fits = rdp.gaussian_epsilon(math.exp(middle), delta) <= epsilon
        low, high = (middle, high) if fits else (low, middle)
    return math.exp(low)


def compose(
    epsilon: float, queries: int, delta: float, query_delta: float = 0.0, known: Known = "any"
) -> Composed:
    """What `queries` queries of (epsilon, query_delta) reveal together at `delta`.

    Args:
        known: "gaussian" where each query adds Gaussian noise that is calibrated exactly.

    Raises:
        InvalidValueError: if no epsilon holds at `delta`, because the queries' own deltas
            already exceed it.
    """
    found: list[Composed] = []
    if known == "gaussian":
        mu = gaussian_mu(epsilon, query_delta) * math.sqrt(queries)
        found.append(Composed(rdp.gaussian_epsilon(mu, delta), "gaussian"))
    if queries * query_delta <= delta:
        found.append(Composed(queries * epsilon, "basic"))
    remaining = -math.expm1(math.log1p(-delta) - queries * math.log1p(-query_delta))
    if remaining > 0:
        found.append(Composed(_responses(epsilon, queries, remaining), "advanced"))
    if not found:
        raise InvalidValueError(
            f"{queries} queries of delta {query_delta:g} are not private at delta {delta:g}.",
            "Each may fail with its own delta, and the failures add up to more.",
            "Allow a larger delta in total, or fewer queries.",
        )
    # Where bounds agree to a thousandth, the one that is simplest to check is given.
    order = ("basic", "gaussian", "advanced")
    least = min(each.epsilon for each in found)
    same = [each for each in found if each.epsilon <= least * 1.001]
    return min(same, key=lambda each: order.index(each.composition))


def _responses(epsilon: float, queries: int, delta: float) -> float:
    """The epsilon of `queries` randomised responses, the worst of all epsilon-private queries.

    With p = e^epsilon / (1 + e^epsilon) the privacy loss is (k - 2 l) epsilon with the
    probability of l failures among k, so that
    delta(x) = sum over l of Binomial(l; k, 1 - p) max(0, 1 - exp(x - (k - 2 l) epsilon)).
    """
    log_p, log_not_p = -math.log1p(math.exp(-epsilon)), -math.log1p(math.exp(epsilon))
    losses = []
    for failures in range(queries // 2 + 1):
        ways = math.lgamma(queries + 1) - math.lgamma(failures + 1)
        ways -= math.lgamma(queries - failures + 1)
        chance = math.exp(ways + (queries - failures) * log_p + failures * log_not_p)
        losses.append(((queries - 2 * failures) * epsilon, chance))

    def excess(x: float) -> float:
        return sum(chance * -math.expm1(x - loss) for loss, chance in losses if loss > x)

    low, high = 0.0, queries * epsilon
    if excess(low) <= delta:
        return 0.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if excess(middle) <= delta else (middle, high)
    return high
