"""Runs into the queue: the plan goes into the profile, an entry without content beside it."""

from __future__ import annotations

import contextlib
import time

from xeno.errors import InvalidValueError
from xeno.jobs.job import Job, Limits, Priority
from xeno.jobs.process import Identity
from xeno.jobs.store import Queue
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.training.plan import TrainingPlan

_BEING_ADDED = 60.0  # seconds in which a run may be without its job: it is being added


def submit(
    queue: Queue,
    profile: Profile,
    plan: TrainingPlan,
    priority: Priority = "medium",
    *,
    reserved: Identity | None = None,
) -> Job:
    """Queue a run of `plan`.

    Args:
        reserved: the worker that will run it itself; while it is there nobody else does.
    """
    run = Runs(profile.db).create(plan, queued=True)
    return queue.add(profile.name, run.id, priority, limits(plan), reserved=reserved)


def resubmit(
    queue: Queue, profile: Profile, run_id: str, *, reserved: Identity | None = None
) -> Job:
    """Queue a run of before that was interrupted, to go on with it at high priority. One that
    waits in the queue already is taken up.

    Raises:
        InvalidValueError: if it runs, or cannot be resumed.
    """
    queue.refresh()
    job = queue.of_run(run_id)
    if job is not None and job.ended is None:
        return queue.take_up(job.id, reserved)
    runs = Runs(profile.db)
    runs.require_resumable(run_id)
    plan = runs.get(run_id).plan
    return queue.add(profile.name, run_id, "high", limits(plan), reserved=reserved)


def limits(plan: TrainingPlan) -> Limits:
    """How often the queue tries a run of `plan`."""
    return Limits(plan.retries, plan.retry_seconds, plan.longest_retry_minutes * 60)


def settle(queue: Queue, profile: Profile) -> list[str]:
    """Discard the runs of `profile` that were taken out of the queue, or were to be discarded,
    while the profile was locked; their ids."""
    runs = Runs(profile.db)
    gone: list[str] = []
    for ended in queue.jobs(ended=True):
        if (ended.profile, ended.state, ended.cancel) == (profile.name, "discarded", "discard"):
            runs.mark_interrupted()
            with contextlib.suppress(InvalidValueError):  # it had ended before, or is not here
                runs.discard(ended.run_id)
                gone.append(ended.run_id)
    for run in runs.queued():
        job = queue.of_run(run.id)
        if job is None and time.time() - run.created < _BEING_ADDED:
            continue
        if job is None or job.ended is not None:
            runs.discard(run.id)
            gone.append(run.id)
    return gone
