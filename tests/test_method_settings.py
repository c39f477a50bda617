"""Every setting of the method, the adapter and of long texts changes what it says it changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from run_parts import add_pairs
from test_methods import add_instructions, add_ratings
from tiny_models import make_llama

from xeno.events import ChatMessage
from xeno.models.base import inspect_base
from xeno.models.chat import load_tokenizer
from xeno.paths import Home
from xeno.privacy import rdp
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import Profile, open_profile
from xeno.training.adapters import attach, lora_layers
from xeno.training.compute import shortcuts
from xeno.training.encoding import encode_stage
from xeno.training.methods import objective_for
from xeno.training.modules import layers
from xeno.training.plan import TrainingPlan
from xeno.training.recipe import resolve
from xeno.training.rows import Row, collate
from xeno.training.settings.adapter import AdapterSettings
from xeno.training.settings.objective import ObjectiveSettings, Stage
from xeno.training.settings.truncation import TruncationSettings
from xeno.training.stages import noise_multipliers, stage_data
from xeno.training.trl_engine import losses_of

SHAPES = {
    f"model.layers.{layer}.{path}_proj.weight": (16, 16)
    for layer in range(12)
    for path in ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.up", "mlp.down")
}


def _losses(stage: Stage) -> Callable[[TrainingPlan], list[float]]:
    """The losses of two pairs, or of a good and a bad reply, at fixed log-probabilities."""
    rows = [Row("a", (1, 2), (3, 4, 5), (6,)), Row("b", (1,), (2,), (3, 4))]
    if stage == "kto":
        rows = [Row("a", (1, 2), (3, 4, 5), ()), Row("b", (1,), (2,), (), desirable=False)]
    batch = collate(rows)
    logps, reference = torch.tensor([-5.0, -4.0, -3.0, -6.0]), torch.tensor([-7.0, -4.5, -2.0, -5])
    if stage == "kto":
        logps[1::2] = reference[1::2] = 0.0

    def losses(plan: TrainingPlan) -> list[float]:
        objective = objective_for(stage, plan, resolve(plan, 40, SHAPES).sft_weight, 64)
        found: list[float] = objective(logps, reference, batch).loss.tolist()
        return found

    return losses


def _measures_kl(plan: TrainingPlan) -> bool:
    objective: Any = objective_for("kto", plan, 0.0, 64)
    rows = [Row("a", (1,), (2, 3), ()), Row("b", (1,), (4,), ())]
    return bool(objective.prepared(rows, lambda _: 0.7).kl == 0.7)


def _recipe(plan: TrainingPlan) -> Any:
    return resolve(plan, 40, SHAPES)


def _noise(plan: TrainingPlan) -> list[float]:
    runs = [(1.0, 10), (1.0, 10)]
    return noise_multipliers(runs, 4.0, 1e-5, plan, rdp.noise_multiplier)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_llama(tmp_path_factory.mktemp("base"), num_hidden_layers=3))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, base: str) -> Any:
    """A profile that holds some of everything, and some that is too long."""
    home = Home.at(tmp_path_factory.mktemp("home"))
    with open_profile(home) as profile:
        add_pairs(profile, 22, long_reply=2)
        Pairs(profile.db).add(
            new_pair(
                profile.name,
                [ChatMessage(role="user", content="long " * 40)],
                "Yes.",
                "No.",
                feedback_type="correction",
                confidence=1.0,
                quality=1.0,
            )
        )
        add_instructions(profile, 25)
        add_ratings(profile, 30)
        yield profile


COMMON: dict[str, tuple[dict[str, Any], dict[str, Any], Callable[[TrainingPlan], Any]]] = {
    "engine": ({}, {"engine": "trl"}, lambda plan: shortcuts(plan).fused),
    "trl_loss": ({}, {"trl_loss": "apo_zero"}, lambda plan: losses_of(plan, 1.0)),
    "loss": ({}, {"loss": "hinge"}, _losses("dpo")),
    "beta": ({}, {"beta": 0.5}, _losses("dpo")),
    "label_smoothing": (
        {"loss": "robust"},
        {"loss": "robust", "label_smoothing": 0.3},
        _losses("dpo"),
    ),
    "length_normalisation": ({}, {"length_normalisation": True}, _losses("dpo")),
    "sft_weight": ({}, {"sft_weight": 0.0}, _losses("dpo")),
    "kto_desirable_weight": ({}, {"kto_desirable_weight": 3.0}, lambda p: _losses("kto")(p)[0]),
    "kto_undesirable_weight": (
        {},
        {"kto_undesirable_weight": 3.0},
        lambda p: _losses("kto")(p)[1],
    ),
    "kto_kl": ({}, {"kto_kl": False}, _measures_kl),
    "sft_privacy_share": ({}, {"sft_privacy_share": 0.9}, _noise),
    "adapter_kind": ({}, {"adapter_kind": "lora_b_only"}, lambda p: _recipe(p).trainable),
    "lora_rank": ({}, {"lora_rank": 3}, lambda p: _recipe(p).trainable),
    "lora_alpha": ({}, {"lora_alpha": 3.0}, lambda p: _recipe(p).adapter.scale),
    "rs_lora": ({}, {"rs_lora": True}, lambda p: _recipe(p).adapter.scale),
    "lora_modules": ({}, {"lora_modules": "mlp"}, lambda p: _recipe(p).adapter.target_modules),
    "lora_exclude": ({}, {"lora_exclude": "k_proj"}, lambda p: _recipe(p).adapter.target_modules),
    "lora_layers": ({}, {"lora_layers": "last"}, lambda p: layers(SHAPES, p)),
    "lora_layer_count": (
        {"lora_layers": "last"},
        {"lora_layers": "last", "lora_layer_count": 2},
        lambda p: layers(SHAPES, p),
    ),
}
STORED = {
    "method": ({}, {"method": "sft"}),
    "kto_pairs": ({"method": "kto"}, {"method": "kto", "kto_pairs": True}),
    "sft_sources": ({"method": "sft"}, {"method": "sft", "sft_sources": "chosen"}),
    "sft_on_prompt": ({"method": "sft"}, {"method": "sft", "sft_on_prompt": True}),
    "sft_epochs": ({"method": "sft_dpo"}, {"method": "sft_dpo", "sft_epochs": 7}),
    "sft_learning_rate": ({"method": "sft_dpo"}, {"method": "sft_dpo", "sft_learning_rate": 0.5}),
    "long_prompts": ({"max_length": 64}, {"max_length": 64, "long_prompts": "leave_out"}),
    "least_prompt": ({"max_length": 64}, {"max_length": 64, "least_prompt": 60}),
    "long_replies": ({}, {"long_replies": "cut_right"}),
}
ATTACHED = {
    "lora_dropout": {"lora_dropout": 0.5},
    "lora_init": {"lora_init": "gaussian"},
    "lora_seed": {"lora_seed": 5},
}


def test_no_setting_of_these_families_is_without_a_proof() -> None:
    families = (ObjectiveSettings, AdapterSettings, TruncationSettings)
    declared = {name for family in families for name in family.model_fields}
    assert declared == {*COMMON, *STORED, *ATTACHED}


@pytest.mark.parametrize("name", COMMON)
def test_a_setting_changes_the_numbers_of_a_run(name: str) -> None:
    before, after, observe = COMMON[name]
    common = {"base": "base", "private": False}
    was, now = (observe(TrainingPlan(**(common | each))) for each in (before, after))
    assert was != now


@pytest.mark.parametrize("name", STORED)
def test_a_setting_changes_what_is_learned_from(name: str, full: Profile, base: str) -> None:
    found = inspect_base(Path(base))
    tokenizer = load_tokenizer(found)

    def observe(changes: dict[str, Any]) -> Any:
        plan = TrainingPlan(**({"base": base, "private": False, "force": True} | changes))
        stages = [
            encode_stage(tokenizer, stage, found.shapes, min(found.context, plan.max_length))
            for stage in stage_data(full, plan)
        ]
        return [
            (stage.rows, len(stage.left_out), stage.recipe.steps, stage.recipe.learning_rate)
            for stage in stages
        ]

    before, after = STORED[name]
    assert observe(before) != observe(after)


@pytest.mark.parametrize("name", ATTACHED)
def test_a_setting_changes_the_adapter_that_is_attached(name: str, base: str) -> None:
    from xeno.models.loading import load_model

    found = inspect_base(Path(base))

    def observe(**changes: Any) -> Any:
        plan = TrainingPlan(base=base, private=False, **changes)
        adapted = attach(
            load_model(found, "float32"),
            resolve(plan, 40, found.shapes).adapter,
            plan.seed if plan.lora_seed is None else plan.lora_seed,
            dropout=plan.lora_dropout,
            init=plan.lora_init,
        )
        dropouts = sum(isinstance(module, torch.nn.Dropout) for module in adapted.modules())
        return dropouts, [float(layer.weight.detach().sum()) for _, layer in lora_layers(adapted)]

    assert observe() == observe()
    assert observe(**ATTACHED[name]) != observe()
