"""Settings of the steps: how many, how large, in what order."""

from __future__ import annotations

from pydantic import BaseModel

from xeno.training.settings.declaration import setting


class ScheduleSettings(BaseModel):
    learning_rate: float | None = setting(
        None,
        "Learning rate",
        "Step size. Chosen from the kind of run when not given.",
        quality="Too small learns nothing, too large forgets how to write.",
        gt=0,
    )
    epochs: int | None = setting(
        None,
        "Epochs",
        "Passes over the pairs. Chosen from the number of pairs when not given.",
        quality="More learns more, until it learns the pairs by heart.",
        privacy="With privacy, more passes need more noise in each.",
        ge=1,
        le=1000,
    )
    batch_size: int = setting(
        8,
        "Batch size",
        "Pairs per optimizer step, without differential privacy.",
        unit="pairs",
        quality="Larger is steadier and takes fewer steps.",
        ge=1,
        le=1024,
    )
    micro_batch_size: int = setting(
        8,
        "Micro batch",
        "Pairs computed at once. Smaller needs less memory; the result is the same.",
        unit="pairs",
        memory="Grows in proportion.",
        ge=1,
        le=256,
    )
    seed: int = setting(
        0,
        "Seed",
        "Start of all randomness but privacy's: the same inputs give the same adapter.",
        ge=0,
        lt=2**31,
    )
