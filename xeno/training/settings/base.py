"""Settings of the base model and of how it is loaded."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from xeno.training.settings.declaration import setting


class BaseModelSettings(BaseModel):
    base: str = setting(..., "Base model", "Folder of the base model.")
    dtype: Literal["auto", "bfloat16", "float32"] = setting(
        "auto",
        "Number format of the base",
        "bfloat16 where a probe finds it faster, otherwise float32.",
        memory="bfloat16 halves the memory of the base.",
    )
    quantisation: Literal["auto", "none", "nf4"] = setting(
        "auto",
        "Base in 4 bits",
        "nf4 holds the layers of the base in 4 bits while the run trains; auto does so only where "
        "the base would not fit into memory otherwise. The version serves on the base as it is.",
        memory="nf4 takes about a quarter of what bfloat16 takes, embeddings and head excepted.",
        quality="What is learned fits the rounded base. On a processor loading takes long.",
    )
    double_quantisation: bool = setting(
        True,
        "Round the scales too",
        "Where the base is in 4 bits, the scales of its blocks are held in 8 bits each.",
        memory="Saves 0.05 bytes for each number of the base.",
    )
