"""The epsilon that is shown and kept: Opacus' PRV accountant, with RDP as a cross-check.

PRV (Gopi, Lee and Wutschitz 2021, arXiv 2106.02848) composes the privacy loss numerically
and returns an upper bound. The Renyi bound is looser and much simpler: if PRV ever came out
above it, its numerics failed, and the simpler one is shown. GDP is no bound for sampled
steps and is not used. Opacus brings torch, so nothing here is for the window's process.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from xeno.privacy import rdp
from xeno.privacy.rdp import Mechanism

_PRECISION = 1.002
"""Noise beyond the least that would do, as a ratio: at most 0.03 of epsilon at 8."""
_LEAST_NOISE = 0.05


def prv_epsilon(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """Opacus' upper bound on the epsilon of all `mechanisms` together, in any order.

    Raises:
        ValueError, RuntimeError: where the numerics fail (a tiny delta, an empty history).
    """
    import numpy as np
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = _merged(mechanisms)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"), warnings.catch_warnings():
        # At a sample rate of 1 the density takes log(0) on a branch that np.where discards.
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta))


def proved_epsilon(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """The epsilon to show and to keep for all `mechanisms` together: PRV, at most RDP."""
    if not mechanisms:
        return 0.0
    bound = rdp.rdp_epsilon(mechanisms, delta)
    try:
        proved = prv_epsilon(mechanisms, delta)
    except (ValueError, RuntimeError):
        return bound
    # A comparison with NaN is false, so that failed numerics fall back as well.
    return proved if 0 <= proved <= bound else bound


def calibrate(
    target: float,
    delta: float,
    sample_rate: float,
    steps: int,
    spent: Sequence[Mechanism] = (),
) -> float:
    """The noise multiplier with which `proved_epsilon` after the run is at most `target`.

    Args:
        target: epsilon for `spent` and the run together.
        spent: what the same budget already paid for; empty for the run alone.

    Returns:
        The multiplier, infinity where none is large enough.
    """
    sigma = rdp.noise_multiplier(target, delta, sample_rate, steps, spent)
    if sigma > rdp.MAX_NOISE_MULTIPLIER:
        return float("inf")

    def proved(noise: float) -> float:
        run = Mechanism(sample_rate=sample_rate, noise_multiplier=noise, steps=steps)
        return proved_epsilon([*spent, run], delta)

    # The start is exact for full batches, where only PRV's error margin is missing, and too
    # noisy for sampled ones: bracket the answer from both sides, then halve.
    low, high = sigma, sigma
    while proved(high) > target:
        low, high = high, high * 1.25
        if high > rdp.MAX_NOISE_MULTIPLIER:
            return float("inf")
    while low > _LEAST_NOISE and proved(low) <= target:
        low, high = low / 1.25, low
    while high / low > _PRECISION:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if proved(middle) <= target else (middle, high)
    return high


def _merged(mechanisms: Sequence[Mechanism]) -> list[tuple[float, float, int]]:
    """Opacus' history: (noise multiplier, sample rate, steps), equal steps counted together."""
    steps: dict[tuple[float, float], int] = {}
    for m in mechanisms:
        key = (m.noise_multiplier, m.sample_rate)
        steps[key] = steps.get(key, 0) + m.steps
    return [(sigma, rate, count) for (sigma, rate), count in steps.items()]
