"""The adapter on the base: attached by PEFT, trained in float32, taken out under PEFT's names.

A private run usually trains B only, over a fixed A with orthonormal rows (FFA-LoRA, Sun et al.
2024, arXiv 2403.12313): half the numbers to hide, and noise that enters linearly instead of as a
product of two noisy matrices. Its rows follow from the seed and the module's name, or are those
in which the frozen weight does most (as in LoRA-XS, Balazy et al. 2024, arXiv 2405.17604): neither
depends on what is learned from.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch

from xeno.errors import BaseModelError
from xeno.models.four_bit import matrix
from xeno.versions.adapter import AdapterConfig

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


Init = Literal["auto", "kaiming", "gaussian", "orthonormal", "principal"]

_POWER_ITERATIONS = 8


def attach(
    model: PreTrainedModel,
    config: AdapterConfig,
    seed: int,
    *,
    blocks: Sequence[int] | None = None,
    dropout: float = 0.0,
    init: Init = "auto",
) -> PeftModel:
    """Put an adapter with B = 0 on `model`, so that nothing changes until the first step.

    The base stays frozen and in evaluation mode (no dropout); only the adapter's layers are in
    training mode, which is where Opacus looks.

    Args:
        seed: of A's random numbers.
        blocks: the numbers of the model's blocks that get an adapter; None for all.
        dropout: share of the adapter's inputs that `dropping` leaves out, in [0, 1).
        init: how A is drawn; "auto" is principal where A is held fixed, else kaiming.

    Raises:
        BaseModelError: if the base has none of the modules.
    """
    from peft import LoraConfig, get_peft_model

    if init == "auto":
        init = "principal" if config.kind == "lora_b_only" else "kaiming"
    torch.manual_seed(seed)
    settings = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # a float is as good
        use_rslora=config.rs_lora,
        target_modules=list(config.target_modules),
        layers_to_transform=None if blocks is None else list(blocks),
        lora_dropout=dropout,
        init_lora_weights="gaussian" if init == "gaussian" else True,
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between the two libraries
            adapted: PeftModel = get_peft_model(model, settings)
    except ValueError as error:
        raise BaseModelError(
            "This base model cannot take an adapter.",
            f"It cannot be put on {', '.join(config.target_modules)} ({error}).",
            "Choose another base model.",
        ) from error
    adapted.eval()
    for name, layer in lora_layers(adapted):
        layer.train()
        if name.endswith(".lora_A.default"):
            if init in ("orthonormal", "principal"):
                rows = _orthonormal_rows(layer.weight.shape, seed, name)
                if init == "principal":
                    rows = _principal_rows(adapted.get_submodule(name.split(".lora_A.")[0]), rows)
                layer.weight.data.copy_(rows)
            if config.kind == "lora_b_only":
                layer.weight.requires_grad_(False)
    return adapted


@contextmanager
def dropping(model: torch.nn.Module, seed: int, step: int) -> Iterator[None]:
    """Leave inputs of the adapter out meanwhile, at random, the same ones for the same seed,
    step and cut into micro-batches. Outside of this nothing is left out."""
    layers = [
        module
        for name, module in model.named_modules()
        if name.endswith(".lora_dropout.default") and isinstance(module, torch.nn.Dropout)
    ]
    if not layers:
        yield
        return
    with torch.random.fork_rng():
        digest = hashlib.sha256(f"dropout\0{seed}\0{step}".encode()).digest()
        torch.manual_seed(int.from_bytes(digest[:7], "big"))
        for layer in layers:
            layer.train()
        try:
            yield
        finally:
            for layer in layers:
                layer.eval()


@contextmanager
def switched_off(model: torch.nn.Module) -> Iterator[None]:
    """The adapter adds nothing meanwhile: the model is the base, to the last bit."""
    scaled: list[Any] = [module for module in model.modules() if hasattr(module, "lora_A")]
    kept = [dict(module.scaling) for module in scaled]
    for module in scaled:
        module.scaling.update(dict.fromkeys(module.scaling, 0.0))
    try:
        yield
    finally:
        for module, scaling in zip(scaled, kept, strict=True):
            module.scaling.update(scaling)


def lora_layers(model: torch.nn.Module) -> list[tuple[str, Any]]:
    """The (name, layer) of every A and B in `model`, in the order of the model."""
    return [
        (name, module)
        for name, module in model.named_modules()
        if name.endswith((".lora_A.default", ".lora_B.default"))
    ]


def trainable(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters that are trained."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def adapter_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies of A and B of every adapted module, bit for bit, under the model's own names."""
    return {
        f"{name}.weight": layer.weight.detach().cpu().clone() for name, layer in lora_layers(model)
    }


def extract(model: PeftModel) -> dict[str, torch.Tensor]:
    """Copies of A and B of every adapted module, float32, under PEFT's saved names."""
    from peft import get_peft_model_state_dict

    state: dict[str, torch.Tensor] = get_peft_model_state_dict(model)
    return {name: tensor.detach().float().cpu().clone() for name, tensor in state.items()}


def _orthonormal_rows(shape: torch.Size, seed: int, name: str) -> torch.Tensor:
    """A random matrix [rank, d_in] with orthonormal rows; the same for the same seed and name."""
    rank, width = shape
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    columns = torch.randn(max(width, rank), rank, generator=generator, dtype=torch.float64)
    basis, triangle = torch.linalg.qr(columns)
    # Signs fixed by the diagonal, so that the result does not depend on the LAPACK at hand.
    rows: torch.Tensor = (basis * torch.sign(torch.diagonal(triangle)))[:width].T
    return rows.float()


@torch.no_grad()
def _principal_rows(adapted: Any, rows: torch.Tensor) -> torch.Tensor:
    """`rows` [rank, d_in] turned towards the leading right singular vectors of the frozen weight,
    by subspace iteration: W times such a row is long, so a small B changes much."""
    base = adapted.base_layer.weight
    weight = matrix(base, torch.float32).detach().float()
    weight = weight.T if adapted.fan_in_fan_out else weight  # [d_out, d_in]
    rows = rows.to(weight.device)
    for _ in range(_POWER_ITERATIONS):
        basis, triangle = torch.linalg.qr(weight.T @ (weight @ rows.T))
        rows = (basis * torch.sign(torch.diagonal(triangle))).T
    return rows
