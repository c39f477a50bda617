"""The losses, margins and gradients of one row per unit against those of TRL's trainers.

The adapter is drawn so that it does something; the references are fixed numbers, the same for
both sides, except for KTO's, which follow from the base.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from test_rows import ARCHITECTURES, SIZES, prepared, random_rows, relative
from tiny_models import make_tokenizer

from xeno.training.adapters import switched_off, trainable
from xeno.training.kto import Kto, mismatched
from xeno.training.objectives import Dpo, Objective, RowLoss, Sft
from xeno.training.policy import Policy
from xeno.training.rows import Row

CONTEXT = 128
BETA = 0.2
CLOSE = 1e-5

# Ours, and TRL's names and settings. TRL's "aot" sorts the pairs of a batch; alone, a pair gets
# the conservative loss. Its "sft" is a mean over the tokens of a batch; alone, of its own reply.
BATCHED: dict[str, tuple[Dpo, dict[str, Any]]] = {
    "sigmoid": (Dpo("sigmoid", BETA), {"loss_types": ["sigmoid"]}),
    "robust": (Dpo("robust", BETA, 0.2), {"loss_types": ["robust"], "label_smoothing": 0.2}),
    "ipo": (Dpo("ipo", BETA), {"loss_types": ["ipo"]}),
    "hinge": (Dpo("hinge", BETA), {"loss_types": ["hinge"]}),
    "per token": (Dpo("sigmoid", BETA, per_token=True), {"loss_types": ["sigmoid_norm"]}),
}
ALONE: dict[str, tuple[Dpo, dict[str, Any]]] = {
    "conservative": (
        Dpo("conservative", BETA, 0.2),
        {"loss_types": ["aot"], "label_smoothing": 0.2},
    ),
    "with imitation": (
        Dpo("sigmoid", BETA, sft_weight=0.7),
        {"loss_types": ["sigmoid", "sft"], "loss_weights": [1.0, 0.7]},
    ),
}


def _mistral() -> Any:
    from transformers import MistralConfig, MistralForCausalLM

    return MistralForCausalLM(MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=8))


def _qwen3() -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(Qwen3Config(**SIZES, num_key_value_heads=2, head_dim=8))


MODELS: dict[str, tuple[Any, tuple[str, ...], int]] = {
    "llama": (ARCHITECTURES["llama"][0], ("q_proj", "v_proj", "down_proj"), 1),
    "qwen2": (ARCHITECTURES["qwen2"][0], ("q_proj", "o_proj"), 1),
    "qwen3": (_qwen3, ("k_proj", "v_proj"), 1),
    "gemma2": (ARCHITECTURES["gemma2"][0], ("q_proj", "v_proj"), 1),
    "gpt2": (ARCHITECTURES["gpt2"][0], ("c_attn", "c_fc"), 1),
    "mistral, whose window is shorter than the rows": (_mistral, ("q_proj", "v_proj"), 2),
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(folder)
    return AutoTokenizer.from_pretrained(str(folder), pad_token="</s>")


def _rows() -> list[Row]:
    """Mixed lengths, with a prompt that is empty and one that fills the context."""
    rows = random_rows(5, seed=3)
    assert len({row.tokens for row in rows}) > 3, "rows of one length would not test the padding"
    generator = torch.Generator().manual_seed(4)
    long = tuple(torch.randint(3, 97, (CONTEXT - 10,), generator=generator).tolist())
    return [
        *rows,
        Row("no prompt", (), (5, 6, 7), (8, 9, 10, 11)),
        Row("long prompt", long, long[:10], long[10:14]),
    ]


@contextmanager
def _set(trainer: Any, settings: dict[str, Any]) -> Iterator[None]:
    settings = {"loss_weights": [1.0] * len(settings["loss_types"]), **settings}
    before = {name: getattr(trainer, name) for name in settings}
    for name, value in settings.items():
        setattr(trainer, name, value)
    yield
    for name, value in before.items():
        setattr(trainer, name, value)


@pytest.mark.parametrize("name", MODELS)
def test_losses_margins_and_gradients_equal_those_of_trl(
    name: str, tokenizer: Any, tmp_path: Path
) -> None:
    build, modules, rows_per_pair = MODELS[name]
    policy, adapted = prepared(build, modules)
    rows = _rows()
    policy.use_for(rows)
    assert policy.rows_per_pair == rows_per_pair
    reference = torch.linspace(-9, -4, 2 * len(rows))
    examples = _pairs(rows, reference)
    weights = trainable(adapted)
    trainer = _dpo_trainer(adapted, tokenizer, tmp_path)

    for objective, settings in BATCHED.values():
        with _set(trainer, settings):
            found = _ours(policy, objective, rows, reference)
            _same_losses(trainer, found, examples)
            theirs = trainer.compute_loss(trainer.model, trainer.data_collator(examples))
            _same(found.loss.mean(), theirs, weights)

    rows, reference, examples = rows[:3], reference[:6], examples[:3]
    for objective, settings in ALONE.values():
        with _set(trainer, settings):
            found = _ours(policy, objective, rows, reference)
            _same_losses(trainer, found, examples)
            alone = [trainer.data_collator([example]) for example in examples]
            theirs = sum(trainer.compute_loss(trainer.model, inputs) for inputs in alone)
            _same(found.loss.sum(), theirs, weights)


def _ours(
    policy: Policy, objective: Objective, rows: Sequence[Row], reference: torch.Tensor
) -> RowLoss:
    batch = policy.collate(rows)
    return objective(policy.logps(batch), reference, batch)


def _same_losses(trainer: Any, found: RowLoss, examples: list[dict[str, Any]]) -> None:
    """The loss and the margin of each pair are what TRL says of it alone."""
    for loss, margin, example in zip(found.loss, found.margin, examples, strict=True):
        with torch.no_grad():
            theirs = trainer.compute_loss(trainer.model, trainer.data_collator([example]))
        assert abs(loss.item() - theirs.item()) <= CLOSE * max(1.0, abs(theirs.item()))
        mode = "train" if trainer.model.training else "eval"
        wanted = trainer._metrics[mode]["rewards/margins"][-1]
        assert abs(margin.item() - wanted) <= CLOSE * max(1.0, abs(wanted))


def _same(ours: torch.Tensor, theirs: torch.Tensor, weights: list[torch.nn.Parameter]) -> None:
    assert relative(ours, theirs) <= CLOSE
    found = torch.autograd.grad(ours, weights)
    wanted = torch.autograd.grad(theirs, weights)
    for mine, other in zip(found, wanted, strict=True):
        assert relative(mine, other) <= CLOSE


def test_kto_with_its_reference_point_equals_that_of_trl(tokenizer: Any, tmp_path: Path) -> None:
    build, modules, _ = MODELS["llama"]
    policy, adapted = prepared(build, modules)
    rows = _rated(random_rows(5, seed=5))
    weights = trainable(adapted)
    turned = mismatched(rows, CONTEXT)
    with torch.no_grad(), switched_off(policy.model):
        reference = policy.logps(policy.collate(rows))
        # As if the model had moved: by chance it has not, and a point of 0 would test nothing.
        reference_turned = policy.logps(policy.collate(turned))[::2] - 1.5
    kto = Kto(BETA, 1.5, 0.5, CONTEXT, estimate_kl=True)

    def mean_log_ratio(replies: Sequence[Row]) -> float:
        with torch.no_grad():
            now = policy.logps(policy.collate(replies))[::2]
        return float((now - reference_turned).mean())

    measured = kto.prepared(rows, mean_log_ratio)
    assert measured.kl == pytest.approx(1.5, abs=0.1)
    found = _ours(policy, measured, rows, reference)
    inputs = [
        {
            "prompt_ids": list(row.prompt),
            "completion_ids": list(row.chosen),
            "KL_completion_ids": list(other.chosen),
            "label": row.desirable,
            "ref_logps": float(ours),
            "ref_KL_logps": float(theirs),
        }
        for row, other, ours, theirs in zip(
            rows, turned, reference[::2], reference_turned, strict=True
        )
    ]
    trainer = _kto_trainer(adapted, tokenizer, tmp_path)
    theirs = trainer.compute_loss(trainer.model, trainer.data_collator(inputs))
    _same(found.loss.mean(), theirs, weights)


def test_sft_of_a_reply_equals_that_of_trl(tokenizer: Any, tmp_path: Path) -> None:
    build, modules, _ = MODELS["llama"]
    policy, adapted = prepared(build, modules)
    rows = _rated(random_rows(4, seed=6))
    weights = trainable(adapted)
    trainer = _sft_trainer(adapted, tokenizer, tmp_path)
    found = _ours(policy, Sft(), rows, torch.zeros(2 * len(rows)))
    for loss, row in zip(found.loss, rows, strict=True):
        ids = torch.tensor([row.prompt + row.chosen])
        labels = torch.tensor([(-100,) * len(row.prompt) + row.chosen])
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
        theirs = trainer.compute_loss(trainer.model, inputs)
        assert relative(loss, theirs) <= CLOSE
        wanted = torch.autograd.grad(theirs, weights)
        mine = torch.autograd.grad(loss, weights, retain_graph=True)
        for one, other in zip(mine, wanted, strict=True):
            assert relative(one, other) <= CLOSE


def _rated(rows: Sequence[Row]) -> list[Row]:
    """The chosen replies of `rows`, in turn good and bad."""
    return [
        Row(row.pair_id, row.prompt, row.chosen, (), desirable=number % 2 == 0)
        for number, row in enumerate(rows)
    ]


def _pairs(rows: Sequence[Row], reference: torch.Tensor) -> list[dict[str, Any]]:
    return [
        {
            "prompt_ids": list(row.prompt),
            "chosen_ids": list(row.chosen),
            "rejected_ids": list(row.rejected),
            "ref_chosen_logps": float(both[0]),
            "ref_rejected_logps": float(both[1]),
        }
        for row, both in zip(rows, reference.view(-1, 2), strict=True)
    ]


def _common(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "report_to": [],
        "max_length": None,
    }


def _dpo_trainer(adapted: Any, tokenizer: Any, folder: Path) -> Any:
    """TRL's trainer around the same adapter, with reference log-probabilities from outside."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    return DPOTrainer(
        model=adapted,
        args=DPOConfig(**_common(folder), beta=BETA, precompute_ref_log_probs=True),
        train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}] * 8),
        processing_class=tokenizer,
    )


def _kto_trainer(adapted: Any, tokenizer: Any, folder: Path) -> Any:
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    return KTOTrainer(
        model=adapted,
        args=KTOConfig(
            **_common(folder),
            beta=BETA,
            desirable_weight=1.5,
            undesirable_weight=0.5,
            precompute_ref_log_probs=True,
            per_device_train_batch_size=4,
        ),
        train_dataset=Dataset.from_list(
            [{"prompt": "a", "completion": "b", "label": n % 2 == 0} for n in range(8)]
        ),
        processing_class=tokenizer,
    )


def _sft_trainer(adapted: Any, tokenizer: Any, folder: Path) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(
        model=adapted,
        args=SFTConfig(**_common(folder)),
        train_dataset=Dataset.from_list([{"prompt": "a", "completion": "b"}] * 8),
        processing_class=tokenizer,
    )
