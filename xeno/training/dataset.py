"""What a run learns from, and what it only measures itself on. Light.

A unit is what a run learns from at once and what differential privacy hides: a preference pair,
or a single reply to imitate or with its rating.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from xeno.events import ChatMessage
from xeno.training.plan import TrainingPlan
from xeno.training.selection import rank, select
from xeno.training.settings.objective import Stage

if TYPE_CHECKING:
    from xeno.store.examples import Example, ExampleKind
    from xeno.store.pairs import Pair
    from xeno.store.profile import Profile


class Unit(Protocol):
    """What is needed of a unit before it is encoded. Units of one group are held out together."""

    @property
    def id(self) -> str: ...
    @property
    def group_id(self) -> str: ...
    @property
    def weight(self) -> float: ...
    @property
    def fingerprint(self) -> str: ...


@dataclass(frozen=True)
class Sample:
    """One reply to `prompt`; `desirable` is its rating, True where it has none."""

    id: str
    group_id: str
    prompt: tuple[ChatMessage, ...]
    reply: str
    fingerprint: str
    desirable: bool = True
    weight: float = 1.0


_AnyUnit = TypeVar("_AnyUnit", bound=Unit)


def units_for(
    profile: Profile, stage: Stage, plan: TrainingPlan
) -> tuple[list[Pair | Sample], Mapping[str, int]]:
    """The units of a stage, in an order that follows from their content alone, and how many
    pairs are left out of it, by reason.

    DPO learns from pairs; KTO from rated replies and, if `kto_pairs`, from pairs; SFT from the
    replies of instructions and chats, from the chosen replies of pairs, or from both.
    """
    found: list[Pair | Sample] = []
    with_pairs = True
    if stage == "kto":
        found += _samples(profile, ("unpaired",))
        with_pairs = plan.kto_pairs
    elif stage == "sft":
        if plan.sft_sources != "chosen":
            found += _samples(profile, ("instruction", "chat"))
        with_pairs = plan.sft_sources != "examples"
    if not with_pairs:
        return sorted(found, key=_content), {}
    selected = select(training_pairs(profile), plan)
    found += [_chosen(pair) if stage == "sft" else pair for pair in selected.pairs]
    return sorted(found, key=_content), selected.left_out


def units_again(
    profile: Profile, stage: Stage, weights: Mapping[str, float]
) -> dict[str, Pair | Sample]:
    """The units that a stage began with, by id, with the `weights` they had then: which ones a
    plan selects, and how much each counts, may depend on those that came since. Units that were
    deleted or set aside are missing."""
    found: list[Pair | Sample] = []
    if stage != "dpo":
        found += _samples(profile, ("unpaired",) if stage == "kto" else ("instruction", "chat"))
    pairs = training_pairs(profile)
    found += [_chosen(pair) if stage == "sft" else pair for pair in pairs]
    return {each.id: replace(each, weight=weights[each.id]) for each in found if each.id in weights}


def _content(unit: Unit) -> str:
    return unit.fingerprint


def training_pairs(profile: Profile) -> list[Pair]:
    """The pairs that count: active, with a weight above 0, in an order that follows from their
    content alone, so that the same pairs give the same run."""
    from xeno.store.pairs import Pairs

    pairs = [pair for pair in Pairs(profile.db).all(active=True) if pair.weight > 0]
    return sorted(pairs, key=lambda pair: pair.fingerprint)


def split_for(
    plan: TrainingPlan, units: Sequence[_AnyUnit]
) -> tuple[list[_AnyUnit], list[_AnyUnit]]:
    """`split` as `plan` has it."""
    return split(
        units,
        plan.heldout_share,
        plan.seed if plan.heldout_seed is None else plan.heldout_seed,
        private=plan.private,
        least=plan.heldout_least,
        most=plan.heldout_most,
    )


def _samples(profile: Profile, kinds: Sequence[ExampleKind]) -> list[Sample]:
    from xeno.store.examples import BAD, Examples
    from xeno.store.pairs import prompt_group

    examples = Examples(profile.db)
    conversations = examples.conversations()

    def sample(example: Example) -> Sample:
        return Sample(
            id=example.id,
            group_id=conversations.get(example.id) or prompt_group(example.prompt),
            prompt=example.prompt,
            reply=example.reply,
            fingerprint=example.fingerprint,
            desirable=example.label != BAD,
        )

    return [sample(each) for kind in kinds for each in examples.all(kind, active=True)]


def _chosen(pair: Pair) -> Sample:
    """The chosen reply of `pair`, to imitate."""
    return Sample(
        pair.id, pair.group_id, pair.prompt, pair.chosen, pair.fingerprint, weight=pair.weight
    )


def split(
    pairs: Sequence[_AnyUnit],
    share: float,
    seed: int,
    *,
    private: bool = False,
    least: int = 1,
    most: int | None = None,
) -> tuple[list[_AnyUnit], list[_AnyUnit]]:
    """(training, held out) with whole groups held out, so that no conversation is in both.

    Groups are taken in an order given by `seed` until `share` of the pairs is reached; a group
    that would overshoot is passed over. At least `least` pairs and at most `most` are held out
    where `share` is above 0 and groups are small enough; none where all pairs are of one group.

    Under differential privacy (`private`) each group is drawn alone with probability `share`:
    whether a pair is trained on must not depend on which other pairs there are. Only where this
    would leave nothing to train on is nothing held out.
    """
    groups: dict[str, list[_AnyUnit]] = defaultdict(list)
    for pair in pairs:
        groups[pair.group_id].append(pair)
    if private:
        drawn = {name for name in groups if rank(seed, name) < share}
        held_out = drawn if len(drawn) < len(groups) else set()
    else:
        held_out = _share_of(groups, share, seed, least, most)
    training = [pair for pair in pairs if pair.group_id not in held_out]
    return training, [pair for pair in pairs if pair.group_id in held_out]


def _share_of(
    groups: dict[str, list[_AnyUnit]], share: float, seed: int, least: int, most: int | None
) -> set[str]:
    total = sum(len(group) for group in groups.values())
    wanted = max(least, round(share * total)) if share > 0 else 0
    if most is not None:
        wanted = min(wanted, most)
    held_out: set[str] = set()
    count = 0
    for name in sorted(groups, key=lambda each: rank(seed, each)):
        if count + len(groups[name]) <= wanted and len(held_out) + 1 < len(groups):
            held_out.add(name)
            count += len(groups[name])
    return held_out


def data_hash(pairs: Sequence[Unit]) -> str:
    """SHA-256 (hex) over the sorted contents and weights of `pairs`."""
    lines = sorted(f"{pair.fingerprint} {pair.weight!r}\n" for pair in pairs)
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()
