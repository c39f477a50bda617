"""Settings of what is learned: the method and its loss."""

from __future__ import annotations

from pydantic import BaseModel

from xeno.training.settings.declaration import setting


class ObjectiveSettings(BaseModel):
    beta: float = setting(
        0.05,
        "Beta",
        "How strongly the new model is held to the base: larger is closer.",
        quality="Larger changes less; too small forgets how to write.",
        gt=0,
        le=10,
    )
    sft_weight: float | None = setting(
        None,
        "Weight of imitation",
        "How much the chosen reply is also learned as a text, not only preferred: keeps what is "
        "written fluent. 1 when not given.",
        quality="Larger keeps the language fluent and learns the preference less sharply.",
        ge=0,
        le=10,
    )
