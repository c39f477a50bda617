"""Settings of differential privacy."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from xeno.privacy.budget import DEFAULT_DELTA, DEFAULT_EPSILON, LEAST_SHARE
from xeno.training.settings.declaration import setting


class PrivacySettings(BaseModel):
    private: bool = setting(
        True,
        "Differential privacy",
        "Learn with noise that hides every single pair.",
        quality="Noise costs quality, more so with few pairs.",
        privacy="Without it single pairs may be recoverable from the version.",
    )
    privacy_unit: Literal["pair", "conversation"] = setting(
        "pair",
        "Unit of privacy",
        "What is hidden: whether any one pair was used, or all pairs of any one conversation.",
        quality="A conversation counts once however many pairs it has, so there is less to learn.",
        privacy="A conversation hides what several of its pairs say together.",
        only="private",
    )
    epsilon: float = setting(
        DEFAULT_EPSILON,
        "Epsilon",
        "Privacy this run may spend. Smaller is more private and learns less.",
        quality="Larger means less noise.",
        privacy="Larger protects less.",
        only="private",
        gt=0,
        le=100,
    )
    delta: float = setting(
        DEFAULT_DELTA,
        "Delta",
        "Probability with which the guarantee may fail.",
        privacy="Larger protects less.",
        only="private",
        gt=0,
        lt=1e-2,
    )
    max_grad_norm: float = setting(
        0.1,
        "Clipping norm",
        "Largest influence (gradient norm) that one pair may have on one step. Below what "
        "gradients have every pair counts the same, and nothing of the noise is wasted; steps "
        "are in units of it, so a smaller one does not slow learning.",
        quality="Too large adds noise that no pair makes use of.",
        only="private",
        gt=0,
        le=1e6,
    )
    private_steps: int = setting(
        8,
        "Private steps",
        "Steps of a private run where the number of epochs is automatic.",
        unit="steps",
        quality="More travels further, in noisier steps.",
        privacy="More steps need more noise in each; the epsilon stays.",
        only="private",
        ge=1,
        le=100_000,
    )
    full_batch_below: int = setting(
        500,
        "Full batches below",
        "Below this number of pairs a private run uses all of them in every step.",
        unit="pairs",
        quality="A full batch has the least noise for each pair, and costs time.",
        only="private",
        ge=0,
        le=10_000_000,
    )
    sampled_batch: int = setting(
        400,
        "Sampled batch",
        "Expected pairs in a step of a private run with more of them, each drawn by chance.",
        unit="pairs",
        quality="Larger means less noise for each pair, and costs time.",
        privacy="Larger batches need more noise; the epsilon stays.",
        only="private",
        ge=1,
        le=100_000,
    )
    least_noise: float = setting(
        0.0,
        "Least noise",
        "Noise multiplier at least, where the epsilon would allow less.",
        quality="More noise learns less.",
        privacy="More noise spends less than the epsilon allows.",
        only="private",
        ge=0,
        le=1000,
    )
    least_epsilon_share: float = setting(
        LEAST_SHARE,
        "Least share of the epsilon",
        "A run is refused where the budget leaves less than this share of the epsilon it asks for.",
        quality="Lower spends what is left on a version that learns little.",
        only="private",
        gt=0,
        le=1,
    )
    loud_noise: float = setting(
        2.0,
        "Warn of noise above",
        "Noise over signal above which the forecast warns that a taste may drown.",
        only="private",
        gt=0,
        le=100,
    )
