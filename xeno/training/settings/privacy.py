"""Settings of differential privacy."""

from __future__ import annotations

from pydantic import BaseModel

from xeno.privacy.budget import DEFAULT_DELTA, DEFAULT_EPSILON
from xeno.training.settings.declaration import setting


class PrivacySettings(BaseModel):
    private: bool = setting(
        True,
        "Differential privacy",
        "Learn with noise that hides every single pair.",
        quality="Noise costs quality, more so with few pairs.",
        privacy="Without it single pairs may be recoverable from the version.",
    )
    epsilon: float = setting(
        DEFAULT_EPSILON,
        "Epsilon",
        "Privacy this run may spend. Smaller is more private and learns less.",
        quality="Larger means less noise.",
        privacy="Larger protects less.",
        gt=0,
        le=100,
    )
    delta: float = setting(
        DEFAULT_DELTA,
        "Delta",
        "Probability with which the guarantee may fail.",
        privacy="Larger protects less.",
        gt=0,
        lt=1e-2,
    )
    max_grad_norm: float = setting(
        1.0,
        "Clipping norm",
        "Largest influence (gradient norm) that one pair may have on one step.",
        quality="Too small hides large lessons, too large adds noise.",
        gt=0,
    )
