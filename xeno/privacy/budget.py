"""The defaults of the privacy budget and the words for it. Light: the window imports it."""

from __future__ import annotations

from typing import Literal

DEFAULT_EPSILON = 8.0
DEFAULT_DELTA = 1e-5

Strength = Literal["strong", "moderate", "weak"]


def strength(epsilon: float) -> Strength:
    """The word for a guarantee: strong for epsilon <= 1, moderate <= 8, weak above."""
    if epsilon <= 1:
        return "strong"
    return "moderate" if epsilon <= 8 else "weak"
