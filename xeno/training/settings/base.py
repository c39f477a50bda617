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
