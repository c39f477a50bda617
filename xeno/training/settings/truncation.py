"""Settings of what happens to texts that are too long."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from xeno.training.settings.declaration import setting


class TruncationSettings(BaseModel):
    long_prompts: Literal["cut_left", "leave_out"] = setting(
        "cut_left",
        "Long prompts",
        "What happens where a prompt does not fit with its replies: it loses its beginning, or "
        "the pair is left out. Each cut is kept with the run.",
        quality="Leaving out learns nothing from half a question.",
    )
    least_prompt: int = setting(
        16,
        "Least prompt",
        "Tokens of a shortened prompt that must remain; where they do not fit, the pair is left "
        "out.",
        unit="tokens",
        quality="More keeps shortened prompts meaningful and leaves out more pairs.",
        ge=1,
        le=8192,
    )
    long_replies: Literal["leave_out", "cut_right"] = setting(
        "leave_out",
        "Long replies",
        "What happens where a reply does not fit: its pair is left out, or it loses its end. A "
        "cut reply has no end token, and each cut is kept with the run.",
        quality="Cut replies teach how to begin and never how to end.",
    )
