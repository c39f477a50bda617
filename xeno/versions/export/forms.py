"""The forms that a version can be exported in."""

from __future__ import annotations

import re
from typing import Literal, get_args

from xeno.errors import InvalidValueError

Form = Literal["peft", "merged", "gguf-f16", "gguf-q8_0", "gguf-adapter"]
FORMS: tuple[Form, ...] = get_args(Form)
WHAT = {
    "peft": "the adapter, as PEFT loads it",
    "merged": "the whole model, as transformers loads it",
    "gguf-f16": "the whole model in 16 bits, for llama.cpp and Ollama",
    "gguf-q8_0": "the whole model in 8 bits, for llama.cpp and Ollama",
    "gguf-adapter": "the adapter, for llama.cpp and Ollama",
}


def known_form(name: str) -> Form:
    """The form called `name`. Raises InvalidValueError if there is none."""
    for form in FORMS:
        if form == name:
            return form
    raise InvalidValueError(
        f"There is no form {name!r}.", f"The forms are {', '.join(FORMS)}.", "Name one of these."
    )


def file_name(name: str) -> str:
    """`name` as part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.") or "model"
