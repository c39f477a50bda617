"""A base's tokenizer without the library around it: for counting tokens in the window's process.

Reads tokenizer.json with the library that reads it in training too, and renders the chat
template as transformers does (its `_compile_jinja_template`); loads in some ten milliseconds.
It has what `xeno.models.chat` asks of a tokenizer, so that the same code encodes in both places.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xeno.errors import BaseModelError
from xeno.models.chat import DEFAULT_CHAT_TEMPLATE

if TYPE_CHECKING:
    from jinja2 import Template

    from xeno.models.base import BaseModel

_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token")


class LightTokenizer:
    """The tokenizer in `folder`.

    Raises:
        BaseModelError: if it has no tokenizer.json, or files that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        from jinja2 import TemplateError
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
            config = _json(folder / "tokenizer_config.json")
            named = _json(folder / "special_tokens_map.json") | config
            self.chat_template = _template(folder, config)
            self._template = _compiled(self.chat_template)
        except (OSError, ValueError, TypeError, TemplateError) as error:
            raise _unreadable(folder, error) from error
        except Exception as error:  # the Rust reader raises bare Exception on a malformed file
            if type(error) is not Exception:
                raise
            raise _unreadable(folder, error) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._names = {name: text for name in _NAMED if (text := _content(named.get(name)))}
        self.added_tokens_decoder = self._tokenizer.get_added_tokens_decoder()
        self.bos_token_id = self._id("bos_token")
        self.eos_token_id = self._id("eos_token")
        self.unk_token_id = self._id("unk_token")
        named_ids = (self._id(name) for name in self._names)
        self.all_special_ids = [each for each in named_ids if each is not None]
        self._lock = threading.Lock()

    def __call__(
        self, text: str, add_special_tokens: bool = False, split_special_tokens: bool = False
    ) -> dict[str, list[int]]:
        """The token ids of `text`, as {"input_ids": …}.

        Args:
            split_special_tokens: read the special ones in it as ordinary text.
        """
        with self._lock:  # the option is the tokenizer's, not the call's
            self._tokenizer.encode_special_tokens = split_special_tokens
            encoded = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
        return {"input_ids": encoded.ids}

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, str]],
        tokenize: bool = False,
        add_generation_prompt: bool = False,
    ) -> str:
        """The template's text for `messages`; token ids are not made here."""
        return self._template.render(
            messages=messages, add_generation_prompt=add_generation_prompt, **self._names
        )

    def _id(self, name: str) -> int | None:
        text = self._names.get(name)
        return None if text is None else self._tokenizer.token_to_id(text)


def light_tokenizer(base: BaseModel) -> LightTokenizer:
    """The light tokenizer of `base`; the last one is kept, for as long as its file stays.

    Raises:
        BaseModelError: if the base has no tokenizer.json, or one that cannot be read.
    """
    path = base.folder / "tokenizer.json"
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise _unreadable(base.folder, error) from error
    return _kept(base.folder, changed)


@lru_cache(maxsize=1)
def _kept(folder: Path, changed: int) -> LightTokenizer:
    return LightTokenizer(folder)


def _unreadable(folder: Path, error: Exception) -> BaseModelError:
    return BaseModelError(
        f"The tokenizer in {folder} cannot be read.",
        f"{error}",
        "Choose another folder, or download the model again.",
    )


def _json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found if isinstance(found, dict) else {}


def _content(token: object) -> str:
    """A special token's text, which is stored alone or in an object."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def _template(folder: Path, config: Mapping[str, Any]) -> str:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text("utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):  # several, by name
        found = {str(each.get("name")): each.get("template") for each in found}.get("default")
    return found if isinstance(found, str) and found else DEFAULT_CHAT_TEMPLATE


def _compiled(text: str) -> Template:
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The {% generation %} block, which marks the assistant's words for other programs."""

        tags = {"generation"}

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def now(form: str) -> str:
        import datetime

        return datetime.datetime.now().strftime(form)  # noqa: DTZ005 - as the library does

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(
        value, **({"ensure_ascii": False} | options)
    )
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = now
    return environment.from_string(text)
