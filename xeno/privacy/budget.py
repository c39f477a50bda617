"""The defaults of the privacy budget and the words for it. Light: the window imports it."""

from __future__ import annotations

from typing import Literal

DEFAULT_EPSILON = 8.0
DEFAULT_DELTA = 1e-5

DEFAULT_LIFETIME_EPSILON = 16.0
"""What all private runs of a profile together may spend, at `DEFAULT_DELTA`."""

LEAST_SHARE = 0.25
"""A run that the budget grants less than this share of the epsilon it asks for is refused: it
would spend what is left on a version that learned next to nothing."""

Strength = Literal["strong", "moderate", "weak"]


def strength(epsilon: float) -> Strength:
    """The word for a guarantee: strong for epsilon <= 1, moderate <= 8, weak above."""
    if epsilon <= 1:
        return "strong"
    return "moderate" if epsilon <= 8 else "weak"
