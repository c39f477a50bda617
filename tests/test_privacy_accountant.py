"""The epsilon: exact where it can be, never below another sound bound's reach, within the plan."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xeno.privacy import rdp
from xeno.privacy.accountant import calibrate, proved_epsilon, prv_epsilon
from xeno.privacy.rdp import Mechanism

DELTA = 1e-5
RUNS = [
    Mechanism(sample_rate=1.0, noise_multiplier=2.7, steps=20),
    Mechanism(sample_rate=1.0, noise_multiplier=40.0, steps=15),
    Mechanism(sample_rate=0.4, noise_multiplier=3.0, steps=40),
    Mechanism(sample_rate=0.05, noise_multiplier=1.0, steps=200),
]


@pytest.mark.parametrize(("mu", "delta"), [(0.1, 1e-5), (1.0, 1e-5), (0.5, 1e-6), (6.0, 1e-5)])
def test_a_gaussian_has_the_epsilon_at_which_its_profile_meets_delta(
    mu: float, delta: float
) -> None:
    found = rdp.gaussian_epsilon(mu, delta)

    def normal(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2))

    profile = normal(mu / 2 - found / mu) - math.exp(found) * normal(-mu / 2 - found / mu)
    assert profile == pytest.approx(delta, rel=1e-6)


@pytest.mark.parametrize("run", [r for r in RUNS if r.sample_rate == 1], ids=str)
def test_full_batches_cost_what_one_gaussian_of_all_steps_costs(run: Mechanism) -> None:
    exact = rdp.gaussian_epsilon(math.sqrt(run.steps) / run.noise_multiplier, DELTA)
    assert rdp.epsilon([run], DELTA) == pytest.approx(exact)
    assert exact <= prv_epsilon([run], DELTA) <= exact + 0.015


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_prv_is_tighter_than_rdp(run: Mechanism) -> None:
    assert prv_epsilon([run], DELTA) <= rdp.rdp_epsilon([run], DELTA)


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_rdp_is_that_of_opacus(run: Mechanism) -> None:
    from opacus.accountants.analysis.rdp import compute_rdp

    orders = [2, 5, 20, 64]
    theirs = compute_rdp(
        q=run.sample_rate, noise_multiplier=run.noise_multiplier, steps=1, orders=orders
    )
    ours = [rdp._rdp(run.sample_rate, run.noise_multiplier, order) for order in orders]
    assert ours == pytest.approx(list(theirs), rel=1e-6)


@pytest.mark.parametrize("history", [[run] for run in RUNS] + [RUNS[:3]], ids=str)
def test_dp_accounting_agrees(history: list[Mechanism]) -> None:
    accounting = pytest.importorskip("dp_accounting")
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=1e-3)
    for run in history:
        event = accounting.GaussianDpEvent(run.noise_multiplier)
        if run.sample_rate < 1:
            event = accounting.PoissonSampledDpEvent(run.sample_rate, event)
        accountant.compose(event, run.steps)
    theirs = accountant.get_epsilon(DELTA)
    assert proved_epsilon(history, DELTA) == pytest.approx(theirs, abs=0.05)
    assert proved_epsilon(history, DELTA) >= theirs - 0.02


def test_runs_compose_to_less_than_their_sum_and_more_than_either() -> None:
    alone = [proved_epsilon([run], DELTA) for run in RUNS[:2]]
    together = proved_epsilon(RUNS[:2], DELTA)
    assert max(alone) <= together < sum(alone)
    assert proved_epsilon([], DELTA) == 0.0


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    target=st.floats(0.3, 10),
    rate=st.sampled_from([1.0, 1.0, 1.0, 0.3]),
    steps=st.integers(1, 40),
)
def test_calibrated_noise_keeps_the_target_and_wastes_little(
    target: float, rate: float, steps: int
) -> None:
    sigma = calibrate(target, DELTA, rate, steps)
    proved = proved_epsilon(
        [Mechanism(sample_rate=rate, noise_multiplier=sigma, steps=steps)], DELTA
    )
    assert proved <= target
    assert proved >= 0.9 * target - 0.02


def test_calibration_counts_what_was_spent_before() -> None:
    spent = [RUNS[0]]
    sigma = calibrate(10.0, DELTA, 1.0, 20, spent)
    run = Mechanism(sample_rate=1.0, noise_multiplier=sigma, steps=20)
    assert 9.9 < proved_epsilon([*spent, run], DELTA) <= 10.0
    assert sigma > calibrate(10.0, DELTA, 1.0, 20)
    assert calibrate(1.0, DELTA, 1.0, 20, spent) == math.inf


def test_the_forecast_noise_is_exact_for_full_batches_and_never_too_small_for_sampled_ones() -> (
    None
):
    assert rdp.noise_multiplier(8.0, DELTA, 1.0, 20) == pytest.approx(
        calibrate(8.0, DELTA, 1.0, 20), rel=0.01
    )
    assert rdp.noise_multiplier(8.0, DELTA, 0.4, 20) >= calibrate(8.0, DELTA, 0.4, 20)
