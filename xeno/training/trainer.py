"""A training run from beginning to end: pairs, base, adapter, steps, measures, version.

    pairs -> rows -> reference log-probabilities -> steps -> held-out pairs -> ledger -> version

Runs in the trainer child. The run's row, its events and its outcome are kept in the profile.
What differential privacy covers is the version's adapter. The losses and accuracies that are
shown and kept with the run are computed from the pairs as they are, and so is a user's decision
to stop early: they stay on this machine.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from xeno.errors import BudgetError, InvalidValueError, XenoError
from xeno.events import Event, Failure, LogLine, RunFinished, RunStarted, StopTraining
from xeno.models.base import BaseModel, inspect_base
from xeno.models.chat import load_tokenizer
from xeno.models.loading import choose_dtype, load_model
from xeno.privacy.accountant import calibrate, proved_epsilon
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.noise import CipherStream
from xeno.privacy.rdp import Mechanism
from xeno.store.runs import Run, Runs
from xeno.training.adapters import attach, extract
from xeno.training.dataset import data_hash, split_for, training_pairs
from xeno.training.learner import Learner, PlainLearner, PrivateLearner
from xeno.training.loop import Loop, Outcome
from xeno.training.optimizers import build
from xeno.training.plan import MINIMUM_PAIRS, TrainingPlan
from xeno.training.policy import Policy
from xeno.training.recipe import Recipe, resolve
from xeno.training.rows import LeftOut, Row, encode_pair
from xeno.training.samples import Samples
from xeno.training.selection import select
from xeno.training.settings.evaluation import sample_prompts
from xeno.versions.content import content_address
from xeno.versions.registry import Manifest, Registry

if TYPE_CHECKING:
    from xeno.store.pairs import Pair
    from xeno.store.profile import Profile

Emit = Callable[[Event], None]
Stop = Callable[[], StopTraining | None]

_LIBRARIES = ("torch", "transformers", "peft", "opacus")
_NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


def train(profile: Profile, run_id: str, emit: Emit, stop: Stop) -> RunFinished:
    """Train the run `run_id` of `profile`.

    Every event passed to `emit` is kept with the run, and so is the returned RunFinished, which
    the caller passes on.

    Args:
        stop: asked between micro-batches; a StopTraining ends the run there.

    Raises:
        XenoError: if the run cannot be carried out; its row then says "failed" and why.
    """
    runs = Runs(profile.db)
    run = runs.get(run_id)

    def note(event: Event) -> None:
        runs.append_event(run_id, event)
        emit(event)

    begun = time.monotonic()
    runs.start(run_id, os.getpid())
    try:
        try:
            finished = _Training(profile, run, note, stop).carry_out(begun)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not _is_memory(error):
                raise
            raise XenoError(
                "Training needs more memory than there is.",
                f"It stopped at a request for more ({str(error).splitlines()[0][:200]})."
                if str(error)
                else "It stopped at a request for more.",
                "Set a smaller micro batch or a shorter longest text, or choose a smaller base.",
            ) from error
    except XenoError as error:
        failure = Failure(what=error.what, why=error.why, todo=error.todo)
        runs.finish(run_id, "failed", failure=failure)
        raise
    runs.append_event(run_id, finished)
    return finished


class _Training:
    """The parts of one run, in the order in which they are made."""

    def __init__(self, profile: Profile, run: Run, emit: Emit, stop: Stop) -> None:
        self.profile = profile
        self.run = run
        self.plan: TrainingPlan = run.plan
        self.runs = Runs(profile.db)
        self.emit = emit
        self.stop = stop

    def carry_out(self, begun: float) -> RunFinished:
        plan = self.plan
        torch.set_num_threads(threads(plan))
        torch.manual_seed(plan.seed)
        base = inspect_base(Path(plan.base), self.profile.home)
        pairs = self._pairs()
        training, held_out = split_for(plan, pairs)
        dtype = choose_dtype(base, plan.dtype)
        self.runs.describe(self.run.id, base.base_hash, data_hash(pairs), environment(dtype))
        tokenizer = load_tokenizer(base)
        limit = min(base.context, plan.max_length)
        rows, out = _encoded(tokenizer, training, limit)
        measured, out_measured = _encoded(tokenizer, held_out, limit)
        left_out = out + out_measured
        self._require(rows, left_out)
        recipe = resolve(plan, len(rows), base.shapes)
        sigma = self._noise(recipe) if plan.private else 0.0
        for note in (*base.notes, *_about(rows + measured, left_out)):
            self.emit(LogLine(text=note))

        # Order matters: base, adapter in training mode, hooks, optimizer.
        policy = Policy(load_model(base, dtype), tokenizer.pad_token_id or 0)
        policy.use_for(rows + measured)
        if policy.rows_per_pair == 2:
            self.emit(LogLine(text="This architecture needs two sequences per pair: slower."))
        adapted = attach(policy.model, recipe.adapter, plan.seed)
        learner: Learner = (
            PrivateLearner(
                adapted,
                lambda: build(plan, adapted),
                noise_multiplier=sigma,
                max_grad_norm=plan.max_grad_norm,
                expected_batch_size=recipe.batch_size,
                stream=CipherStream(),
            )
            if plan.private
            else PlainLearner(adapted, build(plan, adapted), plan.gradient_norm_limit)
        )
        self.emit(
            RunStarted(
                run_id=self.run.id,
                pairs_training=len(rows),
                pairs_heldout=len(measured),
                pairs_left_out=len(left_out),
                steps=recipe.steps,
                dtype=dtype,
                threads=torch.get_num_threads(),
                private=plan.private,
            )
        )
        samples = None
        if sample_prompts(plan):
            samples = Samples(plan, policy.model, tokenizer, base.context)
        loop = Loop(
            self.run.id, plan, recipe, policy, learner, rows, measured, self.emit, self.stop,
            samples,
        )  # fmt: skip
        outcome = loop.run()
        metrics = outcome.metrics | {
            "pairs_training": len(rows),
            "pairs_heldout": len(measured),
            "left_out": len(left_out),
            "prompt_shortened": sum(row.prompt_cut > 0 for row in rows + measured),
            "trainable": recipe.trainable,
            "seconds": time.monotonic() - begun,
        }
        details = {"pairs_left_out": [{"pair": o.pair_id, "reason": o.reason} for o in left_out]}
        order = outcome.stop or self.stop()  # it may have come after the last step
        if order is not None and (not order.keep or outcome.steps == 0):
            # Nothing leaves the run, so nothing of the budget is spent.
            self.runs.finish(self.run.id, "discarded", metrics=metrics | details)
            return RunFinished(
                run_id=self.run.id, status="discarded", seconds=time.monotonic() - begun
            )
        tensors = extract(adapted)
        manifest = self._accounted(base, tensors, recipe, sigma, outcome, rows, pairs, metrics)
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

    def _pairs(self) -> list[Pair]:
        if reasons := self.plan.contradictions():
            raise InvalidValueError(
                "These settings do not go together.", " ".join(reasons), "Change one of them."
            )
        pairs = select(training_pairs(self.profile), self.plan).pairs
        if not pairs or (len(pairs) < MINIMUM_PAIRS and not self.plan.force):
            raise InvalidValueError(
                "There are too few pairs to train on.",
                f"There are {len(pairs)}, and {MINIMUM_PAIRS} are needed to learn a taste.",
                "Correct more replies, import a file of preferences, or train with few pairs."
                if pairs
                else "Correct replies in the chat, or import a file of preferences.",
            )
        return pairs

    def _require(self, rows: list[Row], left_out: list[LeftOut]) -> None:
        if not rows:
            raise InvalidValueError(
                "There is nothing to train on.",
                f"All pairs had to be left out; the first because: {left_out[0].reason}",
                "Collect shorter replies, or choose a base that can read longer texts.",
            )

    def _noise(self, recipe: Recipe) -> float:
        """The noise with which the run stays within its epsilon and the account in its budget."""
        plan, ledger = self.plan, PrivacyLedger(self.profile)
        ledger.verify()
        rate, steps = recipe.sample_rate, recipe.steps
        budget, budget_delta = ledger.budget()
        sigma = max(calibrate(plan.epsilon, plan.delta, rate, steps), plan.least_noise)
        if _proved(rate, sigma, steps, budget_delta, ledger) > budget:
            sigma = calibrate(budget, budget_delta, rate, steps, ledger.history())
        granted = _proved(rate, sigma, steps, plan.delta)
        if granted >= plan.least_epsilon_share * plan.epsilon:
            return sigma
        raise BudgetError(
            "The privacy budget does not allow this run.",
            f"Epsilon {ledger.spent():.2f} of {budget:g} is spent, which leaves {granted:.2f} "
            f"for a run that asks for {plan.epsilon:g}.",
            "Ask for a smaller epsilon, raise the budget, or train without privacy.",
        )

    def _accounted(
        self,
        base: BaseModel,
        tensors: dict[str, torch.Tensor],
        recipe: Recipe,
        sigma: float,
        outcome: Outcome,
        rows: list[Row],
        pairs: list[Pair],
        metrics: dict[str, float | None],
    ) -> Manifest:
        """The manifest of what may now be released: what it costs stands in the ledger."""
        plan = self.plan
        address = content_address(tensors, recipe.adapter, base.base_hash)
        epsilon: float | None = None
        mechanism: dict[str, float | int | str] | None = None
        if plan.private:
            taken = Mechanism(
                sample_rate=recipe.sample_rate, noise_multiplier=sigma, steps=outcome.steps
            )
            entry = PrivacyLedger(self.profile).append(
                self.run.id, "pair", taken, plan.delta, address
            )
            epsilon = entry.epsilon_alone
            mechanism = taken.model_dump() | {
                "max_grad_norm": plan.max_grad_norm,
                "expected_batch_size": recipe.batch_size,
                "accountant": "prv",
            }
        return Manifest(
            address=address,
            base_hash=base.base_hash,
            base_name=base.name,
            adapter=recipe.adapter,
            run_id=self.run.id,
            plan=plan,
            seed=plan.seed,
            data_hash=data_hash(pairs),
            pair_ids=tuple(row.pair_id for row in rows),
            metrics=metrics,
            private=plan.private,
            epsilon=epsilon,
            delta=plan.delta if plan.private else None,
            unit="pair" if plan.private else None,
            mechanism=mechanism,
            environment=environment(str(outcome.dtype)),
            created=time.time(),
        )


def _proved(
    rate: float, sigma: float, steps: int, delta: float, ledger: PrivacyLedger | None = None
) -> float:
    """The epsilon of a run, together with what `ledger` holds; 0 of one with infinite noise."""
    if sigma == float("inf"):
        return 0.0
    run = Mechanism(sample_rate=rate, noise_multiplier=sigma, steps=steps)
    return proved_epsilon([*(ledger.history() if ledger else ()), run], delta)


def threads(plan: TrainingPlan) -> int:
    """The trainer's threads: as planned, or half of the cores, but both where there are two."""
    cores = os.cpu_count() or 1
    return plan.threads or max(min(2, cores), cores // 2)


def environment(dtype: str) -> dict[str, str | int]:
    """What the numbers of a run may depend on besides its plan and its pairs."""
    found: dict[str, str | int] = {
        name: importlib.metadata.version(name) for name in ("xeno", *_LIBRARIES) if _known(name)
    }
    return found | {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "dtype": dtype,
        "threads": torch.get_num_threads(),
    }


def _known(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _encoded(tokenizer: object, pairs: list[Pair], limit: int) -> tuple[list[Row], list[LeftOut]]:
    results = [encode_pair(tokenizer, pair, limit) for pair in pairs]  # type: ignore[arg-type]
    rows = [each for each in results if isinstance(each, Row)]
    return rows, [each for each in results if isinstance(each, LeftOut)]


def _about(rows: list[Row], left_out: list[LeftOut]) -> list[str]:
    """What happened to pairs that were too long, in words without their text."""
    said = []
    if shortened := sum(row.prompt_cut > 0 for row in rows):
        said.append(f"{shortened} prompts were too long and lost their beginning.")
    if left_out:
        said.append(f"{len(left_out)} pairs were left out. The first: {left_out[0].reason}")
    return said


def _is_memory(error: RuntimeError) -> bool:
    return any(words in str(error).lower() for words in _NO_MEMORY)
