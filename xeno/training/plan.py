"""The plan of a training run: every setting declared once, with its range and its effect.

The command line, the form in the window and the record of the run are made from this
declaration.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from xeno.privacy.budget import DEFAULT_DELTA, DEFAULT_EPSILON

MINIMUM_PAIRS = 20
ADVISED_PAIRS = 100


class TrainingPlan(BaseModel):
    """What a run does. Immutable; stored with the run and in the version's manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = Field(title="Base model", description="Folder of the base model.")
    private: bool = Field(
        default=True,
        title="Differential privacy",
        description="Learn with noise that hides every single pair.",
    )
    epsilon: float = Field(
        default=DEFAULT_EPSILON,
        gt=0,
        le=100,
        title="Epsilon",
        description="Privacy this run may spend. Smaller is more private and learns less.",
    )
    delta: float = Field(
        default=DEFAULT_DELTA,
        gt=0,
        lt=1e-2,
        title="Delta",
        description="Probability with which the guarantee may fail.",
    )
    max_grad_norm: float = Field(
        default=1.0,
        gt=0,
        title="Clipping norm",
        description="Largest influence (gradient norm) that one pair may have on one step.",
    )
    beta: float = Field(
        default=0.05,
        gt=0,
        le=10,
        title="Beta",
        description="How strongly the new model is held to the base: larger is closer.",
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        title="Learning rate",
        description="Step size. Chosen from the kind of run when not given.",
    )
    epochs: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        title="Epochs",
        description="Passes over the pairs. Chosen from the number of pairs when not given.",
    )
    batch_size: int = Field(
        default=8,
        ge=1,
        le=1024,
        title="Batch size",
        description="Pairs per optimizer step, without differential privacy.",
    )
    micro_batch_size: int = Field(
        default=8,
        ge=1,
        le=256,
        title="Micro batch",
        description="Pairs computed at once. Smaller needs less memory; the result is the same.",
    )
    sft_weight: float | None = Field(
        default=None,
        ge=0,
        le=10,
        title="Weight of imitation",
        description="How much the chosen reply is also learned as a text, not only preferred: "
        "keeps what is written fluent. 1 when not given.",
    )
    lora_rank: int | None = Field(
        default=None,
        ge=1,
        le=256,
        title="LoRA rank",
        description="Size of the adapter. Larger can learn more and needs more memory; with "
        "privacy it also needs more noise. Chosen from the kind of run when not given.",
    )
    lora_alpha: float | None = Field(
        default=None,
        gt=0,
        title="LoRA alpha",
        description="Scale of the adapter: its effect is alpha divided by rank. Twice the rank "
        "when not given.",
    )
    max_length: int = Field(
        default=1024,
        ge=64,
        le=32768,
        title="Longest text",
        description="Most tokens of a prompt with one reply, within what the base can read. "
        "Longer prompts lose their beginning; pairs with longer replies are left out.",
    )
    heldout_share: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        title="Held-out share",
        description="Part of the conversations kept out of training, to measure what was learned.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**31,
        title="Seed",
        description="Start of all randomness but privacy's: the same inputs give the same adapter.",
    )
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        default="auto",
        title="Number format of the base",
        description="bfloat16 where a probe finds it faster, otherwise float32.",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        title="Threads",
        description="Processor threads of the trainer. Half of the cores, at least two, when "
        "not given.",
    )
    force: bool = Field(
        default=False,
        title="Train with few pairs",
        description=f"Train although there are fewer than {MINIMUM_PAIRS} pairs.",
    )

    @model_validator(mode="after")
    def _micro_batch_fits(self) -> Self:
        if self.micro_batch_size > self.batch_size:
            object.__setattr__(self, "micro_batch_size", self.batch_size)
        return self
