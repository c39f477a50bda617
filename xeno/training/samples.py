"""Replies of the model in training to a few fixed prompts, to see what it learns.

Decoded greedily from the model as it stands, adapter included, so nothing random is drawn;
dropout is off meanwhile, no gradient is recorded, and every module is left in the mode it was
in. A run with samples therefore ends in the same adapter as one without. In private runs the
adapter that answers has only ever been changed by clipped and noised steps, so what it writes
is covered by the run's epsilon (post-processing); the replies stay with the run all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from xeno.events import ChatMessage, SampleReply
from xeno.models.chat import encode_prompt, end_of_reply_ids
from xeno.training.plan import TrainingPlan
from xeno.training.settings.evaluation import sample_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Samples:
    """Writes the sample replies that `plan` asks for.

    Args:
        context: tokens that the base can read and write together.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        context: int,
    ) -> None:
        self._model: Any = model
        self._tokenizer = tokenizer
        self._tokens = min(plan.sample_tokens, context - 1)
        self._seconds = plan.sample_seconds
        self._ends = end_of_reply_ids(tokenizer, model.config, model.generation_config)
        room = context - self._tokens
        self._prompts = [
            (text, encode_prompt(tokenizer, [ChatMessage(role="user", content=text)])[-room:])
            for text in sample_prompts(plan)
        ]

    def write(self, stopped: Callable[[], bool]) -> tuple[SampleReply, ...]:
        """The replies of the model as it is now; empty where no samples are wanted.

        Args:
            stopped: asked before every token; what is written so far is then given back.
        """
        deadline = time.monotonic() + self._seconds
        replies = []
        with _answering(self._model):
            for place, (text, ids) in enumerate(self._prompts):
                # Each prompt gets a fair share of the time that is left.
                now = time.monotonic()
                end = now + max(0.0, deadline - now) / (len(self._prompts) - place)
                written, complete = self._decode(ids, end, stopped)
                words = str(self._tokenizer.decode(written, skip_special_tokens=True))
                replies.append(SampleReply(prompt=text, reply=words.strip(), complete=complete))
        return tuple(replies)

    @torch.no_grad()
    def _decode(
        self, ids: list[int], end: float, stopped: Callable[[], bool]
    ) -> tuple[list[int], bool]:
        """The tokens of the reply to `ids`, and whether it ended by itself."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config)
        written: list[int] = []
        while len(written) < self._tokens and time.monotonic() < end and not stopped():
            logits = self._model(
                input_ids=torch.tensor([ids], device=self._model.device),
                past_key_values=cache,
                use_cache=True,
            ).logits[0, -1]
            token = int(logits.argmax())
            if token in self._ends:
                return written, True
            written.append(token)
            ids = [token]
        return written, False


@contextmanager
def _answering(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode for all of `model`; afterwards each module is in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
