"""What the window says of a version: its name, its state, what it cost and how good it is."""

from __future__ import annotations

import time

from ui.words import NONE, count, figure, privacy
from xeno.versions.lifecycle import STATE_WORDS
from xeno.versions.registry import Version
from xeno.versions.retention import UNDO_SECONDS

ACCURACY = "heldout_preference_accuracy"
ACCURACY_BEFORE = "heldout_preference_accuracy_before"
BASE_MODEL = "Base model"
_DAY = 24 * 3600.0


def cost(version: Version) -> str:
    """'ε 7.92', or plainly 'not private'."""
    return privacy(version.manifest.private, version.manifest.epsilon)


def titled(version: Version) -> str:
    """Its name with what it cost: 'v3 · not private'."""
    return f"{version.label} · {cost(version)}"


def state(version: Version) -> str:
    """Its state in words; of a deleted one how long it can be restored."""
    if version.deleted is None:
        return STATE_WORDS[version.state]
    left = max(0.0, version.deleted + UNDO_SECONDS - time.time())
    return f"deleted, {count(int(left / _DAY) + 1, 'day')} left"


def accuracy(version: Version) -> float | None:
    """The share of held-out pairs on which it prefers the chosen reply, None if not measured."""
    return version.manifest.metrics.get(ACCURACY)


def metric(name: str) -> str:
    """A metric's name as a reader knows it: 'Held-out preference accuracy'."""
    return name.replace("_", " ").replace("heldout", "held-out").capitalize()


def privacy_sentence(version: Version) -> str:
    """What was promised to the pairs it learned from."""
    manifest = version.manifest
    if not manifest.private:
        return "Not private: trained without noise, it may repeat single pairs."
    delta = f"{manifest.delta:g}" if manifest.delta is not None else NONE
    return f"Private: ε {figure(manifest.epsilon)}, δ {delta}, for each {manifest.unit}."
