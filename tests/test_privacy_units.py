"""Units of privacy with several pairs: summed before clipping, sampled and counted as one."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
import torch
from test_privacy_mechanism import _losses, _Silence
from test_rows import ARCHITECTURES, prepared, random_rows, relative
from tiny_models import make_llama

from xeno.events import ChatMessage
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.mechanism import PrivateOptimizer, per_row_gradients
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.training.adapters import lora_layers, trainable
from xeno.training.forecast import forecast
from xeno.training.microbatches import Limits, micro_batches
from xeno.training.objectives import Dpo
from xeno.training.plan import TrainingPlan
from xeno.training.policy import Policy, Shortcuts
from xeno.training.rows import Row
from xeno.training.trainer import train
from xeno.versions.registry import Registry

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook")

BOUND = 0.05
OBJECTIVE = Dpo("sigmoid", 0.3, sft_weight=0.5)


def _brute_force(
    policy: Policy, adapted: torch.nn.Module, groups: list[list[Row]]
) -> list[torch.Tensor]:
    """The clipped sum over `groups`, one group after the other, without any hooks."""
    total = [torch.zeros_like(each) for each in trainable(adapted)]
    for group in groups:
        gradients = [torch.zeros_like(each) for each in trainable(adapted)]
        for row in group:
            alone = torch.autograd.grad(_losses(policy, [row], OBJECTIVE).sum(), trainable(adapted))
            for gradient, part in zip(gradients, alone, strict=True):
                gradient += part
        norm = torch.stack([each.norm() for each in gradients]).norm()
        for each, gradient in zip(total, gradients, strict=True):
            each += gradient * min(1.0, BOUND / float(norm))
    return total


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("most", [1, 2, 7])
def test_conversations_are_summed_before_clipping_wherever_the_batch_is_cut(
    name: str, most: int
) -> None:
    build, modules, _, _ = ARCHITECTURES[name]
    rows = random_rows(7, seed=2)
    groups = [rows[:3], rows[3:4], rows[4:6], rows[6:]]
    expected = _brute_force(*prepared(build, modules, shortcuts=Shortcuts(fused=False)), groups)
    policy, adapted = prepared(build, modules, private=True)
    for _, layer in lora_layers(adapted):
        layer.train()
    per_row_gradients(adapted)
    optimizer = PrivateOptimizer(
        torch.optim.SGD(trainable(adapted), lr=1.0),
        noise_multiplier=1.0,
        max_grad_norm=BOUND,
        expected_batch_size=1 / BOUND,  # nothing is divided
        stream=_Silence(),
    )
    units = torch.tensor([9, 9, 9, 0, 4, 4, 7])
    norms: list[float] = []
    for start in range(0, 7, most):
        _losses(policy, rows[start : start + most], OBJECTIVE).sum().backward()
        norms += optimizer.accumulate(units[start : start + most]).tolist()
    before = [each.detach().clone() for each in trainable(adapted)]
    norms += optimizer.noisy_step().tolist()
    assert len(norms) == len(groups)
    changes = [was - now.detach() for was, now in zip(before, trainable(adapted), strict=True)]
    assert relative(torch.cat([c.flatten() for c in changes]),
                    torch.cat([e.flatten() for e in expected])) <= 1e-5  # fmt: skip


@pytest.fixture
def layer_optimizer() -> tuple[torch.nn.Linear, PrivateOptimizer]:
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2, bias=False)
    per_row_gradients(layer)
    optimizer = PrivateOptimizer(
        torch.optim.SGD(layer.parameters(), lr=1.0),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch_size=1.0,
        stream=_Silence(),
    )
    return layer, optimizer


def _pass(layer: torch.nn.Linear, optimizer: PrivateOptimizer, units: list[int]) -> list[float]:
    layer(torch.full((len(units), 3), 9.0)).sum().backward()
    return [float(each) for each in optimizer.accumulate(torch.tensor(units))]


@pytest.mark.parametrize("passes", [[[0, 0, 1], [0]], [[0, 1, 0]], [[0], [1, 1], [0]]])
def test_a_unit_in_two_pieces_would_be_clipped_twice_and_is_refused(
    layer_optimizer: tuple[torch.nn.Linear, PrivateOptimizer], passes: list[list[int]]
) -> None:
    *before, last = passes
    for units in before:
        _pass(*layer_optimizer, units)
    with pytest.raises(ValueError, match="one after the other"):
        _pass(*layer_optimizer, last)


def test_a_unit_never_moves_the_sum_by_more_than_the_bound(
    layer_optimizer: tuple[torch.nn.Linear, PrivateOptimizer],
) -> None:
    layer, optimizer = layer_optimizer
    for _ in range(5):
        _pass(layer, optimizer, [3, 3])
    before = layer.weight.detach().clone()
    optimizer.noisy_step()
    assert float((layer.weight.detach() - before).norm()) == pytest.approx(1.0, rel=1e-5)


def test_what_is_discarded_leaves_no_open_unit(
    layer_optimizer: tuple[torch.nn.Linear, PrivateOptimizer],
) -> None:
    layer, optimizer = layer_optimizer
    _pass(layer, optimizer, [0, 0, 1])
    optimizer.discard()
    before = layer.weight.detach().clone()
    assert len(optimizer.noisy_step()) == 0
    assert torch.equal(layer.weight.detach(), before)
    _pass(layer, optimizer, [0])  # may come again: it is another step


def test_a_unit_with_a_gradient_that_is_not_finite_contributes_nothing(
    layer_optimizer: tuple[torch.nn.Linear, PrivateOptimizer],
) -> None:
    layer, optimizer = layer_optimizer
    inputs = torch.ones(3, 3)
    inputs[1, 0] = float("nan")
    layer(inputs).sum().backward()
    optimizer.accumulate(torch.tensor([0, 0, 1]))
    before = layer.weight.detach().clone()
    optimizer.noisy_step()
    change = layer.weight.detach() - before
    assert bool(change.isfinite().all())
    assert float(change.norm()) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("most", [1, 3, 8])
@pytest.mark.parametrize("tokens", [40, 10_000])
def test_micro_batches_keep_the_rows_of_a_unit_side_by_side(most: int, tokens: int) -> None:
    rows = [replace(row, unit=f"c{i % 4}") for i, row in enumerate(random_rows(20, seed=4))]
    parts = micro_batches(rows, Limits(most, tokens))
    order = [row.unit for part in parts for row in part]
    assert len(list(groupby(order))) == 4
    assert sorted(row.pair_id for part in parts for row in part) == sorted(r.pair_id for r in rows)
    for part in parts:
        assert len(part) <= most
        assert len(part) == 1 or max(row.tokens for row in part) * len(part) <= tokens


def test_a_run_whose_unit_is_the_conversation_samples_counts_and_accounts_conversations(
    profile: Profile, tmp_path: Path
) -> None:
    pairs = Pairs(profile.db)
    for number in range(30):
        pairs.add(
            new_pair(
                profile.name,
                [ChatMessage(role="user", content=f"What about tea number {number}?")],
                f"- Warm the pot {number}.",
                f"Well, tea number {number} is a drink.",
                feedback_type="correction",
                group_id=f"conversation{number % 10}",
                confidence=1.0,
                quality=1.0,
            )
        )
    plan = TrainingPlan(
        base=str(make_llama(tmp_path / "tiny")), private=True, privacy_unit="conversation",
        full_batch_below=0, sampled_batch=4, private_steps=6, heldout_share=0.0,
        micro_batch_size=2,
    )  # fmt: skip
    said = forecast(profile, plan)
    assert said.sample_rate == pytest.approx(4 / 10)
    assert "single conversation" in said.sentence
    run = Runs(profile.db).create(plan)
    finished = train(profile, run.id, lambda _: None, lambda: None)
    ledger = PrivacyLedger(profile)
    [entry] = ledger.entries()
    assert (entry.unit, entry.epsilon_alone) == ("conversation", finished.epsilon)
    assert entry.mechanism is not None
    assert entry.mechanism.sample_rate == pytest.approx(4 / 10)
    assert (ledger.spent("pair"), ledger.spent("conversation")) == (0.0, entry.epsilon_total)
    assert finished.version is not None
    manifest = Registry(profile).get(finished.version).manifest
    assert manifest.unit == "conversation"
    assert manifest.mechanism is not None
    assert manifest.mechanism["expected_batch_size"] == pytest.approx(4.0)
