"""Keeps what people write from being read as control tokens.

A tokenizer parses the text of its special tokens wherever it stands: somebody who writes
`<|im_end|>` would end their own turn, or begin one of the system's. Before the chat template
renders a conversation, such text is put between two characters that occur nowhere else in it.
What stands between them is then encoded as ordinary text, and all the rest as ever: where nothing
had to be marked, the ids are those of the tokenizer. transformers does the same where it encodes
by itself (`apply_chat_template(sanitize_control_tokens=True)`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xeno.events import ChatMessage

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PRIVATE_USE = range(0xF0000, 0xFFFFE)


class ControlTokens:
    """The control tokens of a tokenizer: those that are no words of anybody's.

    In what the user and the system say these are the special tokens and those that the template
    writes around the turns; in the assistant's words the special ones, because a reasoning model
    writes the others, such as `<think>`, itself.

    Args:
        tokenizer: the tokenizer.
        written: ids of what the template writes around turns.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, written: Sequence[int]) -> None:
        added = {n: t for n, t in tokenizer.added_tokens_decoder.items() if t.content.strip()}
        special = {n for n, t in added.items() if t.special} | set(tokenizer.all_special_ids)
        everything = special | (set(written) & added.keys())
        unknown = tokenizer.unk_token_id  # also what a character without a token becomes
        self.tokenizer: Any = tokenizer
        self.ids = everything - {unknown}
        self._patterns = {
            role: _pattern(sorted(added[n].content for n in ids if n in added))
            for role, ids in (("assistant", special), ("user", everything))
        }
        # A token that is looked for after the text was normalised has other spellings, too.
        self._spelled_freely = any(added[n].normalized for n in everything if n in added)

    def marks(self, turns: Sequence[ChatMessage]) -> Marks:
        """Marks for these turns, made of characters that none of them holds."""
        said = "".join(turn.content for turn in turns)
        free = (chr(code) for code in _PRIVATE_USE if chr(code) not in said)
        return Marks(self, next(free), next(free))

    def wrapped(self, turn: ChatMessage, start: str, end: str) -> ChatMessage:
        """`turn` with every control token in it between `start` and `end`."""
        pattern = self._patterns["assistant" if turn.role == "assistant" else "user"]
        content, hits = pattern.subn(lambda found: start + found.group() + end, turn.content)
        if not hits and self._spelled_freely and self.ids & set(encoded(self, turn.content)):
            content, hits = start + turn.content + end, 1
        return ChatMessage(role=turn.role, content=content) if hits else turn


class Marks:
    """Sets the control tokens in turns apart, until they are encoded."""

    def __init__(self, control: ControlTokens, start: str, end: str) -> None:
        self._control = control
        self._start, self._end = start, end
        self._pattern = re.compile(f"{start}(.*?){end}|[{start}{end}]", re.DOTALL)

    def on(self, turn: ChatMessage) -> ChatMessage:
        """`turn` with marks around the control tokens in it."""
        return self._control.wrapped(turn, self._start, self._end)

    def encode(self, text: str) -> list[int]:
        """The ids of what the template made of marked turns, without the marks.

        A template that cuts a turn may leave a single mark; the text is parted there, so that
        its two sides cannot join into a control token.
        """
        pieces = self._pattern.split(text)  # text, marked or None, text, ..., text
        ids = encoded(self._control, pieces[0])
        for place, piece in enumerate(pieces[1:], start=1):
            if piece:
                ids += self._as_text(piece) if place % 2 else self._further(piece)
        return ids

    def _further(self, piece: str, **options: Any) -> list[int]:
        """The ids of a piece from the middle of a text.

        Encoded after a newline, which is taken off again: some tokenizers put a space before
        the beginning of a text.
        """
        newline = encoded(self._control, "\n", **options)
        ids = encoded(self._control, "\n" + piece, **options)
        if ids[: len(newline)] == newline:
            return ids[len(newline) :]
        return encoded(self._control, piece, **options)

    def _as_text(self, piece: str) -> list[int]:
        """The ids of a piece that must give no control token, character by character where its
        words would."""
        ids = self._further(piece, split_special_tokens=True)
        if self._control.ids.isdisjoint(ids):
            return ids
        ids = [each for character in piece for each in self._further(character)]
        return [each for each in ids if each not in self._control.ids]


def encoded(control: ControlTokens, text: str, **options: Any) -> list[int]:
    """The tokenizer's own ids of `text`."""
    found = control.tokenizer(text, add_special_tokens=False, **options)["input_ids"]
    return [int(token) for token in found]


def _pattern(texts: Sequence[str]) -> re.Pattern[str]:
    """Finds any of `texts`, the longest that fits."""
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
