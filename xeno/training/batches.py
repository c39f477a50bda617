"""The batches of a run without differential privacy: whole passes over the rows, in an order
that follows from the plan, the seed and the step alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from xeno.training.plan import TrainingPlan

if TYPE_CHECKING:
    from xeno.training.row import Row


def passes(
    rows: Sequence[Row],
    plan: TrainingPlan,
    batch_size: int,
    steps: int,
    ease: Callable[[Row], float],
    start: int = 0,
) -> Iterator[list[Row]]:
    """The batches of the steps `start` to `steps`.

    Args:
        batch_size: pairs of a batch; the last one of a pass may have fewer.
        ease: how easy a row is; asked only where the order goes from easy to hard.
        start: steps that were taken before; the rest is the same as without the pause.
    """
    if not rows:
        return
    step = 0
    for ordered in _orders(rows, plan, ease):
        for begin in range(0, len(ordered), batch_size):
            batch = ordered[begin : begin + batch_size]
            if plan.whole_batches and begin and len(batch) < batch_size:
                continue
            if step >= steps:
                return
            if step >= start:
                yield batch
            step += 1


def per_pass(pairs: int, batch_size: float, whole: bool) -> int:
    """Batches in a pass over `pairs` pairs (at least one); `whole` leaves a rest out."""
    size = int(batch_size)
    full, rest = divmod(max(1, pairs), size)
    return max(1, full) if whole else full + (rest > 0)


def _orders(
    rows: Sequence[Row], plan: TrainingPlan, ease: Callable[[Row], float]
) -> Iterator[list[Row]]:
    """The rows in the order of each pass, without end."""
    ordered = list(rows)
    shuffle = random.Random(plan.seed)
    match plan.order:
        case "shortest_first":
            ordered.sort(key=lambda row: row.tokens)
        case "longest_first":
            ordered.sort(key=lambda row: -row.tokens)
        case "easiest_first":
            ordered.sort(key=lambda row: -ease(row))
        case _:
            shuffle.shuffle(ordered)
    while True:
        yield list(ordered)
        if plan.order == "shuffled" and plan.reshuffle:
            shuffle.shuffle(ordered)
