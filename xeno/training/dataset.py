"""Which pairs a run learns from, and which it only measures itself on. Light."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xeno.training.plan import TrainingPlan

if TYPE_CHECKING:
    from xeno.store.pairs import Pair
    from xeno.store.profile import Profile


def training_pairs(profile: Profile) -> list[Pair]:
    """The pairs that count: active, with a weight above 0, in an order that follows from their
    content alone, so that the same pairs give the same run."""
    from xeno.store.pairs import Pairs

    pairs = [pair for pair in Pairs(profile.db).all(active=True) if pair.weight > 0]
    return sorted(pairs, key=lambda pair: pair.fingerprint)


def split_for(plan: TrainingPlan, pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """`split` as `plan` has it."""
    return split(
        pairs,
        plan.heldout_share,
        plan.seed if plan.heldout_seed is None else plan.heldout_seed,
        private=plan.private,
        least=plan.heldout_least,
        most=plan.heldout_most,
    )


def split(
    pairs: Sequence[Pair],
    share: float,
    seed: int,
    *,
    private: bool = False,
    least: int = 1,
    most: int | None = None,
) -> tuple[list[Pair], list[Pair]]:
    """(training, held out) with whole groups held out, so that no conversation is in both.

    Groups are taken in an order given by `seed` until `share` of the pairs is reached; a group
    that would overshoot is passed over. At least `least` pairs and at most `most` are held out
    where `share` is above 0 and groups are small enough; none where all pairs are of one group.

    Under differential privacy (`private`) each group is drawn alone with probability `share`:
    whether a pair is trained on must not depend on which other pairs there are. Only where this
    would leave nothing to train on is nothing held out.
    """
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.group_id].append(pair)
    if private:
        drawn = {name for name in groups if _rank(seed, name) < share}
        held_out = drawn if len(drawn) < len(groups) else set()
    else:
        held_out = _share_of(groups, share, seed, least, most)
    training = [pair for pair in pairs if pair.group_id not in held_out]
    return training, [pair for pair in pairs if pair.group_id in held_out]


def _share_of(
    groups: dict[str, list[Pair]], share: float, seed: int, least: int, most: int | None
) -> set[str]:
    total = sum(len(group) for group in groups.values())
    wanted = max(least, round(share * total)) if share > 0 else 0
    if most is not None:
        wanted = min(wanted, most)
    held_out: set[str] = set()
    count = 0
    for name in sorted(groups, key=lambda each: _rank(seed, each)):
        if count + len(groups[name]) <= wanted and len(held_out) + 1 < len(groups):
            held_out.add(name)
            count += len(groups[name])
    return held_out


def data_hash(pairs: Sequence[Pair]) -> str:
    """SHA-256 (hex) over the sorted contents and weights of `pairs`."""
    lines = sorted(f"{pair.fingerprint} {pair.weight!r}\n" for pair in pairs)
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()


def _rank(seed: int, group: str) -> float:
    """A number of the group's own, uniform in [0, 1)."""
    digest = hashlib.sha256(f"{seed}\0{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64
