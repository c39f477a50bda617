"""One preference pair, one row: prompt + chosen + rejected in a single sequence.

The rejected reply restarts at the position after the prompt, and the attention mask hides the
chosen reply from it. So the prompt is computed once, and a row of a batch is a pair: the
gradient of a row is the gradient of a pair, which is what differential privacy clips.

    token      p0 p1 p2 | c0 c1 c2 | r0 r1
    position    0  1  2 |  3  4  5 |  3  4
    sees       prompt   | + chosen | prompt + rejected

An architecture that does not honour such a mask gets its two sequences as two adjacent rows,
whose gradients are added before anything else happens to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from xeno.training.row import Cut as Cut
from xeno.training.row import Row as Row
from xeno.training.segments import Span


@dataclass(frozen=True)
class Batch:
    """Rows as tensors, in one of three forms:

    packed: all pairs in one sequence, one after another, without padding and without a mask
    padded: one row a pair, padded on the right, with a mask of what each token may see
    apart: the fallback, two rows a pair (chosen, rejected)

    Attributes:
        rows_per_pair: 2 where they are apart, otherwise 1.
        ids: token ids [rows, length].
        positions: positions in the branch [rows, length].
        mask: what each token may see, True for visible [rows, 1, length, length]; apart, which
            tokens are no padding [rows, length]; packed, None.
        spans: where each pair is in a packed sequence; otherwise empty.
        rows, columns: where the completion tokens are predicted [targets].
        targets: the completion tokens [targets].
        branches: the branch of each target, 2 pair + (0 chosen, 1 rejected) [targets].
        lengths: tokens of each branch's completion, float [2 pairs].
        weights: weight of each pair [pairs].
        desirable: whether the one reply of a row was rated good, bool [pairs].
        paired: whether a row has both replies, bool [pairs].
    """

    pairs: int
    rows_per_pair: int
    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor | None
    spans: tuple[Span, ...]
    rows: torch.Tensor
    columns: torch.Tensor
    targets: torch.Tensor
    branches: torch.Tensor
    lengths: torch.Tensor
    weights: torch.Tensor
    desirable: torch.Tensor
    paired: torch.Tensor


def collate(
    rows: Sequence[Row], pad: int = 0, rows_per_pair: int = 1, *, packed: bool = False
) -> Batch:
    """The batch of `rows` (at least one), padded with the token `pad`, which nothing sees.

    Args:
        packed: one sequence of all pairs in place of one row each.
    """
    if packed:
        return _packed(rows)
    if rows_per_pair == 1:
        sequences = [row.prompt + row.chosen + row.rejected for row in rows]
    else:
        sequences = [row.prompt + reply for row in rows for reply in (row.chosen, row.rejected)]
    length = max(len(sequence) for sequence in sequences)
    ids = torch.full((len(sequences), length), pad, dtype=torch.long)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence)] = torch.tensor(sequence)
    positions = torch.arange(length).repeat(len(sequences), 1)
    if rows_per_pair == 1:
        mask = torch.zeros(len(rows), 1, length, length, dtype=torch.bool)
        for i, row in enumerate(rows):
            _lay_out(row, positions[i], mask[i, 0])
    else:
        mask = torch.zeros(len(sequences), length, dtype=torch.long)
        for i, sequence in enumerate(sequences):
            mask[i, : len(sequence)] = 1
    places = [_places(row, i, rows_per_pair) for i, row in enumerate(rows)]
    return _batch(rows, rows_per_pair, ids, positions, mask, (), places)


def _packed(rows: Sequence[Row]) -> Batch:
    tokens: list[int] = []
    positions: list[int] = []
    spans, places = [], []
    for i, row in enumerate(rows):
        begin, prompt, split = len(tokens), len(row.prompt), len(row.prompt) + len(row.chosen)
        spans.append(Span(begin, begin + prompt, begin + split, begin + row.tokens))
        tokens += row.prompt + row.chosen + row.rejected
        positions += [*range(split), *range(prompt, prompt + len(row.rejected))]
        places.append([(0, begin + c, t, branch) for _, c, t, branch in _places(row, i, 1)])
    ids = torch.tensor([tokens], dtype=torch.long)
    return _batch(rows, 1, ids, torch.tensor([positions]), None, tuple(spans), places)


def _batch(
    rows: Sequence[Row],
    rows_per_pair: int,
    ids: torch.Tensor,
    positions: torch.Tensor,
    mask: torch.Tensor | None,
    spans: tuple[Span, ...],
    places: list[list[tuple[int, int, int, int]]],
) -> Batch:
    where = torch.tensor([place for each in places for place in each], dtype=torch.long).view(-1, 4)
    lengths = [float(len(reply)) for row in rows for reply in (row.chosen, row.rejected)]
    return Batch(
        pairs=len(rows),
        rows_per_pair=rows_per_pair,
        ids=ids,
        positions=positions,
        mask=mask,
        spans=spans,
        rows=where[:, 0],
        columns=where[:, 1],
        targets=where[:, 2],
        branches=where[:, 3],
        lengths=torch.tensor(lengths),
        weights=torch.tensor([row.weight for row in rows]),
        desirable=torch.tensor([row.desirable for row in rows]),
        paired=torch.tensor([bool(row.rejected) for row in rows]),
    )


def _lay_out(row: Row, positions: torch.Tensor, mask: torch.Tensor) -> None:
    """Write positions [length] and visibility [length, length] of one row."""
    length = len(positions)
    prompt, split, end = len(row.prompt), len(row.prompt) + len(row.chosen), row.tokens
    positions[split:end] = torch.arange(prompt, prompt + len(row.rejected))
    positions[end:] = 0
    mask.copy_(torch.ones(length, length, dtype=torch.bool).tril())
    mask[split:, prompt:split] = False
    # Padding sees itself only: a softmax over nothing would be NaN.
    mask[end:] = False
    mask[:, end:] = False
    mask[range(end, length), range(end, length)] = True


def _places(row: Row, i: int, rows_per_pair: int) -> list[tuple[int, int, int, int]]:
    """(row, column, target, branch) of all completion tokens of pair `i`.

    The first token of either reply is predicted by the last token of the prompt; where there is
    no prompt, nothing predicts it.
    """
    last = len(row.prompt) - 1
    found = []
    for side, reply in enumerate((row.chosen, row.rejected)):
        shared = rows_per_pair == 1
        begin = last + 1 + (len(row.chosen) if shared and side == 1 else 0)
        columns = [last, *range(begin, begin + len(reply) - 1)][: len(reply)]
        index = i if shared else 2 * i + side
        predicted = zip(columns, reply, strict=False)  # a missing reply has no column
        found += [(index, c, t, 2 * i + side) for c, t in predicted if c >= 0]
    return found
