"""Settings of the optimizer: how a gradient becomes a step."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from xeno.training.settings.declaration import setting

OptimizerName = Literal[
    "auto",
    "adamw",
    "nadam",
    "radam",
    "adafactor",
    "rmsprop",
    "adagrad",
    "sgd",
    "adamw_8bit",
    "paged_adamw_8bit",
]


class OptimizerSettings(BaseModel):
    optimizer: OptimizerName = setting(
        "auto",
        "Optimizer",
        "How gradients become steps. AdamW without differential privacy and SGD with it, when left "
        "automatic. The 8-bit ones need CUDA and bitsandbytes.",
        memory="SGD keeps one number for each trained one, AdamW two, its 8-bit forms two bytes; "
        "paged ones move to main memory when the card is full.",
        quality="With privacy, everything but SGD enlarges the noise where nothing is learned.",
    )
    adam_beta1: float = setting(
        0.9,
        "First beta of Adam",
        "How long the mean of the gradients remembers, in the optimizers of Adam's family.",
        quality="Larger is smoother and slower to turn.",
        ge=0,
        lt=1,
    )
    adam_beta2: float = setting(
        0.999,
        "Second beta of Adam",
        "How long the size of the gradients is remembered, in the optimizers of Adam's family.",
        quality="Smaller adapts sooner; in short runs 0.99 can be better.",
        ge=0,
        lt=1,
    )
    optimizer_eps: float = setting(
        1e-8,
        "Epsilon of the optimizer",
        "Added to the size of the gradients before it divides: Adam's family, RMSprop, Adagrad.",
        quality="Larger damps the steps of what hardly moves.",
        gt=0,
        le=1,
    )
    amsgrad: bool = setting(
        False,
        "AMSGrad",
        "AdamW divides by the largest size so far, not by the latest.",
        memory="One more number for each trained one.",
        quality="Steps only become smaller: steadier, slower.",
    )
    weight_decay: float = setting(
        0.0,
        "Weight decay",
        "Pull of the adapter towards nothing, in each step, times the learning rate.",
        quality="Larger stays closer to the base.",
        ge=0,
        le=10,
    )
    momentum: float = setting(
        0.9,
        "Momentum",
        "How much of the last step is in the next one: SGD and RMSprop.",
        quality="Larger averages over more steps, and so over more noise.",
        ge=0,
        lt=1,
    )
    dampening: float = setting(
        0.0,
        "Dampening",
        "How much less of the gradient enters SGD's momentum.",
        quality="Larger takes smaller steps.",
        ge=0,
        lt=1,
    )
    nesterov: bool = setting(
        False,
        "Nesterov momentum",
        "SGD looks ahead by its momentum. Needs momentum, and no dampening.",
        quality="Turns a little sooner.",
    )
    squares_memory: float = setting(
        0.99,
        "Memory of RMSprop",
        "How long RMSprop remembers the size of the gradients.",
        quality="Larger is smoother.",
        ge=0,
        lt=1,
    )
    adagrad_decay: float = setting(
        0.0,
        "Decay of Adagrad",
        "How fast Adagrad's learning rate falls with the steps, besides the schedule.",
        quality="Larger takes smaller late steps.",
        ge=0,
        le=1,
    )
    adafactor_clip: float = setting(
        1.0,
        "Adafactor's limit",
        "Largest root mean square of an Adafactor step, in units of the learning rate.",
        quality="Smaller is steadier.",
        ge=1,
        le=100,
    )
    adafactor_decay: float = setting(
        -0.8,
        "Adafactor's memory",
        "Exponent of the step count by which Adafactor forgets the size of the gradients.",
        quality="Closer to 0 forgets sooner.",
        ge=-1,
        le=-0.01,
    )
    lora_plus_ratio: float = setting(
        1.0,
        "LoRA+ ratio",
        "Learning rate of the adapter's B over that of its A (LoRA+, Hayou et al. 2024). 1 is "
        "plain LoRA. Matters only where A is trained too.",
        quality="4 to 16 can learn faster, and less steadily.",
        ge=0.01,
        le=100,
    )
