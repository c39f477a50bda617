"""Measures what is learned of users whose tastes are known (`xeno bench learning`)."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xeno.benchmarking import scripted_users
from xeno.benchmarking.scripted_users import (
    Answer,
    ScriptedModel,
    ScriptedUser,
    Taste,
    all_tastes,
    another_taste,
)
from xeno.personalization.beliefs import (
    ENOUGH_CONFIDENCE,
    Observation,
    believed,
    values_of,
)
from xeno.personalization.likelihoods import (
    Effect,
    from_correction,
    from_message,
    from_rating,
)
from xeno.personalization.markers import ENGLISH, Lexicon
from xeno.personalization.preferences import ALLOWED, Preferences

INTERACTIONS = 20
SHARE_RIGHT = 0.90  # of the users, per preference
SEEDS = (1, 2, 3)
_NAMES = {
    "communication_style": "style",
    "detail_level": "detail",
    "response_format": "form",
    "tone": "tone",
}


class _Mind:
    """A learner without a disk: the same effects, folded by the same filter."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Observation]] = {dimension: [] for dimension in ALLOWED}

    def learn(self, effects: Sequence[Effect], now: float) -> None:
        for effect in effects:
            self.seen[effect.dimension].append(Observation(effect.log_likelihoods, now))

    def believes(self, dimension: str, now: float) -> tuple[str, float]:
        """The likeliest value and its probability."""
        values = values_of(dimension)
        belief = believed(len(values), self.seen[dimension], now)
        return values[belief.index(max(belief))], max(belief)


@dataclass(frozen=True)
class Judged:
    """What was believed of one preference of one user after an interaction, and the truth."""

    user: int
    interaction: int  # 1 to 40; the taste changes after 20
    dimension: str
    believed: str
    confidence: float
    truth: str


def scripted_vocabulary() -> frozenset[str]:
    """The words scripted users express themselves with (not those of the matter itself)."""
    groups = (
        scripted_users._PUT,
        scripted_users._ASKED,
        scripted_users._CIVIL,
        scripted_users._WISHED,
    )
    texts = [text for group in groups for ways in group.values() for text in ways]
    texts += [text for ways in scripted_users._FRAMED.values() for way in ways for text in way]
    return frozenset(w for text in texts for w in re.findall(r"[a-z][a-z'-]*", text.lower()))


def live(
    number: int,
    taste: Taste,
    seed: int,
    lexicon: Lexicon,
    interactions: int = INTERACTIONS,
) -> Iterator[Judged]:
    """One user's days: `interactions` with one taste, then as many with another."""
    user, model = ScriptedUser(taste, seed), ScriptedModel(seed * 1_000 + number)
    mind, default = _Mind(), Preferences()
    now = 1.7e9
    for interaction in range(1, 2 * interactions + 1):
        if interaction == interactions + 1:
            user.change_taste(another_taste(taste, random.Random(f"change {seed} {number}")))
        now += 3_600.0
        told = {d: getattr(default, d) for d in ALLOWED}
        for dimension in ALLOWED:
            value, confidence = mind.believes(dimension, now)
            if confidence >= ENOUGH_CONFIDENCE:
                told[dimension] = value
        subject, question = user.asks()
        answer: Answer = model.answers(subject, Taste(*told.values()))
        mind.learn(from_message(question, lexicon), now)
        corrected = user.rewrites(subject, answer)
        if corrected is not None:
            mind.learn(from_correction(answer.text, corrected, question, told, lexicon), now)
        stars = user.stars(answer)
        if stars is not None:
            mind.learn(from_rating(answer.text, stars, question, told, lexicon), now)
        for dimension in ALLOWED:
            value, confidence = mind.believes(dimension, now)
            truth = getattr(user.taste, _NAMES[dimension])
            yield Judged(number, interaction, dimension, value, confidence, truth)
