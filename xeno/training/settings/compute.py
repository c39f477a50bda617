"""Settings of how a run is computed: what it learns is the same."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from xeno.training.settings.declaration import setting

TOKENS_AT_ONCE = 1408
"""2,048 gain 4 % of speed and take a fifth more memory, fewer than 1,024 are slower still
(`xeno bench dpo` on two cores)."""


class ComputeSettings(BaseModel):
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto",
        "Device",
        "Where the run is computed: on the graphics card where torch can use one (CUDA), "
        "otherwise on the processor. Apple's graphics (MPS) are not used.",
        memory="On a graphics card its own memory is used.",
    )
    threads: int | None = setting(
        None,
        "Threads",
        "Processor threads of the trainer. When not given, half of the cores or all of them, "
        "whichever a probe found faster.",
        ge=1,
        le=256,
    )
    measure_again: bool = setting(
        False,
        "Measure the machine again",
        "Repeat the probes for threads and number format instead of using what they found before.",
    )
    fast_products: bool = setting(
        False,
        "Products in bfloat16",
        "Where the base is float32 and the processor can, multiply matrices in bfloat16.",
        quality="Faster and less exact.",
    )
    attention: Literal["auto", "segments", "dense"] = setting(
        "auto",
        "Attention",
        "segments packs the pairs of a micro-batch without padding and needs no mask; dense pads "
        "them. auto packs on processors. An architecture that cannot be packed is padded.",
        memory="dense needs memory for padding and for masks.",
    )
    attention_keys_kept: int = setting(
        1024,
        "Attention kept for up to",
        "Blocks of a packed text that see more tokens than this are computed twice instead of "
        "kept for the gradient.",
        unit="tokens",
        memory="Larger keeps more.",
        ge=0,
        le=32768,
    )
    one_row: bool = setting(
        True,
        "Compute a shared prompt once",
        "Both replies of a pair follow one copy of their prompt, where the architecture allows it.",
        memory="Off needs up to twice as much.",
    )
    fused_layers: bool = setting(
        True,
        "Fused layers",
        "Norms, gated layers and the adapter keep less and pass over memory less often, where "
        "that gives the same result.",
        memory="Off keeps more.",
    )
    head_tokens: int = setting(
        128,
        "Predictions at once",
        "Tokens whose predictions over the whole vocabulary are in memory at once.",
        unit="tokens",
        memory="Grows in proportion to it and to the vocabulary.",
        ge=1,
        le=8192,
    )
    tokens_at_once: int = setting(
        TOKENS_AT_ONCE,
        "Tokens at once",
        "Most tokens of a micro-batch; a longer pair is computed alone.",
        unit="tokens",
        memory="Grows in proportion.",
        ge=64,
        le=262144,
    )
