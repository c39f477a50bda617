"""Which layers of a base get an adapter: from names of tensors and their shapes. Light."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from xeno.errors import BaseModelError, InvalidValueError
from xeno.training.settings.adapter import AdapterSettings

Shapes = Mapping[str, tuple[int, ...]]

_ATTENTION = (
    ("q_proj", "k_proj", "v_proj", "o_proj"),
    ("q_proj", "k_proj", "v_proj", "out_proj"),
    ("qkv_proj", "o_proj"),
    ("query_key_value", "dense"),
    ("c_attn", "c_proj"),
)
_CLOSE_TO_THE_OUTPUT = ("o_proj", "out_proj", "dense", "c_proj")
_MLP = (
    *("gate_proj", "up_proj", "down_proj", "gate_up_proj", "fc1", "fc2", "fc_in", "fc_out"),
    *("c_fc", "dense_h_to_4h", "dense_4h_to_h", "w1", "w2", "w3"),
)
_OUTSIDE = ("embed", "lm_head", "wte", "wpe", "norm", "rotary", "router")
_BLOCK = re.compile(r".*?\.[^.]*\.(\d+)\.")  # as PEFT finds it: the first number in the path


def target_modules(shapes: Shapes, settings: AdapterSettings, private: bool) -> tuple[str, ...]:
    """The last names of the modules that get an adapter, as `settings` say.

    Raises:
        BaseModelError: if the base has no layers that an adapter can be put on.
        InvalidValueError: if the settings name modules that it does not have, or leave none.
    """
    linear = linear_modules(shapes)
    if not linear:
        raise BaseModelError(
            "This base model cannot be trained.",
            "None of its layers can take an adapter.",
            "Choose another base model.",
        )
    chosen = _chosen(linear, settings.lora_modules.strip().lower(), settings.lora_modules, private)
    excluded = set(_names(settings.lora_exclude))
    _require_known(excluded, linear)
    if not (left := tuple(name for name in chosen if name not in excluded)):
        raise InvalidValueError(
            "No module is left for the adapter.",
            f"All of {', '.join(chosen)} are left out.",
            "Leave out fewer modules.",
        )
    return left


def _chosen(linear: set[str], group: str, written: str, private: bool) -> tuple[str, ...]:
    match group:
        case "auto" | "attention":
            few = private and group == "auto"
            for names in _ATTENTION:
                if set(names) <= linear:
                    return tuple(n for n in names if not few or n in _CLOSE_TO_THE_OUTPUT)
            if group == "auto":
                return tuple(sorted(linear))
            found: tuple[str, ...] = ()
        case "mlp":
            found = tuple(name for name in _MLP if name in linear)
        case "all linear" | "all_linear" | "all-linear":
            return tuple(sorted(linear))
        case _:
            found = tuple(dict.fromkeys(_names(written)))
            _require_known(set(found), linear)
    if not found:
        raise _unknown(f"No module of this base is known as {group or 'given'}.", linear)
    return found


def linear_modules(shapes: Shapes) -> set[str]:
    """The last names of layers with a matrix, but for embeddings and the head."""
    return {path.rpartition(".")[2] for path in _linear(shapes)}


def packable(shapes: Shapes) -> list[int]:
    """How many numbers are in each of those layers: what can be held in 4 bits."""
    return [math.prod(shapes[f"{path}.weight"]) for path in _linear(shapes)]


def _linear(shapes: Shapes) -> Iterator[str]:
    for name, shape in shapes.items():
        path = name.removesuffix(".weight")
        if path != name and len(shape) == 2 and not any(word in path for word in _OUTSIDE):
            yield path


def layers(shapes: Shapes, settings: AdapterSettings) -> tuple[int, ...] | None:
    """The numbers of the blocks that get an adapter; None for all of them."""
    if settings.lora_layers == "all":
        return None
    blocks = sorted({number for name in shapes if (number := block(name)) is not None})
    count = settings.lora_layer_count
    return tuple(blocks[:count] if settings.lora_layers == "first" else blocks[-count:])


def block(path: str) -> int | None:
    """The number of the block that a tensor or module belongs to; None outside of all."""
    found = _BLOCK.match(path)
    return int(found[1]) if found else None


def trainable_numbers(
    shapes: Shapes, modules: Iterable[str], blocks: tuple[int, ...] | None, rank: int, b_only: bool
) -> int:
    """How many numbers an adapter of this rank trains."""
    wanted = set(modules)
    total = 0
    for name, shape in shapes.items():
        path = name.removesuffix(".weight")
        named = path != name and len(shape) == 2 and path.rpartition(".")[2] in wanted
        if named and (blocks is None or block(name) in blocks):
            # GPT-2 stores its matrices the other way round.
            turned = path.endswith(("c_attn", "c_proj", "c_fc"))
            out, into = (shape[1], shape[0]) if turned else shape
            total += rank * (out if b_only else out + into)
    return total


def _names(written: str) -> list[str]:
    return [name.strip() for name in written.split(",") if name.strip()]


def _require_known(names: set[str], linear: set[str]) -> None:
    if unknown := sorted(names - linear):
        raise _unknown(f"It has no module {unknown[0]!r}.", linear)


def _unknown(why: str, linear: set[str]) -> InvalidValueError:
    return InvalidValueError(
        "The adapter cannot be put on this base model.",
        why,
        f"Its modules are {', '.join(sorted(linear))}.",
    )
