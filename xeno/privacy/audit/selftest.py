"""A mechanism under test: gradient canaries measure what it really does.

Far sharper than a leak check, because it looks at every noisy step and knows every true
gradient. A linear layer has one number per canary, so that the clipped sum, the noise and the
influence of each unit can be read off the change of its weights. Every unit has two rows that
point the same way and are far longer than the clipping norm.

Chance alone fails a check about once in a million times.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from xeno.privacy.audit.books import Check
from xeno.privacy.mechanism import PrivateOptimizer, per_row_gradients
from xeno.privacy.noise import CipherStream

_WIDTH = 32  # canaries are the numbers of a layer of 32 by 32
_NORM = 0.7  # of the clipping; not 1, so that a forgotten factor shows
_LIMIT = 5.0  # standard deviations: one in two million
_LENGTH = 20.0
_PART = 64  # units in a micro-batch

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Parts:
    """What a private run is made of; by default what training itself uses."""

    optimizer: type[PrivateOptimizer] = PrivateOptimizer
    stream: Callable[[], CipherStream] = CipherStream


@dataclass(frozen=True)
class Claim:
    """What is accounted for: noise, chance to be in a step, steps."""

    noise_multiplier: float = 1.5
    sample_rate: float = 0.25
    steps: int = 16
    units: int = 256


@dataclass(frozen=True)
class SelfTest:
    """What was measured.

    Attributes:
        mu: sensitivity over deviation of one step, as measured, with its standard error.
        mu_claimed: one over the noise multiplier.
    """

    checks: tuple[Check, ...]
    mu: float
    mu_error: float
    mu_claimed: float

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


@dataclass(frozen=True)
class _Trace:
    """What a run let out: the released sums [steps, numbers] in units of the clipping norm, and
    who was drawn in each step."""

    released: Numbers
    drawn: list[list[int]]
    taken: int


def self_test(parts: Parts | None = None, claim: Claim | None = None) -> SelfTest:
    """Measure `parts`, which claim to be the mechanism that `claim` says."""
    parts, claim = parts or Parts(), claim or Claim()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook")
        first, second = _run(parts, claim), _run(parts, claim)
        sparse = Claim(claim.noise_multiplier, 0.1, 40, units=6)
        empty = _run(parts, sparse)
        norms = _clipped_norms(parts)
    noise, influence, error = _measured(first, claim)
    deviation = float(noise.std())
    mu, mu_error = influence / deviation, error / deviation
    claimed = 1 / claim.noise_multiplier
    return SelfTest(
        checks=(
            _variance(noise, claim),
            Check(
                "influence",
                mu <= claimed + _LIMIT * mu_error and abs(influence - 1) <= _LIMIT * error,
                f"One unit moves a step by {influence:.3f} clipping norms (1 at most); mu is "
                f"{mu:.3f} \N{PLUS-MINUS SIGN} {mu_error:.3f}, claimed {claimed:.3f}.",
            ),
            norms,
            _independence(first, second, claim),
            _batches(first, second, claim),
            _steps(first, empty, claim, sparse),
        ),
        mu=mu,
        mu_error=mu_error,
        mu_claimed=claimed,
    )


# Running the parts --------------------------------------------------------------------------


def _run(parts: Parts, claim: Claim) -> _Trace:
    """Take the steps of `claim` as training does: draw, add up in micro-batches, step."""
    layer = torch.nn.Linear(_WIDTH, _WIDTH, bias=False)
    hooks = per_row_gradients(layer)
    optimizer = _optimizer(parts, layer, claim.noise_multiplier)
    sampling = parts.stream()
    released, drawn, taken = [], [], 0
    for _ in range(claim.steps):
        batch = sampling.poisson_sample(claim.units, claim.sample_rate)
        for start in range(0, len(batch), _PART):
            part = batch[start : start + _PART]
            _backward(layer, part)
            optimizer.accumulate(len(part))
        before = layer.weight.detach().double().clone()
        optimizer.noisy_step()
        change = (before - layer.weight.detach().double()).numpy().ravel()
        taken += bool(change.any())
        released.append(change)
        drawn.append(batch)
        with torch.no_grad():
            layer.weight.zero_()  # a small weight keeps all digits of the change
    hooks.cleanup()
    return _Trace(np.array(released), drawn, taken)


def _optimizer(parts: Parts, layer: torch.nn.Linear, noise: float) -> PrivateOptimizer:
    return parts.optimizer(
        torch.optim.SGD(layer.parameters(), lr=1.0),
        noise_multiplier=noise,
        max_grad_norm=_NORM,
        expected_batch_size=1.0,  # what is released is in units of the clipping norm
        stream=parts.stream(),
    )


def _backward(layer: torch.nn.Linear, units: list[int], length: float = _LENGTH) -> None:
    """Leave gradients of two rows per unit, each `length` long and only in the unit's number."""
    rows = torch.tensor(units).repeat_interleave(2)
    inputs = length * torch.nn.functional.one_hot(rows % _WIDTH, _WIDTH).float()
    outputs = torch.nn.functional.one_hot(rows // _WIDTH, _WIDTH).float()
    torch.autograd.backward((layer(inputs) * outputs).sum())


class _Silent(CipherStream):
    """No noise, to see the clipping alone."""

    def gaussian(self, count: int, *_: Any) -> Numbers:
        return np.zeros(count)


def _clipped_norms(parts: Parts) -> Check:
    """Let single units of several lengths through, without noise."""
    layer = torch.nn.Linear(_WIDTH, _WIDTH, bias=False)
    hooks = per_row_gradients(layer)
    optimizer = _optimizer(Parts(parts.optimizer, _Silent), layer, 1.0)
    worst, wrong = 0.0, 0
    lengths = (0.01, 0.2, _NORM / 2, 0.6, 5.0, 1e6, math.inf)
    for unit, length in enumerate(lengths):
        _backward(layer, [unit], length)
        optimizer.accumulate(1)
        before = layer.weight.detach().clone()
        optimizer.noisy_step()
        norm = float((before - layer.weight.detach()).norm())
        wanted = min(1.0, 2 * length / _NORM) if math.isfinite(length) else 0.0
        worst = max(worst, norm)
        wrong += not math.isclose(norm, wanted, rel_tol=1e-3, abs_tol=1e-6)
    hooks.cleanup()
    return Check(
        "clipping",
        not wrong,
        f"{len(lengths)} units of all lengths: the largest counts {worst:.3f} clipping norms "
        f"(1 at most), {wrong} are not as they should be.",
    )


# Judging ------------------------------------------------------------------------------------


def _measured(trace: _Trace, claim: Claim) -> tuple[Numbers, float, float]:
    """(the noise [steps, numbers], the influence of a unit and its standard error)."""
    inside = np.zeros_like(trace.released, dtype=bool)
    for step, batch in enumerate(trace.drawn):
        inside[step, batch] = True
    mine = trace.released[:, : claim.units]
    mask = inside[:, : claim.units]
    members, others = mine[mask], mine[~mask]
    influence = float(members.mean() - others.mean()) if len(members) and len(others) else 0.0
    noise = trace.released - influence * inside
    spread = max(float(noise.std()), 1e-12)
    error = spread * math.sqrt(1 / max(1, len(members)) + 1 / max(1, len(others)))
    return noise, influence, error


def _variance(noise: Numbers, claim: Claim) -> Check:
    found, claimed = float(noise.std()), claim.noise_multiplier
    allowed = _LIMIT / math.sqrt(2 * noise.size)
    return Check(
        "noise",
        abs(found / claimed - 1) <= allowed,
        f"The noise has {found:.4f} times the clipping norm, claimed {claimed:.4f}; chance "
        f"explains {allowed:.1%}.",
    )


def _independence(first: _Trace, second: _Trace, claim: Claim) -> Check:
    """The noise of any two steps, also of two runs, has nothing in common; nor have two numbers
    of one step that lie side by side."""
    noise = np.concatenate([_measured(each, claim)[0] for each in (first, second)])
    noise = noise - noise.mean(axis=1, keepdims=True)
    scale = np.linalg.norm(noise, axis=1, keepdims=True)
    unit = noise / np.maximum(scale, 1e-12)
    between = np.abs(unit @ unit.T - np.diag((unit**2).sum(axis=1))).max()
    beside = float(np.abs((unit[:, 1:] * unit[:, :-1]).sum(axis=1)).max())
    largest = max(float(between), beside)
    # Many pairs of steps are looked at, so the limit is a little wider.
    allowed = (_LIMIT + 2) / math.sqrt(noise.shape[1])
    return Check(
        "independence",
        largest <= allowed,
        f"The largest correlation between the noise of two steps is {largest:.3f}; chance "
        f"explains {allowed:.3f}.",
    )


def _batches(first: _Trace, second: _Trace, claim: Claim) -> Check:
    drawn = sum(len(batch) for trace in (first, second) for batch in trace.drawn)
    chances = 2 * claim.units * claim.steps
    rate, claimed = drawn / chances, claim.sample_rate
    allowed = _LIMIT * math.sqrt(claimed * (1 - claimed) / chances)
    return Check(
        "batches",
        abs(rate - claimed) <= allowed,
        f"A unit is in a step with a chance of {rate:.4f}, accounted {claimed:.4f}; chance "
        f"explains {allowed:.4f}.",
    )


def _steps(first: _Trace, empty: _Trace, claim: Claim, sparse: Claim) -> Check:
    empties = sum(not batch for batch in empty.drawn)
    exact = (first.taken, empty.taken) == (claim.steps, sparse.steps)
    return Check(
        "steps",
        exact and empties > 0,
        f"{first.taken} of {claim.steps} and {empty.taken} of {sparse.steps} accounted steps let "
        f"noise out; {empties} of them had an empty batch.",
    )
