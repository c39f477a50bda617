"""A base whose layers are held in 4 bits: NF4, by bitsandbytes.

Each number of a layer is one of 16 levels times the largest of its block of 64 (Dettmers et al.
2023, arXiv 2305.14314); computing with a layer first makes the rounded matrix. Embeddings, head
and norms stay as they are. Light: bitsandbytes is imported where it is used.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xeno.errors import BaseModelError

if TYPE_CHECKING:
    import torch

    from xeno.models.base import BaseModel

_BLOCK = 64
_OUTER_BLOCK = 256
"""Scales that share a scale of their own where scales are rounded too."""


@dataclass(frozen=True)
class FourBit:
    """How a base is held in 4 bits.

    Attributes:
        device: where its layers are packed, and stay.
        double: whether the scales of the blocks are rounded to 8 bits.
    """

    device: str = "cpu"
    double: bool = True

    def options(self, dtype: Any) -> dict[str, Any]:
        """What transformers has to know to load a base so, computing in `dtype`."""
        from transformers import BitsAndBytesConfig

        packing: Any = BitsAndBytesConfig
        return {
            "quantization_config": packing(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_compute_dtype=dtype,
                bnb_4bit_use_double_quant=self.double,
            ),
            "device_map": {"": self.device},
        }


def has_bitsandbytes() -> bool:
    """Whether the library for 4-bit bases and 8-bit optimizers is installed; it is not loaded."""
    return importlib.util.find_spec("bitsandbytes") is not None


def bytes_per_number(double: bool) -> float:
    """Of a layer in 4 bits: half a byte, and its share of the scales."""
    scale = 1 + 4 / _OUTER_BLOCK if double else 4
    return 0.5 + scale / _BLOCK


def is_packed(layer: Any) -> bool:
    """Whether `layer` is a linear one in 4 bits."""
    return getattr(getattr(layer, "weight", None), "quant_state", None) is not None


def matrix(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The matrix [out, in] that a layer's `weight` stands for: itself, or what 4 bits hold."""
    state = getattr(weight, "quant_state", None)
    if state is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit

    made: torch.Tensor = dequantize_4bit(weight.data, state)
    return made.to(dtype)


def make_trainable(model: Any, base: BaseModel) -> None:
    """Keep the packed layers of `model`, as it was loaded, in the form that has a gradient.

    On processors with AVX512-BF16 a packed layer otherwise rearranges its weights for good the
    first time that it computes without a gradient, and what lies before it never gets one again.

    Raises:
        BaseModelError: if most of the weights are not in layers that can be packed.
    """
    packed = [layer for layer in model.modules() if is_packed(layer)]
    for layer in packed:
        layer.support_avx512bf16_for_cpu = False
    outside = {id(each.weight) for each in _ends(model)} | {id(each.weight) for each in packed}
    left = sum(each.numel() for each in model.parameters() if id(each) not in outside)
    if left > sum(layer.in_features * layer.out_features for layer in packed):
        raise BaseModelError(
            f"{base.folder} cannot be held in 4 bits.",
            "Most of its weights are not in linear layers, which alone can be packed.",
            "Set the quantisation to none, or choose another base model.",
        )
    for each in model.parameters():
        if each.is_floating_point() and each.device.type == "cpu":
            each.data = each.data.clone()  # the files stay mapped while anything lies in them


def _ends(model: Any) -> list[Any]:
    """The embedding and the head, which stay as they are."""
    return [each for each in (model.get_input_embeddings(), model.get_output_embeddings()) if each]
