"""`xeno train` and `xeno base`: learn from the pairs, and the model that learns."""

from __future__ import annotations

import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xeno.cli.commands import Commands
from xeno.cli.output import Output, duration, shown, size
from xeno.cli.plans import add_options, plan_from
from xeno.cli.session import interactive, unlocked
from xeno.errors import XenoError
from xeno.events import (
    Evaluated,
    Event,
    Failure,
    LogLine,
    Progress,
    RunFinished,
    RunStarted,
    SampleReplies,
    TrainingContinued,
    TrainingPaused,
)
from xeno.jobs.foreground import JobRun
from xeno.jobs.store import Queue
from xeno.models.base import BaseModel, inspect_base
from xeno.models.starter import starter_folder
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.training.forecast import forecast
from xeno.training.plan import TrainingPlan
from xeno.versions.registry import Registry
from xeno.words import count
from xeno.workers.host_client import BASE_SETTING, base_folder

PROGRESS_LINES = 25  # about so many lines of progress, however many steps there are
ON_STOP: dict[str, Any] = {
    "choices": ("keep", "discard"),
    "help": "what a stop (Ctrl-C, SIGTERM) does with what was learned; asked at a terminal, "
    "otherwise discard",
}
_MEASURED = (
    "released_step",
    "heldout_preference_accuracy_before",
    "heldout_preference_accuracy",
    "heldout_loss_before",
    "heldout_loss",
    "final_step",
    "final_preference_accuracy",
    "final_loss",
    "best_step",
    "best_preference_accuracy",
    "best_loss",
    "longer_baseline",
    "shorter_baseline",
)
"""Metrics of a run that its result tells; `heldout_*` are of the released step."""
_WAYS_ON = (
    "Collect or import pairs, or see 'xeno train --help' (--force, --epsilon, --no-privacy) "
    "and 'xeno privacy budget'."
)


def add(commands: Commands) -> None:
    parser = commands.add("train", "train on pairs, ratings or examples; ends in a version", run)
    add_options(parser)
    parser.add_argument(
        "--check", action="store_true", help="say what the run would need and cost, and stop"
    )
    parser.add_argument("--on-stop", **ON_STOP)
    base = commands.add("base", "show or choose the base model that the chat uses", choose_base)
    base.add_argument("folder", nargs="?", help="folder with safetensors, or 'starter'")


def run(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        plan = plan_from(arguments, profile, output)
        if arguments.check:
            return _check(profile, plan, output)
        return carry_out(profile, plan, arguments.on_stop, output)


def carry_out(profile: Profile, plan: TrainingPlan, on_stop: str | None, output: Output) -> int:
    """Train `plan`, say how it goes and what came of it; the exit status.

    Raises:
        XenoError: if it cannot start, or failed.
    """
    watcher = Watcher(output, known=announce(profile, plan, output).notes)
    with Queue(profile.home) as queue:
        training = JobRun(queue, profile, plan=plan, on_event=watcher.event)
        return _followed(profile, training, watcher, on_stop, output)


def go_on(profile: Profile, run_id: str, on_stop: str | None, output: Output) -> int:
    """Resume the run `run_id`, say how it goes and what came of it; the exit status.

    Raises:
        XenoError: if it cannot be resumed, or failed.
    """
    watcher = Watcher(output)
    with Queue(profile.home) as queue:
        training = JobRun(queue, profile, resume=run_id, on_event=watcher.event)
        return _followed(profile, training, watcher, on_stop, output)


def _followed(
    profile: Profile, training: JobRun, watcher: Watcher, on_stop: str | None, output: Output
) -> int:
    training.start()
    finished = _waited(training, on_stop, output)
    failure = training.failure
    values = _result(profile, watcher, finished, failure)
    if finished.status == "failed" and failure is not None:
        raise XenoError(failure.what, failure.why, failure.todo)
    _say_result(values, output)
    output.result(values)
    return 1 if finished.status == "failed" else 0


def announce(profile: Profile, plan: TrainingPlan, output: Output) -> BaseModel:
    """Say what a run of `plan` would do; the base model that it trains.

    Raises:
        XenoError: if it cannot start.
    """
    base = inspect_base(Path(plan.base), profile.home)
    for note in base.notes:
        output.progress(note)
    ahead = forecast(profile, plan)
    if ahead.blockers:
        raise XenoError("Training cannot start.", " ".join(ahead.blockers), _WAYS_ON)
    output.progress(ahead.sentence)
    if ahead.accuracy is not None:
        output.progress(ahead.accuracy.sentence())
    for warning in ahead.warnings:
        output.progress(f"Note: {warning}")
    return base


def _check(profile: Profile, plan: TrainingPlan, output: Output) -> int:
    """Say what the run would need and cost; 1 if it could not start."""
    ahead = forecast(profile, plan)
    output.say(ahead.sentence)
    if ahead.accuracy is not None:
        output.say(ahead.accuracy.sentence())
    output.table(
        ("check", "verdict", ""),
        [(each.name, each.verdict, each.sentence) for each in ahead.checks],
    )
    output.result(asdict(ahead))
    return 1 if ahead.blockers else 0


class Watcher:
    """Turns a run's events into lines, and keeps what the summary needs."""

    def __init__(self, output: Output, known: tuple[str, ...] = ()) -> None:
        self._output = output
        self._known = known  # what was said before the run and need not be said again
        self._shown = 0.0
        self.started: RunStarted | None = None
        self.log: list[str] = []

    def event(self, event: Event) -> None:
        """Called on the reader thread, one event after the other."""
        match event:
            case RunStarted():
                self.started = event
                self._output.progress(
                    f"Learning from {count(event.pairs_training, 'pair')} in "
                    f"{count(event.steps, 'step')}, {event.pairs_heldout} held out, "
                    f"{event.pairs_left_out} left out; "
                    f"{event.dtype}, {count(event.threads, 'thread')}."
                )
            case Progress():
                self._progress(event)
            case Evaluated():
                if event.preference_accuracy is not None:
                    self._output.progress(
                        f"Held-out preference accuracy after step {event.step}: "
                        f"{event.preference_accuracy:.3f}, loss {shown(event.loss)}, "
                        f"perplexity {shown(event.perplexity)}"
                    )
            case TrainingPaused():
                self._output.progress(f"Paused after step {event.step}: {event.reason}")
            case TrainingContinued():
                self._output.progress(f"Going on after {duration(event.seconds)}.")
            case SampleReplies():
                say_samples(event, self._output)
            case LogLine():
                self.log.append(event.text)
                if event.text not in self._known:
                    self._output.progress(event.text)
            case Failure() | RunFinished():
                pass  # told at the end
            case _:
                pass

    def _progress(self, event: Progress) -> None:
        share = event.step / max(event.steps, 1)
        if event.step in {1, event.steps} or share >= self._shown + 1 / PROGRESS_LINES:
            self._shown = share
            self._output.progress(
                f"step {event.step}/{event.steps}  loss {_known(event.loss, '.4f')}  "
                f"margin {_known(event.reward_margin, '+.3f')}  "
                f"accuracy {_known(event.preference_accuracy, '.2f')}  "
                f"{event.pairs_per_second:.1f} pairs/s  {event.tokens_per_second:.0f} tokens/s  "
                f"{size(event.memory_bytes)}  {duration(event.eta_seconds)} left"
            )


def _known(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def say_samples(event: SampleReplies, output: Output) -> None:
    """Sample replies as lines for people."""
    written = f"after step {event.step}" if event.step else "before training"
    for sample in event.replies:
        words = " ".join(sample.reply.split()) or "(nothing)"
        more = "" if sample.complete else " …"
        output.progress(f"Sample {written}: {sample.prompt}  ->  {words}{more}")


def _waited(training: JobRun, on_stop: str | None, output: Output) -> RunFinished:
    """Wait for the end. The first Ctrl-C stops in order, the second at once."""
    stopping = False
    with terminate_as_interrupt():
        while True:
            try:
                if finished := training.wait(0.2):
                    return finished
            except KeyboardInterrupt:
                if stopping:
                    training.kill()
                    continue
                choice = on_stop or _asked_what_to_do()
                if choice != "continue":
                    stopping = True
                    output.progress(f"Stopping, to {choice} what was learned.")
                    training.stop("keep" if choice == "keep" else "discard")


def _asked_what_to_do() -> str:
    if not interactive():
        return "discard"
    answers = {"k": "keep", "d": "discard", "c": "continue"}
    while True:
        try:
            print(
                "\n[k]eep what was learned so far, [d]iscard it, or [c]ontinue? ",
                end="",
                file=sys.stderr,
                flush=True,
            )
            answer = input().strip().lower()[:1]
        except (EOFError, KeyboardInterrupt):
            return "discard"
        if answer in answers:
            return answers[answer]


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM is handled like Ctrl-C meanwhile: a service manager stops a run in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _result(
    profile: Profile, watcher: Watcher, finished: RunFinished, failure: Failure | None
) -> dict[str, Any]:
    started, label = watcher.started, None
    metrics = Runs(profile.db).get(finished.run_id).metrics
    if finished.version is not None:
        label = Registry(profile).get(finished.version).label
    return {
        "run": finished.run_id,
        "status": finished.status,
        "version": finished.version,
        "label": label,
        "epsilon": finished.epsilon,
        "private": None if started is None else started.private,
        "pairs_training": None if started is None else started.pairs_training,
        "pairs_heldout": None if started is None else started.pairs_heldout,
        "pairs_left_out": None if started is None else started.pairs_left_out,
        **{name: metrics.get(name) for name in _MEASURED},
        "seconds": finished.seconds,
        "log": watcher.log,
        "failure": None if failure is None else failure.what,
    }


def _say_result(values: dict[str, Any], output: Output) -> None:
    if values["version"] is None:
        output.say(f"The run was {values['status']}; no version was made.")
        return
    output.say(_measured(values))
    if values["pairs_left_out"]:
        output.say(
            f"{values['pairs_left_out']} did not fit the model's context and taught nothing; see "
            f"'xeno runs show {values['run'][:8]}'."
        )
    privacy = (
        f"epsilon {values['epsilon']:.3g}"
        if values["epsilon"] is not None
        else "trained without differential privacy"
    )
    output.say(
        f"Version {values['label']} ({values['version'][:12]}), {privacy}, "
        f"in {duration(values['seconds'])}. Use it: xeno deploy {values['label']}"
    )


def choose_base(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        if arguments.folder == "starter":
            starter_folder()
            profile.set_setting(BASE_SETTING, None)
        elif arguments.folder:
            folder = Path(arguments.folder).expanduser().resolve()
            inspect_base(folder, profile.home)
            profile.set_setting(BASE_SETTING, str(folder))
        base = inspect_base(base_folder(profile), profile.home)
    output.say(f"{base.name}: {base.architecture}, {base.parameters / 1e6:.1f} million parameters,")
    output.say(f"reads {base.context} tokens, in {base.folder}")
    for note in base.notes:
        output.say(note)
    output.result(
        {
            "folder": str(base.folder),
            "name": base.name,
            "architecture": base.architecture,
            "parameters": base.parameters,
            "context": base.context,
            "base_hash": base.base_hash,
            "notes": list(base.notes),
        }
    )
    return 0


def _measured(values: dict[str, Any]) -> str:
    """What the held-out part says of the run, in a sentence."""
    if not values["pairs_heldout"]:
        return "Nothing was held out, so there is no accuracy to report."
    if values["heldout_preference_accuracy"] is None:
        return f"Held-out loss: {_at_its_steps(values, 'loss')}."
    told = _at_its_steps(values, "preference_accuracy")
    if values["longer_baseline"] is None:
        return f"Held-out ratings that the model agrees with: {told}."
    return (
        f"Held-out preference accuracy: {told}. Picking the longer reply would score "
        f"{values['longer_baseline']:.3f}, the shorter {values['shorter_baseline']:.3f}."
    )


def _at_its_steps(values: dict[str, Any], name: str) -> str:
    """One measure of the released step, with that before training, at the end and at best."""
    before, released, final, best = (
        _known(values[key], ".3f")
        for key in (f"heldout_{name}_before", f"heldout_{name}", f"final_{name}", f"best_{name}")
    )
    told = f"{released} at step {values['released_step']}, which is released (before {before}"
    if values["released_step"] != values["final_step"]:
        told += f"; {final} at the last step, {values['final_step']}"
    if values["best_step"] is not None and values["best_step"] != values["released_step"]:
        told += f"; {best} at the best step, {values['best_step']}"
    return f"{told})"
