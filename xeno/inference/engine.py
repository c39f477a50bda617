"""The engine behind every reply: one base model, at most one adapter, an own decode loop.

The same prompt always gives the same greedy reply, whatever was said before: what is kept of a
prompt between turns is only what was computed in whole blocks of `BLOCK` tokens from its start,
so a reply never depends on whether a block was kept or computed again. (Keys and values of
tokens that were decoded one by one differ in the last bits from those of a block.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from xeno.errors import BaseModelError, InvalidValueError
from xeno.events import ChatMessage, PairScore, Sampling, ScorePair
from xeno.inference.conversation import fit
from xeno.inference.decoding import Sampler, StopStrings, TextStream
from xeno.inference.merge import Merge
from xeno.inference.parity import choose_decoder
from xeno.inference.probe import fitting_threads
from xeno.models.base import BaseModel
from xeno.models.chat import encode_exchange, encode_prompt, end_of_reply_ids, load_tokenizer
from xeno.models.loading import choose_dtype, load_model
from xeno.versions.adapter import AdapterConfig

BLOCK = 64
"""Tokens of a prompt that are computed at once; a stop is noticed between two blocks."""


@dataclass(frozen=True)
class Generation:
    """A reply with its measurements. `text` is exactly what was streamed; times in seconds.

    `reused_tokens` of the prompt were known from earlier turns; `tokens_per_second` is of
    decoding alone, without the wait for the first token; `cut_tokens` were left out of a turn
    that is too long by itself.
    """

    text: str
    reason: Literal["end", "length", "stopped"]
    prompt_tokens: int
    reused_tokens: int
    reply_tokens: int
    first_token_seconds: float
    tokens_per_second: float
    dropped_turns: int
    cut_tokens: int


class Engine:
    """Answers with `base`. To be made and used on one thread: PyTorch keeps a pool of
    workers for every thread that computes, and two pools on the same cores halve the speed.

    Args:
        dtype: "auto", "bfloat16", "float32", or "int8": bfloat16, but for single tokens weights
            rounded to 8 bits.
        threads: cores to compute on; by default as many as a probe finds worth it.

    Raises:
        BaseModelError: if the base cannot be loaded.
    """

    def __init__(self, base: BaseModel, dtype: str = "auto", threads: int | None = None) -> None:
        self.base = base
        self.threads = threads or fitting_threads(base.home)
        torch.set_num_threads(self.threads)
        self.dtype = choose_dtype(base, "bfloat16" if dtype == "int8" else dtype)
        self.tokenizer = load_tokenizer(base)
        self.model: Any = load_model(base, self.dtype)
        self._require_words()
        self._ends = end_of_reply_ids(
            self.tokenizer, self.model.config, self.model.generation_config
        )
        self.decoder, notes = choose_decoder(self.model, int8=dtype == "int8")
        self.notes = (*base.notes, *notes)
        self._merge = Merge(self.model)
        self._cached: list[int] = []
        self._warm_up()

    @property
    def active_address(self) -> str | None:
        """The content address of the version that answers, None for the base."""
        return self._merge.address

    def activate(
        self, address: str, tensors: Mapping[str, torch.Tensor], config: AdapterConfig
    ) -> None:
        """Answer with the version `address` from now on.

        Raises:
            DamagedDataError, InvalidValueError: if the adapter does not fit; the base answers.
        """
        if address == self.active_address:
            return
        try:
            changed = self._merge.put(address, tensors, config)
        except BaseException:
            self._merge.remove()
            self._weights_changed(self._merge.known)  # more than was written, never less
            raise
        self._weights_changed(changed)

    def deactivate(self) -> None:
        """Answer with the base from now on, bit by bit as if there had been no adapter."""
        if changed := self._merge.remove():
            self._weights_changed(changed)

    def check(self, tensors: Mapping[str, torch.Tensor], config: AdapterConfig) -> None:
        """Raise what `activate` would raise for an adapter that does not fit; safe from any
        thread, and nothing is changed."""
        self._merge.check(tensors, config)

    def generate(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        *,
        on_text: Callable[[str], None] = lambda text: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Generation:
        """Answer `messages`.

        Args:
            on_text: called with each piece of the reply as it becomes certain.
            stopped: asked before every token, and before every block of the prompt or every
                layer of it, as the decoder can.

        Raises:
            InvalidValueError: if there is nothing to answer, or it cannot be made to fit.
            DamagedDataError: if the weights give no usable numbers.
        """
        begun = time.perf_counter()
        # A reply gets up to a third of the context before earlier turns are dropped for it.
        reserved = min(sampling.max_tokens, self.base.context // 3)
        prompt = fit(self.tokenizer, messages, self.base.context - reserved)
        allowed = min(sampling.max_tokens, self.base.context - len(prompt.ids))
        stream, sampler = TextStream(self.tokenizer), Sampler(sampling)
        stops = StopStrings(sampling.stop)
        pieces: list[str] = []

        def show(text: str) -> None:
            if text:
                pieces.append(text)
                on_text(text)

        reason: Literal["end", "length", "stopped"] = "stopped"
        produced = steps = 0
        first = last = begun
        self._crop(self._reusable(prompt.ids))
        reused = len(self._cached)
        try:
            logits = self._prefill(prompt.ids, stopped)
            while logits is not None:
                token = sampler.pick(logits)
                last = time.perf_counter()
                first = first if steps else last
                steps += 1
                if token in self._ends:
                    reason = "end"
                    break
                produced += 1
                show(stops.push(stream.push(token)))
                if stops.found:
                    reason = "end"
                    break
                if produced == allowed:
                    reason = "length"
                    break
                if stopped():
                    break
                logits = self.decoder.step(token)
            show(stops.push(stream.flush()) + stops.flush())
            self._keep_blocks()
        except BaseException:
            self.forget()  # a pass that was torn leaves some layers ahead of the others
            raise
        return Generation(
            text="".join(pieces),
            reason=reason,
            prompt_tokens=len(prompt.ids),
            reused_tokens=reused,
            reply_tokens=produced,
            first_token_seconds=first - begun,
            tokens_per_second=(steps - 1) / (last - first) if steps > 1 else 0.0,
            dropped_turns=prompt.dropped_turns,
            cut_tokens=prompt.cut_tokens,
        )

    def score(self, pairs: Sequence[ScorePair]) -> list[PairScore]:
        """Mean log-probability per token of both replies of each pair, ends of turn included.

        Prompts lose their beginning, and replies their end, where the context is too short.
        """
        return [
            PairScore(
                chosen=self._mean_log_probability(pair.prompt, pair.chosen),
                rejected=self._mean_log_probability(pair.prompt, pair.rejected),
            )
            for pair in pairs
        ]

    @torch.inference_mode()
    def _mean_log_probability(self, prompt: Sequence[ChatMessage], reply: str) -> float:
        prompt_ids, reply_ids = encode_exchange(self.tokenizer, prompt, reply)
        reply_ids = reply_ids[: self.base.context - 1]
        if not prompt_ids or not reply_ids:
            raise InvalidValueError(
                "The pair cannot be scored.", "Its prompt or reply is empty.", "Leave it out."
            )
        ids = (prompt_ids + reply_ids)[-self.base.context :]
        logits = self.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        log_odds = logits[-len(reply_ids) - 1 : -1].float().log_softmax(-1)
        return float(log_odds.gather(-1, torch.tensor(reply_ids)[:, None]).mean())

    def read_ahead(
        self, messages: Sequence[ChatMessage], stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """Compute the whole blocks of a conversation, so that its next turn begins sooner.

        The tokens of a reply were computed one by one, and are computed again here as blocks:
        so the next reply is the same whether there was time for this or not.
        """
        ids = encode_prompt(self.tokenizer, messages, add_generation_prompt=False)
        whole = len(ids) // BLOCK * BLOCK
        if whole >= self.base.context - BLOCK:  # turns will be dropped: another beginning
            return
        try:
            self._crop(self._reusable(ids))
            self._prefill(ids[:whole], stopped)
        except BaseException:
            self.forget()
            raise

    # The prompt, in blocks -------------------------------------------------------------

    def _prefill(self, ids: list[int], stopped: Callable[[], bool]) -> torch.Tensor | None:
        """The logits [vocabulary] after `ids` behind what is kept, or None if it was stopped."""
        logits = None
        for start in range(len(self._cached), len(ids), BLOCK):
            block = ids[start : start + BLOCK]
            logits = self.decoder.read(block, stopped)
            if logits is None:
                return None
            self._cached.extend(block)
        return logits

    def _reusable(self, ids: list[int]) -> int:
        """Tokens of `ids` in whole blocks that are already computed; at least one is not."""
        same = 0
        for known, wanted in zip(self._cached, ids[:-1], strict=False):
            if known != wanted:
                break
            same += 1
        return same // BLOCK * BLOCK

    def _keep_blocks(self) -> None:
        """Forget the reply's tokens and the prompt's last, partial block."""
        self._crop(len(self._cached) // BLOCK * BLOCK)

    def _crop(self, length: int) -> None:
        self.decoder.crop(length)
        self._cached = self._cached[: min(length, self.decoder.length)]

    def forget(self) -> None:
        """Keep nothing of what was read: the next prompt is computed from its first token."""
        self._crop(0)

    def _weights_changed(self, paths: set[str]) -> None:
        self._cached = []
        self.decoder.weights_changed(paths)

    def _require_words(self) -> None:
        """Every token that the tokenizer can give must have a row in the model."""
        rows = self.model.get_input_embeddings().weight.shape[0]
        if (largest := max(self.tokenizer.get_vocab().values(), default=0)) >= rows:
            raise BaseModelError(
                f"{self.base.folder} cannot be used as a base model.",
                f"Its tokenizer knows token {largest}, and the model only {rows} tokens.",
                "Download the model again, or choose another folder.",
            )

    def _warm_up(self) -> None:
        """The first pass through the library is slow; take it before the first question."""
        self.generate([ChatMessage(role="user", content="Hello")], Sampling(max_tokens=2))
        self.forget()
