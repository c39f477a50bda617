"""The objective of a stage, from the plan's settings."""

from __future__ import annotations

from xeno.training.kto import Kto
from xeno.training.objectives import Dpo, Objective, Sft
from xeno.training.plan import TrainingPlan
from xeno.training.settings.objective import Stage


def objective_for(stage: Stage, plan: TrainingPlan, sft_weight: float, limit: int) -> Objective:
    """What `stage` makes small.

    Args:
        sft_weight: as resolved for the run.
        limit: most tokens of a prompt with one reply.
    """
    match stage:
        case "dpo":
            return Dpo(
                loss=plan.loss,
                beta=plan.beta,
                label_smoothing=plan.label_smoothing,
                per_token=plan.length_normalisation,
                sft_weight=sft_weight,
            )
        case "kto":
            return Kto(
                beta=plan.beta,
                desirable_weight=plan.kto_desirable_weight,
                undesirable_weight=plan.kto_undesirable_weight,
                limit=limit,
                estimate_kl=plan.kto_kl and not plan.private,
            )
        case "sft":
            return Sft()
