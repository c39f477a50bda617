"""`xeno search`: try a few settings in short runs, and say which scored best."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from xeno.cli.commands import Commands
from xeno.cli.output import Output, shown
from xeno.cli.plans import add_options, plan_from
from xeno.cli.session import unlocked
from xeno.cli.train import terminate_as_interrupt
from xeno.errors import InvalidValueError, XenoError
from xeno.events import Event, LogLine
from xeno.jobs.foreground import JobRun
from xeno.jobs.job import Job
from xeno.jobs.search import MOST, Trial, begin, give_up, trials
from xeno.jobs.store import Queue
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.training.candidates import repeated
from xeno.training.plan_files import write


def add(commands: Commands) -> None:
    parser = commands.add("search", "try a few settings in short runs without privacy", run)
    add_options(parser)
    parser.add_argument(
        "--runs", type=int, default=6, metavar="N", help=f"how many, 2 to {MOST} (default: 6)"
    )
    parser.add_argument("--out", metavar="FILE", help="write the plan with the best settings")
    parser.add_argument(
        "--results", action="store_true", help="show the newest search, and begin none"
    )


def run(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        if not arguments.results:
            plan = plan_from(arguments, profile, output)
            with Queue(profile.home) as queue:
                _carry_out(queue, profile, begin(queue, profile, plan, arguments.runs), output)
        found = trials(profile)
    if not found:
        raise InvalidValueError("There was no search yet.", "", "Begin one: xeno search.")
    _say(found, arguments.out, output)
    return 0


def _carry_out(queue: Queue, profile: Profile, jobs: list[Job], output: Output) -> None:
    """Wait for the trials one after the other, wherever each of them runs.

    Raises:
        XenoError: if one failed; the others would as well, and are taken out.
    """
    try:
        for job in jobs:
            _follow(queue, profile, job, output)
            trial = Trial(Runs(profile.db).get(job.run_id))
            failure = trial.run.failure
            if trial.run.status == "failed" and failure is not None:
                raise XenoError(failure.what, failure.why, failure.todo)
            said = ", ".join(f"{name} {shown(value)}" for name, value in trial.values.items())
            output.progress(f"{said}: accuracy {shown(trial.accuracy)}, loss {shown(trial.loss)}")
    except BaseException:  # Ctrl-C among them: what waits must not go on alone
        give_up(queue, profile)
        raise


def _follow(queue: Queue, profile: Profile, job: Job, output: Output) -> None:
    def told(event: Event) -> None:
        if isinstance(event, LogLine) and training.pid is None:  # what it waits for
            output.progress(event.text)

    training = JobRun(queue, profile, queued=job, on_event=told)
    training.start()
    with terminate_as_interrupt():
        try:
            while training.wait(0.2) is None:
                pass
        except KeyboardInterrupt:
            training.stop("discard")
            training.wait()
            raise


def _say(found: list[Trial], file: str | None, output: Output) -> None:
    best = found[0]
    if file:
        write(repeated(best.run.plan), Path(file).expanduser())
    names = list(best.values)
    output.table(
        (*names, "accuracy", "loss", "run", "state"),
        [
            (
                *(each.values[name] for name in names),
                each.accuracy,
                each.loss,
                each.run.id[:8],
                "measured" if each.accuracy is not None else each.run.status,
            )
            for each in found
        ],
    )
    if best.accuracy is not None or best.loss is not None:
        said = " ".join(f"--set {name}={value}" for name, value in best.values.items())
        output.say(f"The best: xeno train --no-privacy {said}")
    output.result(
        {
            "trials": [
                {
                    "values": dict(each.values),
                    "heldout_preference_accuracy": each.accuracy,
                    "heldout_loss": each.loss,
                    "run": each.run.id,
                    "status": each.run.status,
                }
                for each in found
            ],
            "file": file,
        }
    )
