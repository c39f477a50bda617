"""What a private run may spend of its profile's budget, and the entries of what it spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xeno.errors import BudgetError
from xeno.privacy.accountant import calibrate, proved_epsilon
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.rdp import Mechanism
from xeno.training.stages import noise_multipliers

if TYPE_CHECKING:
    from xeno.store.profile import Profile
    from xeno.store.runs import Run
    from xeno.training.checkpoint import Checkpoint
    from xeno.training.encoding import StageRows


def granted_noise(
    profile: Profile, run: Run, stages: Sequence[StageRows], saved: Checkpoint | None
) -> list[float]:
    """The noise of each stage with which the run stays within its epsilon and the account in its
    budget; in a resumed run the noise it began with.

    Raises:
        BudgetError: if what is left of the budget is too little for the run.
        DamagedDataError: if the ledger is not as it was written.
    """
    plan, ledger = run.plan, PrivacyLedger(profile)
    ledger.verify()
    unit = plan.privacy_unit
    budget, budget_delta = ledger.budget(unit)
    history = ledger.history(unit)
    runs = [(stage.recipe.sample_rate, stage.recipe.steps) for stage in stages]
    if saved is not None:
        sigmas = list(saved.origin.noise)
        after = _proved(runs, sigmas, budget_delta, history)
        if after > budget and run.id not in {e.run_id for e in ledger.entries()}:
            raise BudgetError(
                "The privacy budget does not allow this run to go on.",
                f"Other versions were released since; with it epsilon {after:.2f} of "
                f"{budget:g} would be spent.",
                "Raise the budget, or give the run up.",
            )
        return sigmas
    sigmas = noise_multipliers(runs, plan.epsilon, plan.delta, plan, calibrate)
    if _proved(runs, sigmas, budget_delta, history) > budget:
        sigmas = noise_multipliers(
            runs, budget, budget_delta, plan, calibrate, history, ledger.spent(unit)
        )
    granted = _proved(runs, sigmas, plan.delta)
    if granted >= plan.least_epsilon_share * plan.epsilon:
        return sigmas
    raise BudgetError(
        "The privacy budget does not allow this run.",
        f"Epsilon {ledger.spent(unit):.2f} of {budget:g} is spent, which leaves {granted:.2f} "
        f"for a run that asks for {plan.epsilon:g}.",
        "Ask for a smaller epsilon, raise the budget, or train without privacy.",
    )


def spend(
    profile: Profile,
    run: Run,
    stages: Sequence[StageRows],
    mechanisms: Sequence[Mechanism],
    address: str,
) -> tuple[float, dict[str, Any]]:
    """Write into the ledger what the version `address` costs; without that it is not released.

    Args:
        mechanisms: of the stages that took noisy steps, in order; at least one.

    Returns:
        The epsilon of the run alone, and the mechanism in the manifest's form.

    Raises:
        StorageFullError: if the ledger cannot be written.
    """
    plan, ledger = run.plan, PrivacyLedger(profile)
    entries = [
        ledger.append(run.id, plan.privacy_unit, each, plan.delta, address, stage=number)
        for number, each in enumerate(mechanisms, start=1)
    ]
    epsilon = (
        entries[0].epsilon_alone
        if len(entries) == 1
        else proved_epsilon(list(mechanisms), plan.delta)
    )
    described = mechanisms[0].model_dump() | {
        "max_grad_norm": plan.max_grad_norm,
        "expected_batch_size": stages[0].recipe.batch_size,
        "accountant": "prv",
    }
    if len(mechanisms) > 1:
        described["then"] = mechanisms[1].model_dump() | {
            "expected_batch_size": stages[1].recipe.batch_size
        }
    return epsilon, described


def _proved(
    runs: Sequence[tuple[float, int]],
    sigmas: Sequence[float],
    delta: float,
    history: Sequence[Mechanism] = (),
) -> float:
    """The epsilon of all stages, together with `history`; 0 of a run with infinite noise."""
    if math.inf in sigmas:
        return 0.0
    taken = [
        Mechanism(sample_rate=rate, noise_multiplier=sigma, steps=steps)
        for (rate, steps), sigma in zip(runs, sigmas, strict=True)
    ]
    return proved_epsilon([*history, *taken], delta)
