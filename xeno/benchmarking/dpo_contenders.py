"""One contender of the DPO benchmark, in a process of its own:

    python -m xeno.benchmarking.dpo_contenders TASK     (a Task as JSON on stdin)

prints one Timing (or Curve) as JSON. Nothing of the others is imported.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xeno.benchmarking import dpo_material as material
from xeno.benchmarking.dpo_material import Example


@dataclass(frozen=True)
class Task:
    """What to train.

    Attributes:
        contender: "trl defaults", "trl tuned", "xeno", "xeno private" or "matrix rate".
        folder: of the model.
        pairs, data, seed: which pairs.
        batch: pairs per step; 0 leaves it to the contender.
        epochs: passes over the pairs, in their order.
        dtype: number format of the base's weights, where the contender does not choose itself.
        adapter: a file with the adapter to begin with.
    """

    contender: str
    folder: str
    pairs: int
    data: str | None
    threads: int
    batch: int = 0
    epochs: int = 1
    seed: int = 0
    dtype: str = "bfloat16"
    adapter: str | None = None

    def examples(self) -> list[Example]:
        return material.examples(self.pairs, Path(self.data) if self.data else None, self.seed)


@dataclass
class Timing:
    """What it took. Seconds of training are those of the steps alone; `before` is the time for
    the reference log-probabilities where they are computed ahead."""

    seconds: float
    before: float
    processor_seconds: float
    peak_memory: int
    pairs: int
    losses: list[float] = field(default_factory=list)


# XENO ------------------------------------------------------------------------------------


def xeno(task: Task, private: bool) -> Timing:
    """The engine as a run uses it: policy, adapter, learner, micro-batches."""
    import torch
    from transformers import AutoModelForCausalLM

    from xeno.privacy.noise import CipherStream
    from xeno.training.adapters import attach, trainable
    from xeno.training.learner import Learner, PlainLearner, PrivateLearner
    from xeno.training.measures import peak_memory
    from xeno.training.microbatches import Limits, micro_batches
    from xeno.training.objectives import Dpo
    from xeno.training.policy import Policy
    from xeno.training.rows import Row
    from xeno.versions.adapter import AdapterConfig

    models: Any = AutoModelForCausalLM
    model = models.from_pretrained(
        task.folder, dtype=getattr(torch, task.dtype), attn_implementation="sdpa"
    )
    model.eval().requires_grad_(False)
    policy = Policy(model, pad=2, private=private)
    config = AdapterConfig(
        rank=material.RANK, alpha=material.ALPHA, target_modules=material.MODULES
    )
    adapted = attach(model, config, task.seed)
    policy.adapted()
    batch_size = task.batch or 8

    def optimizer() -> torch.optim.Optimizer:
        return torch.optim.AdamW(trainable(adapted), lr=material.LEARNING_RATE, weight_decay=0.0)

    learner: Learner = (
        PrivateLearner(
            adapted,
            optimizer,
            noise_multiplier=1.0,
            max_grad_norm=1.0,
            expected_batch_size=batch_size,
            stream=CipherStream(),
        )
        if private
        else PlainLearner(adapted, optimizer(), norm_limit=1.0)
    )
    objective = Dpo("sigmoid", material.BETA)
    rows = [
        Row(str(i), each.prompt, each.chosen, each.rejected)
        for i, each in enumerate(task.examples())
    ]
    reference: dict[str, torch.Tensor] = {}
    begun = time.perf_counter()
    with torch.no_grad():
        for part in micro_batches(rows, Limits(batch_size)):
            logps = policy.logps(policy.collate(part)).view(-1, 2)
            reference |= {row.pair_id: both for row, both in zip(part, logps, strict=True)}
    before = time.perf_counter() - begun
    if task.adapter:  # the reference is the base, without it
        _load_adapter(adapted, task.adapter)
    losses = []
    begun, processor = time.perf_counter(), time.process_time()
    for _ in range(task.epochs):
        for start in range(0, len(rows), batch_size):
            batch, total = rows[start : start + batch_size], 0.0
            for part in micro_batches(batch, Limits(batch_size)):
                collated = policy.collate(part)
                known = torch.cat([reference[row.pair_id] for row in part])
                result = objective(policy.logps(collated), known, collated)
                learner.add(result.loss, [row.unit for row in part])
                total += float(result.loss.detach().sum())
            learner.step(len(batch), material.LEARNING_RATE)
            losses.append(total / len(batch))
    return Timing(
        time.perf_counter() - begun,
        before,
        time.process_time() - processor,
        peak_memory(),
        len(rows) * task.epochs,
        losses,
    )


# TRL -------------------------------------------------------------------------------------


def trl(task: Task, tuned: bool) -> Timing:
    """TRL's DPOTrainer: as it comes, with the same adapter, or with what makes it quickest here:
    weights in bfloat16, reference log-probabilities ahead, no checkpointing."""
    import datasets
    from peft import LoraConfig
    from torch.utils.data import SequentialSampler
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    from xeno.training.measures import peak_memory

    class InOrder(DPOTrainer):
        def _get_train_sampler(self, *_: Any) -> Any:
            return SequentialSampler(dataset)

    dataset = datasets.Dataset.from_list(
        [
            {
                "prompt": material.text(each.prompt),
                "chosen": material.text(each.chosen),
                "rejected": material.text(each.rejected),
            }
            for each in task.examples()
        ]
    )
    with tempfile.TemporaryDirectory() as output:
        options: dict[str, Any] = {
            "output_dir": output,
            "use_cpu": True,
            "report_to": [],
            "save_strategy": "no",
            "disable_tqdm": True,
            "beta": material.BETA,
            "num_train_epochs": task.epochs,
            "learning_rate": material.LEARNING_RATE,
            "lr_scheduler_type": "constant",
            "logging_steps": 1,
            "seed": task.seed,
        }
        if task.batch:
            options["per_device_train_batch_size"] = task.batch
        if tuned:
            options |= {
                "bf16": task.dtype == "bfloat16",
                "model_init_kwargs": {"dtype": task.dtype},
                "precompute_ref_log_probs": True,
                "gradient_checkpointing": False,
            }
        begun = time.perf_counter()
        trainer = InOrder(
            model=task.folder,
            args=DPOConfig(**options),
            train_dataset=dataset,
            peft_config=LoraConfig(
                r=material.RANK,
                lora_alpha=int(material.ALPHA),
                target_modules=list(material.MODULES),
                lora_dropout=0.0,
                task_type="CAUSAL_LM",
            ),
        )
        before = time.perf_counter() - begun
        if task.adapter:
            _load_adapter(trainer.model, task.adapter)
        begun, processor = time.perf_counter(), time.process_time()
        trainer.train()
        return Timing(
            time.perf_counter() - begun,
            before if tuned else 0.0,
            time.process_time() - processor,
            peak_memory(),
            len(dataset) * task.epochs,
            [float(each["loss"]) for each in trainer.state.log_history if "loss" in each],
        )


def _load_adapter(model: Any, file: str) -> None:
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(file))


# The machine -----------------------------------------------------------------------------

_TOKENS = 1024


def matrix_rate(task: Task) -> float:
    """Operations per second of this machine's bfloat16 products on the matrices of this model,
    each shape weighted by its share in a training step; forward and gradient, best of several.
    """
    import torch

    from xeno.training.head import CHUNK

    narrow = material.KEY_HEADS * material.HEAD_WIDTH
    hidden, layers = material.HIDDEN, material.LAYERS
    # (tokens, in, out, how often it is computed for _TOKENS tokens)
    shapes = [
        (_TOKENS, hidden, hidden, 2 * layers),
        (_TOKENS, hidden, narrow, 2 * layers),
        (_TOKENS, hidden, material.MLP, 2 * layers),
        (_TOKENS, material.MLP, hidden, layers),
        (CHUNK, hidden, material.VOCABULARY, _TOKENS // CHUNK),
    ]
    operations = seconds = 0.0
    with torch.inference_mode():
        for tokens, into, out, times in shapes:
            x, y = torch.randn(tokens, into).bfloat16(), torch.randn(tokens, out).bfloat16()
            weight = torch.randn(out, into).bfloat16()
            for left, right in ((x, weight.T), (y, weight)):
                taken = []
                for _ in range(12):
                    begun = time.perf_counter()
                    torch.mm(left, right)
                    taken.append(time.perf_counter() - begun)
                seconds += times * min(taken)
                operations += times * 2.0 * tokens * into * out
    return operations / seconds


def main() -> None:
    """Do the task on stdin."""
    task = Task(**json.load(sys.stdin))
    with contextlib.redirect_stdout(sys.stderr):  # the libraries print
        import torch

        torch.set_num_threads(task.threads)
        torch.manual_seed(task.seed)
        result: Any
        match task.contender:
            case "matrix rate":
                result = {"rate": matrix_rate(task)}
            case "trl defaults" | "trl tuned":
                result = asdict(trl(task, tuned=task.contender == "trl tuned"))
            case _:
                result = asdict(xeno(task, private=task.contender == "xeno private"))
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
