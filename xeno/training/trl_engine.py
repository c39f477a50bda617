"""The same plan on TRL's DPOTrainer: a check of our own engine, and a way to its other losses.

The adapter, the pairs, their order, the optimizer and the learning rates are the plan's; losses,
reference and gradients are TRL's. Differences: a whole batch is computed at once, pairs weigh
the same, and the imitation term is a mean over the tokens of a batch.

TRL is kept from the network and from the disk: the pairs are token ids in memory, nothing is
cached, saved or reported, and its output folder is an empty temporary one. Written for TRL 1.16.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from xeno.events import Evaluated, Event, LogLine, Progress, StopTraining
from xeno.models.loading import quiet
from xeno.training.batches import passes
from xeno.training.compute import dtype_name
from xeno.training.encoding import StageRows
from xeno.training.eta import TimeLeft
from xeno.training.gauges import Gauges
from xeno.training.invariants import require_change, require_finite, require_gradients, weights
from xeno.training.loop import Outcome
from xeno.training.loss import mean_logps, preferred
from xeno.training.measures import peak_memory, shorter
from xeno.training.microbatches import Limits, micro_batches
from xeno.training.optimizers import build, set_rate
from xeno.training.plan import TrainingPlan
from xeno.training.policy import Policy
from xeno.training.rows import Row
from xeno.training.stopping import Stopped, Stopping

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase


def train_with_trl(
    run_id: str,
    stage: StageRows,
    policy: Policy,
    adapted: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    emit: Callable[[Event], None],
    stopping: Stopping,
) -> Outcome:
    """Take the steps of `stage`; stops and the time limit are obeyed after each.

    Raises:
        XenoError: if a gradient is not finite, or the first step changes nothing.
    """
    if any(row.weight != 1.0 for row in stage.rows):
        emit(LogLine(level="warning", text="TRL weighs all pairs the same."))
    if stage.plan.micro_batch_size < stage.recipe.batch_size:
        emit(LogLine(text="TRL computes a whole batch at once, whatever the micro batch."))
    observer = _Observer(run_id, stage, policy, emit, stopping)
    with tempfile.TemporaryDirectory(prefix="xeno-trl-") as folder, quiet():
        trainer = _trainer(stage, policy, adapted, tokenizer, folder, observer)
        trainer.train()
    adapted.eval()
    dtype = dtype_name(policy.model)
    return Outcome(observer.steps, observer.order, observer.metrics(), dtype)


def losses_of(plan: TrainingPlan, sft_weight: float) -> tuple[list[str], list[float]]:
    """TRL's names of the plan's loss terms, and their weights."""
    name = plan.loss if plan.trl_loss == "as_planned" else plan.trl_loss
    return ([name, "sft"], [1.0, sft_weight]) if sft_weight else ([name], [1.0])


def _trainer(
    stage: StageRows,
    policy: Policy,
    adapted: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: str,
    observer: _Observer,
) -> Any:
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    plan, recipe = stage.plan, stage.recipe
    steps, size = recipe.steps, int(recipe.batch_size)
    batches = list(passes(stage.rows, plan, size, steps, partial(_ease, policy)))
    order = {row.pair_id: number for number, row in enumerate(stage.rows)}

    class Trainer(DPOTrainer):
        """With our batches, and without what writes or calls home."""

        def get_train_dataloader(self) -> Any:
            indices = [[order[row.pair_id] for row in batch] for batch in batches]
            pairs: Any = self.train_dataset
            return torch.utils.data.DataLoader(
                pairs, batch_sampler=indices, collate_fn=self.data_collator
            )

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset  # token ids already

        def _send_telemetry(self) -> None:
            pass

    class Callback(TrainerCallback):
        """Passes TRL's numbers on, and our stop to it; holds its steps to what must be true."""

        before: list[torch.Tensor] | None = None  # until a step was seen to change the adapter

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                observer.progress(state.global_step, logs)

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.before = weights(adapted)

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            require_gradients(adapted, state.global_step + 1)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            observer.steps = state.global_step
            require_finite(adapted, state.global_step)
            if self.before is not None and recipe.schedule.rate(state.global_step - 1) > 0:
                require_change(adapted, self.before)
                self.before = None
            if observer.stopped():
                control.should_training_stop = True

        def on_evaluate(
            self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any
        ) -> None:
            observer.evaluated(state.global_step, metrics or {})
            if observer.stopped():
                control.should_training_stop = True

    loss_type, loss_weights = losses_of(plan, recipe.sft_weight)
    arguments = DPOConfig(
        output_dir=folder,
        loss_type=loss_type,
        loss_weights=loss_weights,
        beta=plan.beta,
        label_smoothing=plan.label_smoothing,
        max_length=None,  # the rows are of the right length already
        max_steps=steps,
        per_device_train_batch_size=size,
        per_device_eval_batch_size=size,
        max_grad_norm=plan.gradient_norm_limit,
        seed=plan.seed,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=adapted.device.type == "cpu",
        eval_strategy="steps" if stage.measured else "no",
        eval_steps=max(1, -(-steps // plan.evaluations)),
        eval_on_start=bool(stage.measured) and plan.evaluate_first,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    optimizer = build(plan, adapted)
    set_rate(optimizer, 1.0)
    trainer = Trainer(
        model=adapted,
        args=arguments,
        train_dataset=Dataset.from_list([_example(row) for row in stage.rows]),
        eval_dataset=Dataset.from_list([_example(row) for row in stage.measured])
        if stage.measured
        else None,
        processing_class=tokenizer,
        callbacks=[Callback()],
        optimizers=(
            optimizer,
            torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda taken: recipe.schedule.rate(min(taken, steps - 1))
            ),
        ),
    )
    trainer.remove_callback(PrinterCallback)  # standard output is the program's channel
    return trainer


class _Observer:
    """Turns TRL's numbers into the run's events, and remembers what the outcome needs."""

    def __init__(
        self,
        run_id: str,
        stage: StageRows,
        policy: Policy,
        emit: Callable[[Event], None],
        stopping: Stopping,
    ) -> None:
        self.steps = 0
        self.order: StopTraining | None = None
        self._run_id = run_id
        self._stage = stage
        self._policy = policy
        self._emit = emit
        self._stopping = stopping
        self._gauges = Gauges(stage.plan.device)
        self._time_left = TimeLeft(stage.recipe.steps)
        self._last = time.monotonic()
        self._seconds = 0.0
        self._measured: list[Evaluated] = []

    def stopped(self) -> bool:
        """Whether the run is to end now."""
        if self.order is None:
            try:
                self._stopping.obey()
            except Stopped as stopped:
                self.order = stopped.order
                if self._stopping.timed_out:
                    self._emit(LogLine(text="The time limit is reached."))
        return self.order is not None

    def progress(self, step: int, logs: dict[str, float]) -> None:
        """The accuracy that TRL logs is of rewards, not of log-probabilities: it has no place."""
        now = time.monotonic()
        self._time_left.step(now - self._last)
        self._seconds += now - self._last
        self._last = now
        machine = self._gauges.read()
        self._emit(
            Progress(
                run_id=self._run_id,
                step=step,
                steps=self._stage.recipe.steps,
                loss=logs["loss"],
                reward_margin=logs.get("rewards/margins"),
                preference_accuracy=None,
                learning_rate=logs.get("learning_rate", 0.0),
                gradient_norm=logs.get("grad_norm"),
                pairs_per_second=self._pairs_per_second(step),
                memory_bytes=machine.memory_bytes,
                memory_of=machine.memory_of,
                processor_share=machine.processor_share,
                temperature=machine.temperature,
                eta_seconds=self._time_left.seconds(self._stage.recipe.steps - step, {}),
            )
        )

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        """TRL's loss and margin on the held-out pairs; the accuracy as everywhere else."""
        held_out = self._stage.measured
        baseline = sum(shorter(row) for row in held_out) / len(held_out)
        event = Evaluated(
            run_id=self._run_id,
            step=step,
            preference_accuracy=_accuracy(self._policy, held_out),
            loss=metrics.get("eval_loss"),
            reward_margin=metrics.get("eval_rewards/margins"),
            shorter_baseline=baseline,
            longer_baseline=1 - baseline,
        )
        self._measured.append(event)
        self._emit(event)
        self._last = time.monotonic()

    def metrics(self) -> dict[str, float | None]:
        first = self._measured[0] if self._measured else None
        last = self._measured[-1] if self._measured else None
        known = last is not None and last.step == self.steps
        return {
            "steps": self.steps,
            "heldout_preference_accuracy_before": first.preference_accuracy
            if first and first.step == 0
            else None,
            "heldout_loss_before": first.loss if first and first.step == 0 else None,
            "released_step": self.steps,
            "final_step": self.steps,
            "heldout_preference_accuracy": last.preference_accuracy if last and known else None,
            "heldout_loss": last.loss if last and known else None,
            "heldout_reward_margin": last.reward_margin if last and known else None,
            "final_preference_accuracy": last.preference_accuracy if last and known else None,
            "final_loss": last.loss if last and known else None,
            "shorter_baseline": last.shorter_baseline if last else None,
            "longer_baseline": last.longer_baseline if last else None,
            "pairs_per_second": self._pairs_per_second(self.steps),
            "peak_memory_bytes": peak_memory(),
        }

    def _pairs_per_second(self, step: int) -> float:
        return step * self._stage.recipe.batch_size / self._seconds if self._seconds else 0.0


def _accuracy(policy: Policy, rows: Sequence[Row]) -> float:
    """The share of pairs whose chosen reply has the higher log-probability per token."""
    means = torch.cat([_means(policy, part) for part in micro_batches(rows, Limits(8))])
    return float(preferred(means[:, 0], means[:, 1]).mean())


def _ease(policy: Policy, row: Row) -> float:
    """By how much the base prefers the chosen reply, per token."""
    chosen, rejected = _means(policy, [row])[0].tolist()
    return float(chosen - rejected)


@torch.no_grad()
def _means(policy: Policy, rows: Sequence[Row]) -> torch.Tensor:
    batch = policy.collate(rows)
    return mean_logps(policy.logps(batch), batch)


def _example(row: Row) -> dict[str, list[int]]:
    return {
        "prompt_ids": list(row.prompt),
        "chosen_ids": list(row.chosen),
        "rejected_ids": list(row.rejected),
    }
