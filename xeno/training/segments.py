"""Attention over packed pairs: many rows in one sequence, without padding and without a mask.

A packed sequence is the rows of a micro-batch one after another. What a token may see is two
spans at most: its own reply up to itself, and the prompt before it,

    p0 p1 p2 c0 c1 c2 r0 r1 | p0 p1 c0 ...
             ^ sees p, c          r sees p, r

so attention is computed block by block over exactly these keys, and the mask of [tokens, tokens]
never exists. Products are batched matrix products, which on processors are two to three times
as quick as torch's own causal kernel for sequences of a few hundred tokens (docs/training.md).

Registered with transformers under NAME; calls without `spans` go to its usual attention.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

NAME = "xeno_segments"

BLOCK = 128
"""Queries at once: half of such a block's own keys are masked, the rest is all needed."""

KEPT_KEYS = 1024
"""Blocks with more keys than this compute their weights a second time in the backward pass, so
that memory does not grow with the square of the length."""


@dataclass(frozen=True)
class Span:
    """The places of one pair in a packed sequence: prompt [begin, chosen), chosen reply
    [chosen, rejected), rejected reply [rejected, end)."""

    begin: int
    chosen: int
    rejected: int
    end: int


@dataclass(frozen=True)
class _Block:
    """Queries [begin, end) see keys [shared_begin, shared_end), and their own causally from
    `own` on."""

    begin: int
    end: int
    own: int
    shared_begin: int = 0
    shared_end: int = 0

    @property
    def shared(self) -> int:
        return self.shared_end - self.shared_begin

    @property
    def keys(self) -> int:
        return self.shared + self.end - self.own


def _blocks(spans: Sequence[Span]) -> list[_Block]:
    found = []
    for span in spans:
        for begin in range(span.begin, span.rejected, BLOCK):
            found.append(_Block(begin, min(begin + BLOCK, span.rejected), span.begin))
        for begin in range(span.rejected, span.end, BLOCK):
            end = min(begin + BLOCK, span.end)
            found.append(_Block(begin, end, span.rejected, span.begin, span.chosen))
    return found


class _SegmentAttention(torch.autograd.Function):
    """Softmax attention of q [groups, shared heads, tokens, width] over k and v [groups, tokens,
    width]. The query heads of a group share its keys, and are rows of one product."""

    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        scale: float,
        blocks: Sequence[_Block],
        kept_keys: int,
    ) -> torch.Tensor:
        out = torch.empty_like(q)
        kept = []
        for block in blocks:
            weights = _weights(q, k, scale, block)
            mixed = torch.bmm(weights, _seen(v, block))
            out[:, :, block.begin : block.end] = mixed.view(*q.shape[:2], -1, q.shape[3])
            kept.append(weights if block.keys <= kept_keys else None)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(q, k, v, *kept)
            ctx.scale, ctx.blocks = scale, blocks
        return out

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> Any:
        q, k, v, *kept = ctx.saved_tensors
        dq = torch.empty_like(q)
        # Many blocks add to the same keys: in float32, so that nothing is lost.
        dk = torch.zeros(k.shape, dtype=torch.float32, device=k.device)
        dv = torch.zeros_like(dk)
        for block, weights in zip(ctx.blocks, kept, strict=True):
            if weights is None:
                weights = _weights(q, k, ctx.scale, block)
            d_out = _queries(outputs[0], block)
            _add(dv, block, torch.bmm(weights.transpose(1, 2), d_out))
            d_weights = torch.bmm(d_out, _seen(v, block).transpose(1, 2))
            d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            d_scores.mul_(ctx.scale)
            dq[:, :, block.begin : block.end] = torch.bmm(d_scores, _seen(k, block)).view(
                *q.shape[:2], -1, q.shape[3]
            )
            _add(dk, block, torch.bmm(d_scores.transpose(1, 2), _queries(q, block)))
        return dq, dk.to(k.dtype), dv.to(v.dtype), None, None, None


def _queries(x: torch.Tensor, block: _Block) -> torch.Tensor:
    """[groups, shared heads x queries, width]."""
    return x[:, :, block.begin : block.end].reshape(x.shape[0], -1, x.shape[3])


def _seen(x: torch.Tensor, block: _Block) -> torch.Tensor:
    """What the block sees of x [groups, tokens, width]: [groups, keys, width]."""
    own = x[:, block.own : block.end]
    if not block.shared:
        return own
    return torch.cat((x[:, block.shared_begin : block.shared_end], own), dim=1)


def _add(total: torch.Tensor, block: _Block, part: torch.Tensor) -> None:
    """The reverse of `_seen`: add [groups, keys, width] where the keys came from."""
    if block.shared:
        total[:, block.shared_begin : block.shared_end] += part[:, : block.shared]
    total[:, block.own : block.end] += part[:, block.shared :]


def _weights(q: torch.Tensor, k: torch.Tensor, scale: float, block: _Block) -> torch.Tensor:
    """The attention weights of a block [groups, shared heads x queries, keys]."""
    queries = block.end - block.begin
    scores = torch.bmm(_queries(q, block) * scale, _seen(k, block).transpose(1, 2))
    later = torch.full((queries, queries), -math.inf, dtype=q.dtype, device=q.device).triu_(1)
    scores.view(*q.shape[:2], queries, -1)[..., block.keys - queries :].add_(later)
    return torch.softmax(scores, -1)


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    spans: Sequence[Span] | None = None,
    kept_keys: int = KEPT_KEYS,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function of transformers: query [1, heads, tokens, width] over key and value
    [1, groups, tokens, width] gives [1, tokens, heads, width].

    Args:
        spans: the pairs of a packed sequence; None for any other.
        kept_keys: blocks with more keys compute their weights again for the gradient.

    Raises:
        ValueError: if the architecture asks for something else than plain attention.
    """
    if spans is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        usual: Any = sdpa_attention_forward
        result: tuple[torch.Tensor, None] = usual(
            module,
            query,
            key,
            value,
            attention_mask,
            scaling=scaling,
            dropout=dropout,
            **options,
        )
        return result
    window = options.get("sliding_window")
    longest = max(span.end - span.begin for span in spans)
    special = any(options.get(name) is not None for name in ("softcap", "s_aux", "position_bias"))
    if special or dropout or (window is not None and window < longest):
        raise ValueError("This attention is not plain.")
    _, heads, tokens, width = query.shape
    groups = key.shape[1]
    out = _SegmentAttention.apply(  # type: ignore[no-untyped-call]
        query.reshape(groups, heads // groups, tokens, width),
        key[0],
        value[0],
        width**-0.5 if scaling is None else scaling,
        _blocks(spans),
        kept_keys,
    )
    return out.view(1, heads, tokens, -1).transpose(1, 2).contiguous(), None


def register() -> None:
    """Make NAME known to transformers; with masks for calls without `spans`."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
