"""One pair, one row: what a row looks like, and that it is exactly two sequences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import make_llama

from xeno.events import ChatMessage
from xeno.models.base import inspect_base
from xeno.models.chat import encode_prompt, load_tokenizer
from xeno.store.pairs import Pair, new_pair
from xeno.training.adapters import attach, trainable
from xeno.training.encoding import Fit, LeftOut, encode_pair
from xeno.training.loss import branch_logps
from xeno.training.objectives import Dpo
from xeno.training.policy import Policy, Shortcuts
from xeno.training.rows import Cut, Row, collate
from xeno.versions.adapter import AdapterConfig

SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def _llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2))


def _qwen2() -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(Qwen2Config(**SIZES, num_key_value_heads=2))


def _gemma2() -> Any:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(**SIZES, num_key_value_heads=2, head_dim=8, final_logit_softcapping=2.0)
    return Gemma2ForCausalLM(config)


def _gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=1, eos_token_id=2))


def _bloom() -> Any:
    from transformers import BloomConfig, BloomForCausalLM

    return BloomForCausalLM(BloomConfig(vocab_size=97, hidden_size=32, n_layer=2, n_head=4))


ARCHITECTURES = {
    "llama": (_llama, ("q_proj", "v_proj"), 1, True),
    "qwen2": (_qwen2, ("q_proj", "o_proj"), 1, True),
    "gemma2": (_gemma2, ("q_proj", "v_proj"), 1, True),
    "gpt2": (_gpt2, ("c_attn",), 1, True),
    "bloom": (_bloom, ("query_key_value",), 2, True),
}


def random_rows(count: int, seed: int = 0, vocabulary: int = 97) -> list[Row]:
    """Rows of mixed lengths."""
    generator = torch.Generator().manual_seed(seed)

    def tokens(least: int, most: int) -> tuple[int, ...]:
        length = int(torch.randint(least, most + 1, (1,), generator=generator))
        return tuple(torch.randint(3, vocabulary, (length,), generator=generator).tolist())

    return [Row(f"p{i}", tokens(1, 14), tokens(1, 12), tokens(1, 12)) for i in range(count)]


def prepared(
    build: Callable[[], Any],
    modules: tuple[str, ...],
    *,
    private: bool = False,
    shortcuts: Shortcuts | None = None,
) -> tuple[Policy, Any]:
    """A random model with an adapter that already does something: B from N(0, 0.02^2)."""
    torch.manual_seed(0)
    model = build().eval().requires_grad_(False)
    policy = Policy(model, private=private, shortcuts=shortcuts)
    adapted = attach(model, AdapterConfig(rank=4, alpha=8.0, target_modules=modules), seed=0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    policy.adapted()
    return policy, adapted


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """The length of the difference over the length of what is wanted."""
    return float((found - wanted).detach().norm() / wanted.detach().norm())


def one_by_one(model: Any, rows: list[Row]) -> torch.Tensor:
    """Branch log-probabilities the plain way: each reply in a forward pass of its own."""
    sums = []
    for row in rows:
        for reply in (row.chosen, row.rejected):
            ids = torch.tensor([row.prompt + reply])
            logps = model(input_ids=ids).logits[0].log_softmax(-1)
            begin = len(row.prompt) - 1
            where = range(begin, begin + len(reply))
            sums.append(sum(logps[p, t] for p, t in zip(where, reply, strict=True)))
    return torch.stack(sums)


def test_a_row_restarts_positions_and_hides_the_chosen_reply_from_the_rejected_one() -> None:
    batch = collate([Row("p", (5, 6), (7, 8, 9), (10, 11)), Row("q", (5,), (7,), (8,))])
    assert batch.ids[0].tolist() == [5, 6, 7, 8, 9, 10, 11]
    assert batch.positions[0].tolist() == [0, 1, 2, 3, 4, 2, 3]
    sees = batch.mask[0, 0]
    assert sees[4].tolist() == [True, True, True, True, True, False, False]
    assert sees[5].tolist() == [True, True, False, False, False, True, False]
    assert sees[6].tolist() == [True, True, False, False, False, True, True]
    padding = batch.mask[1, 0, 3:, 3:]
    assert torch.equal(padding, torch.eye(4, dtype=torch.bool))
    assert not batch.mask[1, 0, :3, 3:].any()
    assert batch.targets.tolist() == [7, 8, 9, 10, 11, 7, 8]
    assert batch.columns.tolist() == [1, 2, 3, 1, 5, 0, 0]
    assert batch.branches.tolist() == [0, 0, 0, 1, 1, 2, 3]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_row_gives_the_losses_and_gradients_of_two_separate_sequences(name: str) -> None:
    build, modules, rows_per_pair, direct_head = ARCHITECTURES[name]
    policy, _ = prepared(build, modules)
    assert (policy.rows_per_pair, policy.direct_head) == (rows_per_pair, direct_head)
    rows = random_rows(6)
    batch = policy.collate(rows)
    reference = torch.linspace(-9, -4, 12)

    def gradients(logps: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        losses = Dpo("sigmoid", 0.3, sft_weight=0.5)(logps, reference, batch).loss
        return losses, list(torch.autograd.grad(losses.sum(), trainable(policy.model)))

    losses, found = gradients(policy.logps(batch))
    expected, wanted = gradients(one_by_one(policy.model, rows))
    assert relative(losses, expected) <= 1e-5
    assert max(map(relative, found, wanted)) <= 1e-5


@pytest.mark.parametrize("name", ["stories260K", "bitstories-3M"])
def test_a_row_is_exact_on_real_models(name: str, shared_models: Path) -> None:
    from xeno.models.loading import load_model

    policy, _ = prepared(
        lambda: load_model(inspect_base(shared_models / name), "float32"), ("q_proj", "v_proj")
    )
    assert (policy.rows_per_pair, policy.direct_head) == (1, True)
    # In double precision, so that only a real difference is left of eight layers of rounding.
    model = policy.model.double()
    rows = random_rows(4)
    found = torch.autograd.grad(policy.logps(policy.collate(rows)).sum(), trainable(model))
    wanted = torch.autograd.grad(one_by_one(model, rows).sum(), trainable(model))
    assert max(map(relative, found, wanted)) <= 1e-5


def test_a_sliding_window_shorter_than_a_row_makes_two_rows_of_it() -> None:
    policy, _ = prepared(_gemma2, ("q_proj",))
    policy.model.config.sliding_window = 30
    policy.use_for([Row("p", (1,) * 10, (2,) * 10, (3,) * 10)])
    assert policy.rows_per_pair == 1
    policy.use_for([Row("p", (1,) * 10, (2,) * 10, (3,) * 11)])
    assert policy.rows_per_pair == 2


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_tokenizer(inspect_base(make_llama(tmp_path_factory.mktemp("base"))))


def _pair(prompt: str, chosen: str, rejected: str) -> Pair:
    return new_pair(
        "u",
        [ChatMessage(role="user", content=prompt)],
        chosen,
        rejected,
        feedback_type="import",
        confidence=1.0,
        quality=1.0,
    )


def test_a_reply_ends_as_the_template_ends_a_turn_and_follows_the_prompt_of_the_chat(
    tokenizer: Any,
) -> None:
    pair = _pair("Tea?", "Yes.", "Certainly not.")
    row = encode_pair(tokenizer, pair, Fit(512))
    assert isinstance(row, Row)
    assert list(row.prompt) == encode_prompt(tokenizer, pair.prompt)
    assert tokenizer.decode(row.chosen) == "Yes.<|end|>"
    assert tokenizer.decode(row.rejected) == "Certainly not.<|end|>"
    assert row.cuts == ()


def test_a_long_prompt_loses_its_beginning_but_not_the_first_token_and_replies_stay_whole(
    tokenizer: Any,
) -> None:
    pair = _pair("word " * 100 + "end", "short", "a longer reply")
    whole = encode_pair(tokenizer, pair, Fit(4096))
    row = encode_pair(tokenizer, pair, Fit(100))
    assert isinstance(row, Row)
    assert isinstance(whole, Row)
    assert len(row.prompt) + len(row.rejected) == 100
    assert row.prompt[0] == tokenizer.bos_token_id
    assert row.prompt[1:] == whole.prompt[-len(row.prompt) + 1 :]
    assert row.cuts == (Cut("prompt", "left", len(whole.prompt) - len(row.prompt)),)
    assert (row.chosen, row.rejected) == (whole.chosen, whole.rejected)


def test_a_reply_that_does_not_fit_leaves_the_pair_out_and_says_why(tokenizer: Any) -> None:
    out = encode_pair(tokenizer, _pair("Tea?", "no", "x" * 200), Fit(128))
    assert isinstance(out, LeftOut)
    assert "201 tokens" in out.reason


def test_log_probabilities_are_summed_per_reply() -> None:
    batch = collate([Row("p", (1,), (2, 0), (1,))])
    logits = torch.zeros(3, 4)
    assert torch.allclose(
        branch_logps(logits, batch), torch.tensor([2.0, 1.0]) * -torch.tensor(4.0).log()
    )
