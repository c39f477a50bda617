"""Where an adapter sits, how large it is and how it begins; and that all that follows agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from run_parts import add_pairs, plan_for, run
from tiny_models import make_llama, make_model

from xeno.errors import InvalidValueError
from xeno.inference.merge import Merge
from xeno.models.base import inspect_base
from xeno.models.loading import load_model
from xeno.store.profile import Profile
from xeno.training.adapters import attach, dropping, extract, lora_layers, switched_off, trainable
from xeno.training.modules import layers, target_modules
from xeno.training.plan import TrainingPlan
from xeno.training.recipe import adapter_config, resolve
from xeno.versions.adapter import AdapterConfig
from xeno.versions.gate import check
from xeno.versions.registry import Registry

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_llama(tmp_path_factory.mktemp("base"), num_hidden_layers=4))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    from transformers import GPT2Config

    config = GPT2Config(
        vocab_size=262, n_embd=32, n_layer=2, n_head=4, n_positions=128, bos_token_id=0
    )
    return str(make_model(tmp_path_factory.mktemp("gpt2"), config))


def _plan(base: str, **changes: Any) -> TrainingPlan:
    return TrainingPlan(base=base, **({"private": False} | changes))


def _attached(plan: TrainingPlan, folder: str) -> Any:
    found = inspect_base(Path(folder))
    return attach(
        load_model(found, "float32"),
        adapter_config(plan, found.shapes),
        plan.seed if plan.lora_seed is None else plan.lora_seed,
        blocks=layers(found.shapes, plan),
        dropout=plan.lora_dropout,
        init=plan.lora_init,
    )


@pytest.mark.parametrize(
    ("written", "private", "wanted"),
    [
        ("auto", False, ATTENTION),
        ("auto", True, ("o_proj",)),
        ("attention", True, ATTENTION),
        ("mlp", False, MLP),
        ("all linear", False, tuple(sorted(ATTENTION + MLP))),
        ("v_proj, q_proj", False, ("v_proj", "q_proj")),
    ],
)
def test_modules_are_chosen_by_group_or_by_name(
    base: str, written: str, private: bool, wanted: tuple[str, ...]
) -> None:
    shapes = inspect_base(Path(base)).shapes
    plan = _plan(base, lora_modules=written)
    assert target_modules(shapes, plan, private) == wanted
    if len(wanted) > 1:
        fewer = _plan(base, lora_modules=written, lora_exclude=wanted[0])
        assert target_modules(shapes, fewer, private) == wanted[1:]


def test_an_unknown_module_is_refused_with_those_that_there_are(base: str) -> None:
    shapes = inspect_base(Path(base)).shapes
    for changes in ({"lora_modules": "q_porj"}, {"lora_exclude": "q_porj"}):
        with pytest.raises(InvalidValueError, match="q_porj") as refused:
            target_modules(shapes, _plan(base, **changes), False)
        assert "q_proj" in (refused.value.todo or "")
    with pytest.raises(InvalidValueError, match="No module is left"):
        target_modules(shapes, _plan(base, lora_modules="q_proj", lora_exclude="q_proj"), False)


@pytest.mark.parametrize("kind", ["lora", "lora_b_only"])
@pytest.mark.parametrize(
    ("which", "blocks"), [("all", {0, 1, 2, 3}), ("first", {0}), ("last", {3})]
)
def test_the_trained_numbers_are_those_that_were_forecast(
    base: str, which: str, blocks: set[int], kind: str
) -> None:
    plan = _plan(base, lora_layers=which, lora_layer_count=1, adapter_kind=kind, lora_rank=3)
    adapted = _attached(plan, base)
    paths = [name.split(".") for name, _ in lora_layers(adapted)]
    assert {int(path[path.index("layers") + 1]) for path in paths} == blocks
    trained = sum(parameter.numel() for parameter in trainable(adapted))
    assert trained == resolve(plan, 40, inspect_base(Path(base)).shapes).trainable


def test_the_trained_numbers_of_gpt2_are_those_that_were_forecast(gpt2: str) -> None:
    for kind in ("lora", "lora_b_only"):
        plan = _plan(gpt2, adapter_kind=kind, lora_modules="all linear")
        trained = sum(parameter.numel() for parameter in trainable(_attached(plan, gpt2)))
        assert trained == resolve(plan, 40, inspect_base(Path(gpt2)).shapes).trainable


def test_a_begins_as_the_plan_says_and_b_at_zero(base: str) -> None:
    def halves(**changes: Any) -> dict[str, torch.Tensor]:
        plan = _plan(base, lora_rank=4, **changes)
        return {name: layer.weight for name, layer in lora_layers(_attached(plan, base))}

    drawn = {init: halves(lora_init=init) for init in ("kaiming", "gaussian", "orthonormal")}
    name = next(name for name in drawn["kaiming"] if "lora_A" in name and "q_proj" in name)
    for weights in drawn.values():
        assert not any(w.any() for n, w in weights.items() if "lora_B" in n)
    assert drawn["kaiming"][name].abs().max().item() <= 1 / 32**0.5
    assert drawn["gaussian"][name].std().item() == pytest.approx(1 / 4, rel=0.3)
    a = drawn["orthonormal"][name]
    assert torch.allclose(a @ a.T, torch.eye(4), atol=1e-6)
    assert torch.equal(halves(lora_init="gaussian")[name], drawn["gaussian"][name])
    for init in drawn:
        other = halves(lora_init=init, lora_seed=9, seed=0)
        assert not torch.equal(other[name], drawn[init][name])
        assert torch.equal(halves(lora_init=init, lora_seed=9, seed=5)[name], other[name])
    assert torch.equal(halves()[name], drawn["kaiming"][name])
    assert torch.equal(
        halves(adapter_kind="lora_b_only")[name], halves(lora_init="principal")[name]
    )


@pytest.mark.parametrize("folder", ["base", "gpt2"])
def test_a_principal_a_has_orthonormal_rows_where_the_weight_does_most(
    folder: str, request: pytest.FixtureRequest
) -> None:
    plan = _plan(request.getfixturevalue(folder), lora_rank=4, lora_init="principal")
    adapted = _attached(plan, plan.base)
    layers = [module for module in adapted.modules() if hasattr(module, "lora_A")]
    assert layers
    for layer in layers:
        a, weight = layer.lora_A["default"].weight.double(), layer.base_layer.weight.double()
        weight = weight.T if layer.fan_in_fan_out else weight
        assert torch.allclose(a @ a.T, torch.eye(4).double(), atol=1e-5)
        most = torch.linalg.svdvals(weight)[:4].norm()
        assert (weight @ a.T).norm() > 0.9 * most
        assert (weight @ a.T).norm() <= most * (1 + 1e-6)


@pytest.mark.parametrize("rs_lora", [False, True])
def test_merging_gives_what_the_trained_model_computes(base: str, rs_lora: bool) -> None:
    plan = _plan(base, rs_lora=rs_lora, lora_rank=4, lora_layers="last", lora_layer_count=2)
    found = inspect_base(Path(base))
    config = adapter_config(plan, found.shapes)
    assert config.scale == pytest.approx(8 / (2 if rs_lora else 4))
    adapted = _attached(plan, base)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    ids = torch.arange(6, 30)[None]
    with torch.no_grad():
        wanted = adapted(input_ids=ids).logits
        plain = load_model(found, "float32")
        before = plain(input_ids=ids).logits
        Merge(plain).put("a", extract(adapted), config)
        merged = plain(input_ids=ids).logits
        with switched_off(adapted):
            assert torch.equal(adapted(input_ids=ids).logits, before)
    assert torch.allclose(merged, wanted, atol=1e-4)
    assert not torch.allclose(merged, before, atol=1e-2)


def test_rs_lora_changes_the_address_and_passes_the_gate(profile: Profile, base: str) -> None:
    add_pairs(profile, 24)
    versions = [
        run(profile, plan_for(base, epochs=1, samples=False, rs_lora=rs_lora))[0].version or ""
        for rs_lora in (False, True)
    ]
    assert versions[0] != versions[1]
    version = Registry(profile).get(versions[1])
    assert version.manifest.adapter.rs_lora
    assert check(profile, version).passed


def test_dropout_is_the_same_in_the_same_step_and_only_there(base: str) -> None:
    adapted = _attached(_plan(base, lora_dropout=0.5), base)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    ids = torch.arange(6, 30)[None]

    def logits() -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = adapted(input_ids=ids).logits
        return found

    def dropped(step: int) -> torch.Tensor:
        with dropping(adapted, 3, step):
            return logits()

    outside = torch.get_rng_state()
    assert torch.equal(dropped(1), dropped(1))
    assert not torch.equal(dropped(1), dropped(2))
    assert not torch.equal(dropped(1), logits())
    assert torch.equal(logits(), logits())
    assert torch.equal(torch.get_rng_state(), outside)


def test_an_adapter_that_was_stored_before_keeps_its_address() -> None:
    config = AdapterConfig(rank=4, alpha=8.0, target_modules=("q_proj",))
    assert config.model_dump(mode="json") == {
        "kind": "lora",
        "rank": 4,
        "alpha": 8.0,
        "target_modules": ["q_proj"],
        "rs_lora": False,
    }
