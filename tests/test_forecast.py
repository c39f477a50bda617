"""The forecast before a run: its numbers are those of the run, and it says no in time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_llama

from xeno.events import ChatMessage
from xeno.privacy.accountant import proved_epsilon
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.rdp import Mechanism
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import Profile
from xeno.training.accuracy_forecast import VISIBLE, AccuracyForecast
from xeno.training.forecast import Forecast, forecast
from xeno.training.plan import TrainingPlan


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_llama(tmp_path_factory.mktemp("base")))


def add_pairs(profile: Profile, count: int, group: str | None = None) -> None:
    Pairs(profile.db).add_many(
        new_pair(
            profile.name,
            [ChatMessage(role="user", content=f"Question {number}?")],
            f"- Short {number}.",
            f"Well, that is a long story about {number}, and it has no end.",
            feedback_type="correction",
            confidence=1.0,
            quality=1.0,
            group_id=group,
        )
        for number in range(count)
    )


def test_a_private_forecast_keeps_the_epsilon_and_says_what_is_left(
    profile: Profile, base: str
) -> None:
    add_pairs(profile, 200)
    ahead = forecast(profile, TrainingPlan(base=base))
    assert (ahead.pairs, ahead.pairs_training, ahead.pairs_heldout) == (200, 180, 20)
    assert (ahead.private, ahead.sample_rate, ahead.blockers) == (True, 1.0, ())
    assert ahead.noise_multiplier is not None
    run = Mechanism(sample_rate=1.0, noise_multiplier=ahead.noise_multiplier, steps=ahead.steps)
    proved = proved_epsilon([run], 1e-5)
    assert 7.9 < proved <= 8.0
    assert ahead.epsilon_run == ahead.epsilon_after == pytest.approx(8.0, abs=0.02)
    assert "moderate" in ahead.sentence


def test_smaller_epsilons_and_fewer_pairs_make_more_noise(profile: Profile, base: str) -> None:
    add_pairs(profile, 60)
    few = [forecast(profile, TrainingPlan(base=base, epsilon=e)) for e in (8.0, 1.0, 0.05)]
    ratios = [ahead.noise_to_signal or 0.0 for ahead in few]
    assert ratios == sorted(ratios)
    assert any("much noise" in warning for warning in few[2].warnings)
    assert few[2].blockers == ()
    add_pairs(profile, 300)
    assert (forecast(profile, TrainingPlan(base=base)).noise_to_signal or 1.0) < ratios[0]


def test_the_expected_accuracy_grows_with_epsilon_and_says_where_learning_becomes_visible(
    profile: Profile, base: str
) -> None:
    add_pairs(profile, 60)

    def ahead(**changes: Any) -> AccuracyForecast | None:
        return forecast(profile, TrainingPlan(base=base, **changes)).accuracy

    found = [ahead(epsilon=epsilon) for epsilon in (0.3, 3.0, 8.0)]
    assert all(each is not None and 0 <= each.low <= each.high <= 1 for each in found)
    assert [e.low for e in found] == sorted(e.low for e in found)
    visible = found[0].visible_epsilon
    assert visible is not None
    assert found[1].visible_epsilon == pytest.approx(visible)
    at_it = ahead(epsilon=visible)
    assert at_it.low == pytest.approx(at_it.base + VISIBLE, abs=0.01)
    assert f"epsilon {visible:.2g}" in at_it.sentence()
    assert "your own pairs may differ" in at_it.sentence()
    assert ahead(private=False) is None
    assert ahead(adapter_kind="lora") is None


def test_a_nearly_spent_budget_means_more_noise_and_an_empty_one_blocks(
    profile: Profile, base: str
) -> None:
    add_pairs(profile, 100)
    ledger = PrivacyLedger(profile)
    before = forecast(profile, TrainingPlan(base=base))
    ledger.append(
        "run", "pair", Mechanism(sample_rate=1.0, noise_multiplier=1.6, steps=20), 1e-5, "a" * 64
    )
    tight = forecast(profile, TrainingPlan(base=base))
    assert 15 < tight.epsilon_spent < 16
    assert (tight.noise_multiplier or 0) > 1.5 * (before.noise_multiplier or 0)
    assert tight.blockers == ()
    assert any("budget leaves" in warning for warning in tight.warnings)
    ledger.set_budget(15.0)
    spent = forecast(profile, TrainingPlan(base=base))
    assert any("leaves nothing" in blocker for blocker in spent.blockers)
    assert forecast(profile, TrainingPlan(base=base, private=False)).blockers == ()


def test_too_few_pairs_block_unless_forced(profile: Profile, base: str) -> None:
    def ahead(force: bool) -> Forecast:
        return forecast(profile, TrainingPlan(base=base, private=False, force=force))

    assert "no pairs yet" in ahead(True).blockers[0]
    add_pairs(profile, 10)
    assert "20 are needed" in ahead(False).blockers[0]
    assert ahead(True).blockers == ()


def test_pairs_of_one_conversation_cannot_be_held_out(profile: Profile, base: str) -> None:
    add_pairs(profile, 40, group="one")
    ahead = forecast(profile, TrainingPlan(base=base, private=False))
    assert (ahead.pairs_training, ahead.pairs_heldout) == (40, 0)
    assert any("None of the pairs is held out" in warning for warning in ahead.warnings)


def test_many_pairs_are_sampled(profile: Profile, base: str) -> None:
    add_pairs(profile, 1200)
    ahead = forecast(profile, TrainingPlan(base=base, epsilon=3.0))
    assert ahead.pairs_training + ahead.pairs_heldout == 1200
    assert ahead.sample_rate == pytest.approx(400 / ahead.pairs_training)
    assert ahead.epsilon_run is not None
    assert ahead.epsilon_run <= 3.0


def test_a_forecast_loads_nothing_heavy() -> None:
    code = (
        "import sys, xeno.training.forecast, xeno.privacy.ledger, xeno.training.plan;"
        "print([m for m in ('torch', 'transformers', 'opacus', 'scipy') if m in sys.modules])"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
