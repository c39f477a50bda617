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
    """The adapter that is in `model`, if any, by the content address of its version.

    Every weight that was ever adapted has a copy of its original here, so that a change of
    adapter writes each weight once.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._originals: dict[str, torch.Tensor] = {}
        self._adapted: set[str] = set()
        self.address: str | None = None

    @property
    def known(self) -> set[str]:
        """The paths of all modules that were ever adapted."""
        return set(self._originals)

    def check(self, tensors: Mapping[str, torch.Tensor], config: AdapterConfig) -> tuple[str, ...]:
        """The paths of the modules that an adapter changes; safe from any thread.

        Args:
            tensors: A [rank, d_in] and B [d_out, rank] under PEFT's names.

        Raises:
            DamagedDataError, InvalidValueError: if it is no adapter, or not one for this model.
        """
        paths = module_paths(tensors, config)
        for path in paths:
            down, up = (tensors[name].shape for name in tensor_names(path))
            weight = self._weight(path)
            d_out, d_in = weight.shape[::-1] if self._turned(path) else weight.shape
            if down != (config.rank, d_in) or up != (d_out, config.rank):
                raise _misfit(f"The shapes for {path} do not fit this model.")
        return paths

    def put(
        self, address: str, tensors: Mapping[str, torch.Tensor], config: AdapterConfig
    ) -> set[str]:
        """Give every adapted weight the value W0 + scale * B A, all others their own.

        Returns:
            The paths of the modules whose weight was written.

        Raises:
            DamagedDataError, InvalidValueError: see `check`; nothing was written.
        """
        paths = self.check(tensors, config)
        left = self._adapted.difference(paths)
        self._restore(left)
        self.address = None
        with torch.no_grad():
            for path in paths:
                weight = self._weight(path)
                if path not in self._originals:
                    self._originals[path] = weight.detach().clone()
                self._adapted.add(path)  # before it is written, so that `remove` mends it
                down, up = (tensors[name].float() for name in tensor_names(path))
                if self._turned(path):
                    down, up = up.T, down.T
                original = self._originals[path].float()
                weight.copy_(torch.addmm(original, up, down, alpha=config.scale))
        self.address = address
        return left.union(paths)

    def remove(self) -> set[str]:
        """Restore the base's weights bit by bit; returns the paths that were written."""
        changed = set(self._adapted)
        self._restore(changed)
        self.address = None
        return changed

    def _restore(self, paths: set[str]) -> None:
        with torch.no_grad():
            for path in paths:
                self._weight(path).copy_(self._originals[path])
        self._adapted -= paths

    def _turned(self, path: str) -> bool:
        return type(self._module(path)).__name__ == "Conv1D"  # GPT-2 stores [d_in, d_out]

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
