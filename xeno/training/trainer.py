"""A training run from beginning to end: pairs, base, adapter, steps, measures, version.

    pairs -> rows -> reference log-probabilities -> steps -> held-out pairs -> ledger -> version

A run has one stage, or two on the same adapter (`xeno.training.stages`). Runs in the trainer
child. The run's row, its events and its outcome are kept in the profile.
What differential privacy covers is the version's adapter. The losses and accuracies that are
shown and kept with the run are computed from the pairs as they are, and so is a user's decision
to stop early: they stay on this machine, and a record that is exported leaves them out.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil
import torch

from xeno.errors import InvalidValueError, XenoError
from xeno.events import Event, Failure, LogLine, RunFinished, RunStarted, StopTraining
from xeno.models.base import BaseModel, inspect_base
from xeno.models.chat import load_tokenizer
from xeno.models.four_bit import FourBit
from xeno.models.loading import Dtype, load_model
from xeno.privacy.noise import CipherStream
from xeno.privacy.rdp import Mechanism
from xeno.store.runs import Run, Runs
from xeno.training import timing
from xeno.training.adapters import attach, extract
from xeno.training.attempt import Attempt
from xeno.training.checkpoint import Checkpoint, Checkpoints, Finished, sweep
from xeno.training.compute import described, dtype_name, memory, passed_over, set_up, shortcuts
from xeno.training.dataset import Unit, data_hash
from xeno.training.encoding import StageRows, encode_stage
from xeno.training.environment import environment
from xeno.training.guards import Guards, Readings
from xeno.training.journal import Journal
from xeno.training.keep_awake import kept_awake
from xeno.training.learner import Learner, PlainLearner, PrivateLearner
from xeno.training.loop import Loop, Outcome, Work
from xeno.training.memory import remember_libraries
from xeno.training.methods import objective_for
from xeno.training.modules import layers
from xeno.training.optimizers import build
from xeno.training.plan import TrainingPlan
from xeno.training.policy import Policy
from xeno.training.quantisation import Choice, choose, settled
from xeno.training.recovery import is_memory, memory_full
from xeno.training.resume import origin, processor, same_data
from xeno.training.samples import Samples
from xeno.training.settings.evaluation import sample_prompts
from xeno.training.spending import granted_noise, spend
from xeno.training.stages import StageData, stage_data, too_few
from xeno.training.stopping import Stopping
from xeno.versions.content import content_address
from xeno.versions.registry import Manifest, Registry

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from xeno.store.profile import Profile

Emit = Callable[[Event], None]
Stop = Callable[[], StopTraining | None]


def train(
    profile: Profile, run_id: str, emit: Emit, stop: Stop, readings: Readings | None = None
) -> RunFinished:
    """Train the run `run_id` of `profile`, from its newest checkpoint where there is one.

    Every event passed to `emit` is kept with the run, and so is the returned RunFinished, which
    the caller passes on.

    Args:
        stop: asked between micro-batches and at every layer; a StopTraining ends the run there.
        readings: what the guards read; the machine's own by default.

    Raises:
        XenoError: if the run cannot be carried out; its row then says "failed" and why.
    """
    runs = Runs(profile.db)
    run = runs.get(run_id)
    journal = Journal(runs, run_id, emit)
    begun = time.monotonic()
    runs.start(run_id, os.getpid())
    try:
        try:
            with kept_awake(run.plan.keep_awake):
                finished = _Training(profile, run, journal, stop, readings).carry_out(begun)
        except (MemoryError, RuntimeError) as error:
            if not is_memory(error):
                raise
            raise memory_full(error) from error
    except XenoError as error:
        failure = Failure.of(error)
        runs.finish(run_id, "failed", failure=failure)
        raise
    finally:
        sweep(profile)
    runs.append_event(run_id, finished)
    return finished


class _Training:
    """The parts of one run, in the order in which they are made."""

    def __init__(
        self,
        profile: Profile,
        run: Run,
        journal: Journal,
        stop: Stop,
        readings: Readings | None,
    ) -> None:
        self.profile = profile
        self.run = run
        self.plan: TrainingPlan = run.plan
        self.runs = Runs(profile.db)
        self.journal = journal
        self.emit: Emit = journal.note
        self.stop = stop
        self.readings = readings
        self.checkpoints = Checkpoints(profile, run.id, run.plan.checkpoints_kept)

    def carry_out(self, begun: float) -> RunFinished:
        plan = self.plan
        saved = self.checkpoints.latest()
        torch.manual_seed(plan.seed)
        base = inspect_base(Path(plan.base), self.profile.home)
        device, dtype = set_up(plan, base)
        if saved is not None:
            # It computes as it began, also where a probe would choose otherwise by now.
            dtype = saved.origin.dtype
            torch.set_num_threads(saved.origin.threads)
            choice = Choice(saved.origin.quantisation, "")
        else:
            choice = choose(plan, base, device.type, memory(device))
        chosen = settled(plan, choice.quantisation, device.type)
        data = same_data(self.profile, chosen, saved.origin) if saved else self._data(chosen)
        units = [unit for stage in data for unit in stage.units]
        surroundings = environment(dtype, choice.quantisation)
        self.runs.describe(self.run.id, base.base_hash, data_hash(units), surroundings)
        tokenizer = load_tokenizer(base)
        limit = min(base.context, plan.max_length)
        stages = [encode_stage(tokenizer, stage, base.shapes, limit) for stage in data]
        sigmas = (
            granted_noise(self.profile, self.run, stages, saved)
            if plan.private
            else [0.0] * len(stages)
        )
        said = (note for stage in stages for note in stage.notes())
        for note in (*base.notes, *said, choice.reason, passed_over(device)):
            if note:
                self.emit(LogLine(text=note))

        remember_libraries(self.profile.home, psutil.Process().memory_info().rss)
        policy, adapted = self._adapted(base, device, dtype, choice, stages, tokenizer)
        if plan.engine == "xeno":
            self.emit(LogLine(text=described(policy)))
        circumstances = surroundings | {"device": device.type, "processor": processor()}
        now = origin(plan, base.base_hash, data, stages, circumstances, sigmas)
        planned = [stage.recipe.steps for stage in stages]
        attempt = Attempt(
            self.runs,
            self.run.id,
            self.checkpoints,
            now,
            planned,
            [stage.recipe.sample_rate for stage in stages],
            saved,
            private=plan.private,
        )
        attempt.tell(self.emit)
        steps = sum(planned)
        self.emit(
            RunStarted(
                run_id=self.run.id,
                pairs_training=sum(len(stage.rows) for stage in stages),
                pairs_heldout=sum(len(stage.measured) for stage in stages),
                pairs_left_out=sum(len(stage.left_out) for stage in stages),
                steps=steps,
                dtype=dtype,
                threads=torch.get_num_threads(),
                private=plan.private,
                resumed_at=saved.at if saved else 0,
            )
        )
        samples = None
        if sample_prompts(plan) and not plan.trial:
            samples = Samples(plan, policy.model, tokenizer, base.context)
        ready = time.monotonic() - begun
        if plan.engine == "trl":
            outcomes = [self._with_trl(stages[0], policy, adapted, tokenizer)]
        else:
            outcomes = self._steps(stages, sigmas, attempt, policy, adapted, limit, samples)
        taken = sum(each.steps for each in outcomes)
        if taken == steps and saved is None and plan.engine == "xeno":
            parts = [timing.work(stage.plan, stage.recipe, *_tokens(stage)) for stage in stages]
            form = timing.form(device.type, dtype, choice.quantisation)
            timing.remember(base, form, timing.total(parts), ready, time.monotonic() - begun)
        return self._release(base, stages, sigmas, attempt, adapted, outcomes, units, begun)

    def _release(
        self,
        base: BaseModel,
        stages: list[StageRows],
        sigmas: Sequence[float],
        attempt: Attempt,
        adapted: PeftModel,
        outcomes: list[Outcome],
        units: Sequence[Unit],
        begun: float,
    ) -> RunFinished:
        """The end of the run: the ledger's entries, then the version; or nothing, where it is
        not wanted."""
        plan, outcome = self.plan, outcomes[-1]
        taken = sum(each.steps for each in outcomes)
        metrics = _metrics(stages, outcomes) | {"seconds": time.monotonic() - begun}
        details = {
            "pairs_left_out": [
                {"pair": out.pair_id, "reason": out.reason}
                for stage in stages
                for out in stage.left_out
            ],
            "cuts": [cut for stage in stages for cut in stage.cuts()],
        }
        order = outcome.stop or self.stop()  # it may have come after the last step
        unwanted = order is not None and (not order.keep or taken == 0)
        if unwanted or plan.trial:
            # Nothing leaves the run, so nothing of the budget is spent.
            self.runs.finish(self.run.id, "discarded", metrics=metrics | details)
            return RunFinished(
                run_id=self.run.id, status="discarded", seconds=time.monotonic() - begun
            )
        tensors = extract(adapted)
        # Every noisy step counts, also where the adapter of an earlier one is released.
        mechanisms = [
            Mechanism(sample_rate=stage.recipe.sample_rate, noise_multiplier=sigma, steps=noisy)
            for stage, sigma, noisy in zip(stages, sigmas, attempt.noisy_steps(), strict=True)
            if plan.private and noisy
        ]
        adapter = stages[0].recipe.adapter
        address = content_address(tensors, adapter, base.base_hash)
        epsilon, mechanism = None, None
        if plan.private:
            epsilon, mechanism = spend(self.profile, self.run, stages, mechanisms, address)
        manifest = Manifest(
            address=address,
            base_hash=base.base_hash,
            base_name=base.name,
            adapter=adapter,
            run_id=self.run.id,
            plan=plan,
            seed=plan.seed,
            data_hash=data_hash(units),
            pair_ids=tuple(dict.fromkeys(row.pair_id for stage in stages for row in stage.rows)),
            metrics=metrics,
            private=plan.private,
            epsilon=epsilon,
            delta=plan.delta if plan.private else None,
            unit=plan.privacy_unit if plan.private else None,
            mechanism=mechanism,
            environment=environment(str(outcome.dtype), stages[0].plan.quantisation),
            created=time.time(),
        )
        status: Literal["completed", "stopped"] = "completed" if outcome.stop is None else "stopped"
        with self.profile.db.transaction():  # the version and the end of its run, or neither
            version = Registry(self.profile).release(tensors, manifest)
            self.runs.finish(
                self.run.id, status, metrics=metrics | details, version=version.address
            )
        return RunFinished(
            run_id=self.run.id,
            status=status,
            version=version.address,
            number=version.number,
            epsilon=version.manifest.epsilon,
            seconds=time.monotonic() - begun,
        )

    def _data(self, plan: TrainingPlan) -> list[StageData]:
        """What each stage of `plan` learns from; an error where that is too little."""
        if reasons := plan.contradictions():
            raise InvalidValueError(
                "These settings do not go together.", " ".join(reasons), "Change one of them."
            )
        data = stage_data(self.profile, plan)
        for stage in data:
            if error := too_few(stage, plan.force):
                raise error
        return data

    def _adapted(
        self,
        base: BaseModel,
        device: torch.device,
        dtype: Dtype,
        choice: Choice,
        stages: list[StageRows],
        tokenizer: PreTrainedTokenizerBase,
    ) -> tuple[Policy, PeftModel]:
        """The base in memory with its adapter. The order matters: base, adapter in training
        mode, then hooks, and the optimizer last."""
        plan = self.plan
        packed = choice.quantisation == "nf4"
        four_bit = FourBit(device.type, plan.double_quantisation) if packed else None
        model: Any = load_model(base, dtype, four_bit)
        policy = Policy(
            model.to(device),
            tokenizer.pad_token_id or 0,
            private=plan.private,
            shortcuts=shortcuts(plan),
        )
        policy.use_for([row for stage in stages for row in stage.rows + stage.measured])
        adapted = attach(
            policy.model,
            stages[0].recipe.adapter,
            plan.seed if plan.lora_seed is None else plan.lora_seed,
            blocks=layers(base.shapes, plan),
            dropout=plan.lora_dropout,
            init=plan.lora_init,
        )
        policy.adapted()
        return policy, adapted

    def _steps(
        self,
        stages: list[StageRows],
        sigmas: Sequence[float],
        attempt: Attempt,
        policy: Policy,
        adapted: PeftModel,
        limit: int,
        samples: Samples | None,
    ) -> list[Outcome]:
        """The steps of each stage, up to the one in which the run is stopped."""
        finished = list(attempt.finished)
        dtype = dtype_name(policy.model)
        outcomes = [Outcome(each.steps, None, each.metrics, dtype) for each in finished]
        stopping, guards = self._watch(attempt.saved)
        stopping.watch(policy.model)
        kills = sum(each.memory for each in self.runs.kills(self.run.id))
        for number in range(len(finished), len(stages)):
            stage, noise = stages[number], attempt.noise[number]
            learner = self._learner(adapted, stage, sigmas[number], noise.noise)
            done = sum(each.recipe.steps for each in stages[:number])
            work = Work(
                policy,
                learner,
                objective_for(stage.name, stage.plan, stage.recipe.sft_weight, limit),
                stage.rows,
                stage.measured,
                noise,
                samples,
                kills=kills,
                steps_before=done,
                steps_after=sum(each.recipe.steps for each in stages[number + 1 :]),
            )

            loop = Loop(
                self.run.id,
                stage.plan,
                stage.recipe,
                work,
                self.emit,
                stopping,
                guards,
                attempt.keeper(finished, done),
                attempt.of_stage(number),
            )
            outcomes.append(loop.run())
            learner.close()
            if outcomes[-1].stop is not None:
                break
            finished.append(Finished(steps=outcomes[-1].steps, metrics=outcomes[-1].metrics))
        return outcomes

    def _watch(self, saved: Checkpoint | None) -> tuple[Stopping, Guards]:
        minutes = self.plan.time_limit_minutes
        spent = saved.state.spent if saved else 0.0
        stopping = Stopping(self.stop, None if minutes is None else 60 * minutes, spent)
        guards = Guards(
            self.run.id,
            self.plan,
            self.profile.paths.folder,
            self.emit,
            stopping.obey,
            stopping.pause,
            self.journal.flush,
            self.readings,
        )
        return stopping, guards

    def _with_trl(
        self,
        stage: StageRows,
        policy: Policy,
        adapted: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
    ) -> Outcome:
        from xeno.training.trl_engine import train_with_trl  # datasets, accelerate, trl

        stopping, _ = self._watch(None)
        return train_with_trl(self.run.id, stage, policy, adapted, tokenizer, self.emit, stopping)

    def _learner(
        self, adapted: PeftModel, stage: StageRows, sigma: float, stream: CipherStream
    ) -> Learner:
        if not self.plan.private:
            optimizer = build(stage.plan, adapted, adapted.device.type)
            return PlainLearner(adapted, optimizer, self.plan.gradient_norm_limit)
        return PrivateLearner(
            adapted,
            lambda: build(stage.plan, adapted, adapted.device.type),
            noise_multiplier=sigma,
            max_grad_norm=self.plan.max_grad_norm,
            expected_batch_size=stage.recipe.batch_size,
            stream=stream,
        )


def _metrics(stages: list[StageRows], outcomes: list[Outcome]) -> dict[str, float | None]:
    """Those of the last stage, with the counts of all; an earlier one's under its own name."""
    metrics: dict[str, float | None] = dict(outcomes[-1].metrics)
    for stage, outcome in zip(stages, outcomes[:-1], strict=False):
        metrics |= {f"{stage.name}_{name}": value for name, value in outcome.metrics.items()}
    rows = [row for stage in stages for row in stage.rows + stage.measured]
    return metrics | {
        "steps": sum(outcome.steps for outcome in outcomes),
        "pairs_training": sum(len(stage.rows) for stage in stages),
        "pairs_heldout": sum(len(stage.measured) for stage in stages),
        "left_out": sum(len(stage.left_out) for stage in stages),
        "prompt_shortened": sum(any(c.part == "prompt" for c in row.cuts) for row in rows),
        "replies_shortened": sum(any(c.part != "prompt" for c in row.cuts) for row in rows),
        "trainable": stages[0].recipe.trainable,
    }


def _tokens(stage: StageRows) -> tuple[float, int, int]:
    """Tokens of a row on average, rows to train on and rows to measure on."""
    tokens = statistics.fmean(row.tokens for row in stage.rows + stage.measured)
    return tokens, len(stage.rows), len(stage.measured)
