"""A step's batch is cut into parts of like length, within what may be in memory at once."""

from __future__ import annotations

import random

from xeno.training.microbatches import Limits, micro_batches
from xeno.training.rows import Row


def _rows(lengths: list[int]) -> list[Row]:
    return [Row(f"p{i}", (1,) * (n - 2), (2,), (3,)) for i, n in enumerate(lengths)]


def test_every_row_is_in_one_part_and_no_part_is_over_the_limits() -> None:
    rows = _rows(random.Random(0).choices(range(3, 200), k=100))
    parts = micro_batches(rows, Limits(rows=8, tokens=600))
    assert sorted(row.pair_id for part in parts for row in part) == sorted(r.pair_id for r in rows)
    for part in parts:
        assert 1 <= len(part) <= 8
        assert len(part) * max(row.tokens for row in part) <= 600


def test_rows_of_like_length_are_together() -> None:
    parts = micro_batches(_rows([90, 10, 80, 20]), Limits(rows=2))
    assert [[row.tokens for row in part] for part in parts] == [[10, 20], [80, 90]]


def test_a_row_longer_than_the_limit_is_a_part_of_its_own() -> None:
    parts = micro_batches(_rows([50, 10, 70]), Limits(rows=8, tokens=40))
    assert [[row.tokens for row in part] for part in parts] == [[10], [50], [70]]


def test_no_rows_make_no_parts() -> None:
    assert micro_batches([], Limits(rows=4)) == []
