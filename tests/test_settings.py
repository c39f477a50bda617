"""Every setting of the steps, the optimizer, the pairs and of privacy does what it declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from xeno.events import ChatMessage
from xeno.store.pairs import Pair, new_pair
from xeno.training import optimizers
from xeno.training.batches import passes
from xeno.training.dataset import split_for
from xeno.training.learner import PlainLearner
from xeno.training.plan import SECTIONS, TrainingPlan
from xeno.training.presets import (
    PRESETS,
    STRENGTHS,
    preset_of,
    preset_values,
    strength_of,
    strength_values,
)
from xeno.training.recipe import resolve
from xeno.training.rows import Row
from xeno.training.selection import select
from xeno.training.settings.data import DataSettings
from xeno.training.settings.declaration import effects, only, unit
from xeno.training.settings.optimizer import OptimizerSettings
from xeno.training.settings.privacy import PrivacySettings
from xeno.training.settings.schedule import ScheduleSettings
from xeno.training.settings.values import values_of

SHAPES = {
    f"model.layers.{layer}.self_attn.{name}_proj.weight": (64, 64)
    for layer in range(2)
    for name in "qkvo"
} | {"model.embed_tokens.weight": (1000, 64)}
DAY = 86400.0


def plan(**changes: Any) -> TrainingPlan:
    return TrainingPlan.model_validate({"base": "base", "private": False} | changes)


# Steps and rates ------------------------------------------------------------------------------


def rates(made: TrainingPlan, pairs: int = 80) -> list[float]:
    recipe = resolve(made, pairs, SHAPES)
    return [recipe.schedule.rate(step) for step in range(recipe.steps)]


def test_the_rates_without_settings_are_those_of_a_cosine_after_a_warm_up() -> None:
    found = rates(plan(epochs=10))
    assert len(found) == 100
    assert found[0] == pytest.approx(2e-3 / 10)
    assert max(found) == found[9] == found[10] == pytest.approx(2e-3)
    assert found[55] == pytest.approx(2e-3 * 0.55)
    assert found[-1] == pytest.approx(2e-4, rel=0.01)


def test_private_rates_fall_straight_from_the_first_step_to_nothing() -> None:
    found = rates(plan(private=True))
    assert found == pytest.approx([0.7 * (1 - step / 8) for step in range(8)])


Rates = list[float]
STEP_EFFECTS: dict[str, tuple[Any, Callable[[Rates, Rates], bool]]] = {
    "learning_rate": (0.5, lambda was, now: max(now) == 0.5),
    "rate_scale": (2.0, lambda was, now: now == pytest.approx([2 * rate for rate in was])),
    "learning_rate_schedule": ("constant", lambda was, now: now[-1] == max(now) > was[-1]),
    "warm_up_share": (0.5, lambda was, now: now.index(max(now)) == len(now) // 2 - 1),
    "warm_up_steps": (3, lambda was, now: now.index(max(now)) == 2),
    "last_rate_share": (0.0, lambda was, now: now[-1] < was[-1] / 20),
    "epochs": (1, lambda was, now: len(now) == 10),
    "least_epochs": (9, lambda was, now: len(now) == 90 > len(was)),
    "least_steps": (200, lambda was, now: len(now) == 200 > len(was)),
    "max_steps": (5, lambda was, now: len(now) == 5),
    "steps_scale": (0.5, lambda was, now: len(now) == len(was) / 2),
    "batch_size": (4, lambda was, now: len(now) == len(was)),
}


@pytest.mark.parametrize("name", STEP_EFFECTS)
def test_a_setting_of_the_steps_changes_them_as_declared(name: str) -> None:
    value, holds = STEP_EFFECTS[name]
    assert holds(rates(plan()), rates(plan(**{name: value})))


SHAPED = {
    "decay_power": ("polynomial", 1.0, 4.0),
    "decay_share": ("late_decay", 0.1, 0.9),
    "restarts": ("cosine", 0, 2),
}


@pytest.mark.parametrize("name", SHAPED)
def test_a_schedule_is_shaped_by_its_own_setting(name: str) -> None:
    schedule, one, other = SHAPED[name]
    made = plan(learning_rate_schedule=schedule)
    was, now = (rates(made.model_copy(update={name: value})) for value in (one, other))
    assert was != now


@pytest.mark.parametrize(
    "schedule",
    ["cosine", "linear", "polynomial", "inverse_sqrt", "exponential", "late_decay", "constant"],
)
def test_every_schedule_falls_from_its_highest_rate_and_not_below_its_last(schedule: str) -> None:
    found = rates(plan(learning_rate_schedule=schedule, epochs=10, warm_up_share=0))
    assert max(found) == found[0] == pytest.approx(2e-3)
    assert min(found) >= 2e-4 * (1 - 1e-9)
    assert found == sorted(found, reverse=True)


# Batches --------------------------------------------------------------------------------------

ROWS = [Row(str(n), (1,) * (n % 7 + 1), (2,) * (n % 5 + 1), (3,)) for n in range(22)]
Batches = list[list[str]]


def batches(made: TrainingPlan, start: int = 0) -> Batches:
    found = passes(ROWS, made, made.batch_size, 9, lambda row: float(row.pair_id), start)
    return [[row.pair_id for row in batch] for batch in found]


BATCH_EFFECTS: dict[str, tuple[Any, Callable[[Batches], bool]]] = {
    "order": ("easiest_first", lambda now: now[0] == [str(n) for n in range(21, 13, -1)]),
    "reshuffle": (False, lambda now: now[0] == now[3]),
    "whole_batches": (True, lambda now: {len(batch) for batch in now} == {8}),
}


@pytest.mark.parametrize("name", BATCH_EFFECTS)
def test_a_setting_of_the_order_changes_the_batches_as_declared(name: str) -> None:
    value, holds = BATCH_EFFECTS[name]
    assert not holds(batches(plan()))
    assert holds(batches(plan(**{name: value})))


def test_pairs_can_come_by_length() -> None:
    sizes = {row.pair_id: row.tokens for row in ROWS}
    first = [sizes[name] for name in batches(plan(order="shortest_first"))[0]]
    assert first == sorted(sizes.values())[:8]
    last = [sizes[name] for name in batches(plan(order="longest_first"))[0]]
    assert last == sorted(sizes.values(), reverse=True)[:8]


def test_a_pass_takes_every_pair_once_and_the_rest_after_a_pause_is_the_same() -> None:
    whole = batches(plan())
    taken = [name for batch in whole[:3] for name in batch]
    assert sorted(taken) == sorted(row.pair_id for row in ROWS)
    assert whole[0] != whole[3]
    assert batches(plan(), start=4) == whole[4:]
    assert batches(plan(seed=1)) != whole


def test_every_setting_of_the_steps_has_a_test() -> None:
    # These are tested with the trainer, the search and the optimizers.
    elsewhere = {"micro_batch_size", "seed", "gradient_norm_limit", "trial", "trial_share"}
    tested = STEP_EFFECTS.keys() | SHAPED.keys() | BATCH_EFFECTS.keys() | elsewhere
    assert set(ScheduleSettings.model_fields) == tested


# Optimizers -----------------------------------------------------------------------------------


class Adapted(torch.nn.Module):
    """Two halves named as PEFT names them."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.lora_A = torch.nn.Parameter(torch.randn(4, 8, generator=generator))
        self.lora_B = torch.nn.Parameter(torch.randn(8, 4, generator=generator))


def push(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Steps of gradients that change, always the same ones."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizers.set_rate(optimizer, 0.01)
        optimizer.step()


def stepped(made: TrainingPlan, steps: int = 4) -> list[torch.Tensor]:
    model = Adapted()
    push(model, optimizers.build(made, model), steps)
    return [parameter.detach().clone() for parameter in model.parameters()]


OPTIMIZER_EFFECTS: dict[str, tuple[dict[str, Any], Any]] = {
    "optimizer": ({}, "sgd"),
    "adam_beta1": ({}, 0.5),
    "adam_beta2": ({}, 0.9),
    "optimizer_eps": ({}, 0.1),
    "amsgrad": ({}, True),
    "weight_decay": ({}, 0.1),
    "momentum": ({"optimizer": "sgd"}, 0.0),
    "dampening": ({"optimizer": "sgd"}, 0.5),
    "nesterov": ({"optimizer": "sgd"}, True),
    "squares_memory": ({"optimizer": "rmsprop"}, 0.5),
    "adagrad_decay": ({"optimizer": "adagrad"}, 0.5),
    "adafactor_clip": ({"optimizer": "adafactor"}, 50.0),
    "adafactor_decay": ({"optimizer": "adafactor"}, -0.1),
    "lora_plus_ratio": ({}, 8.0),
}


@pytest.mark.parametrize("name", OPTIMIZER_EFFECTS)
def test_a_setting_of_the_optimizer_changes_the_steps(name: str) -> None:
    others, value = OPTIMIZER_EFFECTS[name]
    was, now = stepped(plan(**others)), stepped(plan(**others, **{name: value}))
    assert any(bool((one != other).any()) for one, other in zip(was, now, strict=True))


def test_every_setting_of_the_optimizer_has_a_test() -> None:
    assert set(OptimizerSettings.model_fields) == OPTIMIZER_EFFECTS.keys()


def test_the_default_is_torchs_adamw_without_decay() -> None:
    model = Adapted()
    push(model, torch.optim.AdamW(model.parameters(), weight_decay=0.0), 4)
    for one, other in zip(stepped(plan()), model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_with_lora_plus_only_b_learns_faster() -> None:
    (a, b), (a_plus, b_plus) = stepped(plan(), 1), stepped(plan(lora_plus_ratio=8.0), 1)
    start = Adapted().lora_B.detach()
    assert torch.equal(a, a_plus)
    assert torch.allclose(b_plus - start, 8 * (b - start), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["adamw", "nadam", "radam", "adafactor", "rmsprop", "adagrad", "sgd"]
)
def test_every_optimizer_goes_down_at_the_rate_that_is_chosen_for_it(name: str) -> None:
    made = plan(optimizer=name, epochs=40)
    recipe = resolve(made, 80, SHAPES)
    model = Adapted()
    optimizer = optimizers.build(made, model)
    losses = []
    for step in range(recipe.steps):
        optimizer.zero_grad()
        loss = torch.stack([(each**2).mean() for each in model.parameters()]).sum()
        torch.autograd.backward(loss)
        optimizers.set_rate(optimizer, recipe.schedule.rate(step))
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_the_limit_of_the_gradient_shortens_a_long_one() -> None:
    def moved(limit: float) -> float:
        model = Adapted()
        made = plan(optimizer="sgd", momentum=0.0, gradient_norm_limit=limit)
        learner = PlainLearner(model, optimizers.build(made, model), made.gradient_norm_limit)
        before = model.lora_A.detach().clone()
        learner.add((100 * model.lora_A.sum() + 0 * model.lora_B.sum())[None], [""])
        learner.step(1, 0.1)
        return float((model.lora_A.detach() - before).norm())

    assert moved(1.0) == pytest.approx(0.1)
    assert moved(10.0) == pytest.approx(1.0)
    assert moved(0.0) == pytest.approx(0.1 * 100 * 32**0.5)


def test_an_eight_bit_optimizer_is_refused_where_there_is_no_card() -> None:
    made = plan(optimizer="paged_adamw_8bit")
    assert "CUDA" in optimizers.unusable(made, "cpu")
    with pytest.raises(ValueError, match="cannot be used here"):
        optimizers.build(made, Adapted())


# Pairs ----------------------------------------------------------------------------------------


def pair(number: int) -> Pair:
    """Pairs of ten conversations and three kinds, ever older, poorer and longer."""
    made = new_pair(
        "me",
        [ChatMessage(role="user", content=f"Question {number}?")] * (1 + 2 * (number % 3)),
        "Yes" + "!" * number,
        "No, " + "not at all, " * (number % 10),
        feedback_type=("correction", "choice", "import")[number % 3],  # type: ignore[arg-type]
        confidence=1 - number / 40,
        quality=1 - number / 50,
        group_id=f"talk {number % 10}",
        weight=1.0 if number else 0.5,
    )
    return replace(made, created=1e9 - number * DAY)


PAIRS = [pair(number) for number in range(30)]
Chosen = list[Pair]


def kinds(found: Chosen) -> set[str]:
    return {each.feedback_type for each in found}


SELECTION_EFFECTS: dict[str, tuple[Any, Callable[[Chosen], bool]]] = {
    "use_corrections": (False, lambda now: kinds(now) == {"choice", "import"}),
    "use_choices": (False, lambda now: kinds(now) == {"correction", "import"}),
    "use_imports": (False, lambda now: kinds(now) == {"correction", "choice"}),
    "min_quality": (0.8, lambda now: len(now) == 11),
    "min_confidence": (0.5, lambda now: len(now) == 21),
    "shortest_reply": (10, lambda now: all(len(each.chosen) >= 10 for each in now)),
    "longest_reply": (20, lambda now: all(len(each.rejected) <= 20 for each in now)),
    "most_length_ratio": (
        2.0,
        lambda now: all(0.5 <= len(each.chosen) / len(each.rejected) <= 2 for each in now),
    ),
    "most_prompt_turns": (3, lambda now: max(len(each.prompt) for each in now) == 3),
    "newest_pairs": (7, lambda now: now == PAIRS[:7]),
    "most_pairs": (7, lambda now: len(now) == 7),
    "most_per_conversation": (1, lambda now: now == PAIRS[:10]),
    "use_weights": (False, lambda now: {each.weight for each in now} == {1.0}),
    "weigh_confidence": (True, lambda now: now[20].weight == pytest.approx(0.5)),
    "weigh_quality": (True, lambda now: now[25].weight == pytest.approx(0.5)),
    "half_life": (10.0, lambda now: now[10].weight == pytest.approx(0.5)),
}


@pytest.mark.parametrize("name", SELECTION_EFFECTS)
def test_a_setting_of_the_pairs_changes_which_count_and_how_much(name: str) -> None:
    value, holds = SELECTION_EFFECTS[name]
    everything = select(PAIRS, plan())
    assert everything.pairs == PAIRS
    assert not everything.left_out
    assert not holds(everything.pairs)
    found = select(PAIRS, plan(**{name: value}))
    assert found.pairs
    assert holds(found.pairs)
    assert sum(found.left_out.values()) == len(PAIRS) - len(found.pairs)


SPLIT_EFFECTS: dict[str, tuple[Any, Callable[[list[Pair], list[Pair]], bool]]] = {
    "heldout_share": (0.5, lambda was, now: len(now) == 15),
    "heldout_least": (9, lambda was, now: len(now) == 9),
    "heldout_most": (2, lambda was, now: len(now) == 0),  # every conversation has three pairs
    "heldout_seed": (5, lambda was, now: was != now),
}


@pytest.mark.parametrize("name", SPLIT_EFFECTS)
def test_a_setting_of_the_held_out_pairs_changes_them(name: str) -> None:
    value, holds = SPLIT_EFFECTS[name]
    was, now = split_for(plan(), PAIRS)[1], split_for(plan(**{name: value}), PAIRS)[1]
    assert len(was) == 3
    assert holds(was, now)


def test_every_setting_of_the_pairs_has_a_test() -> None:
    elsewhere = {"max_length", "force"}  # in the tests of the trainer and of the forecast
    tested = SELECTION_EFFECTS.keys() | SPLIT_EFFECTS.keys() | elsewhere
    assert set(DataSettings.model_fields) == tested


def test_a_private_share_of_the_pairs_is_drawn_pair_by_pair() -> None:
    made = plan(private=True, most_pairs=15)
    kept = {each.id for each in select(PAIRS, made).pairs}
    assert 5 <= len(kept) <= 25
    # Another pair in the place of one changes nothing for the rest.
    changed = [pair(30), *PAIRS[1:]]
    kept_then = {each.id for each in select(changed, made).pairs}
    assert kept_then - {changed[0].id} == kept - {PAIRS[0].id}


@pytest.mark.parametrize(
    "changes",
    [
        {"private": True, "newest_pairs": 5},
        {"private": True, "most_per_conversation": 5},
        {"private": True, "half_life": 5.0},
        {"use_corrections": False, "use_choices": False, "use_imports": False},
        {"nesterov": True, "momentum": 0.0},
    ],
)
def test_settings_that_do_not_go_together_are_named(changes: dict[str, Any]) -> None:
    assert len(plan(**changes).contradictions()) == 1
    assert plan().contradictions() == ()


# Privacy --------------------------------------------------------------------------------------


def test_settings_of_privacy_change_the_private_steps() -> None:
    def numbers(pairs: int, **changes: Any) -> tuple[float, float, int]:
        recipe = resolve(plan(private=True, **changes), pairs, SHAPES)
        return recipe.sample_rate, recipe.batch_size, recipe.steps

    assert numbers(400) == (1.0, 400.0, 8)
    assert numbers(400, private_steps=3) == (1.0, 400.0, 3)
    assert numbers(400, full_batch_below=100, sampled_batch=100) == (0.25, 100.0, 8)
    assert numbers(1000) == (0.4, 400.0, 8)
    assert numbers(1000, sampled_batch=50) == (0.05, 50.0, 8)
    assert numbers(1000, epochs=2) == (0.4, 400.0, 5)


def test_every_setting_of_privacy_has_a_test() -> None:
    # These are tested with the trainer.
    elsewhere = {"private", "privacy_unit", "epsilon", "delta", "max_grad_norm"}
    forecast = {"least_noise", "least_epsilon_share", "loud_noise"}
    steps = {"private_steps", "full_batch_below", "sampled_batch"}
    assert set(PrivacySettings.model_fields) == elsewhere | forecast | steps


# Presets and declarations -----------------------------------------------------------------------


def test_presets_have_the_values_that_are_promised() -> None:
    eight = preset_values("8gb", private=False)
    assert (eight["lora_rank"], eight["lora_alpha"], eight["max_length"]) == (4, 8.0, 512)
    assert (eight["batch_size"], eight["micro_batch_size"], eight["epochs"]) == (4, 1, 1)
    full = preset_values("full", private=False, method="sft")
    assert (full["lora_rank"], full["lora_alpha"], full["epochs"]) == (16, 32.0, 3)
    chosen = [
        preset_values("full", private=False, method=name)["learning_rate"]
        for name in ("sft", "dpo", "kto", "ipo")
    ]
    assert (min(chosen), max(chosen)) == (5e-7, 2e-5)


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("name", PRESETS)
def test_a_plan_made_from_a_preset_is_recognised(name: str, private: bool) -> None:
    made = plan(private=private, **preset_values(name, private=private))
    assert preset_of(made) == name
    assert preset_of(made.model_copy(update={"max_length": 777})) is None
    if private:  # an epoch of a private run is one step
        assert made.epochs is None


def test_stronger_moves_further_and_normal_is_the_default() -> None:
    assert strength_of(plan()) == "normal"
    moves = []
    for name in STRENGTHS:
        made = plan(**strength_values(name))
        recipe = resolve(made, 80, SHAPES)
        moves.append((-made.beta, recipe.learning_rate, recipe.steps))
        assert strength_of(made) == name
    assert moves == sorted(moves)


def test_every_setting_says_what_it_means_takes_and_changes() -> None:
    seen: set[str] = set()
    for family in SECTIONS.values():
        for name, declared in family.model_fields.items():
            assert name not in seen
            seen.add(name)
            assert declared.title
            assert (declared.description or "").endswith(".")
            assert values_of(declared).words()
            assert all(words.endswith(".") for words in effects(declared).values())
            assert only(declared) in {"", "private", "plain"}
            assert isinstance(unit(declared), str)
    assert seen == set(TrainingPlan.model_fields)
    assert len({field.title for field in TrainingPlan.model_fields.values()}) == len(seen)
