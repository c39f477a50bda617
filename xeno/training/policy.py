"""The model that learns: from a batch of pairs to the log-probability of every reply.

Two shortcuts save most of the work, and both are proved on the loaded model before they are
used: one row per pair (the architecture must honour the mask), and sending only the predictions
of reply tokens through the head (the model must not touch its logits after the head).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from xeno.training.loss import branch_logps
from xeno.training.rows import Batch, Row, collate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

_SHAPE_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError)


class Policy:
    """`model` with the shortcuts that hold for it. Adapters may be attached before or after.

    Attributes:
        rows_per_pair: 1, or 2 where the architecture does not honour the mask.
        direct_head: whether the head alone gives the model's logits.
    """

    def __init__(self, model: PreTrainedModel, pad: int = 0) -> None:
        self.model: Any = model
        self.pad = pad
        self.direct_head = False
        self.rows_per_pair = 2
        self._probe()

    def use_for(self, rows: Sequence[Row]) -> None:
        """Give up the single row where `rows` are longer than a sliding attention window, which
        the single row's own mask would switch off."""
        window = getattr(self.model.config.get_text_config(), "sliding_window", None)
        if isinstance(window, int) and any(row.tokens > window for row in rows):
            self.rows_per_pair = 2

    def collate(self, rows: Sequence[Row]) -> Batch:
        """The batch of `rows` in the form that this model takes."""
        return collate(rows, self.pad, self.rows_per_pair)

    def logps(self, batch: Batch) -> torch.Tensor:
        """Summed log-probability of each branch's reply [2 pairs], with gradients if enabled."""
        return branch_logps(self.logits(batch), batch)

    def logits(self, batch: Batch) -> torch.Tensor:
        """The predictions of the reply tokens [targets, vocabulary]."""
        inputs: dict[str, Any] = {"input_ids": batch.ids, "use_cache": False}
        if batch.rows_per_pair == 1:
            inputs["position_ids"] = batch.positions
            inputs["attention_mask"] = self._additive(batch.mask)
        else:
            inputs["attention_mask"] = batch.mask
        if not self.direct_head:
            everything: torch.Tensor = self.model(**inputs).logits
            return everything[batch.rows, batch.columns]
        hidden = self.model.base_model(**inputs)[0]
        chosen: torch.Tensor = self.model.get_output_embeddings()(hidden[batch.rows, batch.columns])
        return chosen

    def _additive(self, mask: torch.Tensor) -> torch.Tensor:
        """0 for visible, the lowest number for hidden: understood by every attention."""
        dtype = self.model.dtype
        hidden = torch.zeros(mask.shape, dtype=dtype)
        return hidden.masked_fill_(~mask, torch.finfo(dtype).min)

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
        apart, single = collate(rows, self.pad, 2), collate(rows, self.pad, 1)
        truth = self.logits(apart).float()
        self.direct_head = True
        got = _attempt(lambda: self.logits(apart))
        self.direct_head = got is not None and bool(torch.allclose(got, truth))
        got = _attempt(lambda: self.logits(single))
        # What an architecture that ignores the mask would give: the reply before is visible.
        seen = torch.ones_like(single.mask).tril()
        ignored = _attempt(lambda: self.logits(replace(single, mask=seen)))
        if got is not None and ignored is not None:
            error, harm = (got - truth).abs().max(), (ignored - truth).abs().max()
            exact = self.model.dtype != torch.float32 or bool(error < 1e-3)
            self.rows_per_pair = 1 if exact and bool(error < 0.1 * harm) else 2


def _attempt(compute: Callable[[], torch.Tensor]) -> torch.Tensor | None:
    """None where the architecture refuses the shortcut's inputs."""
    try:
        return compute().float()
    except _SHAPE_ERRORS:
        return None
