"""Whether the own loop says what transformers says, asked before it is used.

In float32 rounding is about 1e-6, and anything left out of the loop (a bias, a norm, another
rotation) is a thousand times the tolerance. A model that is held in bfloat16 is represented by
a small one of its own class and configuration: two layers and few words, with random weights.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from xeno.inference.decoder import Decoder, LibraryDecoder
from xeno.inference.own_loop import OwnLoop, why_not

TOLERANCE = 1e-4
"""Largest difference of a logit in float32."""

# What a module that is missing or a shape that does not fit raises.
_MISFITS = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_WORDS = 64
_LAYERS = 2


def choose_decoder(model: Any, *, int8: bool = False) -> tuple[Decoder, tuple[str, ...]]:
    """The quickest decoder that is right for `model`, and sentences for the user."""
    reason = why_not(model)
    if not reason:
        try:
            difference = _difference(model)
        except _MISFITS as error:
            reason = f"it is built otherwise than its family ({type(error).__name__})"
        else:
            if difference <= TOLERANCE:
                return OwnLoop(model, int8=int8), ()
            reason = f"its logits differ by {difference:.1e} there"
    rounded = " Weights in 8 bits need the own loop; they are used as they are." if int8 else ""
    note = f"Replies are computed by transformers, slower than by XENO's own loop: {reason}."
    return LibraryDecoder(model), (note + rounded,)


def _difference(model: Any) -> float:
    """The largest difference of a logit, in float32; infinite where they are no numbers."""
    small = model if model.dtype == torch.float32 else _miniature(model)
    ids = [(37 * place + 11) % min(_WORDS, small.config.vocab_size) for place in range(24)]
    own = OwnLoop(small)
    with torch.inference_mode():
        wanted = small(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    found = {10: own.read(ids[:11], lambda: False), 22: own.read(ids[11:23], lambda: False)}
    found[23] = own.step(ids[23])  # a block alone, one behind others, a single token
    largest = 0.0
    for place, logits in found.items():
        assert logits is not None
        distance = float((logits - wanted[place]).abs().max())
        largest = max(largest, distance) if distance == distance else float("inf")
    return largest


def _miniature(model: Any) -> Any:
    """A model of the same class and configuration with few layers and words, in float32."""
    config = copy.deepcopy(model.config)
    config.vocab_size = min(_WORDS, config.vocab_size)
    config.num_hidden_layers = min(_LAYERS, config.num_hidden_layers)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: config.num_hidden_layers]
    config.bos_token_id = config.eos_token_id = config.pad_token_id = None
    small = type(model)(config).float().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in small.parameters():  # the library's are too small to tell faults apart
            parameter.normal_(0.0, parameter.shape[-1] ** -0.5, generator=generator)
            if parameter.ndim == 1:
                parameter.add_(1.0)
    return small
