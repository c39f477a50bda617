"""Privacy accounting that needs no torch: quick enough for a forecast while a slider moves.

A run is a `Mechanism`: so many steps of the Poisson-subsampled Gaussian. Neighbouring data sets
have the same known size; one unit of the one is empty in the other. With a sample rate of 1 the
answer is exact (the composition of Gaussians is a Gaussian); below, it is the Renyi bound, which
is never under what `xeno.privacy.accountant` proves afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

from pydantic import BaseModel, ConfigDict, Field

_ORDERS = (*range(2, 25), *range(26, 65, 3), 80, 96, 128, 192, 256, 384, 512)
MAX_EPSILON = 700.0
MAX_NOISE_MULTIPLIER = 1e5


class Mechanism(BaseModel):
    """The noisy steps of one run.

    Attributes:
        sample_rate: chance of a unit to take part in a step, in (0, 1].
        noise_multiplier: standard deviation of the noise over the clipping norm.
        steps: noisy steps that were taken.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_rate: float = Field(gt=0, le=1)
    noise_multiplier: float = Field(gt=0, allow_inf_nan=False)
    steps: int = Field(ge=1)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The epsilon of a Gaussian mechanism with sensitivity over standard deviation `mu`.

    Balle and Wang 2018 (arXiv 1805.06530), theorem 8:
    delta = Phi(mu/2 - epsilon/mu) - exp(epsilon) Phi(-mu/2 - epsilon/mu).
    """
    if mu <= 0:
        return 0.0

    def excess(epsilon: float) -> float:
        lost = _normal_cdf(mu / 2 - epsilon / mu)
        return lost - math.exp(epsilon) * _normal_cdf(-mu / 2 - epsilon / mu) - delta

    if excess(0.0) <= 0:
        return 0.0
    if excess(MAX_EPSILON) > 0:
        return math.inf
    return _bisect(lambda epsilon: excess(epsilon) <= 0, 0.0, MAX_EPSILON, 60)


def rdp_epsilon(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """The Renyi bound on epsilon of all `mechanisms` together.

    Mironov, Talwar and Zhang 2019 (arXiv 1908.10530), section 3.3, composed by addition at
    each order; converted by Balle et al. 2020 (arXiv 1905.09982), theorem 21.
    """
    if not mechanisms:
        return 0.0
    bounds: list[float] = []
    for order in _ORDERS:
        total = sum(m.steps * _rdp(m.sample_rate, m.noise_multiplier, order) for m in mechanisms)
        conversion = math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
        bounds.append(total + conversion)
    return max(0.0, min(bounds))


def epsilon(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """The epsilon of all `mechanisms` together, exact where every sample rate is 1."""
    if all(m.sample_rate == 1 for m in mechanisms):
        square = sum(m.steps / m.noise_multiplier**2 for m in mechanisms)
        return gaussian_epsilon(math.sqrt(square), delta)
    return rdp_epsilon(mechanisms, delta)


def noise_multiplier(
    target: float, delta: float, sample_rate: float, steps: int, spent: Sequence[Mechanism] = ()
) -> float:
    """The least noise with which `steps` more steps after `spent` stay within `target`.

    Returns infinity where no noise would do, because `spent` alone is over it.
    """

    def fits(sigma: float) -> bool:
        planned = Mechanism(sample_rate=sample_rate, noise_multiplier=sigma, steps=steps)
        return epsilon([*spent, planned], delta) <= target

    if not fits(MAX_NOISE_MULTIPLIER):
        return math.inf
    return math.exp(
        _bisect(lambda x: fits(math.exp(x)), math.log(0.05), math.log(MAX_NOISE_MULTIPLIER))
    )


def _bisect(holds: Callable[[float], bool], low: float, high: float, halvings: int = 30) -> float:
    """The least value for which `holds`, from above, where it holds at `high`."""
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


@lru_cache(maxsize=4096)
def _rdp(sample_rate: float, sigma: float, order: int) -> float:
    """The Renyi divergence of one step at an integer `order`."""
    if sample_rate == 1:
        return order / (2 * sigma**2)
    log_q, log_not_q = math.log(sample_rate), math.log1p(-sample_rate)
    terms = [
        log_binomial + i * log_q + (order - i) * log_not_q + (i * i - i) / (2 * sigma**2)
        for i, log_binomial in enumerate(_log_binomials(order))
    ]
    top = max(terms)
    return (top + math.log(sum(math.exp(term - top) for term in terms))) / (order - 1)


@lru_cache(maxsize=len(_ORDERS))
def _log_binomials(n: int) -> tuple[float, ...]:
    top = math.lgamma(n + 1)
    return tuple(top - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(n + 1))
