"""What the user's answers so far say about the next comparison, and how sure that is.

A Bayesian probit model: the first reply is preferred with probability Φ(w·x), x the difference
of the two replies' features, w normal. One answer updates the mean and covariance of w by
matching moments (assumed density filtering: Opper 1998; the truncated normal's corrections as in
TrueSkill, Herbrich et al. 2006, eq. 4), at a cost of the dimension squared: no training run.

The best question is the one whose answer is expected to tell most about w: the mutual
information of the answer and w (BALD, Houlsby et al. 2011, eq. 4). It is high where the model
is unsure because it has not seen the like, and low where two replies are as good as each other.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_C = math.sqrt(math.pi * math.log(2) / 2)


class PreferenceModel:
    """w ~ N(mean, covariance).

    Args:
        mean: prior mean, shape [d].
        deviations: prior standard deviation of each weight, shape [d].
    """

    def __init__(self, mean: Vector, deviations: Vector) -> None:
        self.mean = np.array(mean, np.float64)
        self.covariance = np.diag(np.square(np.asarray(deviations, np.float64)))
        self.answers = 0

    def probability(self, difference: Vector) -> float:
        """That the first reply is preferred; `difference` is its features less the second's."""
        middle, variance = self._margin(difference)
        return _cumulative(middle / math.sqrt(1 + variance))

    def information(self, differences: Vector) -> Vector:
        """Bits that the answer to each comparison is expected to tell, shape [n] from [n, d]."""
        middle = differences @ self.mean
        variance = np.maximum(np.sum((differences @ self.covariance) * differences, axis=1), 0.0)
        chance = np.array([_cumulative(m) for m in middle / np.sqrt(1 + variance)])
        chance = np.clip(chance, 1e-12, 1 - 1e-12)
        entropy = -chance * np.log2(chance) - (1 - chance) * np.log2(1 - chance)
        spread = variance + _C**2
        known = _C * np.exp(-np.square(middle) / (2 * spread)) / np.sqrt(spread)
        told: Vector = np.maximum(entropy - known, 0.0)
        return told

    def update(self, difference: Vector, first_preferred: bool, confidence: float = 1.0) -> None:
        """Learn from an answer.

        Args:
            confidence: 0 to 1, how sure it is that this was the user's preference; less than 1
                makes the answer noisier.
        """
        if confidence <= 0:
            return
        signed = difference if first_preferred else -difference
        noise = 1.0 / confidence**2
        middle, variance = self._margin(signed)
        total = math.sqrt(noise + variance)
        z = middle / total
        slope = _hazard(z)
        along = self.covariance @ signed
        self.mean += along * (slope / total)
        self.covariance -= np.outer(along, along) * (slope * (slope + z) / total**2)
        self.answers += 1

    def update_equal(self, difference: Vector) -> None:
        """Learn that the user likes both replies about as much: w·x was seen to be 0 ± 1."""
        middle, variance = self._margin(difference)
        along = self.covariance @ difference
        self.mean -= along * (middle / (1 + variance))
        self.covariance -= np.outer(along, along) / (1 + variance)
        self.answers += 1

    def _margin(self, difference: Vector) -> tuple[float, float]:
        variance = float(difference @ self.covariance @ difference)
        return float(difference @ self.mean), max(0.0, variance)


def _cumulative(value: float) -> float:
    return 0.5 * math.erfc(-value / math.sqrt(2))


def _hazard(z: float) -> float:
    """φ(z)/Φ(z), by its asymptote where Φ underflows."""
    if z < -30:
        return -z
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / _cumulative(z)
