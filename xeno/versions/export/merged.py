"""A base's weights with an adapter merged in, one tensor at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from xeno.errors import InvalidValueError
from xeno.models.base import BaseModel
from xeno.versions.adapter import AdapterConfig, tensor_names

if TYPE_CHECKING:
    import torch

_STORED_TURNED = ("gpt2", "openai-gpt")  # their matrices are [d_in, d_out]


@contextlib.contextmanager
def read_weights(base: BaseModel) -> Iterator[Callable[[str], torch.Tensor]]:
    """A function that reads one stored tensor of `base` by its name, in its own number format."""
    from safetensors import safe_open

    with contextlib.ExitStack() as stack:
        opened = [
            stack.enter_context(safe_open(str(path), framework="pt")) for path in base.weight_files
        ]
        where = {name: each for each in opened for name in each.keys()}  # noqa: SIM118
        yield lambda name: where[name].get_tensor(name)


def merged_tensor(
    name: str,
    weight: torch.Tensor,
    base: BaseModel,
    adapter: tuple[Mapping[str, torch.Tensor], AdapterConfig] | None,
) -> torch.Tensor:
    """`weight` in float32, with scale * B A added where `adapter` has a part for it.

    Raises:
        InvalidValueError: if the adapter's part has another shape than the weight.
    """
    weight = weight.float()
    down_name, up_name = tensor_names(name.removesuffix(".weight"))
    if adapter is None or not name.endswith(".weight") or down_name not in adapter[0]:
        return weight
    tensors, config = adapter
    delta = config.scale * (tensors[up_name].float() @ tensors[down_name].float())
    if base.config.get("model_type") in _STORED_TURNED:
        delta = delta.T
    if delta.shape != weight.shape:
        raise InvalidValueError(
            "The version does not fit its base model.",
            f"{name} is {tuple(weight.shape)}, and the adapter's part {tuple(delta.shape)}.",
            "Export it with the base model that it was trained on.",
        )
    return weight + delta
