"""What the engine needs of a model: logits for tokens, and a cache of keys and values.

`LibraryDecoder` asks transformers and works for every architecture. `own_loop` is quicker for
the families that it knows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from xeno.inference.onednn import without_onednn

Stopped = Callable[[], bool]


class Decoder(Protocol):
    """Tokens in, logits [vocabulary] of the next token out.

    Attributes:
        name: what the user is told about how replies are computed.
        length: tokens whose keys and values are kept.
    """

    name: str

    @property
    def length(self) -> int: ...

    def crop(self, length: int) -> None:
        """Keep the first `length` tokens, or none where the cache cannot go back."""

    def read(self, ids: Sequence[int], stopped: Stopped) -> torch.Tensor | None:
        """The logits after a block of a prompt; None if it was stopped, and nothing is kept."""

    def step(self, token: int) -> torch.Tensor:
        """The logits after one more token."""

    def weights_changed(self, paths: Iterable[str]) -> None:
        """The weights of the modules at `paths` are not what they were: forget what was made
        of them, keys and values first."""


class LibraryDecoder:
    """Decodes with `model` of transformers. A stop is noticed between two blocks."""

    name = "transformers"

    def __init__(self, model: Any) -> None:
        self._model = model
        self._last_only = (
            {"logits_to_keep": 1}
            if "logits_to_keep" in inspect.signature(model.forward).parameters
            else {}
        )
        self._cache = self._empty()

    @property
    def length(self) -> int:
        return int(self._cache.get_seq_length())

    def crop(self, length: int) -> None:
        surplus = self.length - length
        if length == 0 or not all(type(each) is DynamicLayer for each in self._cache.layers):
            self._cache = self._empty()  # also caches that cannot go back, such as sliding windows
        elif surplus > 0:
            self._cache.crop(-surplus)

    def read(self, ids: Sequence[int], stopped: Stopped) -> torch.Tensor | None:
        return None if stopped() else self._forward(ids)

    def step(self, token: int) -> torch.Tensor:
        with without_onednn():
            return self._forward([token])

    def weights_changed(self, paths: Iterable[str]) -> None:
        self.crop(0)

    @torch.inference_mode()
    def _forward(self, ids: Sequence[int]) -> torch.Tensor:
        output = self._model(
            input_ids=torch.tensor([list(ids)]),
            past_key_values=self._cache,
            use_cache=True,
            **self._last_only,
        )
        logits: torch.Tensor = output.logits[0, -1]
        return logits

    def _empty(self) -> DynamicCache:
        return DynamicCache(config=self._model.config)
