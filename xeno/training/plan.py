"""The plan of a training run: all its settings together.

Each setting is declared in `xeno.training.settings` with its range and its effect. The command
line, the form in the window and the record of the run are made from the declarations.
"""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, model_validator

from xeno.training.settings.adapter import AdapterSettings
from xeno.training.settings.base import BaseModelSettings
from xeno.training.settings.data import ADVISED_PAIRS, MINIMUM_PAIRS, DataSettings
from xeno.training.settings.objective import ObjectiveSettings
from xeno.training.settings.privacy import PrivacySettings
from xeno.training.settings.safety import SafetySettings
from xeno.training.settings.schedule import ScheduleSettings

__all__ = ["ADVISED_PAIRS", "MINIMUM_PAIRS", "SECTIONS", "TrainingPlan"]

SECTIONS = {
    "Base model": BaseModelSettings,
    "Differential privacy": PrivacySettings,
    "Objective": ObjectiveSettings,
    "Steps": ScheduleSettings,
    "Adapter": AdapterSettings,
    "Pairs": DataSettings,
    "Safety": SafetySettings,
}
"""The families of settings, in the order in which they are shown."""


class TrainingPlan(
    # Pydantic lists the fields of the last class first.
    SafetySettings,
    DataSettings,
    AdapterSettings,
    ScheduleSettings,
    ObjectiveSettings,
    PrivacySettings,
    BaseModelSettings,
):
    """What a run does. Immutable; stored with the run and in the version's manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="after")
    def _micro_batch_fits(self) -> Self:
        if self.micro_batch_size > self.batch_size:
            object.__setattr__(self, "micro_batch_size", self.batch_size)
        return self
