"""Which pairs a run learns from, and which it only measures itself on. Light."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xeno.store.pairs import Pair
    from xeno.store.profile import Profile


def training_pairs(profile: Profile) -> list[Pair]:
    """The pairs that count: active, with a weight above 0, in an order that follows from their
    content alone, so that the same pairs give the same run."""
    from xeno.store.pairs import Pairs

    pairs = [pair for pair in Pairs(profile.db).all(active=True) if pair.weight > 0]
    return sorted(pairs, key=lambda pair: pair.fingerprint)


def split(pairs: Sequence[Pair], share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """(training, held out) with whole groups held out, so that no conversation is in both.

    Groups are taken in an order given by `seed` until `share` of the pairs is reached; a group
    that would overshoot is passed over. At least one pair is held out where `share` is above 0
    and a group is small enough; none where all pairs are of one group.
    """
    if share <= 0:
        return list(pairs), []
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.group_id].append(pair)
    wanted = max(1, round(share * len(pairs)))
    held_out: set[str] = set()
    count = 0
    for name in sorted(groups, key=lambda each: _rank(seed, each)):
        if count + len(groups[name]) <= wanted and len(held_out) + 1 < len(groups):
            held_out.add(name)
            count += len(groups[name])
    training = [pair for pair in pairs if pair.group_id not in held_out]
    return training, [pair for pair in pairs if pair.group_id in held_out]


def data_hash(pairs: Sequence[Pair]) -> str:
    """SHA-256 (hex) over the sorted contents and weights of `pairs`."""
    lines = sorted(f"{pair.fingerprint} {pair.weight!r}\n" for pair in pairs)
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()


def _rank(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{group}".encode()).digest()
