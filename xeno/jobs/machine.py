"""The settings of the machine's queue, declared like those of a run."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from xeno.training.settings.declaration import setting


class MachineSettings(BaseModel):
    """What holds for all profiles of this machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    concurrency: int = setting(
        1,
        "Runs at once",
        "Most runs that go on at the same time on this machine. A profile never has two.",
        memory="Every run has a base model of its own in memory.",
        ge=1,
        le=64,
    )
    longest_run_hours: float | None = setting(
        None,
        "Longest run",
        "A run that has gone on so long, all tries and pauses together, is stopped and keeps what "
        "it has learned, so that others come to their turn. No limit when not given.",
        unit="hours",
        gt=0,
        le=24 * 365,
    )
    ageing_hours: float = setting(
        6.0,
        "Ageing",
        "A job that has waited so long counts as one priority higher, so that none starves.",
        unit="hours",
        gt=0,
        le=24 * 365,
    )
    fairness_hours: float = setting(
        24.0,
        "Memory of fairness",
        "Half-life of the machine time that counts against a profile: within one priority the "
        "profile that has used least goes first.",
        unit="hours",
        gt=0,
        le=24 * 365,
    )
