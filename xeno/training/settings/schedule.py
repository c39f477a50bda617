"""Settings of the steps: how many, how large, in what order."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from xeno.training.settings.declaration import setting

ScheduleName = Literal[
    "auto",
    "cosine",
    "linear",
    "constant",
    "polynomial",
    "inverse_sqrt",
    "exponential",
    "late_decay",
]
Order = Literal["shuffled", "shortest_first", "longest_first", "easiest_first"]


class ScheduleSettings(BaseModel):
    learning_rate: float | None = setting(
        None,
        "Learning rate",
        "Step size. Chosen from the kind of run when not given.",
        quality="Too small learns nothing, too large forgets how to write.",
        gt=0,
        le=100,
    )
    rate_scale: float = setting(
        1.0,
        "Scale of the learning rate",
        "Multiplies the learning rate, chosen or given.",
        quality="Above 1 learns faster and less steadily.",
        gt=0,
        le=100,
    )
    learning_rate_schedule: ScheduleName = setting(
        "auto",
        "Schedule",
        "How the learning rate changes from step to step. Cosine without differential privacy, "
        "linear with it, when left automatic.",
        quality="A rate that falls lets the last steps settle.",
    )
    warm_up_share: float | None = setting(
        None,
        "Warm-up",
        "Part of the steps over which the learning rate rises from nothing. A tenth without "
        "differential privacy and none with it, when not given.",
        quality="Longer starts more gently and leaves fewer steps at the full rate.",
        ge=0,
        le=0.9,
    )
    warm_up_steps: int | None = setting(
        None,
        "Warm-up steps",
        "Steps over which the learning rate rises, in place of the share.",
        unit="steps",
        quality="Longer starts more gently and leaves fewer steps at the full rate.",
        ge=0,
        le=100_000,
    )
    last_rate_share: float | None = setting(
        None,
        "Last learning rate",
        "What is left of the learning rate at the end, as a share of the highest. A tenth without "
        "differential privacy and nothing with it, when not given.",
        quality="Larger keeps learning to the end, smaller settles.",
        ge=0,
        le=1,
    )
    decay_power: float = setting(
        2.0,
        "Power of the polynomial",
        "How sharply the polynomial schedule falls: 1 is a straight line.",
        quality="Larger falls sooner.",
        gt=0,
        le=10,
    )
    decay_share: float = setting(
        0.2,
        "Late decay",
        "Part of the steps at the end in which the late-decay schedule falls.",
        quality="Larger settles longer.",
        gt=0,
        le=1,
    )
    restarts: int = setting(
        0,
        "Restarts",
        "How often the cosine schedule jumps back to the highest rate.",
        quality="Each restart leaves where the run had settled.",
        ge=0,
        le=20,
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
    least_epochs: int = setting(
        2,
        "Fewest epochs",
        "Passes over the pairs at least, where the number of epochs is automatic.",
        quality="More learns more from many pairs.",
        only="plain",
        ge=1,
        le=100,
    )
    least_steps: int = setting(
        60,
        "Fewest steps",
        "Steps at least, where the number of epochs is automatic: few pairs are seen more often.",
        unit="steps",
        quality="More learns more from few pairs, until it learns them by heart.",
        only="plain",
        ge=1,
        le=100_000,
    )
    max_steps: int | None = setting(
        None,
        "Most steps",
        "The run ends after so many steps, whatever the epochs.",
        unit="steps",
        quality="Fewer learns less, sooner.",
        privacy="With privacy, fewer steps need less noise in each.",
        ge=1,
        le=1_000_000,
    )
    steps_scale: float = setting(
        1.0,
        "Scale of the steps",
        "Multiplies the number of steps, chosen or given.",
        quality="Above 1 learns longer.",
        privacy="With privacy, more steps need more noise in each.",
        gt=0,
        le=100,
    )
    batch_size: int = setting(
        8,
        "Batch size",
        "Pairs per optimizer step, without differential privacy.",
        unit="pairs",
        quality="Larger is steadier and takes fewer steps.",
        only="plain",
        ge=1,
        le=1024,
    )
    micro_batch_size: int = setting(
        8,
        "Micro batch",
        "Pairs computed at once; the gradients of a step's micro batches are added up. Smaller "
        "needs less memory; the result is the same.",
        unit="pairs",
        memory="Grows in proportion.",
        ge=1,
        le=256,
    )
    order: Order = setting(
        "shuffled",
        "Order of the pairs",
        "In which order a pass takes the pairs: shuffled, by length, or beginning with those "
        "where the base already prefers the chosen reply.",
        quality="Shuffled is steady; from easy to hard can help where pairs contradict the base.",
        only="plain",
    )
    reshuffle: bool = setting(
        True,
        "Shuffle every pass",
        "Draw another order for every pass, rather than one for all.",
        quality="Off, the same pairs always meet in a batch.",
        only="plain",
    )
    whole_batches: bool = setting(
        False,
        "Whole batches only",
        "Leave out what is left at the end of a pass when it does not fill a batch.",
        quality="Every step weighs the same; a few pairs are seen less often.",
        only="plain",
    )
    gradient_norm_limit: float = setting(
        1.0,
        "Limit of the gradient",
        "A step's gradient is shortened to this norm; 0 is no limit.",
        quality="Smaller is steadier against unusual batches.",
        only="plain",
        ge=0,
        le=1e6,
    )
    trial: bool = setting(
        False,
        "Trial run",
        "Train and measure, and make no version: nothing is kept but what was measured.",
    )
    trial_share: float = setting(
        0.34,
        "Length of a trial",
        "Part of the run's steps that a trial takes.",
        quality="Shorter tells less of the whole run.",
        gt=0,
        le=1,
    )
    seed: int = setting(
        0,
        "Seed",
        "Start of all randomness but privacy's: the same inputs give the same adapter.",
        ge=0,
        lt=2**31,
    )
