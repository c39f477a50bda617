"""Llama, Mistral, Qwen2 and Qwen3 decoded by a loop over their weights.

A token of a small model is so little work that the library's way from layer to layer costs as
much as the arithmetic. Here a layer is a dozen operations, with the query, key and value weights
in one matrix and those of gate and up in another. The model's own modules become views of these
matrices: whoever writes to a module's weight changes what is computed here.

`parity` compares the loop with the library before it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import embedding, linear, rms_norm, scaled_dot_product_attention, silu

from xeno.inference.decoder import Stopped
from xeno.inference.onednn import without_onednn

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
_FIRST_CAPACITY = 256  # tokens; doubled whenever it is full


class _Product:
    """Several linear modules over the same input as one matrix [outputs, inputs].

    With `int8` single tokens go through weights rounded to 8 bits, one scale for each row;
    blocks always use the whole ones.
    """

    def __init__(self, *modules: Any, int8: bool) -> None:
        self.weight = modules[0].weight.detach()
        if len(modules) > 1:
            self.weight = torch.cat([each.weight.detach() for each in modules])
            rows = [each.weight.shape[0] for each in modules]
            for each, part in zip(modules, self.weight.split_with_sizes(rows), strict=True):
                each.weight.data = part
        biases = [getattr(each, "bias", None) for each in modules]
        known = [each.detach() for each in biases if each is not None]
        self.bias = torch.cat(known) if known else None
        self._int8 = int8
        self.round()

    def round(self) -> None:
        """Make the 8-bit form of the weights as they are now."""
        if self._int8:
            weight = self.weight
            scales = weight.abs().amax(dim=1, keepdim=True).float().clamp(min=1e-12) / 127
            self._scales = scales[:, 0].to(weight.dtype)
            self._rounded = (weight / self._scales[:, None]).round().clamp(-127, 127).char()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self._int8 and x.shape[0] == 1:
            product: torch.Tensor = torch._weight_int8pack_mm(x, self._rounded, self._scales)
            return product if self.bias is None else product + self.bias
        return linear(x, self.weight, self.bias)


@dataclass(frozen=True)
class _Layer:
    """The weights of a decoder layer. `head_norms` [query and key heads, width] is Qwen3's."""

    before_attention: torch.Tensor
    qkv: _Product
    head_norms: torch.Tensor | None
    out: _Product
    before_mlp: torch.Tensor
    gate_up: _Product
    down: _Product


def why_not(model: Any) -> str:
    """Why `model` cannot be decoded here; empty where it can be tried."""
    config = model.config
    if config.model_type not in FAMILIES:
        return f"its architecture ({config.model_type}) is none of {', '.join(FAMILIES)}"
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        return "some of its layers do not attend to all tokens"
    if config.model_type == "mistral" and config.sliding_window is not None:
        return "its attention has a sliding window"
    if config.hidden_act != "silu":
        return f"its activation is {config.hidden_act}"
    kind = (config.rope_parameters or {}).get("rope_type", "default")
    if kind in ("dynamic", "longrope"):
        return f"its positions ({kind}) depend on how much is read"
    return ""


class OwnLoop:
    """Decodes with the weights of `model`, one of `FAMILIES`; see `Decoder`.

    A stop is noticed between two layers of a block.

    Args:
        int8: single tokens go through weights of 8 bits; needs weights in bfloat16.
    """

    def __init__(self, model: Any, *, int8: bool = False) -> None:
        self.name = "own loop, int8" if int8 else "own loop"
        config, body = model.config, model.model
        self._heads: int = config.num_attention_heads
        self._kv_heads: int = config.num_key_value_heads
        self._eps: float = config.rms_norm_eps
        self._positions = body.rotary_emb
        self._embedding = body.embed_tokens.weight.detach()
        self._layers = [_layer(each, self._heads, self._kv_heads, int8) for each in body.layers]
        self._norm = body.norm.weight.detach()
        self._head = _Product(model.lm_head, int8=int8)
        self._products = dict(_by_path(self._layers)) | {"lm_head": self._head}
        self._length = self._capacity = 0
        self._cache = self._cos = self._sin = torch.empty(0)
        self._reserve(1)

    @property
    def length(self) -> int:
        return self._length

    def crop(self, length: int) -> None:
        self._length = min(self._length, length)

    def read(self, ids: Sequence[int], stopped: Stopped) -> torch.Tensor | None:
        last = self._forward(ids, stopped)
        if last is None:
            return None
        with without_onednn():
            return self._logits(last)

    def step(self, token: int) -> torch.Tensor:
        with without_onednn():
            last = self._forward([token], lambda: False)
            assert last is not None
            return self._logits(last)

    def weights_changed(self, paths: Iterable[str]) -> None:
        self._length = 0
        for product in {self._products[path] for path in paths if path in self._products}:
            product.round()

    @torch.inference_mode()
    def _logits(self, last: torch.Tensor) -> torch.Tensor:
        return self._head(rms_norm(last, last.shape[-1:], self._norm, self._eps))[0]

    @torch.inference_mode()
    def _forward(self, ids: Sequence[int], stopped: Stopped) -> torch.Tensor | None:
        """The last token's [1, hidden] behind all layers; None if it was stopped."""
        begin, end = self._length, self._length + len(ids)
        self._reserve(end)
        x = embedding(torch.tensor(ids), self._embedding)
        turn = self._cos[begin:end], self._sin[begin:end]
        mask = self._mask(begin, end) if len(ids) > 1 else None
        for layer, cache in zip(self._layers, self._cache, strict=True):
            if len(ids) > 1 and stopped():
                return None
            x = x + self._attention(layer, x, cache, turn, mask)
            hidden = rms_norm(x, x.shape[-1:], layer.before_mlp, self._eps)
            gate, up = layer.gate_up(hidden).chunk(2, dim=-1)
            x = x + layer.down(silu(gate).mul_(up))
        self._length = end
        return x[-1:]

    def _attention(
        self,
        layer: _Layer,
        x: torch.Tensor,
        cache: torch.Tensor,
        turn: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """What the new tokens' x [new, hidden] see; cache is [2, kv heads, capacity, width]."""
        new, (cos, sin) = x.shape[0], turn
        begin, end = self._length, self._length + new
        shared = self._heads // self._kv_heads
        qkv = layer.qkv(rms_norm(x, x.shape[-1:], layer.before_attention, self._eps))
        qk, v = qkv.view(new, -1, cos.shape[-1]).split_with_sizes(
            [self._heads + self._kv_heads, self._kv_heads], dim=1
        )
        if layer.head_norms is not None:
            qk = rms_norm(qk, qk.shape[-1:], None, self._eps) * layer.head_norms
        # Half the width further lies the partner of a number; sin's first half is negative.
        qk = torch.addcmul(qk * cos, qk.roll(qk.shape[-1] // 2, -1), sin)
        cache[0, :, begin:end] = qk[:, self._heads :].transpose(0, 1)
        cache[1, :, begin:end] = v.transpose(0, 1)
        # Query heads that share keys stand one below the other, as if they were more tokens.
        q = qk[:, : self._heads].view(new, self._kv_heads, shared, -1).permute(1, 2, 0, 3)
        seen = scaled_dot_product_attention(
            q.reshape(1, self._kv_heads, shared * new, -1),
            cache[:1, :, :end],
            cache[1:, :, :end],
            attn_mask=mask,
        )
        seen = seen.view(self._kv_heads, shared, new, -1).permute(2, 0, 1, 3)
        return layer.out(seen.reshape(new, -1))

    def _mask(self, begin: int, end: int) -> torch.Tensor:
        """[shared heads * new, end]: every token sees itself and what is before it."""
        places = torch.arange(end)
        return (places <= places[begin:, None]).repeat(self._heads // self._kv_heads, 1)

    def _reserve(self, tokens: int) -> None:
        """Room for the keys and values of `tokens`, and their rotations [tokens, 1, width]."""
        if tokens <= self._capacity:
            return
        self._capacity = max(_FIRST_CAPACITY, 1 << (tokens - 1).bit_length())
        dtype = self._embedding.dtype
        cos, sin = self._positions(torch.empty(0), torch.arange(self._capacity)[None])
        width = cos.shape[-1]
        self._cos = cos[0][:, None].to(dtype)
        self._sin = torch.cat((-sin[0, :, : width // 2], sin[0, :, width // 2 :]), -1)
        self._sin = self._sin[:, None].to(dtype)
        before, self._cache = (
            self._cache,
            torch.empty(len(self._layers), 2, self._kv_heads, self._capacity, width, dtype=dtype),
        )
        if self._length:
            self._cache[..., : self._length, :] = before[..., : self._length, :]


def _layer(module: Any, heads: int, kv_heads: int, int8: bool) -> _Layer:
    attention, mlp = module.self_attn, module.mlp
    norms = None
    if hasattr(attention, "q_norm"):
        query, key = attention.q_norm.weight.detach(), attention.k_norm.weight.detach()
        norms = torch.cat([query.expand(heads, -1), key.expand(kv_heads, -1)])
    return _Layer(
        before_attention=module.input_layernorm.weight.detach(),
        qkv=_Product(attention.q_proj, attention.k_proj, attention.v_proj, int8=int8),
        head_norms=norms,
        out=_Product(attention.o_proj, int8=int8),
        before_mlp=module.post_attention_layernorm.weight.detach(),
        gate_up=_Product(mlp.gate_proj, mlp.up_proj, int8=int8),
        down=_Product(mlp.down_proj, int8=int8),
    )


def _by_path(layers: Sequence[_Layer]) -> Iterator[tuple[str, _Product]]:
    """The product that a linear module of the model, named by its path, is part of."""
    for number, layer in enumerate(layers):
        products = {
            layer.qkv: ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            layer.out: ("self_attn.o_proj",),
            layer.gate_up: ("mlp.gate_proj", "mlp.up_proj"),
            layer.down: ("mlp.down_proj",),
        }
        for product, names in products.items():
            yield from ((f"model.layers.{number}.{name}", product) for name in names)
