"""What can be set for replies: how they are drawn, and how they are computed.

Each setting is declared once; the command line, the window and the page of the documentation
are made from the declarations. Kept in the profile. Light: torch is not imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xeno.errors import InvalidValueError
from xeno.events import Sampling
from xeno.store.profile import Profile

_PREFIX = "reply."


class ReplySettings(BaseModel):
    """The first seven count from the next reply on, the others from the next start of the model
    host."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(
        default=0.0,
        ge=0.0,
        le=2.0,
        title="Temperature",
        description="0 always takes the likeliest word; higher values vary more.",
    )
    top_p: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        title="Likeliest share (top-p)",
        description="A drawn word is one of the likeliest that together have this probability.",
    )
    top_k: int = Field(
        default=0,
        ge=0,
        le=1000,
        title="Likeliest words (top-k)",
        description="A drawn word is one of so many likeliest ones; 0 sets no limit.",
    )
    repetition_penalty: float = Field(
        default=1.0,
        ge=1.0,
        le=2.0,
        title="Repetition penalty",
        description="Makes words that the reply has said already less likely; 1 does not.",
    )
    max_tokens: int = Field(
        default=256,
        ge=1,
        le=4096,
        title="Longest reply",
        description="Tokens after which a reply is cut off.",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        description="Makes drawn replies repeatable; without one each is new.",
    )
    stop: tuple[str, ...] = Field(
        default=(),
        max_length=16,
        title="Stop strings",
        description="A reply ends where one of these would begin.",
    )
    dtype: Literal["auto", "bfloat16", "float32", "int8"] = Field(
        default="auto",
        title="Number format",
        description="auto takes what a probe at first start finds faster. int8 rounds the weights "
        "that write a reply: faster and less exact; the prompt is read in bfloat16.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        title="Threads",
        description="Processor threads of a reply; 0 takes what a probe at first start finds "
        "worth it.",
    )
    cache_megabytes: int = Field(
        default=512,
        ge=0,
        le=65536,
        title="Memory for opened versions",
        description="Opened versions stay in memory up to this many megabytes, so that changing "
        "back to one needs no reading.",
    )
    cache_minutes: int = Field(
        default=60,
        ge=1,
        le=10080,
        title="Opened versions stay for",
        description="A version that was not used for so many minutes leaves the memory with the "
        "next reply.",
    )

    @property
    def sampling(self) -> Sampling:
        return Sampling(**{name: getattr(self, name) for name in Sampling.model_fields})

    @property
    def cache_bytes(self) -> int:
        return self.cache_megabytes * 2**20

    @property
    def cache_seconds(self) -> float:
        return self.cache_minutes * 60.0


def read_settings(profile: Profile) -> ReplySettings:
    """The settings of `profile`; a stored value that is no longer allowed counts as not set."""
    stored = {name: profile.setting(_PREFIX + name) for name in ReplySettings.model_fields}
    values = {name: value for name, value in stored.items() if value is not None}
    try:
        return ReplySettings.model_validate(values)
    except ValidationError as error:
        wrong = {each["loc"][0] for each in error.errors()}
        return ReplySettings.model_validate({n: v for n, v in values.items() if n not in wrong})


def write_settings(profile: Profile, changes: dict[str, Any]) -> ReplySettings:
    """Change settings; None brings one back to its default. Returns all as they are now.

    Raises:
        InvalidValueError: for an unknown name or a value that is not allowed; nothing is changed.
    """
    kept = read_settings(profile).model_dump()
    defaults = ReplySettings().model_dump()
    changed = {name: defaults.get(name) if v is None else v for name, v in changes.items()}
    settings = checked({**kept, **changed})
    with profile.db.transaction():
        for name in changes:
            profile.set_setting(_PREFIX + name, settings.model_dump(mode="json")[name])
    return settings


def drawn(sampling: Sampling, changes: Mapping[str, Any]) -> Sampling:
    """`sampling` with other values. Raises InvalidValueError, which names what is wrong."""
    try:
        return Sampling.model_validate({**sampling.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidValueError(
            "The reply cannot be drawn like this.",
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}.",
            f"What can be set: {', '.join(Sampling.model_fields)}.",
        ) from error


def checked(values: dict[str, Any]) -> ReplySettings:
    """The settings of these values. Raises InvalidValueError, which names what is wrong."""
    try:
        return ReplySettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "?"
        known = ", ".join(ReplySettings.model_fields)
        raise InvalidValueError(
            f"{name} cannot be set to this.",
            f"{first['msg']}.",
            "Give a value in its range."
            if name in ReplySettings.model_fields
            else f"The settings are: {known}.",
        ) from error


def from_text(name: str, text: str) -> Any:
    """The value that `text` stands for in the setting `name`; stop strings are one text each or
    a JSON list of them, an empty text brings back the default."""
    if not text.strip():
        return None
    if name == "stop":
        try:
            found = json.loads(text)
        except ValueError:
            found = text
        return found if isinstance(found, list) else [text]
    return None if text.strip().lower() == "none" else text.strip()
