"""What an adapter is: its configuration, and how its tensors are named.

Names and shapes are those PEFT saves, so an adapter can be read by any tool that reads PEFT's:
`base_model.model.<module path>.lora_A.weight` [rank, d_in] and `.lora_B.weight` [d_out, rank].
The effect on a weight is W0 + scale * B A, the scale alpha / rank (Hu et al. 2021, 2106.09685,
section 4.1), or alpha / sqrt(rank) for rsLoRA (Kalajdzievski 2023, 2312.03732, theorem 3.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from xeno.errors import DamagedDataError

_PREFIX = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"


class AdapterConfig(BaseModel):
    """The kind and size of an adapter.

    `lora_b_only` was trained with A held fixed; A is stored all the same. `target_modules` are
    the last parts of module paths, such as "q_proj"; not every block need have an adapter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["lora", "lora_b_only"] = "lora"
    rank: int = Field(ge=1, le=1024)
    alpha: float = Field(gt=0, allow_inf_nan=False)
    target_modules: tuple[str, ...] = Field(min_length=1)
    rs_lora: bool = False

    @property
    def scale(self) -> float:
        """What B A is multiplied by before it is added to the weight."""
        return self.alpha / (math.sqrt(self.rank) if self.rs_lora else self.rank)


def tensor_names(module: str) -> tuple[str, str]:
    """The names of A and B of the module at path `module`."""
    return _PREFIX + module + _A, _PREFIX + module + _B


def module_paths(names: Iterable[str], config: AdapterConfig) -> tuple[str, ...]:
    """The module paths that tensors of these names adapt, sorted.

    Raises:
        DamagedDataError: if a name is no adapter's, lacks its other half, or belongs to a module
            that `config` does not name.
    """
    names = set(names)
    paths = set()
    for name in names:
        if not name.startswith(_PREFIX) or not name.endswith((_A, _B)):
            raise _not_an_adapter(f"{name!r} is not the name of an adapter's tensor.")
        path = name.removeprefix(_PREFIX).removesuffix(_A).removesuffix(_B)
        if path.rpartition(".")[2] not in config.target_modules:
            raise _not_an_adapter(f"{path!r} is not one of its target modules.")
        paths.add(path)
    for path in paths:
        if missing := set(tensor_names(path)) - names:
            raise _not_an_adapter(f"{min(missing)} is missing.")
    if not paths:
        raise _not_an_adapter("It holds no tensors.")
    return tuple(sorted(paths))


def _not_an_adapter(why: str) -> DamagedDataError:
    return DamagedDataError("The adapter cannot be used.", why, "Train or import it again.")
