"""The private optimizer: the gradient of a row is a pair's, clipped, noised, never skipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from test_rows import ARCHITECTURES, prepared, random_rows, relative

from xeno.errors import BaseModelError
from xeno.privacy.mechanism import PrivateOptimizer, per_row_gradients
from xeno.privacy.noise import CipherStream
from xeno.training.adapters import attach, lora_layers, trainable
from xeno.training.kto import Kto
from xeno.training.objectives import Dpo, Objective, Sft
from xeno.training.policy import Policy, Shortcuts
from xeno.training.rows import Row
from xeno.versions.adapter import AdapterConfig

METHODS: dict[str, Objective] = {
    "dpo": Dpo("sigmoid", 0.3, sft_weight=0.5),
    "kto": Kto(0.3, 1.5, 0.5, limit=99, estimate_kl=False),
    "sft": Sft(),
}


def _losses(policy: Policy, rows: list[Row], objective: Objective) -> torch.Tensor:
    batch = policy.collate(rows)
    return objective(policy.logps(batch), torch.zeros(2 * len(rows)) - 3.0, batch).loss


def _rows_for(method: str) -> list[Row]:
    """Pairs for dpo, single replies for sft, good and bad ones and a pair for kto."""
    rows = random_rows(5, seed=1)
    if method == "dpo":
        return rows
    single = [replace(row, rejected=(), desirable=n % 2 == 0) for n, row in enumerate(rows)]
    return [*single[:4], rows[4]] if method == "kto" else single


@pytest.mark.filterwarnings("ignore:Full backward hook")
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_gradient_of_a_row_is_the_gradient_of_its_unit_alone(
    name: str, method: str, fused: bool
) -> None:
    build, modules, rows_per_pair, _ = ARCHITECTURES[name]
    alone_policy, alone_model = prepared(build, modules, shortcuts=Shortcuts(fused=False))
    rows, objective = _rows_for(method), METHODS[method]
    alone = [
        torch.autograd.grad(_losses(alone_policy, [row], objective).sum(), trainable(alone_model))
        for row in rows
    ]
    policy, adapted = prepared(build, modules, private=True, shortcuts=Shortcuts(fused=fused))
    # Where not every adapted layer knows the gradient of a pair of the pack, each needs a row.
    assert policy.packed == (fused and name in ("llama", "qwen2"))
    for _, layer in lora_layers(adapted):
        layer.train()
    per_row_gradients(adapted)
    _losses(policy, rows, objective).sum().backward()
    for position, parameter in enumerate(trainable(adapted)):
        found = parameter.grad_sample
        assert found.shape == (5 * rows_per_pair, *parameter.shape)
        per_pair = found.view(5, rows_per_pair, *parameter.shape).sum(1)
        for pair in range(5):
            assert relative(per_pair[pair], alone[pair][position]) <= 1e-5


class _Silence(CipherStream):
    """Noise of zero, to see the clipping alone."""

    def gaussian(self, count: int, *_: Any) -> Any:
        return np.zeros(count)


class _Ones(CipherStream):
    def gaussian(self, count: int, *_: Any) -> Any:
        return np.ones(count)


@pytest.fixture
def layer() -> Iterator[torch.nn.Linear]:
    torch.manual_seed(0)
    linear = torch.nn.Linear(3, 2, bias=False)
    hooks = per_row_gradients(linear)
    yield linear
    hooks.cleanup()


def _optimizer(layer: torch.nn.Linear, stream: CipherStream, **changes: float) -> PrivateOptimizer:
    values = {"noise_multiplier": 2.0, "max_grad_norm": 0.5, "expected_batch_size": 4.0}
    sgd = torch.optim.SGD(layer.parameters(), lr=1.0)
    return PrivateOptimizer(sgd, **(values | changes), stream=stream)  # type: ignore[arg-type]


def _backward(layer: torch.nn.Linear, inputs: torch.Tensor) -> None:
    layer(inputs).sum().backward()


def _change(layer: torch.nn.Linear, optimizer: PrivateOptimizer) -> torch.Tensor:
    before = layer.weight.detach().clone()
    optimizer.noisy_step()
    return layer.weight.detach() - before


def _clipped(inputs: torch.Tensor, bound: float) -> torch.Tensor:
    """The sum of the clipped gradients of sum(W x): each is [x, x]."""
    gradients = inputs[:, None, :].expand(-1, 2, -1)
    norms = gradients.flatten(1).norm(dim=1)
    return (gradients * (bound / norms).clamp(max=1.0)[:, None, None]).sum(0)


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_each_unit_is_clipped_and_the_sum_divided_by_the_expected_size(
    layer: torch.nn.Linear,
) -> None:
    inputs = torch.tensor([[3.0, 0.0, 4.0], [0.01, 0.0, 0.0], [0.0, 5.0, 0.0]])
    optimizer = _optimizer(layer, _Silence())
    _backward(layer, inputs[:2])
    norms = optimizer.accumulate(2)
    assert norms.tolist() == pytest.approx([5 * 2**0.5, 0.01 * 2**0.5])
    _backward(layer, inputs[2:])
    optimizer.accumulate(1)
    expected = -_clipped(inputs, 0.5) / (4.0 * 0.5)
    assert torch.allclose(_change(layer, optimizer), expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_the_rows_of_a_unit_are_added_before_they_are_clipped(layer: torch.nn.Linear) -> None:
    inputs = torch.tensor([[30.0, 0.0, 0.0], [-30.0, 0.0, 0.1]])
    optimizer = _optimizer(layer, _Silence())
    _backward(layer, inputs)
    optimizer.accumulate(1)
    expected = -_clipped(inputs.sum(0, keepdim=True), 0.5) / 2.0
    assert torch.allclose(_change(layer, optimizer), expected, atol=1e-5)


def test_an_empty_batch_still_gets_the_noise_and_is_counted(layer: torch.nn.Linear) -> None:
    optimizer = _optimizer(layer, _Ones())
    change = _change(layer, optimizer)
    assert torch.allclose(change, torch.full((2, 3), -2.0 * 0.5 / (4.0 * 0.5)))
    assert optimizer.steps_taken == 1


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_the_noise_has_the_promised_deviation_and_is_fresh_in_every_step() -> None:
    layer = torch.nn.Linear(200, 100, bias=False)
    hooks = per_row_gradients(layer)
    optimizer = _optimizer(layer, CipherStream())
    first, second = _change(layer, optimizer), _change(layer, optimizer)
    assert float(first.std()) == pytest.approx(2.0 / 4.0, rel=0.03)
    correlation = torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]
    assert abs(float(correlation)) < 0.04
    hooks.cleanup()


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_a_unit_whose_gradient_is_not_finite_contributes_nothing(layer: torch.nn.Linear) -> None:
    good = torch.tensor([[1.0, 2.0, 3.0]])
    optimizer = _optimizer(layer, _Silence())
    _backward(layer, torch.cat([good, torch.tensor([[float("inf"), 0.0, float("nan")]])]))
    assert optimizer.accumulate(2)[1] == 0
    assert torch.allclose(_change(layer, optimizer), -_clipped(good, 0.5) / 2.0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_what_is_discarded_never_reaches_a_step(layer: torch.nn.Linear) -> None:
    optimizer = _optimizer(layer, _Silence())
    _backward(layer, torch.ones(2, 3))
    optimizer.accumulate(2)
    optimizer.discard()
    assert torch.equal(_change(layer, optimizer), torch.zeros(2, 3))


def test_a_base_that_mixes_rows_is_refused(layer: torch.nn.Linear) -> None:
    optimizer = _optimizer(layer, _Silence())
    with pytest.raises(BaseModelError, match="differential privacy"):
        optimizer.accumulate(2)


def test_b_only_freezes_an_orthonormal_a_that_follows_from_the_seed() -> None:
    build, modules, _, _ = ARCHITECTURES["llama"]
    config = AdapterConfig(kind="lora_b_only", rank=4, alpha=8.0, target_modules=modules)
    first, again, other = (
        attach(build().eval(), config, seed, init="orthonormal") for seed in (1, 1, 2)
    )

    def halves(model: Any) -> dict[str, torch.Tensor]:
        return {name: layer.weight for name, layer in lora_layers(model)}

    for name, weight in halves(first).items():
        if name.endswith("lora_B.default"):
            assert weight.requires_grad
            assert not weight.any()
        else:
            assert not weight.requires_grad
            assert torch.allclose(weight @ weight.T, torch.eye(4), atol=1e-6)
            assert torch.equal(weight, halves(again)[name])
            assert not torch.allclose(weight, halves(other)[name])
    assert all(p.dtype == torch.float32 for p in trainable(first))
