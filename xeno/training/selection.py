"""Which of the stored pairs a plan uses, and how much each counts. Light and deterministic.

Under differential privacy whether a pair is used must not depend on which other pairs there
are: the filters below look at one pair each, and a random share is drawn pair by pair. The
settings that compare pairs (the newest ones, the newest of a conversation, ages) need a run
without privacy; `TrainingPlan.contradictions` says so.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from xeno.training.plan import TrainingPlan

if TYPE_CHECKING:
    from xeno.store.pairs import Pair

_DAY = 86400.0


@dataclass(frozen=True)
class Selected:
    """The pairs that a plan uses, weights applied, in the order in which they came.

    `left_out` counts the others by reason, a phrase that completes "N pairs are left out: ".
    """

    pairs: list[Pair]
    left_out: Mapping[str, int] = field(default_factory=dict)


def select(pairs: Sequence[Pair], plan: TrainingPlan) -> Selected:
    """What `plan` uses of `pairs`."""
    reasons: Counter[str] = Counter()
    kept: list[Pair] = []
    for pair in pairs:
        reason = next((words for rule, words in _rules(plan) if rule(pair)), "")
        if reason:
            reasons[reason] += 1
        else:
            kept.append(pair)
    for narrow, reason in (
        (_newest_of_each, "older ones of their conversation"),
        (_newest, "not among the newest"),
        (_drawn, "not drawn"),
    ):
        fewer = narrow(kept, plan)
        if len(fewer) < len(kept):
            reasons[reason] += len(kept) - len(fewer)
        kept = fewer
    weighed = _weighed(kept, plan)
    counted = [pair for pair in weighed if pair.weight > 0]
    if len(counted) < len(weighed):
        reasons["of weight 0"] += len(weighed) - len(counted)
    return Selected(counted, dict(reasons))


def _rules(plan: TrainingPlan) -> list[tuple[Callable[[Pair], bool], str]]:
    """(whether it leaves a pair out, why): each looks at one pair alone."""
    unused = {
        kind
        for kind, used in (
            ("correction", plan.use_corrections),
            ("choice", plan.use_choices),
            ("import", plan.use_imports),
        )
        if not used
    }
    rules: list[tuple[Callable[[Pair], bool], str]] = [
        (lambda pair: pair.feedback_type in unused, "of a kind that is not used"),
        (lambda pair: pair.quality < plan.min_quality, "below the least quality"),
        (lambda pair: pair.confidence < plan.min_confidence, "below the least confidence"),
        (lambda pair: _shorter(pair) < plan.shortest_reply, "with a reply that is too short"),
    ]
    if (longest := plan.longest_reply) is not None:
        rules.append((lambda pair: _longer(pair) > longest, "with a reply that is too long"))
    if (ratio := plan.most_length_ratio) is not None:
        rules.append(
            (
                lambda pair: _longer(pair) > ratio * max(1, _shorter(pair)),
                "with replies of too different length",
            )
        )
    if (turns := plan.most_prompt_turns) is not None:
        rules.append(
            (lambda pair: len(pair.prompt) > turns, "with a conversation that is too long")
        )
    return rules


def _shorter(pair: Pair) -> int:
    return min(len(pair.chosen), len(pair.rejected))


def _longer(pair: Pair) -> int:
    return max(len(pair.chosen), len(pair.rejected))


def _newest_of_each(pairs: list[Pair], plan: TrainingPlan) -> list[Pair]:
    if plan.most_per_conversation is None:
        return pairs
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.group_id].append(pair)
    kept = {
        pair.id
        for group in groups.values()
        for pair in sorted(group, key=_age)[: plan.most_per_conversation]
    }
    return [pair for pair in pairs if pair.id in kept]


def _newest(pairs: list[Pair], plan: TrainingPlan) -> list[Pair]:
    if plan.newest_pairs is None:
        return pairs
    kept = {pair.id for pair in sorted(pairs, key=_age)[: plan.newest_pairs]}
    return [pair for pair in pairs if pair.id in kept]


def _age(pair: Pair) -> tuple[float, str]:
    return -pair.created, pair.fingerprint


def _drawn(pairs: list[Pair], plan: TrainingPlan) -> list[Pair]:
    """A random share of the pairs, each drawn by its own content and the seed."""
    if plan.most_pairs is None or len(pairs) <= plan.most_pairs:
        return pairs
    if plan.private:
        share = plan.most_pairs / len(pairs)
        return [pair for pair in pairs if rank(plan.seed, pair.fingerprint) < share]
    kept = sorted(pairs, key=lambda pair: rank(plan.seed, pair.fingerprint))[: plan.most_pairs]
    ids = {pair.id for pair in kept}
    return [pair for pair in pairs if pair.id in ids]


def rank(seed: int, name: str) -> float:
    """A number of `name`'s own, uniform in [0, 1) over the seeds."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64


def _weighed(pairs: list[Pair], plan: TrainingPlan) -> list[Pair]:
    half_life = plan.half_life
    if plan.use_weights and not (plan.weigh_confidence or plan.weigh_quality or half_life):
        return pairs
    newest = max((pair.created for pair in pairs), default=0.0)

    def weight(pair: Pair) -> float:
        result = pair.weight if plan.use_weights else 1.0
        if plan.weigh_confidence:
            result *= pair.confidence
        if plan.weigh_quality:
            result *= pair.quality
        if half_life:
            result *= 0.5 ** ((newest - pair.created) / _DAY / half_life)
        return result

    return [replace(pair, weight=weight(pair)) for pair in pairs]
