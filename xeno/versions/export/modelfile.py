"""An Ollama Modelfile: the weights, the chat template as Ollama writes them, the user's prompt.

Ollama has templates of its own (Go's), so the base's Jinja template is taken apart: rendered
around marks, it shows what stands before and after each turn. The parts are then put together
again for several conversations and must give just what the Jinja template gives. A template
that no such parts describe gets no Modelfile; llama.cpp reads the Jinja template in the GGUF.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage
from xeno.models.chat import end_of_reply_ids, render

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARKS = {"system": "s\u2042s", "user": "u\u2042u", "assistant": "a\u2042a"}
_QUOTES = '"""'


@dataclass(frozen=True)
class Parts:
    """What a chat template writes around the turns. `begin` stands where there is no system
    turn, `reply` where the assistant's reply begins."""

    begin: str
    before_system: str
    after_system: str
    before_user: str
    after_user: str
    before_assistant: str
    after_assistant: str
    reply: str

    def rendered(self, messages: Sequence[ChatMessage]) -> str:
        """The prompt for `messages`, as Ollama would write it."""
        first = messages[0]
        text = self.begin
        if first.role == "system":
            text = self.before_system + first.content + self.after_system
        around = {
            "user": (self.before_user, self.after_user),
            "assistant": (self.before_assistant, self.after_assistant),
        }
        for turn in messages:
            if turn.role != "system":
                before, after = around[turn.role]
                text += before + turn.content + after
        return text + self.reply

    def template(self) -> str:
        """The same as a template of Ollama's."""
        literal = {name: _literal(text) for name, text in vars(self).items()}
        return (
            "{{{{ if .System }}}}{before_system}{{{{ .System }}}}{after_system}"
            "{{{{ else }}}}{begin}{{{{ end }}}}{{{{ range .Messages }}}}"
            '{{{{ if eq .Role "user" }}}}{before_user}{{{{ .Content }}}}{after_user}'
            '{{{{ else if eq .Role "assistant" }}}}{before_assistant}{{{{ .Content }}}}'
            "{after_assistant}{{{{ end }}}}{{{{ end }}}}{reply}"
        ).format(**literal)


def parts(tokenizer: PreTrainedTokenizerBase) -> Parts:
    """The parts of `tokenizer`'s chat template, without the token that begins a text.

    Raises:
        InvalidValueError: if it cannot be taken apart.
    """

    def text(messages: Sequence[ChatMessage], reply: bool = True) -> str:
        written = render(tokenizer, messages, reply)
        return written.removeprefix(str(tokenizer.bos_token or ""))  # Ollama adds it itself

    found = _taken_apart(text)
    turns = [ChatMessage(role="user", content="x y"), ChatMessage(role="assistant", content="z")]
    system = ChatMessage(role="system", content="Be brief. Be kind.")
    for talk in (turns[:1], [*turns, *turns[:1]], [*turns, *turns, *turns[:1]]):
        for messages in (talk, [system, *talk]):
            if found.rendered(messages) != text(messages):
                raise _refused("It writes a turn differently depending on where it stands.")
    return found


def modelfile(
    source: str, tokenizer: PreTrainedTokenizerBase, system_prompt: str, context: int
) -> str:
    """A Modelfile that makes Ollama answer as the chat does.

    Args:
        source: its first lines, such as "FROM ./model.gguf".
        system_prompt: what Ollama sends before every conversation; may be empty.

    Raises:
        InvalidValueError: if the chat template or the prompt has no form there.
    """
    template = parts(tokenizer).template()
    if _QUOTES in template + system_prompt:
        raise _refused("It, or the prompt, holds three quotation marks in a row.")
    lines = [source, f"TEMPLATE {_QUOTES}{template}{_QUOTES}"]
    if system_prompt:
        lines.append(f"SYSTEM {_QUOTES}{system_prompt}{_QUOTES}")
    lines += ["PARAMETER temperature 0", f"PARAMETER num_ctx {context}"]
    ends = (str(tokenizer.decode([each])) for each in sorted(end_of_reply_ids(tokenizer)))
    lines += [f'PARAMETER stop "{end}"' for end in ends if end and '"' not in end]
    return "\n".join(lines) + "\n"


def _taken_apart(text: Callable[..., str]) -> Parts:
    system, user, assistant = (
        ChatMessage(role=role, content=mark) for role, mark in _MARKS.items()
    )
    asked, waiting = text([user], False), text([user])
    before, _, after_user = asked.partition(_MARKS["user"])
    talk = text([user, assistant, user], False).split(_MARKS["user"])
    between = talk[1].split(_MARKS["assistant"]) if len(talk) == 3 else []
    whole = text([user, assistant], False)
    if len(between) != 2 or not waiting.startswith(asked) or _MARKS["user"] not in asked:
        raise _refused("It leaves turns out, or writes them twice.")
    after_assistant = whole.rpartition(_MARKS["assistant"])[2]
    before_assistant = between[0].removeprefix(after_user)
    before_user = between[1].removeprefix(after_assistant)
    with_system = text([system, user], False).split(_MARKS["system"])
    if len(with_system) != 2 or not before.endswith(before_user):
        raise _refused("It writes no system turn.")
    return Parts(
        begin=before.removesuffix(before_user),
        before_system=with_system[0],
        after_system=with_system[1].partition(_MARKS["user"])[0].removesuffix(before_user),
        before_user=before_user,
        after_user=after_user,
        before_assistant=before_assistant,
        after_assistant=after_assistant,
        reply=waiting.removeprefix(asked),
    )


def _literal(text: str) -> str:
    return text.replace("{{", '{{ "{{" }}')


def _refused(why: str) -> InvalidValueError:
    return InvalidValueError(
        "There is no Modelfile for this chat template.",
        why,
        "Use the GGUF with llama.cpp, which reads the base's own template.",
    )
