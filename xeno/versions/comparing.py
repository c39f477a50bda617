"""What a comparison of versions holds: replies word by word, metrics, pairs, training data.

Everything is in reference to the first version that was named. Light; `xeno.gate.side_by_side`
makes one, in a child process.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from xeno.store.database import Database
from xeno.versions.lineage import pairs_behind
from xeno.versions.registry import Version

_WORDS = re.compile(r"(?:\w+|[^\w\s])\s*|\s+")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Piece(_Frozen):
    """A piece of a reply: in both, only in the first version's, or only in the other's."""

    kind: Literal["same", "removed", "added"]
    text: str


class PromptReplies(_Frozen):
    """The replies of all versions to a prompt, and how each but the first differs from it."""

    prompt: str
    replies: tuple[str, ...]
    differences: tuple[tuple[Piece, ...], ...]


class MetricChange(_Frozen):
    """A metric of the first version and of another; None where a number is missing, and
    `change_percent` also where there is nothing to divide by."""

    metric: str
    first: float | None
    other: float | None
    change: float | None
    change_percent: float | None


class Estimate(_Frozen):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


class PairResults(_Frozen):
    """Another version against the first on held-out pairs that neither learned from.

    The margin of a pair is the mean log-probability per token of the chosen reply less that of
    the rejected one. `win_rate`: the share of pairs on which the other's margin is the larger
    one, ties one half. `accuracy`: the share of pairs with a margin above 0, ties one half, of
    the first and of the other. Intervals are of a bootstrap that draws whole conversations.
    """

    pairs: int
    win_rate: Estimate
    accuracy: tuple[float, float]
    accuracy_change: Estimate
    margin_change: Estimate


class TrainingData(_Frozen):
    """Pairs that the other version, or what it continued, learned from and the first did not
    (`added`), the other way round (`removed`), and how many both learned from."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    both: int


class Against(_Frozen):
    """Another version beside the first; `pairs` is None where too few are held out."""

    label: str
    metrics: tuple[MetricChange, ...]
    pairs: PairResults | None
    data: TrainingData


class Comparison(_Frozen):
    """Versions compared with the first of them. `notes` are sentences the user should see."""

    labels: tuple[str, ...]
    prompts: tuple[PromptReplies, ...]
    others: tuple[Against, ...]
    notes: tuple[str, ...] = ()


def word_difference(first: str, other: str) -> tuple[Piece, ...]:
    """How `other` differs from `first`, by words and marks with the blanks after them.

    The pieces that are not "added" make up `first`, those that are not "removed" make up `other`.
    """
    before, after = _WORDS.findall(first), _WORDS.findall(other)
    found: list[Piece] = []
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for operation, a, b, c, d in matcher.get_opcodes():
        if operation == "equal":
            found.append(Piece(kind="same", text="".join(before[a:b])))
            continue
        if b > a:
            found.append(Piece(kind="removed", text="".join(before[a:b])))
        if d > c:
            found.append(Piece(kind="added", text="".join(after[c:d])))
    return tuple(found)


def replies_compared(prompt: str, replies: Sequence[str]) -> PromptReplies:
    """The replies to one prompt, in the order of the versions."""
    differences = tuple(word_difference(replies[0], each) for each in replies[1:])
    return PromptReplies(prompt=prompt, replies=tuple(replies), differences=differences)


def metric_changes(
    first: Mapping[str, float | None], other: Mapping[str, float | None]
) -> tuple[MetricChange, ...]:
    """What of the metrics changed, by name."""
    found = []
    for name in sorted({*first, *other}):
        one, two = first.get(name), other.get(name)
        change = None if one is None or two is None else two - one
        percent = None if change is None or not one else 100 * change / abs(one)
        found.append(
            MetricChange(metric=name, first=one, other=two, change=change, change_percent=percent)
        )
    return tuple(found)


def training_data(db: Database, first: Version | None, other: Version | None) -> TrainingData:
    """What the training data of two versions (None: the base) differ in."""
    before, after = (
        set() if each is None else pairs_behind(db, each.address) for each in (first, other)
    )
    return TrainingData(
        added=tuple(sorted(after - before)),
        removed=tuple(sorted(before - after)),
        both=len(before & after),
    )
