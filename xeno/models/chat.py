"""How a base model is spoken to: its tokenizer, its chat template, the end of its replies.

Chat and training both encode through this file, so a model is trained on exactly the tokens
that it later sees and writes. What people write never becomes a control token (`control_tokens`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from xeno.errors import BaseModelError
from xeno.events import ChatMessage
from xeno.models.base import BaseModel
from xeno.models.control_tokens import ControlTokens

if TYPE_CHECKING:
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedTokenizerBase

DEFAULT_CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{%- for message in messages %}"
    "{%- if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{%- elif message['role'] == 'user' %}{{ 'User:\\n' + message['content'] + '\\n\\n' }}"
    "{%- else %}{{ 'Assistant:\\n' + message['content'] + eos_token + '\\n\\n' }}"
    "{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ 'Assistant:\\n' }}{% endif %}"
)
_PROBE = "\u2042xeno\u2042"


def load_tokenizer(base: BaseModel) -> PreTrainedTokenizerBase:
    """The tokenizer of `base`, with the default template if it brings none.

    Raises:
        BaseModelError: if the tokenizer's files cannot be used.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            str(base.folder), local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise _unusable(base, f"Its tokenizer cannot be loaded ({error}).") from error
    except Exception as error:  # the Rust reader raises bare Exception on a malformed file
        if type(error) is not Exception:
            raise
        raise _unusable(base, f"Its tokenizer cannot be loaded ({error}).") from error
    if not tokenizer.chat_template:
        tokenizer.chat_template = DEFAULT_CHAT_TEMPLATE
    # The engine shortens conversations itself; the library's warning would only mislead.
    tokenizer.model_max_length = int(1e30)
    _check_template(base, tokenizer)
    return tokenizer  # type: ignore[no-any-return]


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[ChatMessage],
    add_generation_prompt: bool = True,
) -> list[int]:
    """The token ids of a conversation, up to where the assistant's reply begins."""
    marks = _control_tokens(tokenizer, str(tokenizer.chat_template)).marks(messages)
    turns = [marks.on(turn) for turn in messages]
    return marks.encode(render(tokenizer, turns, add_generation_prompt))


def encode_exchange(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[ChatMessage], reply: str
) -> tuple[list[int], list[int]]:
    """A conversation and the assistant's reply to it, as token ids.

    Returns:
        The prompt as `encode_prompt` gives it, and the reply up to and including the token
        with which the template ends an assistant's turn, so that ending is learned and scored.
    """
    turns = [*messages, ChatMessage(role="assistant", content=reply)]
    marks = _control_tokens(tokenizer, str(tokenizer.chat_template)).marks(turns)
    turns = [marks.on(turn) for turn in turns]
    prompt_text = render(tokenizer, turns[:-1], True)
    prompt = marks.encode(prompt_text)
    whole_text = render(tokenizer, turns, False)
    after, end = _after_turn(tokenizer), turn_end(tokenizer)
    if not whole_text.startswith(prompt_text) or not whole_text.endswith(after):
        return prompt, [*marks.encode(turns[-1].content), *end]
    until_end = whole_text[: len(whole_text) - len(after)]
    whole = marks.encode(until_end)
    if whole[: len(prompt)] == prompt:
        return prompt, [*whole[len(prompt) :], *end]
    # The tokenizer merges across the border; generation never does.
    return prompt, [*marks.encode(until_end[len(prompt_text) :]), *end]


@lru_cache(maxsize=4)
def _control_tokens(tokenizer: PreTrainedTokenizerBase, template: str) -> ControlTokens:
    """What must not come out of anybody's words; `template` is the tokenizer's own."""
    turns = [ChatMessage(role="user", content="x"), ChatMessage(role="assistant", content="x")]
    written = render(tokenizer, [*turns, *turns], False) + render(tokenizer, turns[:1], True)
    return ControlTokens(tokenizer, _encode(tokenizer, written))


def turn_end(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the template writes after an assistant's words, up to its first special token;
    the end-of-text token where the template writes none; empty where there is neither."""
    ids = _encode(tokenizer, _after_turn(tokenizer))
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    for position, token in enumerate(ids):
        if token in special:
            return ids[: position + 1]
    end = tokenizer.eos_token_id
    return [int(end)] if isinstance(end, int) else []


def _after_turn(tokenizer: PreTrainedTokenizerBase) -> str:
    """The text that the template writes after an assistant's words."""
    turns = [
        ChatMessage(role="user", content="x"),
        ChatMessage(role="assistant", content=_PROBE),
    ]
    return render(tokenizer, turns, False).rpartition(_PROBE)[2]


def end_of_reply_ids(
    tokenizer: PreTrainedTokenizerBase, *configs: PretrainedConfig | GenerationConfig | None
) -> set[int]:
    """The tokens at which a reply is over: the template's end of a turn, and what the tokenizer
    and `configs` (the model's, and its generation settings) call the end of text."""
    ends: set[int] = set(turn_end(tokenizer)[-1:])
    for source in (tokenizer, *configs):
        source = getattr(source, "eos_token_id", None)
        ends.update([source] if isinstance(source, int) else source or [])
    return ends


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return [int(token) for token in tokenizer(text, add_special_tokens=False)["input_ids"]]


def render(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[ChatMessage],
    add_generation_prompt: bool,
) -> str:
    """The template's text. A template that refuses or forgets the system turn gets its text
    at the head of the first user turn instead."""
    from jinja2 import TemplateError

    def apply(turns: Sequence[ChatMessage]) -> str:
        return str(
            tokenizer.apply_chat_template(
                [{"role": turn.role, "content": turn.content} for turn in turns],
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
            )
        )

    first = messages[0] if messages else None
    if first is None or first.role != "system":
        return apply(messages)
    try:
        text = apply(messages)
        if first.content.strip() in text:
            return text
    except TemplateError:
        pass
    return apply(_folded(messages))


def _folded(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    system, *rest = messages
    for position, turn in enumerate(rest):
        if turn.role == "user":
            merged = ChatMessage(role="user", content=f"{system.content}\n\n{turn.content}")
            return [*rest[:position], merged, *rest[position + 1 :]]
    return [ChatMessage(role="user", content=system.content), *rest]


def _check_template(base: BaseModel, tokenizer: PreTrainedTokenizerBase) -> None:
    from jinja2 import TemplateError

    turns = [ChatMessage(role="system", content="x"), ChatMessage(role="user", content=_PROBE)]
    try:
        text = render(tokenizer, turns, True)
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        raise _unusable(base, f"Its chat template fails ({error}).") from error
    if _PROBE not in text:
        raise _unusable(base, "Its chat template leaves out what the user says.")


def _unusable(base: BaseModel, why: str) -> BaseModelError:
    return BaseModelError(
        f"{base.folder} cannot be used as a base model.",
        why,
        "Choose another folder, or download the model again.",
    )
