"""Whatever happens to a private run on its way, its account is that of the steps it released."""

from __future__ import annotations

import random
from typing import Any

import pytest
from run_parts import add_pairs, after_step, interrupt, plan_for, progress, resume, run, same_noise
from tiny_models import make_llama

from xeno.events import StopTraining
from xeno.paths import Home
from xeno.privacy.accountant import proved_epsilon
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.mechanism import PrivateOptimizer
from xeno.privacy.noise import StreamState
from xeno.privacy.rdp import Mechanism
from xeno.store.profile import Profile, open_profile
from xeno.store.runs import Runs
from xeno.training.plan import TrainingPlan
from xeno.training.scoring import Scorer

PAIRS = 20


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_llama(tmp_path_factory.mktemp("base")))


def _plan(base: str, draw: random.Random) -> TrainingPlan:
    """A private run, full or sampled, in micro-batches of any size, some with early stopping."""
    changes: dict[str, Any] = {
        "epochs": draw.randint(5, 9),
        "micro_batch_size": draw.choice([3, 8]),
        "checkpoint_steps": draw.randint(1, 2),
    }
    if draw.random() < 0.5:
        changes |= {"full_batch_below": 4, "sampled_batch": 8, "epochs": 4}
    if draw.random() < 0.5:
        changes |= {"early_stopping": "on", "early_stopping_patience": 1, "evaluations": 8}
    return plan_for(base, private=True, **changes)


def _accounts(profile: Profile) -> list[tuple[Mechanism | None, float]]:
    return [(e.mechanism, e.epsilon_total) for e in PrivacyLedger(profile).entries()]


def _short_of_memory(patch: pytest.MonkeyPatch, draw: random.Random) -> list[int]:
    """Let memory run out at two micro-batches, also of steps that are half done."""
    losses, seen = Scorer.losses, [0]
    fails = {draw.randint(1, 12), draw.randint(13, 40)}

    def short(*arguments: Any) -> Any:
        seen[0] += 1
        if seen[0] in fails:
            raise MemoryError
        return losses(*arguments)

    patch.setattr(Scorer, "losses", short)
    return seen


def _noise_drawn(patch: pytest.MonkeyPatch) -> set[StreamState]:
    """Where the stream of noise was at each noisy step; a step that is taken again draws again
    what it drew."""
    places: set[StreamState] = set()
    step = PrivateOptimizer.noisy_step

    def counted(optimizer: PrivateOptimizer) -> Any:
        places.add(optimizer._stream.state)
        return step(optimizer)

    patch.setattr(PrivateOptimizer, "noisy_step", counted)
    return places


@pytest.mark.parametrize("seed", range(6))
def test_a_run_broken_at_random_is_accounted_as_one_that_was_not(
    home: Home, base: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    plan = _plan(base, draw)
    with open_profile(home, "whole") as whole, open_profile(home, "broken") as broken:
        add_pairs(whole, PAIRS)
        add_pairs(broken, PAIRS)
        same_noise(monkeypatch)
        _, events = run(whole, plan)
        steps = len(progress(events))
        same_noise(monkeypatch)
        drawn, seen = _noise_drawn(monkeypatch), _short_of_memory(monkeypatch, draw)
        run_id = None
        for step in sorted(
            draw.sample(range(3, steps), min(2, steps - 3))
        ):  # there is a checkpoint
            if run_id is not None:
                Runs(broken.db).reopen(run_id)
            run_id = interrupt(broken, plan, after_step(step), run_id)
        assert run_id is not None
        assert _accounts(broken) == []
        finished, _ = resume(broken, run_id)
        assert seen[0] > steps
        [(mechanism, total)] = _accounts(broken)
        assert mechanism is not None
        assert mechanism.steps == len(drawn)
        assert total == finished.epsilon == proved_epsilon([mechanism], plan.delta) <= plan.epsilon
        if plan.early_stopping != "on":  # smaller parts round otherwise, and may end it elsewhere
            assert _accounts(broken) == _accounts(whole)


@pytest.mark.parametrize("seed", range(3))
def test_a_run_stopped_at_random_pays_for_the_steps_that_it_took_and_no_others(
    profile: Profile, base: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(100 + seed)
    plan = plan_for(base, private=True, epochs=8, micro_batch_size=draw.choice([2, 8]))
    last, taken = draw.randint(2, 6), []
    step = PrivateOptimizer.noisy_step

    def counted(optimizer: PrivateOptimizer) -> Any:
        taken.append(optimizer.noise_multiplier)
        return step(optimizer)

    monkeypatch.setattr(PrivateOptimizer, "noisy_step", counted)
    add_pairs(profile, PAIRS)
    finished, _ = run(
        profile, plan, stop=lambda: StopTraining(keep=True) if len(taken) >= last else None
    )
    assert finished.status == "stopped"
    [(mechanism, total)] = _accounts(profile)
    assert mechanism is not None
    assert mechanism.steps == len(taken) < 8
    assert {mechanism.noise_multiplier} == set(taken)
    assert total == finished.epsilon == proved_epsilon([mechanism], plan.delta)
    assert total < plan.epsilon
