"""Measures what is learned of users whose tastes are known (`xeno bench learning`).

Scripted users (all 144 tastes, several seeds) talk to a scripted model that writes as it is told
to, most times. What they ask, rewrite and rate goes to the learner; what it has learned well
enough goes into what the model is told, as in the program. After 20 interactions every user
changes in every respect. Judged: is the likeliest value the true one, and is it true as often as
its confidence says.

The measured learner does not know a single word of those the scripted users express themselves
with: the words both would have are taken out of its lexicon (`full` gives them back). Its numbers
were chosen by hand while looking at seed 101, which is none of the measured ones.
"""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xeno.benchmarking import scripted_users
from xeno.benchmarking.scripted_users import (
    ScriptedModel,
    ScriptedUser,
    Taste,
    all_tastes,
    another_taste,
)
from xeno.errors import InvalidValueError
from xeno.personalization.beliefs import ENOUGH_CONFIDENCE, Observation, believed, values_of
from xeno.personalization.likelihoods import (
    Effect,
    from_correction,
    from_message,
    from_rating,
    looks,
)
from xeno.personalization.markers import ENGLISH, Lexicon
from xeno.personalization.preferences import ALLOWED, Preferences

INTERACTIONS = 20
SHARE_RIGHT = 0.90  # of the users, per preference and seed
OVERCLAIM = 0.05  # how much more confidence than truth a bin of the reliability table may have
LEAST_IN_BIN = 100
SEEDS = (1, 2, 3)
RELUCTANT = 0.3  # eagerness of users who correct one in five of the replies they mind
_CURVE = (1, 2, 5, 10, 15, 20, 22, 25, 30, 35, 40)
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
    seed: int
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
    number: int, taste: Taste, seed: int, lexicon: Lexicon, eagerness: float = 1.0
) -> Iterator[Judged]:
    """One user's days: 20 interactions with one taste, then 20 with another."""
    user, model = ScriptedUser(taste, seed, eagerness), ScriptedModel(seed * 1_000 + number)
    mind, default = _Mind(), Preferences()
    now = 1.7e9
    for interaction in range(1, 2 * INTERACTIONS + 1):
        if interaction == INTERACTIONS + 1:
            user.change_taste(another_taste(taste, random.Random(f"change {seed} {number}")))
        now += 3_600.0
        told = {dimension: getattr(default, dimension) for dimension in ALLOWED}
        for dimension in ALLOWED:
            value, confidence = mind.believes(dimension, now)
            if confidence >= ENOUGH_CONFIDENCE:
                told[dimension] = value
        subject, question = user.asks()
        answer = model.answers(subject, _taste(told))
        mind.learn(from_message(question, lexicon), now)
        corrected, stars = user.rewrites(subject, answer), user.stars(answer)
        if corrected is not None:
            mind.learn(from_correction(answer.text, corrected, question, told, lexicon), now)
        if stars is not None:
            mind.learn(from_rating(answer.text, stars, question, told, lexicon), now)
        for dimension in ALLOWED:
            value, confidence = mind.believes(dimension, now)
            truth = getattr(user.taste, _NAMES[dimension])
            yield Judged(number, seed, interaction, dimension, value, confidence, truth)


def measure(seeds: Sequence[int] = SEEDS, *, full: bool = False, every: int = 1) -> dict[str, Any]:
    """The table of scripted users.

    Args:
        full: the lexicon as it is, with the words it has in common with the users.
        every: only every so many-th taste, for a quick look.

    Returns:
        `right`: per preference the share of users known right after 20 interactions and 20 after
        the change, over all seeds and for the worst seed; `curve`: the shares as they grow;
        `reliability`: a table of confidence against truth; `writing_only`: the same table for
        users who neither correct nor rate; `reluctant`: as `right`, no target, for users of the
        first seed who seldom do; `shared_words`: how many of the lexicon's words the
        users have; `missed`: what is below its target.
    """
    words = scripted_vocabulary()
    lexicon = ENGLISH if full else ENGLISH.without(words)
    began = time.perf_counter()
    judged = _lives(seeds, lexicon, every, 1.0)
    seconds = time.perf_counter() - began
    writers = _lives(seeds, lexicon, every, 0.0)
    reluctant = _lives(seeds[:1], lexicon, every, RELUCTANT)
    right = {dimension: _right(judged, dimension, seeds) for dimension in ALLOWED}
    steady = [each for each in judged if each.interaction <= INTERACTIONS]
    result: dict[str, Any] = {
        "users": len({(each.seed, each.user) for each in judged}),
        "seeds": list(seeds),
        "shared_words": _shared_words(words) if full else 0,
        "right": right,
        "curve": {d: _curve(judged, d) for d in ALLOWED},
        "reliability": reliability(steady),
        "reliability_with_change": reliability(judged),
        "writing_only": reliability([e for e in writers if e.interaction <= INTERACTIONS]),
        "reluctant": {dimension: _right(reluctant, dimension, seeds[:1]) for dimension in ALLOWED},
        "reluctant_reliability": reliability(
            [e for e in reluctant if e.interaction <= INTERACTIONS]
        ),
        "milliseconds_per_interaction": 1e3 * seconds / max(1, len(judged) // len(ALLOWED)),
    }
    result["missed"] = _missed(result)
    return result


def reliability(judged: Iterable[Judged]) -> list[dict[str, float]]:
    """Ten bins of confidence: how many beliefs, their mean confidence, how many were true."""
    bins: list[list[Judged]] = [[] for _ in range(10)]
    for each in judged:
        bins[min(9, int(each.confidence * 10))].append(each)
    return [
        {
            "from": low / 10,
            "beliefs": len(found),
            "confidence": sum(e.confidence for e in found) / len(found),
            "right": sum(e.believed == e.truth for e in found) / len(found),
        }
        for low, found in enumerate(bins)
        if found
    ]


def calibration_error(table: Sequence[Mapping[str, float]]) -> float:
    """Expected calibration error (Naeini et al. 2015): mean gap, weighted by beliefs."""
    total = sum(line["beliefs"] for line in table)
    gaps = (line["beliefs"] * abs(line["confidence"] - line["right"]) for line in table)
    return sum(gaps) / max(1.0, total)


def overclaimed(table: Sequence[Mapping[str, float]]) -> float:
    """The most that a well filled bin claims beyond the truth; 0 where none does."""
    gaps = [line["confidence"] - line["right"] for line in table if line["beliefs"] >= LEAST_IN_BIN]
    return max([0.0, *gaps])


def author(path: Path, splits: int = 5) -> dict[str, Any]:
    """What is learned from one author's preferences: a file of chosen and rejected texts.

    Half of the pairs, drawn anew for each split, are taken as corrections, one after the other.
    On the other half the beliefs say which text the author chose: the one whose looks are
    likelier.

    Returns:
        `beliefs`: the mean distribution per preference; `right`: share of the other half told
        right, ties a half; `longer`: the same by always taking the longer text.
    """
    pairs = _pairs(path)
    learned = [
        (
            from_correction(rejected, chosen, question),
            looks(chosen, question),
            looks(rejected, question),
        )
        for question, chosen, rejected in pairs
    ]
    likely = {d: [0.0] * len(values_of(d)) for d in ALLOWED}
    told_right = longer = asked = 0.0
    for split in range(splits):
        order = random.Random(split).sample(range(len(pairs)), len(pairs))
        mind, now, cut = _Mind(), 1.7e9, len(pairs) // 2
        for i in order[:cut]:
            mind.learn(learned[i][0], now)
        now_likely = {d: believed(len(values_of(d)), mind.seen[d], now) for d in ALLOWED}
        for d, found in now_likely.items():
            likely[d] = [a + b / splits for a, b in zip(likely[d], found, strict=True)]
        for i in order[cut:]:
            first, second = (_suits(now_likely, look) for look in learned[i][1:])
            told_right += 0.5 if math.isclose(first, second) else float(first > second)
            sizes = len(pairs[i][1]), len(pairs[i][2])
            longer += 0.5 if sizes[0] == sizes[1] else float(sizes[0] > sizes[1])
            asked += 1
    return {
        "file": path.name,
        "pairs": len(pairs),
        "beliefs": {d: dict(zip(values_of(d), likely[d], strict=True)) for d in ALLOWED},
        "right": told_right / max(1.0, asked),
        "longer": longer / max(1.0, asked),
    }


def _lives(seeds: Sequence[int], lexicon: Lexicon, every: int, eagerness: float) -> list[Judged]:
    tastes = list(enumerate(all_tastes()))[::every]
    return [
        each
        for seed in seeds
        for number, taste in tastes
        for each in live(number, taste, seed, lexicon, eagerness)
    ]


def _taste(told: Mapping[str, str]) -> Taste:
    return Taste(**{name: told[dimension] for dimension, name in _NAMES.items()})


def _share(judged: Iterable[Judged]) -> float:
    found = [each.believed == each.truth for each in judged]
    return sum(found) / max(1, len(found))


def _right(judged: Sequence[Judged], dimension: str, seeds: Sequence[int]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, at in (("after_20", INTERACTIONS), ("after_change", 2 * INTERACTIONS)):
        then = [e for e in judged if e.dimension == dimension and e.interaction == at]
        found[name] = _share(then)
        found[f"{name}_worst_seed"] = min(_share(e for e in then if e.seed == s) for s in seeds)
    return found


def _curve(judged: Sequence[Judged], dimension: str) -> dict[str, float]:
    return {
        str(at): _share(e for e in judged if e.dimension == dimension and e.interaction == at)
        for at in _CURVE
    }


def _missed(result: Mapping[str, Any]) -> list[str]:
    missed = [
        f"{dimension} {name}"
        for dimension, shares in result["right"].items()
        for name, share in shares.items()
        if share < SHARE_RIGHT
    ]
    for table in ("reliability", "reluctant_reliability", "writing_only"):
        if overclaimed(result[table]) > OVERCLAIM:
            missed.append(f"{table} claims too much")
    return missed


def _shared_words(words: frozenset[str]) -> int:
    groups = (getattr(ENGLISH, name) for name in ENGLISH.__dataclass_fields__)
    return len(frozenset().union(*groups) & words)


def _suits(likely: Mapping[str, Sequence[float]], looked: Mapping[str, Sequence[float]]) -> float:
    return sum(
        math.log(sum(a * b for a, b in zip(likely[d], look, strict=True)))
        for d, look in looked.items()
    )


def _pairs(path: Path) -> list[tuple[str, str, str]]:
    """(question, chosen, rejected) of a preference file, as the import reads it."""
    try:
        text = path.read_text(encoding="utf-8")
        rows = (
            json.loads(text)
            if text.lstrip().startswith("[")
            else map(json.loads, text.splitlines())
        )
        return [_pair(row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InvalidValueError(
            f"{path.name} is no preference file this can read.",
            f"{type(error).__name__}: {error}.",
            "Give JSON or JSONL with prompt (or conversations), chosen and rejected.",
        ) from error


def _pair(row: Mapping[str, Any]) -> tuple[str, str, str]:
    prompt = row.get("prompt") or row.get("conversations")
    return _said(prompt), _said(row["chosen"]), _said(row["rejected"])


def _said(turns: Any) -> str:
    last = turns[-1] if isinstance(turns, list) else turns
    return str(last.get("content", last.get("value"))) if isinstance(last, dict) else str(last)
