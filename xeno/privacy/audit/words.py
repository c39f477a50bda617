"""What an audit found, in words; the same on the command line and in the window. Light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TITLES = {
    "noise": "The noise is as strong as claimed",
    "influence": "No unit counts for more than the clipping norm",
    "clipping": "Units of every length are clipped",
    "independence": "The noise never repeats",
    "batches": "Batches are as large as accounted",
    "steps": "Every step is noisy and accounted, also empty ones",
    "chain": "The ledger is whole",
    "books": "Versions, runs and the ledger agree",
}
LOW_PROVES_LITTLE = (
    "A low number is no proof of privacy. It says that this attack, on these canaries, in this "
    "run, found little; a better attack may find more. The guarantee is the one that the ledger "
    "proves from the mathematics; this check would notice if the program did not do what the "
    "mathematics assumes."
)


def checks_of(found: Mapping[str, Any]) -> list[tuple[str, bool, str]]:
    """(title, passed, what was measured) of every check of the mechanism and the books."""
    checks = [*found["mechanism"]["checks"], *found["books"]]
    return [(TITLES[each["name"]], bool(each["passed"]), str(each["said"])) for each in checks]


def leak_sentences(found: Mapping[str, Any]) -> list[str]:
    """What the leak check says; empty where there was none."""
    if found["leak"] is None:
        return []
    check, leak = found["leak"], found["leak"]["leak"]
    claimed = check["epsilon_claimed"]
    promise = (
        f"The run claims epsilon {claimed:.2f} at delta {check['delta']:g}."
        if claimed is not None
        else "The run was not private and claims nothing."
    )
    return [
        f"{leak['canaries']} random pairs, each put into a throw-away run by a fair coin: "
        f"{check['inside']} were in. {promise}",
        f"{leak['right']} of {leak['guesses']} guesses were right (chance: half). This proves "
        f"epsilon at least {leak['epsilon_proved']:.2f} with 95 % confidence; so many guesses "
        f"could prove {leak['ceiling']:.2f} at most.",
        f"Membership: AUC {leak['auc']:.2f} (chance: 0.50); {leak['found_at_one_percent']:.0%} of "
        "the pairs that were in are found while 1 % of the others are mistaken for them.",
        LOW_PROVES_LITTLE,
    ]


def contradicted(found: Mapping[str, Any]) -> bool:
    """Whether the leak check proves more than the run claims: the mechanism is broken."""
    check = found["leak"]
    if check is None or check["epsilon_claimed"] is None:
        return False
    return bool(check["leak"]["epsilon_proved"] > check["epsilon_claimed"])
