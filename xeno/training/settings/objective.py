"""Settings of what is learned: the method, its loss, and what it learns from."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from xeno.training.settings.declaration import setting

Method = Literal["dpo", "kto", "sft", "sft_dpo"]
Stage = Literal["dpo", "kto", "sft"]
STAGES: dict[Method, tuple[Stage, ...]] = {
    "dpo": ("dpo",),
    "kto": ("kto",),
    "sft": ("sft",),
    "sft_dpo": ("sft", "dpo"),
}
"""The stages of each method, one after the other on one adapter."""

TrlLoss = Literal[
    "as_planned",
    "sigmoid_norm",
    "exo_pair",
    "nca_pair",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
]


class ObjectiveSettings(BaseModel):
    method: Method = setting(
        "dpo",
        "Method",
        "dpo learns which of two replies is better; kto learns from replies that were only rated "
        "good or bad; sft imitates the replies of instructions and chats; sft_dpo does sft, then "
        "dpo on the same adapter.",
        quality="dpo learns a taste, sft a task; kto needs no second reply.",
        privacy="sft_dpo shares the run's epsilon between both stages.",
    )
    engine: Literal["xeno", "trl"] = setting(
        "xeno",
        "Engine",
        "xeno trains one row per pair; trl runs the same plan on TRL's DPOTrainer, as a check "
        "and for its other losses, for dpo and without differential privacy.",
        memory="trl needs several times the memory.",
        privacy="trl cannot train with differential privacy.",
    )
    trl_loss: TrlLoss = setting(
        "as_planned",
        "Loss of TRL",
        "Another of TRL's losses for the engine trl; as_planned takes the loss below.",
        quality="Each follows a paper of its own; see TRL's DPOTrainer.",
    )
    loss: Literal["sigmoid", "robust", "conservative", "ipo", "hinge"] = setting(
        "sigmoid",
        "Loss of dpo",
        "How being preferred is scored: sigmoid is DPO's own, robust and conservative allow for "
        "pairs that are the wrong way round, ipo aims at a fixed distance, hinge stops where a "
        "pair is clear.",
        quality="ipo and conservative overfit less, hinge and sigmoid go further.",
    )
    beta: float = setting(
        0.05,
        "Beta",
        "How strongly the new model is held to the base: larger is closer.",
        quality="Larger changes less; too small forgets how to write.",
        gt=0,
        le=10,
    )
    label_smoothing: float = setting(
        0.1,
        "Label smoothing",
        "The share of pairs that the losses robust and conservative take to be the wrong way "
        "round.",
        quality="Larger is learned more cautiously.",
        ge=0,
        lt=0.5,
    )
    length_normalisation: bool = setting(
        False,
        "Length normalisation",
        "Rewards of dpo per token instead of per reply, so that length alone earns nothing; ipo "
        "always does so.",
        quality="Learns less about length; wants a beta about a reply's length larger.",
    )
    sft_weight: float | None = setting(
        None,
        "Weight of imitation",
        "How much dpo also learns the chosen reply as a text, not only prefers it: keeps what is "
        "written fluent. 1 when not given.",
        quality="Larger keeps the language fluent and learns the preference less sharply.",
        ge=0,
        le=10,
    )
    kto_desirable_weight: float = setting(
        1.0,
        "Weight of good replies",
        "How much kto makes of a reply that was rated good.",
        quality="Raise it where bad ratings are many times as frequent.",
        gt=0,
        le=100,
    )
    kto_undesirable_weight: float = setting(
        1.0,
        "Weight of bad replies",
        "How much kto makes of a reply that was rated bad.",
        quality="Raise it where good ratings are many times as frequent.",
        gt=0,
        le=100,
    )
    kto_pairs: bool = setting(
        False,
        "Pairs as ratings",
        "Let kto learn from pairs too: the chosen reply as good, the rejected one as bad.",
        quality="More to learn from, where both kinds of feedback are there.",
    )
    kto_kl: bool = setting(
        True,
        "Reference point of kto",
        "Measure in each step how far the model has moved and score replies against that; off "
        "scores them against the base. Always off with differential privacy: the measure mixes "
        "the replies of a batch.",
        quality="On steadies long runs and takes about twice the time.",
    )
    sft_sources: Literal["examples", "chosen", "all"] = setting(
        "examples",
        "Replies to imitate",
        "What sft learns from: the examples (instructions and chats), the chosen replies of "
        "pairs, or all of them.",
        quality="Chosen replies before dpo bring the model to where the pairs are.",
    )
    sft_on_prompt: bool = setting(
        False,
        "Imitate the prompt too",
        "Let sft also learn what was asked, not only the reply.",
        quality="Helps with few and short replies; takes weight from the replies.",
    )
    sft_epochs: int | None = setting(
        None,
        "Epochs of sft before dpo",
        "Passes over the examples in the first stage of sft_dpo; as the plan's epochs when not "
        "given.",
        quality="More imitates more closely.",
        ge=1,
        le=1000,
    )
    sft_learning_rate: float | None = setting(
        None,
        "Learning rate of sft before dpo",
        "Step size in the first stage of sft_dpo; as the plan's learning rate when not given.",
        quality="Too small learns nothing, too large forgets how to write.",
        gt=0,
    )
    sft_privacy_share: float = setting(
        0.5,
        "Share of epsilon for sft",
        "How much of the run's epsilon the first stage of sft_dpo may spend.",
        privacy="Larger means less noise in sft and more in dpo.",
        gt=0,
        lt=1,
    )
