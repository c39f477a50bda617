"""From an inspected folder to a model in memory, in the number format that is faster here."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from xeno.errors import BaseModelError
from xeno.models.base import BaseModel
from xeno.models.four_bit import FourBit, make_trainable
from xeno.models.machine import read_fact, write_fact
from xeno.paths import Home

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Dtype = Literal["bfloat16", "float32"]

# What the library is known to raise on configurations that contradict themselves.
_LOADING_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    ImportError,
    AssertionError,
)

SMALL = 64_000_000
"""Below this number of parameters float32 is quick enough and always exact enough."""


def choose_dtype(base: BaseModel, wanted: str = "auto") -> Dtype:
    """The number format for the weights of `base`; "auto" chooses by size and by a probe."""
    if wanted == "float32" or (wanted == "auto" and base.parameters < SMALL):
        return "float32"
    if wanted == "bfloat16" or bfloat16_is_faster(base.home):
        return "bfloat16"
    return "float32"


def bfloat16_is_faster(home: Home | None = None, *, again: bool = False) -> bool:
    """Whether reading a prompt in bfloat16 is at least as fast as in float32 on this processor.

    bfloat16 always halves the memory that each new token must read; but without instructions
    for it long prompts and training collapse. Measured once (about a second) and remembered.

    Args:
        again: measure although it was before.
    """
    known = None if again else bfloat16_known(home)
    if known is not None:
        return known
    faster = _bfloat16_wins()
    write_fact(home, _bfloat16_fact(), faster)
    return faster


def bfloat16_known(home: Home | None) -> bool | None:
    """What `bfloat16_is_faster` found here earlier; None before. Light: torch is not loaded."""
    known = read_fact(home, _bfloat16_fact())
    return known if isinstance(known, bool) else None


def _bfloat16_fact() -> str:
    return f"bfloat16 with torch {importlib.metadata.version('torch')}"


def _bfloat16_wins() -> bool:
    """Best times of a matrix product of the size that prefill has, [128, 1024] x [1024, 1024],
    taken in turn so that a busy machine slows both."""
    import torch

    best = {torch.bfloat16: float("inf"), torch.float32: float("inf")}
    with torch.inference_mode():
        operands = {
            dtype: (torch.ones(128, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype))
            for dtype in best
        }
        for _ in range(25):
            for dtype, (inputs, weight) in operands.items():
                begun = time.perf_counter()
                torch.nn.functional.linear(inputs, weight)
                best[dtype] = min(best[dtype], time.perf_counter() - begun)
    return best[torch.bfloat16] <= best[torch.float32]


def load_model(base: BaseModel, dtype: str, four_bit: FourBit | None = None) -> PreTrainedModel:
    """The model in `base`, in evaluation mode and without gradients.

    Safetensors only, no code from the folder, nothing from the network.

    Args:
        dtype: "bfloat16" or "float32"; of what is not in 4 bits, and of the computation.
        four_bit: to hold its layers in 4 bits, which bitsandbytes is needed for.

    Raises:
        BaseModelError: if the library does not know the architecture, or weights are missing.
    """
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig, AutoModelForCausalLM

    models: Any = AutoModelForCausalLM
    options = {"local_files_only": True, "trust_remote_code": False}

    def load(attention: str) -> tuple[Any, dict[str, Any]]:
        model, report = models.from_pretrained(
            str(base.folder),
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            use_safetensors=True,
            output_loading_info=True,
            **(four_bit.options(getattr(torch, dtype)) if four_bit else {}),
            **options,
        )
        return model, report

    try:
        with quiet():
            config = AutoConfig.from_pretrained(str(base.folder), **options)
            with torch.device("meta"):  # shapes without memory
                outline = models.from_config(config, trust_remote_code=False)
            described = sum(each.numel() for each in outline.parameters())
            if described > 2 * base.parameters:  # tied weights may count twice
                raise _unusable(
                    base,
                    f"config.json describes {described:,} parameters, and the weight files hold "
                    f"{base.parameters:,}.",
                )
            try:
                model, report = load("sdpa")
            except ValueError:  # an architecture without this attention
                model, report = load("eager")
    except (*_LOADING_ERRORS, StrictDataclassError) as error:
        raise _unusable(base, f"transformers could not load it ({error}).") from error
    if missing := sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"])):
        raise _unusable(base, f"Weights are missing or misshapen, the first is {missing[0]}.")
    if getattr(model, "_is_stateful", False):
        raise _unusable(base, "Recurrent models keep a state that cannot be shared across turns.")
    if four_bit is not None:
        make_trainable(model, base)
    model.eval()
    model.requires_grad_(False)
    return model  # type: ignore[no-any-return]


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no load reports on the standard streams."""
    from transformers.utils import logging

    library: Any = logging
    verbosity, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity_error()
    library.disable_progress_bar()
    try:
        yield
    finally:
        library.set_verbosity(verbosity)
        if bars:
            library.enable_progress_bar()


def _unusable(base: BaseModel, why: str) -> BaseModelError:
    return BaseModelError(
        f"{base.folder} cannot be used as a base model.",
        why,
        "Choose another folder, or download the model again.",
    )
