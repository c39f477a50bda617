"""The accountants beside Google's on fifty random histories, and the recipe's private numbers for
every number of pairs."""

from __future__ import annotations

import math
import random
from functools import cache

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st

from xeno.privacy import rdp
from xeno.privacy.accountant import proved_epsilon
from xeno.privacy.rdp import Mechanism
from xeno.training.plan import TrainingPlan
from xeno.training.recipe import resolve

DELTA = 1e-5
GRID = 5e-4


@cache
def histories(count: int = 50) -> list[list[Mechanism]]:
    """Runs of all sorts: full and sampled, quiet and loud, one to three of them; epsilons from
    0.8, below which two per cent are less than PRV's own error bound of 0.01, to 12."""
    draw = random.Random(3)
    found: list[list[Mechanism]] = []
    while len(found) < count:
        history = [
            Mechanism(
                sample_rate=draw.choice([1.0, round(math.exp(draw.uniform(-4.5, 0)), 4)]),
                noise_multiplier=round(math.exp(draw.uniform(-0.2, 4)), 3),
                steps=draw.randint(1, 40),
            )
            for _ in range(draw.randint(1, 3))
        ]
        if 0.8 < rdp.rdp_epsilon(history, DELTA) * 0.9 < 12:
            found.append(history)
    return found


def _event(run: Mechanism) -> dp_accounting.DpEvent:
    gaussian = dp_accounting.GaussianDpEvent(run.noise_multiplier)
    if run.sample_rate == 1:
        return gaussian
    return dp_accounting.PoissonSampledDpEvent(run.sample_rate, gaussian)


def _least(history: list[Mechanism]) -> float:
    """A bound from below: Google's distribution rounded towards less loss."""
    total = None
    for run in history:
        one = from_gaussian_mechanism(
            run.noise_multiplier,
            value_discretization_interval=GRID,
            sampling_prob=run.sample_rate,
            pessimistic_estimate=False,
        ).self_compose(run.steps)
        total = one if total is None else total.compose(one)
    return float(total.get_epsilon_for_delta(DELTA))


@pytest.mark.parametrize("number", range(50))
def test_the_proved_epsilon_is_googles_within_two_per_cent_and_never_too_small(
    number: int,
) -> None:
    history = histories()[number]
    accountant = PLDAccountant(value_discretization_interval=GRID)
    for run in history:
        accountant.compose(_event(run), run.steps)
    ours, theirs = proved_epsilon(history, DELTA), accountant.get_epsilon(DELTA)
    assert ours == pytest.approx(theirs, rel=0.02)
    assert ours >= _least(history)


@pytest.mark.parametrize("number", range(50))
def test_the_renyi_bound_is_googles_at_the_same_orders_and_above_the_proved_one(
    number: int,
) -> None:
    history = histories()[number]
    accountant = RdpAccountant(orders=list(rdp._ORDERS))
    for run in history:
        accountant.compose(_event(run), run.steps)
    ours = rdp.rdp_epsilon(history, DELTA)
    assert ours == pytest.approx(accountant.get_epsilon(DELTA), rel=1e-6)
    assert ours >= _least(history)


SHAPES = {"model.layers.0.self_attn.v_proj.weight": (64, 64),
          "model.layers.0.self_attn.o_proj.weight": (64, 64)}  # fmt: skip


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    units=st.integers(1, 400),
    batch=st.integers(1, 450),
    below=st.integers(0, 450),
    epochs=st.none() | st.integers(1, 5),
)
def test_rate_batch_steps_and_learning_rate_fit_each_other(
    units: int, batch: int, below: int, epochs: int | None
) -> None:
    plan = TrainingPlan(
        base="/b", sampled_batch=batch, full_batch_below=below, private_steps=20, epochs=epochs
    )
    recipe = resolve(plan, units, SHAPES)
    assert 0 < recipe.sample_rate <= 1
    # Exactly, and not a whole number of batches: what is divided by is what is expected.
    assert recipe.batch_size == pytest.approx(recipe.sample_rate * units, rel=1e-12)
    if units < max(below, batch):
        assert (recipe.sample_rate, recipe.batch_size) == (1.0, units)
    else:
        assert recipe.batch_size == pytest.approx(batch)
    if epochs is None:
        assert recipe.steps == 20
    else:
        assert recipe.steps * recipe.batch_size >= epochs * units * (1 - 1e-12)
        assert (recipe.steps - 1) * recipe.batch_size < epochs * units
    # Gradients are divided by the expected batch and the norm, so the rate depends on neither.
    assert recipe.learning_rate == resolve(plan, 400, SHAPES).learning_rate
