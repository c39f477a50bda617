"""The losses and gradients of one row per pair against those of TRL's DPO trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_rows import ARCHITECTURES, prepared, random_rows, relative
from tiny_models import make_tokenizer

from xeno.training.adapters import trainable
from xeno.training.rows import Row

BETA = 0.2


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(folder)
    return AutoTokenizer.from_pretrained(str(folder), pad_token="</s>")


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_losses_and_gradients_equal_those_of_trl(name: str, tokenizer: Any, tmp_path: Path) -> None:
    build, modules, _, _ = ARCHITECTURES[name]
    policy, adapted = prepared(build, modules)
    rows = random_rows(6, seed=3)
    assert len({row.tokens for row in rows}) > 3, "rows of one length would not test the padding"
    reference = torch.linspace(-9, -4, 12)

    batch = policy.collate(rows)
    assert batch.rows_per_pair == 1
    ours = Dpo("sigmoid", BETA)(policy.logps(batch), reference, batch).loss.mean()
    found = torch.autograd.grad(ours, trainable(adapted))

    trainer = _trl(adapted, tokenizer, tmp_path)
    inputs = trainer.data_collator(_examples(rows, reference))
    theirs = trainer.compute_loss(trainer.model, inputs)
    wanted = torch.autograd.grad(theirs, [p for p in adapted.parameters() if p.requires_grad])
    assert relative(ours, theirs) <= 1e-5
    assert max(map(relative, found, wanted)) <= 1e-5


def _examples(rows: list[Row], reference: torch.Tensor) -> list[dict[str, Any]]:
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


def _trl(adapted: Any, tokenizer: Any, folder: Path) -> Any:
    """TRL's trainer around the same adapter, with reference log-probabilities from outside."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    return DPOTrainer(
        model=adapted,
        args=DPOConfig(
            output_dir=str(folder),
            beta=BETA,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            report_to=[],
            precompute_ref_log_probs=True,
        ),
        train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}] * 8),
        processing_class=tokenizer,
    )
