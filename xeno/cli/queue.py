"""`xeno queue`: training runs that wait for their turn on this machine.

Only `add` and `run` need the profile unlocked: the queue itself holds no content.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from xeno.cli.commands import Commands
from xeno.cli.job_words import note, values_of
from xeno.cli.output import Output, duration
from xeno.cli.plans import add_options, plan_from
from xeno.cli.queue_run import run_jobs
from xeno.cli.session import home_of, unlocked
from xeno.cli.train import announce
from xeno.errors import InvalidValueError
from xeno.jobs.job import PRIORITIES, Job
from xeno.jobs.machine import MachineSettings
from xeno.jobs.policy import hindrance, ordered
from xeno.jobs.store import Queue
from xeno.jobs.submission import submit


def add(commands: Commands) -> None:
    group = commands.group("queue", "training runs that wait for their turn", show_all)
    parser = group.add("list", "list the jobs of this machine, the next one first", show_all)
    parser.add_argument("--all", action="store_true", help="the jobs that have ended, too")
    parser = group.add("add", "queue a run; takes the options of 'xeno train'", add_job)
    add_options(parser)
    parser.add_argument("--priority", choices=PRIORITIES, default="medium")
    group.add("show", "show one job", show_one).add_argument("job", metavar="JOB")
    parser = group.add("run", "run the profile's jobs until none is left", run_jobs)
    parser.add_argument("--stay", action="store_true", help="then wait for more")
    parser.add_argument(
        "--all-profiles",
        action="store_true",
        help="run the jobs of every profile that opens without a passphrase",
    )
    parser.add_argument(
        "--on-stop",
        choices=("later", "keep", "discard"),
        default="later",
        help="what Ctrl-C or SIGTERM does with running jobs: put them back (the default), keep "
        "what was learned as a version, or discard it",
    )
    parser = group.add("cancel", "take a job out; ends it if it runs", cancel)
    parser.add_argument("job", metavar="JOB")
    parser.add_argument(
        "--keep", action="store_true", help="a running job keeps what it has learned as a version"
    )
    parser = group.add("move", "change a job's place among those of its profile", move)
    parser.add_argument("job", metavar="JOB")
    parser.add_argument("where", choices=("up", "down", "first", "last"))
    parser = group.add("priority", "make a job more or less urgent", set_priority)
    parser.add_argument("job", metavar="JOB")
    parser.add_argument("priority", choices=PRIORITIES)
    parser = group.add("limit", "show or change what holds for all profiles", set_limit)
    parser.add_argument("runs", nargs="?", type=int, help="how many runs may go on at once")
    names = ", ".join(MachineSettings.model_fields)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help=f"change one of: {names}"
    )


def show_all(arguments: Namespace, output: Output) -> int:
    with Queue(home_of(arguments)) as queue:
        queue.refresh()
        situation = queue.situation()
        running = [job for job in situation.jobs if job.state == "running"]
        jobs = [*running, *ordered(situation)]
        if getattr(arguments, "all", False):
            jobs += queue.jobs(ended=True)
    if not jobs:
        output.say("The queue is empty. Add a run with 'xeno queue add'.")
    else:
        output.table(
            ("job", "profile", "priority", "state", "tries", "ran", "note"),
            [
                (
                    job.id[:8],
                    job.profile,
                    job.priority,
                    job.state,
                    job.tries,
                    duration(job.seconds(situation.now)),
                    note(job, situation),
                )
                for job in jobs
            ],
        )
    output.result({"jobs": [values_of(job, situation) for job in jobs]})
    return 0


def show_one(arguments: Namespace, output: Output) -> int:
    with Queue(home_of(arguments)) as queue:
        values = values_of(queue.get(arguments.job), queue.situation())
    for key, value in values.items():
        output.say(f"{key}: {value}")
    output.result(values)
    return 0


def add_job(arguments: Namespace, output: Output) -> int:
    with unlocked(arguments) as profile, Queue(profile.home) as queue:
        plan = plan_from(arguments, profile, output)
        announce(profile, plan, output)
        job = submit(queue, profile, plan, arguments.priority)
        situation = queue.situation()
    output.say(f"Job {job.id[:8]} is queued. {note(job, situation)}".rstrip())
    if hindrance(job, situation) == "locked":
        output.say("Run it with 'xeno queue run', or open the window.")
    output.result(values_of(job, situation))
    return 0


def cancel(arguments: Namespace, output: Output) -> int:
    with Queue(home_of(arguments)) as queue:
        job = queue.cancel(arguments.job, keep=arguments.keep)
        situation = queue.situation()
    output.say(
        f"Job {job.id[:8]} is being stopped."
        if job.state == "running"
        else f"Job {job.id[:8]} is out of the queue."
    )
    output.result(values_of(job, situation))
    return 0


def move(arguments: Namespace, output: Output) -> int:
    with Queue(home_of(arguments)) as queue:
        job = queue.move(arguments.job, arguments.where)
        return _changed(job, queue, output)


def set_priority(arguments: Namespace, output: Output) -> int:
    with Queue(home_of(arguments)) as queue:
        job = queue.set_priority(arguments.job, arguments.priority)
        return _changed(job, queue, output)


def set_limit(arguments: Namespace, output: Output) -> int:
    values: dict[str, Any] = {}
    for assignment in arguments.set:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise InvalidValueError(
                f"{assignment!r} is not KEY=VALUE.", "", "Write for example --set ageing_hours=3."
            )
        values[key.strip()] = None if value.strip().lower() in {"none", ""} else value
    if arguments.runs is not None:
        values["concurrency"] = arguments.runs
    with Queue(home_of(arguments)) as queue:
        settings = queue.set_machine(**values) if values else queue.machine()
    for name, field in MachineSettings.model_fields.items():
        output.say(f"{name} = {getattr(settings, name)}  ({field.title}: {field.description})")
    output.result(settings.model_dump())
    return 0


def _changed(job: Job, queue: Queue, output: Output) -> int:
    situation = queue.situation()
    place = [each.id for each in ordered(situation)].index(job.id) + 1
    output.say(f"Job {job.id[:8]} has priority {job.priority} and is number {place} in line.")
    output.result({**values_of(job, situation), "place": place})
    return 0
