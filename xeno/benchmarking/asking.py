"""How many questions asking for the best comparison saves, on scripted users.

What is measured: a user with a known taste has a pool of questions, each with several candidate
replies. One comparison at a time is asked and answered; after every answer the preference model
of `xeno.feedback.preference_model` (not a training run) predicts held-out comparisons of other
questions. The same model learns from both ways of asking; only the choice differs: at random
from the pool, or the most informative of the pool. The replies are composed by rules, so there
is no active version here and its implicit reward is no part of the estimate; and words that the
rules use are taken out of the lexicon by which the estimate knows a manner, unless `full`.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xeno.benchmarking.reply_rules import CLOSERS, OPENERS
from xeno.benchmarking.scripted_users import (
    DETAILS,
    FORMATS,
    STYLES,
    TONES,
    Answer,
    ScriptedModel,
    ScriptedUser,
    Taste,
    all_tastes,
)
from xeno.feedback.asking import CANDIDATES, blank_model
from xeno.feedback.reply_features import features
from xeno.personalization.markers import ENGLISH, Lexicon

TARGET = 0.60
QUESTIONS = 40
POOL = 50  # questions of the user's
HELD_OUT = 120
_NOISE = 0.15  # of the difference in displeasure, standard deviation
_RESAMPLES = 1000
_DRAWS = 3  # of the questions asked at random, for the mean of each user
# Without what the replies are composed with.
_STRANGE = ENGLISH.without(
    frozenset(
        word
        for phrases in (*OPENERS.values(), *CLOSERS.values())
        for phrase in phrases
        for word in re.findall(r"[a-z']+", phrase.lower())
    )
)


@dataclass(frozen=True)
class AskingResult:
    """Means over all users.

    Attributes:
        questions_random: how many were asked at random.
        accuracy_random, accuracy_asking: held-out accuracy after that many questions.
        questions_asking: after how many chosen questions the mean accuracy first stays at or
            above what random asking ends with.
        share: questions_asking / questions_random; `low` to `high` is its 95 % bootstrap
            interval over users.
        shares: the same share for other numbers of random questions: (questions, share).
        random_curve, asking_curve: mean held-out accuracy after 0, 1, 2, ... questions.
    """

    users: int
    questions_random: int
    questions_asking: int
    share: float
    low: float
    high: float
    accuracy_random: float
    accuracy_asking: float
    shares: tuple[tuple[int, float], ...]
    random_curve: tuple[float, ...]
    asking_curve: tuple[float, ...]


def measure(
    tastes: int = 48,
    seeds: int = 3,
    progress: Callable[[int, int], None] | None = None,
    *,
    full: bool = False,
) -> AskingResult:
    """Ask `tastes` of the 144 tastes, `seeds` users each.

    Args:
        full: the lexicon as it is, with the words it has in common with the replies.
    """
    lexicon = ENGLISH if full else _STRANGE
    chosen = random.Random("tastes").sample(list(all_tastes()), tastes)
    random_curves: list[NDArray[np.float64]] = []
    asking_curves: list[NDArray[np.float64]] = []
    for done, (taste, seed) in enumerate(itertools.product(chosen, range(seeds))):
        trial = _Trial(taste, seed, lexicon)
        draws = [trial.run("random", draw) for draw in range(_DRAWS)]
        random_curves.append(np.mean(draws, axis=0))
        asking_curves.append(trial.run("asking"))
        if progress:
            progress(done + 1, tastes * seeds)
    by_random, by_asking = np.array(random_curves), np.array(asking_curves)
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(_RESAMPLES):
        users = rng.integers(0, len(by_random), len(by_random))
        shares.append(_needed(by_random[users].mean(0), by_asking[users].mean(0)) / QUESTIONS)
    mean_random, mean_asking = by_random.mean(0), by_asking.mean(0)
    needed = _needed(mean_random, mean_asking)
    return AskingResult(
        users=len(by_random),
        questions_random=QUESTIONS,
        questions_asking=needed,
        share=needed / QUESTIONS,
        low=float(np.quantile(shares, 0.025)),
        high=float(np.quantile(shares, 0.975)),
        accuracy_random=float(mean_random[-1]),
        accuracy_asking=float(mean_asking[-1]),
        shares=tuple(
            (number, _needed(mean_random[: number + 1], mean_asking) / number)
            for number in range(10, QUESTIONS + 1, 10)
        ),
        random_curve=tuple(float(value) for value in mean_random),
        asking_curve=tuple(float(value) for value in mean_asking),
    )


def _needed(by_random: NDArray[np.float64], by_asking: NDArray[np.float64]) -> int:
    """The first number of questions from which on asking is never below random's end."""
    below = np.flatnonzero(by_asking < by_random[-1])
    return int(below[-1]) + 1 if len(below) else 0


class _Trial:
    """One user, the pool and the held-out comparisons."""

    def __init__(self, taste: Taste, seed: int, lexicon: Lexicon) -> None:
        rng = random.Random(f"asking {seed} {taste}")
        self._user = ScriptedUser(taste, seed)
        self._model = ScriptedModel(seed)
        self._seed = f"answers {seed} {taste}"
        self._pool = [
            pair for _ in range(POOL) for pair in itertools.combinations(self._candidates(rng), 2)
        ]
        looks = {
            answer.text: features(answer.text, lexicon) for pair in self._pool for answer in pair
        }

        def difference(first: Answer, second: Answer) -> NDArray[np.float64]:
            return np.concatenate([[0.0], looks[first.text] - looks[second.text]])

        self._differences = np.array([difference(*pair) for pair in self._pool])
        held_out: list[tuple[Answer, Answer]] = []
        while len(held_out) < HELD_OUT:
            first, second = rng.sample(self._candidates(rng), 2)
            if self._user.displeasure(first) != self._user.displeasure(second):
                held_out.append((first, second))
        looks |= {a.text: features(a.text, lexicon) for pair in held_out for a in pair}
        self._held_out = np.array([difference(*pair) for pair in held_out])
        self._truth = np.array([self._gain(*pair) > 0 for pair in held_out])

    def run(self, way: str, draw: int = 0) -> NDArray[np.float64]:
        """Held-out accuracy after 0 … QUESTIONS answers."""
        rng = random.Random(f"{way} {draw} {self._seed}")
        model, left = blank_model(), set(range(len(self._pool)))
        curve = [0.5]
        for _ in range(QUESTIONS):
            places = sorted(left)
            if way == "random":
                place = rng.choice(places)
            else:
                place = places[int(np.argmax(model.information(self._differences[places])))]
            left.discard(place)
            gain = self._gain(*self._pool[place])
            if gain == 0:
                model.update_equal(self._differences[place])
            else:
                model.update(self._differences[place], gain + rng.gauss(0.0, _NOISE) > 0)
            curve.append(self._accuracy(self._held_out @ model.mean))
        return np.array(curve)

    def _candidates(self, rng: random.Random) -> Sequence[Answer]:
        subject, _ = self._user.asks()
        return [
            self._model.answers(
                subject,
                Taste(
                    rng.choice(STYLES), rng.choice(DETAILS), rng.choice(FORMATS), rng.choice(TONES)
                ),
            )
            for _ in range(CANDIDATES)
        ]

    def _gain(self, first: Answer, second: Answer) -> float:
        return self._user.displeasure(second) - self._user.displeasure(first)

    def _accuracy(self, margins: NDArray[np.float64]) -> float:
        right = np.where(margins == 0, 0.5, (margins > 0) == self._truth)
        return float(right.mean())
