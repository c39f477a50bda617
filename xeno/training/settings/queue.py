"""Settings of how a run is tried again, and of what it may take from the machine."""

from __future__ import annotations

from pydantic import BaseModel

from xeno.training.settings.declaration import setting


class QueueSettings(BaseModel):
    retries: int = setting(
        3,
        "Retries",
        "How often the queue tries the run again after something that can heal: its process was "
        "killed or crashed, memory ran out, the disk was full, a pause took too long. It goes on "
        "from its newest checkpoint.",
        ge=0,
        le=100,
    )
    retry_seconds: float = setting(
        30.0,
        "Wait before a retry",
        "The wait before the first retry; it doubles with every further one.",
        unit="seconds",
        ge=0,
        le=86_400,
    )
    longest_retry_minutes: float = setting(
        60.0,
        "Longest wait before a retry",
        "The wait before a retry never grows beyond this.",
        unit="minutes",
        ge=0,
        le=10_000,
    )
    memory_limit: int | None = setting(
        None,
        "Memory limit",
        "Most memory the trainer may take for itself; asking for more is the same to it as memory "
        "running out. Kept on Linux only; elsewhere a run with a limit is refused. No limit when "
        "not given.",
        unit="MB",
        memory="The trainer never takes more.",
        ge=256,
        le=10_000_000,
    )
    niceness: int = setting(
        10,
        "Niceness",
        "How much the trainer gives way to other programs: 0 not at all, 19 as much as it can.",
        ge=0,
        le=19,
    )
