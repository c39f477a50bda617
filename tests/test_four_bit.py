"""A base in 4 bits: its gradients are those over the rounded weights, and its versions serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from run_parts import add_pairs, plan_for, run
from test_rows import prepared, random_rows, relative
from tiny_models import make_llama, make_model

from xeno.errors import BaseModelError, InvalidValueError
from xeno.events import LogLine
from xeno.inference.merge import Merge
from xeno.models import four_bit
from xeno.models.base import BaseModel, inspect_base
from xeno.models.four_bit import FourBit, is_packed, matrix
from xeno.models.loading import load_model
from xeno.privacy.mechanism import per_row_gradients
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.training import optimizers, quantisation
from xeno.training.adapters import lora_layers, trainable
from xeno.training.compute import set_up
from xeno.training.forecast import forecast
from xeno.training.memory import predicted
from xeno.training.modules import packable
from xeno.training.objectives import Dpo
from xeno.training.plan import TrainingPlan
from xeno.training.policy import Policy, Shortcuts
from xeno.training.quantisation import choose, settled
from xeno.training.recipe import resolve
from xeno.training.rows import Row
from xeno.versions.gate import check
from xeno.versions.registry import Registry

BFLOAT16 = 0.1
"""The same model loses 0.06 to bfloat16 without any packing."""
MODULES = {"llama": ("q_proj", "v_proj", "down_proj"), "gpt2": ("c_attn", "c_proj")}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BaseModel]:
    from transformers import GPT2Config

    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
    gpt2 = GPT2Config(vocab_size=262, **sizes, bos_token_id=0, eos_token_id=1)
    return {
        "llama": inspect_base(make_llama(tmp_path_factory.mktemp("llama"))),
        "gpt2": inspect_base(make_model(tmp_path_factory.mktemp("gpt2"), gpt2)),
    }


@pytest.fixture
def base(bases: dict[str, BaseModel]) -> BaseModel:
    return bases["llama"]


def _rounded(base: BaseModel, packed: Any) -> Any:
    """A plain model in float32 with the numbers that the 4 bits of `packed` stand for."""
    plain = load_model(base, "float32")
    layers = dict(plain.named_modules())
    for name, layer in packed.named_modules():
        if is_packed(layer):
            numbers = matrix(layer.weight, torch.float32)
            turned = "Conv1D" in type(layers[name]).__name__
            layers[name].weight.data.copy_(numbers.T if turned else numbers)
    return plain


def _losses(policy: Policy, rows: list[Row]) -> torch.Tensor:
    batch = policy.collate(rows)
    return Dpo("sigmoid", 0.3)(policy.logps(batch), torch.zeros(2 * len(rows)) - 3.0, batch).loss


def _alone(plain: Any, modules: tuple[str, ...], rows: list[Row]) -> Any:
    """The gradients of each row by itself, through plain layers and plain autograd."""
    policy, adapted = prepared(
        lambda: plain, modules, shortcuts=Shortcuts(one_row=False, fused=False)
    )
    return [torch.autograd.grad(_losses(policy, [row]).sum(), trainable(adapted)) for row in rows]


@pytest.mark.filterwarnings("ignore:Full backward hook")
@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    ("name", "dtype", "bound"),
    [("llama", "float32", 1e-5), ("gpt2", "float32", 1e-5), ("llama", "bfloat16", BFLOAT16)],
)
def test_gradients_are_those_over_the_rounded_weights(
    bases: dict[str, BaseModel], name: str, dtype: str, bound: float, fused: bool, private: bool
) -> None:
    base, modules, rows = bases[name], MODULES[name], random_rows(5)
    packed = load_model(base, dtype, FourBit())
    alone = _alone(_rounded(base, packed), modules, rows)
    policy, adapted = prepared(
        lambda: packed, modules, private=private, shortcuts=Shortcuts(fused=fused)
    )
    assert {each.dtype for each in trainable(adapted)} == {torch.float32}
    with torch.no_grad():  # what an evaluation does must not cost the gradients that follow
        policy.logps(policy.collate(rows))
    for _, layer in lora_layers(adapted):
        layer.train()
    hooks = per_row_gradients(adapted) if private else None
    _losses(policy, rows).sum().backward()
    for number, parameter in enumerate(trainable(adapted)):
        each = torch.stack([gradients[number] for gradients in alone])
        found, wanted = (parameter.grad_sample, each) if private else (parameter.grad, each.sum(0))
        assert found.isfinite().all()
        assert relative(found, wanted) <= bound
    if hooks is not None:
        hooks.cleanup()


def test_only_linear_layers_are_packed_and_the_double_form_is_smaller(base: BaseModel) -> None:
    model: Any = load_model(base, "bfloat16", FourBit())
    packed = [layer for layer in model.modules() if is_packed(layer)]
    assert sum(layer.in_features * layer.out_features for layer in packed) == sum(
        packable(base.shapes)
    )
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    assert {each.weight.dtype for each in ends} == {torch.bfloat16}
    assert not any(layer.support_avx512bf16_for_cpu for layer in packed)
    single = load_model(base, "bfloat16", FourBit(double=False))
    assert not single.model.layers[0].mlp.up_proj.weight.quant_state.nested
    assert packed[0].weight.quant_state.nested
    assert four_bit.bytes_per_number(True) < four_bit.bytes_per_number(False) < 0.6


def test_a_base_whose_weights_are_not_in_linear_layers_is_refused(tmp_path: Path) -> None:
    from transformers import MixtralConfig

    config = MixtralConfig(
        vocab_size=262,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
    )
    experts = inspect_base(make_model(tmp_path / "experts", config))
    load_model(experts, "float32")
    with pytest.raises(BaseModelError, match=r"not in linear layers"):
        load_model(experts, "float32", FourBit())


@pytest.mark.parametrize("private", [False, True])
def test_a_run_ends_in_a_version_that_serves_on_the_base_as_it_is(
    profile: Profile, base: BaseModel, private: bool
) -> None:
    add_pairs(profile, 24)
    plan = plan_for(
        str(base.folder), quantisation="nf4", private=private, learning_rate=0.01, epochs=4
    )
    finished, events = run(profile, plan)
    said = [event.text for event in events if isinstance(event, LogLine)]
    assert any("packed without padding" in text and "base in 4 bits" in text for text in said)
    version = Registry(profile).get(finished.version or "")
    assert version.manifest.environment["quantisation"] == "nf4"
    assert "bitsandbytes" in version.manifest.environment
    assert Runs(profile.db).get(finished.run_id).environment["quantisation"] == "nf4"
    assert check(profile, version).passed
    ids = torch.arange(6, 60)[None]
    with torch.no_grad():
        model: Any = load_model(base, "float32")
        before = model(input_ids=ids).logits
        tensors, _ = Registry(profile).load(version.address)
        Merge(model).put(version.address, tensors, version.manifest.adapter)
        after = model(input_ids=ids).logits
    assert after.isfinite().all()
    assert relative(after, before) > 1e-3


# The choice -------------------------------------------------------------------------------------


def _plan(base: BaseModel, **changes: Any) -> TrainingPlan:
    return TrainingPlan(base=str(base.folder), private=False, **changes)


@pytest.fixture
def large(base: BaseModel) -> BaseModel:
    """The shapes of a base of 1.3 billion numbers; nothing of it is ever loaded."""
    wide = {
        name.replace("layers.0", f"layers.{number}"): tuple(64 * side for side in shape)
        for name, shape in base.shapes.items()
        for number in range(40)
        if "layers.0" in name
    }
    count = sum(packable(wide))
    return replace(base, shapes=wide, parameters=count)


def test_four_bits_are_chosen_only_where_memory_forces_it(large: BaseModel) -> None:
    plan = _plan(large, dtype="bfloat16")
    assert choose(plan, large, "cpu", 64 * 10**9) == ("none", "")
    chosen, why = choose(plan, large, "cpu", 2 * 10**9)
    assert chosen == "nf4"
    assert "4 bits (NF4): in bfloat16" in why
    assert "this device has 2.0" in why
    assert choose(_plan(large, quantisation="none"), large, "cpu", 10**9) == ("none", "")
    assert choose(_plan(large, quantisation="nf4"), large, "cpu", 10**12) == ("nf4", "")
    assert choose(_plan(large, engine="trl"), large, "cpu", 10**9).quantisation == "none"


def test_memory_is_foretold_with_packed_weights(large: BaseModel) -> None:
    def weights(**changes: Any) -> float:
        plan = _plan(large, dtype="bfloat16", **changes)
        return predicted(large, plan, resolve(plan, 100, large.shapes), ()).weights

    full = weights()
    assert full == 2 * large.parameters == weights(quantisation="none")
    assert full / 4 < weights(quantisation="nf4") < full / 3
    assert weights(quantisation="nf4") < weights(quantisation="nf4", double_quantisation=False)


def test_the_forecast_chooses_and_says_so(
    profile: Profile, base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(profile, 24)
    full = forecast(profile, _plan(base))
    assert not any(each.name == "Base model" for each in full.checks)
    monkeypatch.setattr("xeno.training.forecast._device_memory", lambda device: 10**8)
    [told] = [c for c in forecast(profile, _plan(base)).checks if c.name == "Base model"]
    assert told.verdict == "amber"
    assert "4 bits" in told.sentence


def test_on_a_card_a_packed_base_gets_the_paged_optimizer(base: BaseModel) -> None:
    plan = _plan(base)
    names: dict[str, Callable[[TrainingPlan], TrainingPlan]] = {
        "paged_adamw_8bit": lambda each: settled(each, "nf4", "cuda"),
        "adamw": lambda each: settled(each, "nf4", "cpu"),
        "sgd": lambda each: settled(each.model_copy(update={"private": True}), "nf4", "cuda"),
    }
    for name, change in names.items():
        assert optimizers.chosen(change(plan)) == name
    assert optimizers.chosen(settled(plan, "none", "cuda")) == "adamw"


def test_without_the_library_it_is_refused_and_never_chosen(
    profile: Profile, base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantisation, "has_bitsandbytes", lambda: False)
    assert choose(_plan(base), base, "cpu", 1) == ("none", "")
    plan = _plan(base, quantisation="nf4")
    with pytest.raises(InvalidValueError, match="bitsandbytes"):
        set_up(plan, base)
    assert any("bitsandbytes" in blocker for blocker in forecast(profile, plan).blockers)


def test_trl_is_refused_over_it(base: BaseModel) -> None:
    plan = _plan(base, quantisation="nf4", engine="trl")
    assert any("4 bits" in reason for reason in plan.contradictions())
