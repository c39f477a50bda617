"""What makes training fast changes nothing: head in chunks, packed pairs, fused layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_rows import ARCHITECTURES, SIZES, one_by_one, prepared, random_rows, relative
from torch.utils._python_dispatch import TorchDispatchMode

from xeno.privacy.mechanism import PrivateOptimizer
from xeno.privacy.noise import CipherStream
from xeno.training import segments
from xeno.training.adapters import attach, trainable
from xeno.training.head import Head
from xeno.training.objectives import Dpo
from xeno.training.policy import Policy, Shortcuts
from xeno.training.rows import Row, collate
from xeno.versions.adapter import AdapterConfig

# The head ------------------------------------------------------------------------------------


def _head(vocabulary: int, **changes: Any) -> tuple[Head, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(vocabulary, 16, generator=generator)
    hidden = torch.randn(50, 16, generator=generator).requires_grad_()
    targets = torch.randint(0, vocabulary, (50,), generator=generator)
    return Head(weight, **changes), hidden, targets


@pytest.mark.parametrize("chunk", [1, 7, 50, 64])
@pytest.mark.parametrize(
    "changes", [{}, {"bias": torch.linspace(-1, 1, 83)}, {"scale": 0.25}, {"cap": 3.0}]
)
def test_the_head_in_chunks_gives_the_logps_and_gradients_of_the_whole(
    chunk: int, changes: dict[str, Any]
) -> None:
    head, hidden, targets = _head(83, **changes)
    whole = torch.nn.functional.linear(hidden, head.weight, head.bias) * head.scale
    if head.cap is not None:
        whole = head.cap * torch.tanh(whole / head.cap)
    wanted = whole.log_softmax(-1)[range(50), targets]
    found = head.token_logps(hidden, targets, chunk)
    assert relative(found, wanted) <= 1e-6
    weights = torch.linspace(-2, 2, 50)
    (gradient,) = torch.autograd.grad((found * weights).sum(), hidden, retain_graph=True)
    (truth,) = torch.autograd.grad((wanted * weights).sum(), hidden)
    assert relative(gradient, truth) <= 1e-5


def test_a_target_that_is_all_but_impossible_has_a_finite_log_probability() -> None:
    head = Head(torch.tensor([[400.0], [0.0]]))
    logp = head.token_logps(torch.ones(1, 1), torch.tensor([1]))
    assert logp.item() == pytest.approx(-400.0)


class _Largest(TorchDispatchMode):
    """The most numbers that a tensor made meanwhile has."""

    numbers = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        for each in out if isinstance(out, tuple | list) else (out,):
            if isinstance(each, torch.Tensor) and each.untyped_storage().nbytes():
                self.numbers = max(self.numbers, each.untyped_storage().nbytes() // 4)
        return out


def test_the_head_never_holds_all_predictions_and_keeps_none_of_them() -> None:
    kept = {}
    for vocabulary in (1000, 4000):
        head, hidden, targets = _head(vocabulary)
        saved: list[torch.Tensor] = []

        def keep(tensor: torch.Tensor, into: list[torch.Tensor] = saved) -> torch.Tensor:
            into.append(tensor)
            return tensor

        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda each: each),
            _Largest() as largest,
        ):
            head.token_logps(hidden, targets, 5).sum().backward()
        assert largest.numbers <= max(5 * vocabulary, head.weight.numel())
        kept[vocabulary] = sum(each.numel() for each in saved)
    assert 0 < kept[1000] == kept[4000]


def _cohere() -> Any:
    from transformers import CohereConfig, CohereForCausalLM

    return CohereForCausalLM(CohereConfig(**SIZES, num_key_value_heads=2, logit_scale=0.3))


def _granite() -> Any:
    from transformers import GraniteConfig, GraniteForCausalLM

    return GraniteForCausalLM(GraniteConfig(**SIZES, num_key_value_heads=2, logits_scaling=4.0))


def _unknown() -> Any:
    """A model that does what its configuration does not say."""
    model = ARCHITECTURES["llama"][0]()
    plain = model.lm_head.forward
    model.lm_head.forward = lambda hidden: plain(hidden) * 1.5
    return model


@pytest.mark.parametrize(("build", "known"), [(_cohere, True), (_granite, True), (_unknown, False)])
def test_a_head_is_used_directly_only_where_it_gives_the_models_own_predictions(
    build: Any, known: bool
) -> None:
    policy, _ = prepared(build, ("q_proj", "v_proj"))
    assert policy.direct_head == known
    rows = random_rows(4)
    found = policy.logps(policy.collate(rows))
    assert relative(found, one_by_one(policy.model, rows)) <= 1e-5


# Packing -------------------------------------------------------------------------------------


def _gradients(policy: Policy, rows: list[Row]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    batch = policy.collate(rows)
    reference = torch.linspace(-9, -4, 2 * len(rows))
    losses = Dpo("sigmoid", 0.3, sft_weight=0.5)(policy.logps(batch), reference, batch).loss
    return losses, list(torch.autograd.grad(losses.sum(), trainable(policy.model)))


@pytest.mark.parametrize("kept_keys", [0, 9, 1000])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_packed_rows_give_what_padded_rows_give_also_over_many_blocks(
    name: str, kept_keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "BLOCK", 4)
    build, modules, _, _ = ARCHITECTURES[name]
    packed, _ = prepared(build, modules, shortcuts=Shortcuts(kept_keys=kept_keys))
    padded, _ = prepared(build, modules, shortcuts=Shortcuts(attention="dense", fused=False))
    assert (packed.packed, padded.packed) == (True, False)
    rows = random_rows(7, seed=2)
    found, wanted = _gradients(packed, rows), _gradients(padded, rows)
    assert relative(found[0], wanted[0]) <= 1e-5
    assert max(map(relative, found[1], wanted[1])) <= 1e-5


def test_a_packed_batch_has_no_padding_and_no_mask() -> None:
    rows = random_rows(5)
    batch = collate(rows, packed=True)
    assert batch.ids.shape == (1, sum(row.tokens for row in rows))
    assert batch.mask is None
    assert [span.end - span.begin for span in batch.spans] == [row.tokens for row in rows]


@pytest.mark.parametrize("shortcuts", [Shortcuts(), Shortcuts(attention="dense")])
def test_a_row_without_a_rejected_reply_or_a_prompt_is_computed(shortcuts: Shortcuts) -> None:
    build, modules, _, _ = ARCHITECTURES["llama"]
    policy, _ = prepared(build, modules, shortcuts=shortcuts)
    rows = [Row("a", (5, 6), (7, 8), ()), Row("b", (), (7, 8), (9, 10)), Row("c", (5,), (7,), (8,))]
    together = policy.logps(policy.collate(rows)).view(3, 2)
    alone = [policy.logps(policy.collate([row])).view(2) for row in rows]
    assert torch.allclose(together, torch.stack(alone), atol=1e-5)
    assert together[0, 1] == 0


def test_attention_that_is_not_plain_is_refused() -> None:
    q, k = torch.randn(1, 4, 6, 8), torch.randn(1, 2, 6, 8)
    spans = [segments.Span(0, 2, 4, 6)]
    segments.attention(torch.nn.Module(), q, k, k, None, spans=spans, sliding_window=6)
    for options in ({"softcap": 2.0}, {"sliding_window": 5}, {"dropout": 0.1}):
        with pytest.raises(ValueError, match="not plain"):
            segments.attention(torch.nn.Module(), q, k, k, None, spans=spans, **options)


# Layers --------------------------------------------------------------------------------------


def test_layers_are_fused_where_that_is_exact_and_stay_where_it_is_not() -> None:
    fused = {name: prepared(*ARCHITECTURES[name][:2])[0].fused for name in ("llama", "gemma2")}
    # Two blocks of two norms and a gated MLP, and the last norm. Gemma's norms add 1 to their
    # weight, and its gate is another function.
    assert fused == {"llama": 7, "gemma2": 0}


def test_fused_layers_give_the_same_in_bfloat16_within_its_rounding() -> None:
    build, modules, _, _ = ARCHITECTURES["llama"]
    rows = random_rows(6)

    def gradients(fused: bool, dtype: torch.dtype) -> torch.Tensor:
        torch.manual_seed(0)
        model = build().eval().requires_grad_(False).to(dtype)
        policy = Policy(model, shortcuts=Shortcuts(fused=fused))
        attach(model, AdapterConfig(rank=4, alpha=8.0, target_modules=modules), seed=0)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data = parameter.data.float()
                if "lora_B" in name:
                    torch.nn.init.normal_(parameter, std=0.02)
        policy.adapted()
        return torch.cat([each.flatten() for each in _gradients(policy, rows)[1]])

    exact = gradients(False, torch.float32)
    rounding = relative(gradients(False, torch.bfloat16), exact)
    assert relative(gradients(True, torch.bfloat16), exact) <= 1.5 * rounding


# Privacy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shortcuts", [Shortcuts(), Shortcuts(attention="dense")])
def test_a_pair_with_a_gradient_that_is_not_finite_leaves_the_others_of_its_pack_alone(
    shortcuts: Shortcuts,
) -> None:
    build, modules, _, _ = ARCHITECTURES["llama"]
    policy, adapted = prepared(build, modules, private=True, shortcuts=shortcuts)
    optimizer = PrivateOptimizer(
        torch.optim.SGD(trainable(adapted), lr=1.0),
        noise_multiplier=1.0,
        max_grad_norm=1e-3,
        expected_batch_size=3.0,
        stream=CipherStream(),
    )
    rows = random_rows(3)

    def clipped_sum(rows: list[Row]) -> tuple[list[float], torch.Tensor]:
        batch = policy.collate(rows)
        losses = Dpo("sigmoid", 0.3)(policy.logps(batch), torch.zeros(2 * len(rows)), batch).loss
        losses.sum().backward()
        norms = optimizer.accumulate(len(rows)).tolist()
        total = torch.cat([parameter.summed_grad.flatten() for parameter in optimizer.params])
        optimizer.discard()
        return norms, total

    _, wanted = clipped_sum([rows[0], rows[2]])
    broken = Row("x", rows[1].prompt, rows[1].chosen, rows[1].rejected, weight=float("inf"))
    norms, found = clipped_sum([rows[0], broken, rows[2]])
    assert norms[1] == 0
    assert relative(found, wanted) <= 1e-5
    before = [each.detach().clone() for each in trainable(adapted)]
    clipped_sum([broken])
    optimizer.noisy_step()
    assert all((a != b).all() for a, b in zip(before, trainable(adapted), strict=True))
