"""`xeno queue run`: run the jobs of unlocked profiles as their turn comes."""

from __future__ import annotations

import threading
from argparse import Namespace
from concurrent.futures import Future, wait
from contextlib import ExitStack

from xeno.cli.job_words import values_of
from xeno.cli.output import Output
from xeno.cli.session import home_of, unlocked
from xeno.cli.train import Watcher, terminate_as_interrupt
from xeno.errors import LockedProfileError
from xeno.events import Event, Failure, RunFinished
from xeno.jobs.attempt import Order
from xeno.jobs.job import Job
from xeno.jobs.runner import Runner
from xeno.jobs.store import Queue
from xeno.jobs.submission import settle
from xeno.store.profile import Profile, list_profiles, open_profile


def run_jobs(arguments: Namespace, output: Output) -> int:
    with ExitStack() as opened:
        profiles = _profiles(arguments, opened, output)
        queue = opened.enter_context(Queue(home_of(arguments)))
        told = _Told(output)
        runner = Runner(queue, profiles, told.event, stay=arguments.stay)
        ended: Future[None] = Future()

        def work() -> None:
            try:
                runner.run()
                ended.set_result(None)
            except BaseException as error:  # the thread's edge: raised again below
                ended.set_exception(error)

        # Not `join`: a thread whose join was interrupted counts as ended (bpo-45274).
        threading.Thread(target=work, name="runner", daemon=True).start()
        with terminate_as_interrupt():
            while not ended.done():
                try:
                    wait([ended], 0.2)
                except KeyboardInterrupt:
                    order: Order = arguments.on_stop
                    output.progress(_STOPPING[order])
                    runner.stop(order)
        ended.result()
        situation = queue.situation()
        jobs = [queue.get(job_id) for job_id in told.jobs]
        for profile in profiles.values():
            settle(queue, profile)
    if not jobs:
        output.say("No job of the profile waits.")
    output.result(
        {
            "jobs": [
                {**values_of(job, situation), "failure": told.failures.get(job.id)} for job in jobs
            ]
        }
    )
    return 1 if any(job.state == "failed" for job in jobs) else 0


_STOPPING: dict[Order, str] = {
    "later": "Putting the running jobs back into the queue.",
    "keep": "Stopping, to keep what was learned.",
    "discard": "Stopping, to discard what was learned.",
}


class _Told:
    """Turns the events of several jobs into lines that begin with the job."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._watchers: dict[str, Watcher] = {}
        self._guard = threading.Lock()
        self.failures: dict[str, str] = {}

    @property
    def jobs(self) -> list[str]:
        """The ids of the jobs that said something, in the order in which they began to."""
        return list(self._watchers)

    def event(self, job: Job, event: Event) -> None:
        """Called on the threads of the runs."""
        with self._guard:
            if job.id not in self._watchers:
                self._watchers[job.id] = Watcher(_Prefixed(self._output, f"{job.id[:8]}  "))
                self._output.progress(f"{job.id[:8]}  The run {job.run_id[:8]} of {job.profile}.")
        self._watchers[job.id].event(event)
        if isinstance(event, Failure):
            self.failures[job.id] = event.what
            self._output.progress(f"{job.id[:8]}  {event.what} {event.why} {event.todo}".rstrip())
        elif isinstance(event, RunFinished):
            made = f", version {event.version[:12]}" if event.version else ""
            self._output.progress(f"{job.id[:8]}  {event.status}{made}.")


class _Prefixed(Output):
    """Output whose lines of progress begin with the job."""

    def __init__(self, output: Output, prefix: str) -> None:
        super().__init__(output.as_json)
        self._prefix = prefix

    def progress(self, text: str) -> None:
        super().progress(self._prefix + text)


def _profiles(arguments: Namespace, opened: ExitStack, output: Output) -> dict[str, Profile]:
    """The profiles whose jobs are to run, open until `opened` closes them."""
    if not arguments.all_profiles:
        profile = opened.enter_context(unlocked(arguments))
        return {profile.name: profile}
    found: dict[str, Profile] = {}
    home = home_of(arguments)
    for name in list_profiles(home):
        try:
            found[name] = opened.enter_context(open_profile(home, name, create=False))
        except LockedProfileError as error:
            output.progress(f"The jobs of {name} are left out. {error.what}")
    return found
