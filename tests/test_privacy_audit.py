"""The audit: faults put in on purpose are flagged, the real mechanism passes fifty times."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from version_parts import adapter, manifest_for

from xeno.privacy.audit.books import check_books
from xeno.privacy.audit.one_run import epsilon_proved, leak
from xeno.privacy.audit.selftest import Claim, Parts, self_test
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.mechanism import PrivateOptimizer
from xeno.privacy.noise import CipherStream
from xeno.privacy.rdp import Mechanism
from xeno.store.profile import Profile
from xeno.versions.registry import Registry

DELTA = 1e-5


def test_the_real_mechanism_passes_fifty_times() -> None:
    results = [self_test() for _ in range(50)]
    failed = [check for result in results for check in result.checks if not check.passed]
    assert failed == []
    close = [abs(r.mu - r.mu_claimed) <= 3 * r.mu_error for r in results]
    assert sum(close) >= 47


class NoNoise(PrivateOptimizer):
    def add_noise(self) -> None:
        for parameter in self.params:
            parameter.grad = parameter.summed_grad.clone()


class HalfTheNoise(PrivateOptimizer):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        named["noise_multiplier"] /= 2
        super().__init__(*arguments, **named)


class ClipsRows(PrivateOptimizer):
    def accumulate(self, units: int | torch.Tensor) -> torch.Tensor:
        rows = units if isinstance(units, int) else len(units)
        return super().accumulate(2 * rows)


class SkipsEmptyBatches(PrivateOptimizer):
    def noisy_step(self) -> torch.Tensor:
        if all(parameter.summed_grad is None for parameter in self.params):
            return torch.zeros(0)
        return super().noisy_step()


class KeyUsedTwice(CipherStream):
    """Starts from the same key for every step."""

    def gaussian(self, count: int, *_: Any) -> Any:
        return np.random.default_rng(7).normal(size=count)


class KeyOfTheLastRun(CipherStream):
    """Starts from the same key in every run."""

    def __init__(self) -> None:
        super().__init__()
        self._again = np.random.default_rng(7)

    def gaussian(self, count: int, *_: Any) -> Any:
        return self._again.normal(size=count)


class LargerBatches(CipherStream):
    def poisson_sample(self, count: int, sample_rate: float) -> list[int]:
        return super().poisson_sample(count, 1.3 * sample_rate)


@pytest.mark.parametrize(
    ("parts", "flagged"),
    [
        (Parts(optimizer=NoNoise), "noise"),
        (Parts(optimizer=HalfTheNoise), "noise"),
        (Parts(optimizer=ClipsRows), "influence"),
        (Parts(optimizer=ClipsRows), "clipping"),
        (Parts(optimizer=SkipsEmptyBatches), "steps"),
        (Parts(stream=KeyUsedTwice), "independence"),
        (Parts(stream=KeyOfTheLastRun), "independence"),
        (Parts(stream=LargerBatches), "batches"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_broken_mechanism_is_flagged(parts: Parts, flagged: str) -> None:
    result = self_test(parts)
    assert not result.passed
    assert flagged in [check.name for check in result.checks if not check.passed]


def test_the_claim_is_held_against_and_not_taken_over() -> None:
    assert self_test(claim=Claim(noise_multiplier=0.8, sample_rate=0.5)).passed
    half = self_test(Parts(optimizer=HalfTheNoise))
    assert half.mu == pytest.approx(2 * half.mu_claimed, rel=0.1)


# Books --------------------------------------------------------------------------------------

RUN = Mechanism(sample_rate=1.0, noise_multiplier=5.0, steps=20)


def _release(profile: Profile, **changes: Any) -> None:
    manifest = manifest_for(adapter())
    values = {
        "private": True,
        "epsilon": 2.0,
        "delta": DELTA,
        "unit": "pair",
        "pair_ids": ("a", "b", "c"),
        "mechanism": RUN.model_dump() | {"expected_batch_size": 3.0},
    }
    Registry(profile).release(adapter(), manifest.model_copy(update=values | changes))


def _account(profile: Profile, run: Mechanism = RUN, unit: Any = "pair") -> None:
    PrivacyLedger(profile).append("run", unit, run, DELTA, manifest_for(adapter()).address)


def _books(profile: Profile) -> str:
    return " ".join(check.said for check in check_books(profile) if not check.passed)


def test_honest_books_agree(profile: Profile) -> None:
    assert _books(profile) == ""
    _account(profile)
    _release(profile, created=2e9)
    assert _books(profile) == ""


@pytest.mark.parametrize(
    ("run", "unit", "changes", "words"),
    [
        (RUN, "pair", {"created": 1.0}, "released before its entry"),
        (RUN.model_copy(update={"steps": 19}), "pair", {}, "another mechanism"),
        (RUN, "conversation", {}, "another unit"),
        (
            RUN,
            "pair",
            {"mechanism": RUN.model_dump() | {"expected_batch_size": 4.0}},
            "larger batches",
        ),
    ],
)
def test_books_that_do_not_agree_are_flagged(
    profile: Profile, run: Mechanism, unit: str, changes: dict[str, Any], words: str
) -> None:
    _account(profile, run, unit)
    _release(profile, **({"created": 2e9} | changes))
    assert words in _books(profile)


def test_an_entry_written_after_the_release_is_flagged(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Registry, "_require_ledger", lambda *_: None)  # what should refuse it
    _release(profile)
    assert "no entry" in _books(profile)
    _account(profile)
    assert "released before its entry" in _books(profile)


# One run ------------------------------------------------------------------------------------


def test_two_hundred_right_guesses_prove_four_point_two() -> None:
    assert epsilon_proved(200, 200, 200, DELTA) == pytest.approx(4.19, abs=0.02)
    assert epsilon_proved(1000, 1000, 1000, 0.0) > 5.5
    assert epsilon_proved(200, 200, 110, DELTA) == 0.0
    proved = [epsilon_proved(200, 200, right, DELTA) for right in range(100, 201, 10)]
    assert proved == sorted(proved)


def test_the_bound_is_that_of_the_papers_own_program() -> None:
    from scipy import stats

    def theirs(m: int, r: int, v: int, epsilon: float, delta: float) -> float:
        """Steinke, Nasr and Jagielski 2023, appendix D, p_value_DP_audit."""
        q = 1 / (1 + math.exp(-epsilon))
        beta = stats.binom.sf(v - 1, r, q)
        alpha = total = 0.0
        for i in range(1, v + 1):
            total += stats.binom.pmf(v - i, r, q)
            alpha = max(alpha, total / i)
        return float(min(beta + alpha * delta * 2 * m, 1.0))

    for m, r, v, delta in ((200, 200, 150, 1e-5), (200, 120, 110, 1e-3), (50, 50, 50, 0.0)):
        found = epsilon_proved(m, r, v, delta)
        assert theirs(m, r, v, found, delta) == pytest.approx(0.05, abs=1e-6)


def test_a_randomised_response_is_never_found_to_leak_more_than_it_does() -> None:
    draw = random.Random(5)
    epsilon, over = 1.0, 0
    honest = math.exp(epsilon) / (1 + math.exp(epsilon))
    for _ in range(60):
        inside = [draw.random() < 0.5 for _ in range(200)]
        answers = [member == (draw.random() < honest) for member in inside]
        scores = [answer + 0.1 * draw.random() for answer in answers]
        over += leak(scores, inside, 0.0).epsilon_proved > epsilon
    assert over <= 8, "at 95 % confidence one in twenty may be over"


def test_a_perfect_attack_reaches_the_ceiling_and_chance_proves_nothing() -> None:
    inside = [number % 2 == 0 for number in range(200)]
    perfect = leak([float(member) for member in inside], inside, DELTA)
    assert (perfect.right, perfect.auc, perfect.found_at_one_percent) == (200, 1.0, 1.0)
    assert perfect.epsilon_proved == perfect.ceiling == pytest.approx(4.19, abs=0.02)
    draw = random.Random(1)
    blind = leak([draw.random() for _ in inside], inside, DELTA)
    assert blind.epsilon_proved == 0.0
    assert 0.4 < blind.auc < 0.6
    assert blind.found_at_one_percent < 0.1
    with pytest.raises(ValueError, match="two canaries"):
        leak([1.0], [True], DELTA)
    assert json.dumps(dataclasses.asdict(perfect))
