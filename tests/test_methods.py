"""Runs of every method on a small real model: from ratings, from replies to imitate, in stages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from run_parts import WORDS, add_pairs, plan_for, progress, run
from tiny_models import make_llama

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage, Evaluated, Event, RunStarted, StopTraining
from xeno.privacy.accountant import proved_epsilon
from xeno.privacy.ledger import PrivacyLedger
from xeno.store.examples import BAD, GOOD, Examples, new_example
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.training.forecast import forecast
from xeno.training.kto import Kto
from xeno.training.plan import TrainingPlan
from xeno.training.trainer import train
from xeno.versions.gate import check
from xeno.versions.registry import Registry


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_llama(tmp_path_factory.mktemp("base")))


def plan(base: str, **changes: Any) -> TrainingPlan:
    return plan_for(base, **({"samples": False, "epochs": 4, "learning_rate": 5e-3} | changes))


def add_instructions(profile: Profile, count: int) -> None:
    for number in range(count):
        Examples(profile.db).add(
            new_example(
                "chat" if number % 3 else "instruction",
                [ChatMessage(role="user", content=f"{WORDS[number % 10]} {number}?")],
                f"* {WORDS[number % 7]}!",
                source="file",
            )
        )


def add_ratings(profile: Profile, count: int) -> None:
    """Short replies are good, long ones bad."""
    for number in range(count):
        good = number % 2 == 0
        Examples(profile.db).add(
            new_example(
                "unpaired",
                [ChatMessage(role="user", content=f"{WORDS[number % 10]} {number}?")],
                f"- {WORDS[number % 7]}." if good else f"Well, {WORDS[number % 3]} and so on.",
                GOOD if good else BAD,
                source="thumb",
            )
        )


def evaluations(events: list[Event]) -> list[Evaluated]:
    return [event for event in events if isinstance(event, Evaluated)]


def test_sft_learns_to_write_the_replies_and_needs_no_pairs(profile: Profile, base: str) -> None:
    add_instructions(profile, 40)
    finished, events = run(profile, plan(base, method="sft"))
    steps = progress(events)
    assert steps[-1].loss is not None
    assert steps[0].loss is not None
    assert steps[-1].loss < 0.8 * steps[0].loss
    assert all(step.preference_accuracy is None for step in steps)
    first, last = evaluations(events)[0], evaluations(events)[-1]
    assert (first.preference_accuracy, first.longer_baseline) == (None, None)
    assert (last.perplexity or 0) < 0.7 * (first.perplexity or 0)
    version = Registry(profile).get(finished.version or "")
    assert version.manifest.plan is not None
    assert version.manifest.plan.method == "sft"
    learned = {example.id for example in Examples(profile.db).all()}
    assert set(version.manifest.pair_ids) < learned
    assert check(profile, version).passed


def test_sft_can_imitate_the_chosen_replies_of_pairs_and_the_prompt_too(
    profile: Profile, base: str
) -> None:
    add_pairs(profile, 24)
    losses = []
    for on_prompt in (False, True):
        wanted = plan(base, method="sft", sft_sources="chosen", sft_on_prompt=on_prompt, epochs=1)
        losses.append([step.loss for step in progress(run(profile, wanted)[1])])
    assert len(losses[0]) == len(losses[1]) > 0
    assert losses[0] != losses[1]


def test_kto_learns_which_replies_were_good(profile: Profile, base: str) -> None:
    add_ratings(profile, 40)
    finished, events = run(profile, plan(base, method="kto", beta=0.3))
    steps = progress(events)
    # Of rewards of 0 none is right or wrong, but for rounding.
    assert steps[0].preference_accuracy == pytest.approx(0.5, abs=0.2)
    assert steps[0].reward_margin == pytest.approx(0.0, abs=1e-4)
    assert (steps[-1].preference_accuracy or 0) > 0.9
    assert (steps[-1].reward_margin or 0) > 0.05
    last = evaluations(events)[-1]
    assert last.preference_accuracy == 1.0
    assert finished.status == "completed"


def test_kto_learns_from_pairs_too_where_that_is_wanted(profile: Profile, base: str) -> None:
    add_ratings(profile, 20)
    add_pairs(profile, 10)
    counts = []
    for with_pairs in (False, True):
        _, events = run(profile, plan(base, method="kto", epochs=1, kto_pairs=with_pairs))
        [started] = [event for event in events if isinstance(event, RunStarted)]
        counts.append(started.pairs_training + started.pairs_heldout)
    assert counts == [20, 30]


def test_the_reference_point_of_kto_is_measured_but_never_in_a_private_run(
    profile: Profile, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_ratings(profile, 24)
    asked: list[bool] = []
    prepared = Kto.prepared

    def noted(kto: Kto, *args: Any) -> Kto:
        found = prepared(kto, *args)
        asked.append(found.kl > 0)
        return found

    monkeypatch.setattr(Kto, "prepared", noted)
    run(profile, plan(base, method="kto", beta=0.3))
    assert any(asked)
    asked.clear()
    finished, _ = run(profile, plan(base, method="kto", private=True, epochs=2))
    assert asked
    assert not any(asked)
    [entry] = PrivacyLedger(profile).entries()
    assert entry.version == finished.version


def test_sft_then_dpo_is_one_run_with_one_version_that_learned_from_both(
    profile: Profile, base: str
) -> None:
    add_instructions(profile, 30)
    add_pairs(profile, 30)
    both = plan(base, method="sft_dpo", sft_epochs=2, sft_learning_rate=1e-3)
    finished, events = run(profile, both)
    steps = progress(events)
    assert [step.step for step in steps] == list(range(1, len(steps) + 1))
    assert {step.steps for step in steps} == {len(steps)}
    first = [step for step in steps if step.preference_accuracy is None]
    second = steps[len(first) :]
    assert len(first) == 8
    assert max(step.learning_rate for step in first) == pytest.approx(1e-3)
    # The model that sft made is the reference of dpo, so all margins begin at 0.
    assert second[0].reward_margin == pytest.approx(0.0, abs=1e-4)
    version = Registry(profile).get(finished.version or "")
    assert len(version.manifest.pair_ids) == 27 + 27
    metrics = Runs(profile.db).get(finished.run_id).metrics
    assert metrics["steps"] == len(steps)
    assert metrics["heldout_preference_accuracy"] is not None
    assert metrics["sft_heldout_loss"] is not None


def test_private_stages_stand_in_the_ledger_and_together_keep_the_epsilon(
    profile: Profile, base: str
) -> None:
    add_instructions(profile, 30)
    add_pairs(profile, 30)
    both = plan(base, method="sft_dpo", private=True, epsilon=4.0, epochs=3, learning_rate=None)
    ahead = forecast(profile, both)
    finished, events = run(profile, both)
    first, second = PrivacyLedger(profile).entries()
    assert first.version == second.version == finished.version
    assert (first.mechanism.steps, second.mechanism.steps) == (3, 3)
    assert 1.8 < first.epsilon_alone <= 2.0
    together = proved_epsilon([first.mechanism, second.mechanism], both.delta)
    assert 3.8 < together <= 4.0
    assert finished.epsilon == pytest.approx(together)
    assert ahead.epsilon_run == pytest.approx(together, abs=0.1)
    assert ahead.steps == len(progress(events)) == 6
    mechanism = Registry(profile).get(finished.version or "").manifest.mechanism or {}
    assert mechanism["then"]["steps"] == 3


def test_a_run_stopped_in_its_first_stage_pays_for_that_alone(profile: Profile, base: str) -> None:
    add_instructions(profile, 24)
    add_pairs(profile, 24)
    events: list[Event] = []
    created = Runs(profile.db).create(plan(base, method="sft_dpo", private=True, epochs=5))

    def stop() -> StopTraining | None:
        return StopTraining(keep=True) if len(progress(events)) >= 2 else None

    finished = train(profile, created.id, events.append, stop)
    assert finished.status == "stopped"
    [entry] = PrivacyLedger(profile).entries()
    assert entry.mechanism.steps == 2
    assert len(progress(events)) == 2


@pytest.mark.parametrize("method", ["sft", "kto", "sft_dpo"])
def test_the_same_inputs_give_the_same_adapter_with_dropout_as_well(
    profile: Profile, base: str, method: str
) -> None:
    add_instructions(profile, 24)
    add_ratings(profile, 24)
    add_pairs(profile, 24)
    versions = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        wanted = plan(base, method=method, epochs=1, lora_dropout=0.2)
        versions.add(run(profile, wanted)[0].version)
    assert len(versions) == 1
    without = run(profile, plan(base, method=method, epochs=1))[0].version
    assert without not in versions


@pytest.mark.parametrize(
    ("method", "words"),
    [("sft", "no replies to imitate"), ("kto", "no rated replies"), ("dpo", "no pairs")],
)
def test_a_method_without_anything_to_learn_from_is_refused(
    profile: Profile, base: str, method: str, words: str
) -> None:
    wanted = plan(base, method=method)
    assert words in forecast(profile, wanted).blockers[0]
    with pytest.raises(InvalidValueError, match=words):
        run(profile, wanted)


def test_dropout_and_privacy_do_not_go_together(profile: Profile, base: str) -> None:
    add_pairs(profile, 24)
    with pytest.raises(InvalidValueError, match="no dropout"):
        run(profile, plan(base, private=True, lora_dropout=0.1))


def test_what_is_cut_is_kept_with_the_run(profile: Profile, base: str) -> None:
    add_pairs(profile, 30, long_reply=3)
    cutting = plan(base, epochs=1, long_replies="cut_right", heldout_share=0.0)
    finished, _ = run(profile, cutting)
    metrics = Runs(profile.db).get(finished.run_id).metrics
    assert (metrics["left_out"], metrics["replies_shortened"]) == (0, 3)
    whole = {cut["pair"] for cut in metrics["cuts"]}
    assert len(whole) == 3
    assert {(cut["part"], cut["side"]) for cut in metrics["cuts"]} == {("rejected", "right")}
    # 600 letters and the end, of which stay what 512 tokens hold beside the short prompt.
    assert all(512 - 16 <= 601 - cut["tokens"] < 512 for cut in metrics["cuts"])
