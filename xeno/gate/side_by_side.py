"""Two or more versions on the same prompts and held-out pairs. Runs in a child: torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage, PairScore, Sampling, ScorePair
from xeno.gate.comparison import LEAST_PAIRS
from xeno.gate.examination import held_out_pairs
from xeno.gate.intervals import paired_bootstrap
from xeno.models.base import BaseModel
from xeno.personalization.engine import PersonalizationEngine
from xeno.store.profile import Profile
from xeno.versions.comparing import (
    Against,
    Comparison,
    Estimate,
    PairResults,
    PromptReplies,
    metric_changes,
    replies_compared,
    training_data,
)
from xeno.versions.gate import find_base
from xeno.versions.registry import Registry, Version

Tell = Callable[[float, str], None]
MOST = 6


def compare(
    profile: Profile,
    refs: Sequence[str],
    base: BaseModel,
    prompts: Sequence[str],
    tell: Tell,
    *,
    held_out: bool = True,
    max_tokens: int = 128,
) -> Comparison:
    """Compare the versions `refs` ("base", or as the registry knows them).

    Each prompt is sent as the chat sends a first turn, with the personal prompt before it, and
    answered greedily.

    Args:
        base: the base that "base" means where no version is named.
        tell: told how far it is, from 0 to 1, and what it does; what it raises ends the work.

    Raises:
        InvalidValueError: fewer than 2 or too many versions, or of different bases.
        DamagedDataError: if a version cannot be opened.
    """
    if not 2 <= len(refs) <= MOST:
        raise InvalidValueError(
            "Nothing was compared.", f"Two to {MOST} versions can be compared.", "Name as many."
        )
    registry = Registry(profile)
    sides = [None if ref == "base" else registry.get(ref) for ref in refs]
    base = _common_base(profile, sides, base)
    pairs = list(held_out_pairs(profile, *sides)) if held_out else []
    from xeno.inference.engine import Engine  # torch: seconds to import

    tell(0.0, "Loading the model")
    engine = Engine(base)
    steps = max(1, len(sides) * (len(prompts) + len(pairs)))
    done = 0
    replies: list[list[str]] = []
    scores: list[list[PairScore]] = []
    system = PersonalizationEngine(profile=profile).get_personalized_prompt_prefix()
    for side in sides:
        if side is None:
            engine.deactivate()
        else:
            tensors, _ = registry.load(side.address)
            engine.activate(side.address, tensors, side.manifest.adapter)
        said, found = [], []
        for prompt in prompts:
            tell(done / steps, f"{_label(side)} answers")
            turns = [
                ChatMessage(role="system", content=system),
                ChatMessage(role="user", content=prompt),
            ]
            said.append(engine.generate(turns, Sampling(max_tokens=max_tokens)).text)
            done += 1
        for pair in pairs:
            tell(done / steps, f"{_label(side)} reads held-out pairs")
            asked = ScorePair(prompt=pair.prompt, chosen=pair.chosen, rejected=pair.rejected)
            found += engine.score([asked])
            done += 1
        replies.append(said)
        scores.append(found)
    groups = [pair.group_id for pair in pairs]
    tell(1.0, "Putting it together")
    return Comparison(
        labels=tuple(_label(side) for side in sides),
        prompts=_side_by_side(prompts, replies),
        others=tuple(
            Against(
                label=_label(other),
                metrics=metric_changes(_metrics(sides[0]), _metrics(other)),
                pairs=pair_results(scores[0], scores[number], groups),
                data=training_data(profile.db, sides[0], other),
            )
            for number, other in enumerate(sides)
            if number
        ),
        notes=_notes(held_out, len(pairs)),
    )


def pair_results(
    first: Sequence[PairScore], other: Sequence[PairScore], groups: Sequence[str]
) -> PairResults | None:
    """`other` against `first` on the same pairs; None for fewer than 8 pairs."""
    if len(groups) < LEAST_PAIRS:
        return None
    before = [each.chosen - each.rejected for each in first]
    after = [each.chosen - each.rejected for each in other]
    wins = [_sign(b - a) for a, b in zip(before, after, strict=True)]
    right = [[_sign(each) for each in margins] for margins in (before, after)]
    changes = [b - a for a, b in zip(*right, strict=True)]
    return PairResults(
        pairs=len(groups),
        win_rate=_estimate(wins, groups),
        accuracy=(sum(right[0]) / len(groups), sum(right[1]) / len(groups)),
        accuracy_change=_estimate(changes, groups),
        margin_change=_estimate([b - a for a, b in zip(before, after, strict=True)], groups),
    )


def _sign(value: float) -> float:
    """1 above 0, 0 below, one half at 0."""
    return (1 + (value > 0) - (value < 0)) / 2


def _estimate(values: Sequence[float], groups: Sequence[str]) -> Estimate:
    found = paired_bootstrap(values, groups)
    return Estimate(value=found.value, low=found.low, high=found.high)


def _side_by_side(
    prompts: Sequence[str], replies: Sequence[Sequence[str]]
) -> tuple[PromptReplies, ...]:
    return tuple(
        replies_compared(prompt, [said[number] for said in replies])
        for number, prompt in enumerate(prompts)
    )


def _common_base(profile: Profile, sides: Sequence[Version | None], chosen: BaseModel) -> BaseModel:
    versions = [side for side in sides if side is not None]
    hashes = {each.base_hash for each in versions}
    if len(hashes) > 1:
        names = ", ".join(f"{each.label} on {each.manifest.base_name}" for each in versions)
        raise InvalidValueError(
            "Nothing was compared.",
            f"They belong to different base models: {names}.",
            "Compare versions of one base model.",
        )
    found = find_base(profile, versions[0]) if versions else chosen
    if found is None:
        raise InvalidValueError(
            "Nothing was compared.",
            f"The base model {versions[0].manifest.base_name} is not where it was.",
            "Put its folder back, or choose it with 'xeno base DIR'.",
        )
    return found


def _label(side: Version | None) -> str:
    return "base" if side is None else side.label


def _metrics(side: Version | None) -> dict[str, float | None]:
    return {} if side is None else dict(side.manifest.metrics)


def _notes(held_out: bool, pairs: int) -> tuple[str, ...]:
    if not held_out or pairs >= LEAST_PAIRS:
        return ()
    return (
        f"There are {pairs} pairs that none of them learned from; {LEAST_PAIRS} are needed for a "
        "win rate.",
    )
