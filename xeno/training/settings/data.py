"""Settings of the pairs: which are used, how long they may be, which are held out."""

from __future__ import annotations

from pydantic import BaseModel

from xeno.training.settings.declaration import setting

MINIMUM_PAIRS = 20
ADVISED_PAIRS = 100


class DataSettings(BaseModel):
    max_length: int = setting(
        1024,
        "Longest text",
        "Most tokens of a prompt with one reply, within what the base can read. Longer prompts "
        "lose their beginning; pairs with longer replies are left out.",
        unit="tokens",
        memory="Grows in proportion.",
        quality="Shorter leaves out more pairs.",
        ge=64,
        le=32768,
    )
    heldout_share: float = setting(
        0.1,
        "Held-out share",
        "Part of the conversations kept out of training, to measure what was learned.",
        quality="More measures better and leaves less to learn from.",
        ge=0,
        le=0.5,
    )
    force: bool = setting(
        False,
        "Train with few pairs",
        f"Train although there are fewer than {MINIMUM_PAIRS} pairs.",
        quality="A taste is hardly learned from so few.",
    )
