"""Settings of what keeps a run from being lost: checkpoints, recovery, pauses, the end."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from xeno.training.settings.declaration import setting


class SafetySettings(BaseModel):
    # Checkpoints
    checkpoint_steps: int = setting(
        50,
        "Steps between checkpoints",
        "A run that is interrupted goes on from its newest checkpoint.",
        unit="steps",
        ge=1,
        le=1_000_000,
    )
    checkpoint_minutes: float = setting(
        5.0,
        "Minutes between checkpoints",
        "A checkpoint is also written when this time has passed since the last one.",
        unit="minutes",
        gt=0,
        le=10_000,
    )
    checkpoints_kept: int = setting(
        2,
        "Checkpoints kept",
        "How many checkpoints of a run are kept; the older ones are used where a newer one was "
        "damaged. All are deleted when the run ends.",
        memory="Each takes as much disk as the adapter and the optimizer's state.",
        ge=1,
        le=100,
    )

    # The end
    early_stopping: Literal["auto", "on", "off"] = setting(
        "auto",
        "Early stopping",
        "End the run when the held-out pairs no longer gain. Automatic: on without differential "
        "privacy, off with it.",
        quality="Keeps the run from learning its pairs by heart.",
        privacy="The decision looks at the held-out pairs as they are; the noise does not cover "
        "it.",
    )
    early_stopping_metric: Literal["accuracy_then_loss", "accuracy", "loss"] = setting(
        "accuracy_then_loss",
        "Measure of the best step",
        "What makes a step the best: the preference accuracy on the held-out pairs, their loss, "
        "or the loss among steps of the same accuracy. Imitated replies have no accuracy: there it "
        "is the loss.",
    )
    early_stopping_patience: int = setting(
        3,
        "Patience",
        "Evaluations without a gain after which early stopping ends the run.",
        unit="evaluations",
        ge=1,
        le=1000,
    )
    early_stopping_min_delta: float = setting(
        0.0,
        "Least gain",
        "A gain must be larger than this to count.",
        ge=0,
        le=10,
    )
    early_stopping_after: int = setting(
        0,
        "Steps before early stopping",
        "Early stopping does not end a run before this many steps.",
        unit="steps",
        ge=0,
        le=1_000_000,
    )
    release: Literal["auto", "best", "final"] = setting(
        "auto",
        "Released step",
        "Release the adapter of the best step or of the last one. Automatic: the best without "
        "differential privacy, the last with it.",
        privacy="Choosing the best looks at the held-out pairs as they are; the noise does not "
        "cover it.",
    )
    time_limit_minutes: float | None = setting(
        None,
        "Time limit",
        "The run ends after this time and keeps what it has learned. Pauses do not count. No "
        "limit when not given.",
        unit="minutes",
        gt=0,
        le=100_000,
    )
    stop_measure_seconds: float = setting(
        1.0,
        "Time to measure after a stop",
        "A run that is stopped and kept is measured once more where that takes no longer.",
        unit="seconds",
        ge=0,
        le=600,
    )

    # Steps that go wrong
    on_unstable: Literal["lower_rate", "skip", "stop"] = setting(
        "lower_rate",
        "When a loss explodes",
        "A step whose loss or gradient is no finite number, or whose loss explodes, is left out. "
        "Then go on, go on with a lower learning rate if it happens again and again, or end the "
        "run and keep what it has learned. With differential privacy no step is left out: there a "
        "pair without a finite gradient contributes nothing.",
        only="plain",
    )
    spike_factor: float = setting(
        10.0,
        "Exploding loss",
        "A loss of this many times the median of the steps before is left out.",
        gt=1,
        le=1e6,
        only="plain",
    )
    spike_window: int = setting(
        20,
        "Steps for the median loss",
        "How many of the steps before the median is taken of; the first five are always taken.",
        unit="steps",
        ge=5,
        le=1000,
        only="plain",
    )
    unstable_patience: int = setting(
        3,
        "Steps left out before the rate is lowered",
        "So many steps in a row are left out before the learning rate is lowered.",
        unit="steps",
        ge=1,
        le=1000,
        only="plain",
    )
    unstable_rate_factor: float = setting(
        0.5,
        "Lowered learning rate",
        "Factor by which the learning rate is lowered.",
        gt=0,
        lt=1,
        only="plain",
    )
    most_skipped_steps: int = setting(
        20,
        "Most steps left out",
        "The run ends, and keeps what it has learned, when more steps than this were left out.",
        unit="steps",
        ge=0,
        le=1_000_000,
        only="plain",
    )

    # Memory
    on_memory: Literal["shrink", "stop"] = setting(
        "shrink",
        "When memory runs out",
        "Repeat the step in smaller parts, with the same result, or stop the run.",
        memory="Smaller parts need less.",
    )
    memory_halvings: int = setting(
        3,
        "Halvings of the micro batch",
        "How often the micro batch is halved before only long texts are taken apart.",
        ge=0,
        le=10,
    )
    memory_checkpointing: bool = setting(
        True,
        "Compute activations twice",
        "Where even a single pair does not fit, keep only each layer's input and compute the rest "
        "again: slower, with the same result.",
        memory="Needs far less for long texts.",
    )

    # Pauses
    disk_floor: int = setting(
        200,
        "Least free disk",
        "The run pauses while less than this is free.",
        unit="MB",
        ge=0,
        le=1_000_000,
    )
    memory_floor: int = setting(
        0,
        "Least free memory",
        "The run pauses before a step while other programs leave less than this. 0 never pauses.",
        unit="MB",
        ge=0,
        le=1_000_000,
    )
    battery_floor: int = setting(
        20,
        "Least battery",
        "The run pauses while the computer runs on a battery that holds less than this. 0 never "
        "pauses.",
        unit="%",
        ge=0,
        le=100,
    )
    temperature_limit: float = setting(
        95.0,
        "Highest temperature",
        "The run pauses while the processor is hotter than this, and until it is 10 degrees "
        "cooler.",
        unit="°C",
        ge=40,
        le=150,
    )
    guard_seconds: float = setting(
        10.0,
        "Time between looks",
        "How often disk, memory, battery and temperature are looked at.",
        unit="seconds",
        gt=0,
        le=3600,
    )
    longest_pause_minutes: float | None = setting(
        None,
        "Longest pause",
        "A run that pauses longer ends, and can be resumed. No limit when not given.",
        unit="minutes",
        gt=0,
        le=100_000,
    )
    keep_awake: bool = setting(
        True,
        "Keep the computer awake",
        "Ask the system not to sleep while the run goes on.",
    )

    def stops_early(self, private: bool) -> bool:
        """Whether early stopping is on for a run that is `private` or not."""
        return self.early_stopping == "on" or (self.early_stopping == "auto" and not private)

    def releases_best(self, private: bool) -> bool:
        """Whether the best step is released instead of the last."""
        return self.release == "best" or (self.release == "auto" and not private)
