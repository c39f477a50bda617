"""`DifferentialPrivacy` and `PrivacyAnalyzer`: exact noise, true totals, one ledger."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from dp_accounting.gaussian_mechanism import get_epsilon_gaussian, get_sigma_gaussian
from hypothesis import given, settings
from hypothesis import strategies as st

from xeno import DifferentialPrivacy, PrivacyAnalyzer
from xeno.errors import InvalidValueError
from xeno.paths import Home
from xeno.privacy.composition import compose
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.rdp import Mechanism
from xeno.store.profile import Profile

DELTA = 1e-5


@settings(max_examples=60, deadline=None, derandomize=True)
@given(epsilon=st.floats(0.01, 50), delta=st.floats(1e-9, 0.1))
def test_the_noise_is_the_least_that_googles_library_allows(epsilon: float, delta: float) -> None:
    ours = DifferentialPrivacy(epsilon, delta).deviation()
    assert ours == pytest.approx(get_sigma_gaussian(epsilon, delta), rel=1e-4)
    assert get_epsilon_gaussian(ours, delta) <= epsilon * (1 + 1e-6) + 1e-9


def test_noise_has_its_deviation_and_scales_with_the_sensitivity() -> None:
    privacy = DifferentialPrivacy(epsilon=1.0, delta=DELTA)
    noise = privacy.add_noise(np.zeros((200, 200)), sensitivity=3.0)
    assert noise.shape == (200, 200)
    assert noise.std() == pytest.approx(3 * privacy.deviation(), rel=0.03)
    assert abs(noise.mean()) < 5 * noise.std() / 200
    assert isinstance(privacy.add_noise(7), float)
    assert privacy.add_noise([[1, 2], [3, 4]]).shape == (2, 2)
    assert not np.array_equal(privacy.add_noise([0.0] * 9), privacy.add_noise([0.0] * 9))


@pytest.mark.parametrize("bad", ["text", [1.0, math.nan], {"a": 1}])
def test_noise_is_added_to_finite_numbers_only(bad: object) -> None:
    with pytest.raises(InvalidValueError):
        DifferentialPrivacy(1.0).add_noise(bad)


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0, DELTA), (-1, DELTA), (math.inf, DELTA), (1, 0), (1, 1.0), ("1", 0.1)]
)
def test_an_impossible_guarantee_is_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(InvalidValueError):
        DifferentialPrivacy(epsilon, delta)


def test_gradients_are_clipped_as_a_whole_or_per_example() -> None:
    privacy = DifferentialPrivacy(1.0)
    assert privacy.clip_gradients(np.array([3.0, 4.0])).tolist() == pytest.approx([0.6, 0.8])
    assert privacy.clip_gradients([0.3, 0.4], max_norm=1.0).tolist() == [0.3, 0.4]
    parts = {"w": np.array([[3.0]]), "b": torch.tensor([4.0])}
    clipped = privacy.clip_gradients(parts, max_norm=2.5)
    assert clipped["w"].tolist() == [[1.5]]
    assert clipped["b"].tolist() == [2.0]
    several = privacy.clip_gradients([np.array([3.0]), np.array([4.0])], max_norm=1.0)
    assert [each.tolist() for each in several] == [[pytest.approx(0.6)], [pytest.approx(0.8)]]
    rows = np.array([[3.0, 4.0], [0.1, 0.0], [math.inf, 1.0]])
    each = privacy.clip_gradients(rows, per_example=True)
    assert np.linalg.norm(each, axis=1).tolist() == pytest.approx([1.0, 0.1, 0.0])
    with pytest.raises(InvalidValueError):
        privacy.clip_gradients(rows, max_norm=0.0)
    with pytest.raises(InvalidValueError):
        privacy.clip_gradients({"a": rows, "b": rows[:2]}, per_example=True)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(epsilon=st.floats(0.02, 3), queries=st.integers(1, 40))
def test_the_optimal_bound_is_that_of_googles_composed_responses(
    epsilon: float, queries: int
) -> None:
    from dp_accounting.pld.common import DifferentialPrivacyParameters
    from dp_accounting.pld.privacy_loss_distribution import from_privacy_parameters

    found = compose(epsilon, queries, DELTA)
    grid = epsilon / 8
    theirs = from_privacy_parameters(
        DifferentialPrivacyParameters(epsilon), value_discretization_interval=grid
    ).self_compose(queries)
    least = theirs.get_epsilon_for_delta(DELTA)
    assert least * (1 - 1e-6) <= found.epsilon <= least * 1.0011
    assert (found.composition == "basic") == (found.epsilon == queries * epsilon)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(epsilon=st.floats(0.05, 5), queries=st.integers(1, 300))
def test_gaussian_queries_compose_exactly(epsilon: float, queries: int) -> None:
    found = compose(epsilon, queries, DELTA, DELTA, "gaussian")
    exact = get_epsilon_gaussian(get_sigma_gaussian(epsilon, DELTA) / math.sqrt(queries), DELTA)
    assert found.epsilon <= exact * (1 + 1e-3) + 1e-6
    if found.composition == "gaussian":
        assert found.epsilon == pytest.approx(exact, rel=1e-3)


def test_queries_that_fail_too_often_have_no_bound() -> None:
    with pytest.raises(InvalidValueError, match="add up"):
        compose(1.0, 100, DELTA, 1e-5)
    assert compose(1.0, 100, 1e-3, 1e-6).epsilon < 100


def test_a_budget_has_true_totals_and_says_how() -> None:
    analyzer = PrivacyAnalyzer()
    one = analyzer.compute_privacy_budget(epsilon=1.0, num_queries=1)
    assert (one["total_epsilon"], one["composition"]) == (1.0, "basic")
    hundred = analyzer.compute_privacy_budget(epsilon=1.0, num_queries=100)
    assert set(hundred) >= {
        *("per_query_epsilon", "total_queries", "total_epsilon"),
        *("delta", "composition", "privacy_guarantee"),
    }
    assert 50 < hundred["total_epsilon"] < 100
    assert hundred["composition"] == "advanced"
    assert "weak" in hundred["privacy_guarantee"]
    exact = analyzer.compute_privacy_budget(epsilon=1.0, num_queries=100, mechanism="gaussian")
    assert exact["composition"] == "gaussian"
    assert exact["total_epsilon"] < 20
    for values in ({"num_queries": 0}, {"epsilon": -1.0}, {"delta": 0.0}, {"num_queries": 2.5}):
        with pytest.raises(InvalidValueError):
            analyzer.compute_privacy_budget(**{"epsilon": 1.0, "num_queries": 1, **values})


def test_operations_are_kept_in_the_ledger_and_reported(home: Home) -> None:
    with PrivacyAnalyzer() as analyzer:
        assert analyzer.get_privacy_report()["total_operations"] == 0
        analyzer.log_privacy_operation(
            operation="model_training", epsilon_used=0.1, data_accessed=500
        )
        with pytest.raises(InvalidValueError):
            analyzer.log_privacy_operation("x", -0.5, 1)
    with PrivacyAnalyzer(user_id="default") as again:
        report = again.get_privacy_report()
    assert report["total_operations"] == 1
    assert report["total_epsilon_used"] == pytest.approx(0.1)
    assert report["privacy_status"] == "strong"
    assert report["entries"][0]["note"] == "model_training (500 records)"


def test_the_report_counts_runs_and_operations_together(profile: Profile) -> None:
    run = Mechanism(sample_rate=1.0, noise_multiplier=3.0, steps=20)
    alone = PrivacyLedger(profile).append("run1", "pair", run, DELTA, "a" * 64).epsilon_total
    analyzer = PrivacyAnalyzer(profile=profile)
    analyzer.log_privacy_operation("mean", 0.0, 3, mechanism=DifferentialPrivacy(0.5).mechanism)
    analyzer.log_privacy_operation("count", 0.25)
    analyzer.log_privacy_operation("looked", 0.0)
    report = analyzer.get_privacy_report()
    assert report["total_operations"] == 4
    assert alone < report["total_epsilon_used"] < alone + 0.75
    assert report["privacy_status"] == "moderate"
    assert report["remaining"] == pytest.approx(16 - report["spent"])
