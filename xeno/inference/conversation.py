"""Fitting a conversation into what a model can read.

Whole turns go first, the oldest first; the system prompt and the last question stay. Only a
single turn that is too long by itself loses its beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage
from xeno.models.chat import encode_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LEAST_TOKENS = 16


@dataclass(frozen=True)
class Fitted:
    """A prompt's token ids, with the turns left out and the tokens cut from a long turn."""

    ids: list[int]
    dropped_turns: int
    cut_tokens: int


def fit(tokenizer: PreTrainedTokenizerBase, messages: Sequence[ChatMessage], limit: int) -> Fitted:
    """The prompt for `messages` in at most `limit` tokens.

    Raises:
        InvalidValueError: if there is nothing to answer, or not even the shortest form fits.
    """
    if not any(turn.role == "user" for turn in messages):
        raise InvalidValueError(
            "There is nothing to answer.",
            "The conversation holds no user's turn.",
            "Say something.",
        )
    ids = encode_prompt(tokenizer, messages)
    if len(ids) <= limit:
        return Fitted(ids, 0, 0)
    head = list(messages[:1]) if messages[0].role == "system" else []
    turns = list(messages[len(head) :])
    starts = [position for position, turn in enumerate(turns) if turn.role == "user"]
    # The later the start, the shorter the prompt: bisect for the earliest start that fits.
    low, high = 0, len(starts) - 1
    while low < high:
        middle = (low + high) // 2
        if len(encode_prompt(tokenizer, [*head, *turns[starts[middle] :]])) <= limit:
            high = middle
        else:
            low = middle + 1
    kept = [*head, *turns[starts[low] :]]
    ids = encode_prompt(tokenizer, kept)
    if len(ids) <= limit:
        return Fitted(ids, starts[low], 0)
    return _cut(tokenizer, kept, limit, starts[low])


def _cut(
    tokenizer: PreTrainedTokenizerBase, kept: list[ChatMessage], limit: int, dropped: int
) -> Fitted:
    """Shorten single turns from the left, the longest first and the system prompt last."""
    before = len(encode_prompt(tokenizer, kept))
    order = sorted(
        range(len(kept)), key=lambda each: (kept[each].role == "system", -len(kept[each].content))
    )
    for position in order:
        content = _content_ids(tokenizer, kept[position])
        surplus = len(encode_prompt(tokenizer, kept)) - limit
        while surplus > 0 and len(content) > _LEAST_TOKENS:
            content = content[min(surplus, len(content) - _LEAST_TOKENS) :]
            text = str(tokenizer.decode(content)).lstrip("\ufffd")
            kept[position] = ChatMessage(role=kept[position].role, content=text)
            surplus = len(encode_prompt(tokenizer, kept)) - limit
        if surplus <= 0:
            ids = encode_prompt(tokenizer, kept)
            return Fitted(ids, dropped, before - len(ids))
    raise InvalidValueError(
        "The question does not fit into the model.",
        f"Even shortened it needs more than the {limit} tokens that the model can read.",
        "Choose a base model with a longer context.",
    )


def _content_ids(tokenizer: PreTrainedTokenizerBase, turn: ChatMessage) -> list[int]:
    return [int(each) for each in tokenizer(turn.content, add_special_tokens=False)["input_ids"]]
