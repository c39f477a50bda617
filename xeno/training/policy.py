"""The model that learns: from a batch of pairs to the log-probability of every reply.

Shortcuts save most of the work, and each is proved on the loaded model before it is used:

    one row       a pair is one row (the architecture must honour the mask, or our attention)
    packed        the rows of a batch are one sequence without padding (our attention)
    direct head   only the predictions of reply tokens are made, a few at a time (what the model
                  does after its last layer must be known)
    fused layers  `xeno.training.fused`
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from xeno.training import segments
from xeno.training.fused import Flow, fuse_adapter, fuse_base
from xeno.training.head import CHUNK, Head
from xeno.training.loss import branch_logps, summed
from xeno.training.rows import Batch, Row, collate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

_SHAPE_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError)
_ROUNDING = {torch.float32: 1e-4, torch.float64: 1e-8}
_COARSE_ROUNDING = 1e-3


@dataclass(frozen=True)
class Shortcuts:
    """Which shortcuts may be tried.

    Attributes:
        attention: "segments" packs the rows of a batch and needs no mask; "dense" pads them;
            "auto" packs on processors, where there is no quicker kernel for a masked row.
        one_row: whether a pair may be one row.
        fused: whether layers may be replaced.
        head_tokens: predictions in memory at once.
        kept_keys: see `segments.attention`.
    """

    attention: Literal["auto", "segments", "dense"] = "auto"
    one_row: bool = True
    fused: bool = True
    head_tokens: int = CHUNK
    kept_keys: int = segments.KEPT_KEYS


class Policy:
    """`model` with the shortcuts that hold for it. The adapter is attached afterwards, and made
    known by `adapted`.

    Args:
        pad: a token to pad with.
        private: whether the gradient of every single pair will be asked for.

    Attributes:
        rows_per_pair: 1, or 2 where the architecture does not honour the mask.
        packed: whether the rows of a batch are one sequence.
        head: what the model does after its last hidden state, None where that is not known.
        fused: how many layers of the base were replaced.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        pad: int = 0,
        *,
        private: bool = False,
        shortcuts: Shortcuts | None = None,
    ) -> None:
        self.model: Any = model
        self.pad = pad
        self.rows_per_pair = 2
        self.packed = False
        self.head: Head | None = None
        self.fused = 0
        self._shortcuts = shortcuts or Shortcuts()
        self._flow = Flow(per_unit=private)
        self._can_pack = False
        self._probe()

    @property
    def direct_head(self) -> bool:
        """Whether only the predictions of reply tokens are made."""
        return self.head is not None

    def use_for(self, rows: Sequence[Row]) -> None:
        """Give up the single row where `rows` are longer than a sliding attention window, which
        the single row's own mask would switch off."""
        window = getattr(self.model.config.get_text_config(), "sliding_window", None)
        if isinstance(window, int) and any(row.tokens > window for row in rows):
            self.rows_per_pair, self.packed, self._can_pack = 2, False, False

    def adapted(self) -> None:
        """Find the adapter that was attached. In private runs rows are packed only if every
        adapted layer knows the gradient of a single pair of the pack."""
        every = self._shortcuts.fused and fuse_adapter(self.model, self._flow)
        self.packed = self._can_pack and (every or not self._flow.per_unit)

    def collate(self, rows: Sequence[Row]) -> Batch:
        """The batch of `rows` in the form that this model takes."""
        return collate(rows, self.pad, self.rows_per_pair, packed=self.packed)

    def logps(self, batch: Batch) -> torch.Tensor:
        """Summed log-probability of each branch's reply [2 pairs], with gradients if enabled."""
        if self.head is None:
            return branch_logps(self.logits(batch).cpu(), batch)
        hidden = self._hidden(batch)
        tokens = self.head.token_logps(
            hidden, batch.targets.to(hidden.device), self._shortcuts.head_tokens
        )
        return summed(tokens.cpu(), batch)

    def logits(self, batch: Batch) -> torch.Tensor:
        """The predictions of the reply tokens [targets, vocabulary]."""
        if self.head is None:
            everything: torch.Tensor = self.model(**self._inputs(batch)).logits
            return everything[batch.rows, batch.columns]
        return self.head.logits(self._hidden(batch))

    def _hidden(self, batch: Batch) -> torch.Tensor:
        """The last hidden states that predict the reply tokens [targets, hidden]."""
        states: torch.Tensor = self.model.base_model(**self._inputs(batch))[0]
        return states[batch.rows, batch.columns]

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        device = self.model.device
        inputs: dict[str, Any] = {"input_ids": batch.ids.to(device), "use_cache": False}
        self._flow.bounds = tuple((span.begin, span.end) for span in batch.spans)
        if batch.mask is None:
            inputs["position_ids"] = batch.positions.to(device)
            # One number that hides nothing, so that no mask is made.
            inputs["attention_mask"] = torch.zeros(1, 1, 1, 1, dtype=self.model.dtype).to(device)
            inputs["spans"] = batch.spans
            inputs["kept_keys"] = self._shortcuts.kept_keys
        elif batch.rows_per_pair == 1:
            inputs["position_ids"] = batch.positions.to(device)
            inputs["attention_mask"] = self._additive(batch.mask).to(device)
        else:
            inputs["attention_mask"] = batch.mask.to(device)
        return inputs

    def _additive(self, mask: torch.Tensor) -> torch.Tensor:
        """0 for visible, the lowest number for hidden: understood by every attention."""
        dtype = self.model.dtype
        hidden = torch.zeros(mask.shape, dtype=dtype)
        return hidden.masked_fill_(~mask, torch.finfo(dtype).min)

    # Proofs -----------------------------------------------------------------------------

    @torch.no_grad()
    def _probe(self) -> None:
        generator = torch.Generator().manual_seed(0)
        vocabulary = self.model.config.get_text_config().vocab_size

        def tokens(count: int) -> tuple[int, ...]:
            drawn = torch.randint(0, vocabulary, (count,), generator=generator)
            return tuple(int(token) for token in drawn)

        rows = [
            Row("", tokens(11), tokens(7), tokens(9)),
            Row("", tokens(5), tokens(12), tokens(4)),
        ]
        apart = collate(rows, self.pad, 2)
        truth = self.logits(apart).float()
        self._probe_head(apart, truth)
        if self._shortcuts.one_row:
            self._probe_forms(rows, truth)
        if self._shortcuts.fused:
            self.fused = fuse_base(self.model)

    def _probe_head(self, apart: Batch, truth: torch.Tensor) -> None:
        layer, config = self.model.get_output_embeddings(), self.model.config.get_text_config()
        if type(layer) is not torch.nn.Linear:
            return
        divisor = getattr(config, "logits_scaling", None) or 1.0  # Granite's way
        self.head = Head(
            layer.weight,
            layer.bias,
            scale=float(getattr(config, "logit_scale", None) or 1.0) / float(divisor),
            cap=getattr(config, "final_logit_softcapping", None),
        )
        got = _attempt(lambda: self.logits(apart))
        bound = _ROUNDING.get(self.model.dtype, _COARSE_ROUNDING)
        if got is None or not bool((got - truth).norm() <= bound * truth.norm()):
            self.head = None

    def _probe_forms(self, rows: Sequence[Row], truth: torch.Tensor) -> None:
        single = collate(rows, self.pad, 1)
        assert single.mask is not None
        # What an architecture that ignores the mask would give: the reply before is visible.
        seen = torch.ones_like(single.mask).tril()
        ignored = _attempt(lambda: self.logits(replace(single, mask=seen)))
        if ignored is None:
            return
        harm = float((ignored - truth).abs().max())

        def exact(batch: Batch) -> bool:
            got = _attempt(lambda: self.logits(batch))
            if got is None:
                return False
            error = float((got - truth).abs().max())
            return error < 0.1 * harm and (self.model.dtype != torch.float32 or error < 1e-3)

        self.rows_per_pair = 1 if exact(single) else 2
        wanted = self._shortcuts.attention
        on_processor = self.model.device.type == "cpu"
        if wanted == "segments" or (wanted == "auto" and on_processor):
            self._can_pack = self._swap_attention() and exact(collate(rows, packed=True))
            if self._can_pack:
                self.rows_per_pair = 1
            elif self.model.config._attn_implementation == segments.NAME:
                self.model.set_attn_implementation("sdpa")
        self.packed = self._can_pack and not self._flow.per_unit

    def _swap_attention(self) -> bool:
        """Let the model's attention go through `segments` where it is plain."""
        if self.model.config._attn_implementation != "sdpa":
            return False
        segments.register()
        self.model.set_attn_implementation(segments.NAME)
        return bool(self.model.config._attn_implementation == segments.NAME)


def _attempt(compute: Callable[[], torch.Tensor]) -> torch.Tensor | None:
    """None where the architecture refuses the shortcut's inputs."""
    try:
        return compute().float()
    except _SHAPE_ERRORS:
        return None
