"""A job of the queue in words for people and in values for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from xeno.cli.output import when
from xeno.jobs.foreground import HINDRANCES
from xeno.jobs.job import REASONS, Job
from xeno.jobs.policy import Situation, hindrance


def note(job: Job, situation: Situation) -> str:
    """What the job waits for, or why it ended, in a sentence; empty while it runs."""
    if job.state == "running":
        return "It was asked to end." if job.cancel else ""
    if job.state != "waiting":
        return REASONS[job.reason]
    why = hindrance(job, situation)
    if job.cancel:
        return f"It was asked to end. {HINDRANCES[why]}"
    if why == "later":
        return f"{REASONS[job.reason]} It is tried again at {when(job.not_before)}.".strip()
    return HINDRANCES[why]


def values_of(job: Job, situation: Situation) -> dict[str, Any]:
    """The job as JSON shows it."""
    values = asdict(job)
    for internal in ("worker", "lease", "renewed", "reserved", "position", "since"):
        del values[internal]
    values["used"] = job.seconds(situation.now)
    return {**values, "note": note(job, situation)}
