"""The plan of a training run: all its settings together.

Each setting is declared in `xeno.training.settings` with its range and its effect. The command
line, the form in the window and the record of the run are made from the declarations.
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from xeno.training.settings.adapter import AdapterSettings
from xeno.training.settings.base import BaseModelSettings
from xeno.training.settings.compute import ComputeSettings
from xeno.training.settings.data import ADVISED_PAIRS, MINIMUM_PAIRS, DataSettings
from xeno.training.settings.evaluation import EvaluationSettings
from xeno.training.settings.objective import STAGES, ObjectiveSettings
from xeno.training.settings.optimizer import OptimizerSettings
from xeno.training.settings.privacy import PrivacySettings
from xeno.training.settings.queue import QueueSettings
from xeno.training.settings.safety import SafetySettings
from xeno.training.settings.schedule import ScheduleSettings
from xeno.training.settings.truncation import TruncationSettings

__all__ = ["ADVISED_PAIRS", "MINIMUM_PAIRS", "SECTIONS", "TrainingPlan"]

SECTIONS: dict[str, type[BaseModel]] = {
    "Base model": BaseModelSettings,
    "Differential privacy": PrivacySettings,
    "Objective": ObjectiveSettings,
    "Steps": ScheduleSettings,
    "Optimizer": OptimizerSettings,
    "Adapter": AdapterSettings,
    "Pairs": DataSettings,
    "Long texts": TruncationSettings,
    "Evaluation and samples": EvaluationSettings,
    "Computing": ComputeSettings,
    "Queue and machine": QueueSettings,
    "Safety": SafetySettings,
}
"""The families of settings, in the order in which they are shown."""

_BETWEEN_PAIRS = ("newest_pairs", "most_per_conversation", "half_life")


class TrainingPlan(
    # Pydantic lists the fields of the last class first.
    ComputeSettings,
    QueueSettings,
    TruncationSettings,
    EvaluationSettings,
    SafetySettings,
    DataSettings,
    AdapterSettings,
    OptimizerSettings,
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

    def contradictions(self) -> tuple[str, ...]:
        """Which settings do not go together, each as a sentence; a run of them is refused."""
        found = []
        if self.private:
            for name in _BETWEEN_PAIRS:
                if getattr(self, name) is not None:
                    title = type(self).model_fields[name].title
                    found.append(
                        f"{title!r} compares pairs with each other, which differential privacy "
                        "does not allow."
                    )
        if self._uses_pairs and not (self.use_corrections or self.use_choices or self.use_imports):
            found.append("No kind of pair is used.")
        if self.nesterov and (self.momentum == 0 or self.dampening > 0):
            found.append("Nesterov momentum needs momentum, and no dampening.")
        if self.private and self.lora_dropout > 0:
            found.append(
                "With differential privacy there is no dropout: what a pair loses would depend on "
                "the other pairs of its batch."
            )
        if self.engine == "trl":
            found += self._beyond_trl()
        return tuple(found)

    @property
    def _uses_pairs(self) -> bool:
        """Whether anything in the run is learned from pairs."""
        return (
            "dpo" in STAGES[self.method]
            or (self.method == "kto" and self.kto_pairs)
            or (self.method == "sft" and self.sft_sources != "examples")
        )

    def _beyond_trl(self) -> list[str]:
        """What TRL's DPOTrainer cannot do of this plan."""
        found = []
        if self.private:
            found.append(
                "TRL cannot train with differential privacy: it has no place where the gradient "
                "of a single pair could be clipped."
            )
        if self.method != "dpo":
            found.append("The engine trl is for the method dpo.")
        if self.lora_dropout > 0:
            found.append("TRL drops out either nothing or parts of the base too.")
        if self.quantisation == "nf4":
            found.append("Over a base in 4 bits TRL rounds the adapter to bfloat16.")
        unknown = self.length_normalisation or self.loss == "conservative"
        if unknown and self.trl_loss == "as_planned":
            found.append("TRL has neither the loss conservative nor length normalisation of it.")
        return found
