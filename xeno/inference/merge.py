"""One adapter merged into a model's weights, and taken out again to the last bit.

Merged, an adapter costs nothing per token. Subtracting it again would not give the old weights
back exactly (in bfloat16 one in six changes), so the touched ones are kept and restored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from xeno.errors import InvalidValueError
from xeno.versions.adapter import AdapterConfig, module_paths, tensor_names


class Merge:
    """The adapter that is in `model`, if any, by the content address of its version."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._kept: dict[str, torch.Tensor] = {}
        self.address: str | None = None

    def put(self, address: str, tensors: Mapping[str, torch.Tensor], config: AdapterConfig) -> None:
        """Give every adapted weight the value W0 + scale * B A.

        Args:
            tensors: A [rank, d_in] and B [d_out, rank] under PEFT's names.

        Raises:
            DamagedDataError, InvalidValueError: if the tensors are no adapter, or not one for
                this model; the model is then the base.
        """
        self.remove()
        deltas = {
            path: self._delta(path, tensors, config) for path in module_paths(tensors, config)
        }
        with torch.no_grad():
            for path, delta in deltas.items():
                weight = self._weight(path)
                self._kept[path] = weight.detach().clone()
                weight.copy_(weight.float() + delta)
        self.address = address

    def remove(self) -> None:
        """Restore the base's weights bit by bit."""
        with torch.no_grad():
            for path, original in self._kept.items():
                self._weight(path).copy_(original)
        self._kept.clear()
        self.address = None

    def _delta(
        self, path: str, tensors: Mapping[str, torch.Tensor], config: AdapterConfig
    ) -> torch.Tensor:
        """scale * B A [d_out, d_in] in float32, turned as the module stores its weight."""
        down, up = (tensors[name].float() for name in tensor_names(path))
        weight = self._weight(path)
        transposed = type(self._module(path)).__name__ == "Conv1D"  # GPT-2 stores [d_in, d_out]
        d_out, d_in = weight.shape[::-1] if transposed else weight.shape
        if down.shape != (config.rank, d_in) or up.shape != (d_out, config.rank):
            raise _misfit(f"The shapes for {path} do not fit this model.")
        delta = config.scale * (up @ down)
        return delta.T if transposed else delta

    def _module(self, path: str) -> Any:
        try:
            return self._model.get_submodule(path)
        except AttributeError as error:
            raise _misfit(f"This model has no module {path}.") from error

    def _weight(self, path: str) -> torch.Tensor:
        weight = getattr(self._module(path), "weight", None)
        if not isinstance(weight, torch.Tensor) or weight.ndim != 2:
            raise _misfit(f"{path} has no weight matrix.")
        return weight


def _misfit(why: str) -> InvalidValueError:
    return InvalidValueError(
        "The version does not fit the loaded base model.",
        why,
        "Load the base model that the version was trained on.",
    )
