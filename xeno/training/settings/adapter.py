"""Settings of the adapter."""

from __future__ import annotations

from pydantic import BaseModel

from xeno.training.settings.declaration import setting


class AdapterSettings(BaseModel):
    lora_rank: int | None = setting(
        None,
        "LoRA rank",
        "Size of the adapter. Larger can learn more and needs more memory; with privacy it also "
        "needs more noise. Chosen from the kind of run when not given.",
        memory="Grows in proportion.",
        quality="Larger can learn more from many pairs.",
        privacy="With privacy, larger means more noise.",
        ge=1,
        le=256,
    )
    lora_alpha: float | None = setting(
        None,
        "LoRA alpha",
        "Scale of the adapter: its effect is alpha divided by rank. Twice the rank when not given.",
        quality="Larger learns faster and less steadily.",
        gt=0,
    )
