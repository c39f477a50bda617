"""Layers computed in fewer passes over memory, for the same result.

A training step of a small model on a processor spends more time moving numbers than multiplying
them, and most of its memory on intermediate results that are cheap to make again. Three kinds of
layer are replaced by a function with a gradient of its own:

    RMSNorm         keeps its input and one number per token
    gated MLP       act(gate) * up keeps gate and up, and makes the product again
    adapted linear  y = W x + s B A x without copies of x in the adapter's format; where the run is
                    private it leaves the gradient of every unit (`grad_sample`) by itself

Whether a layer may be replaced is not guessed from its name alone: its result is compared with
that of the layer as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from xeno.models.four_bit import is_packed, matrix

_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 2e-2, torch.float16: 4e-3}
"""Largest relative difference between a layer and its replacement, by number format."""


@dataclass
class Flow:
    """What the adapted layers must know of the batch that flows through them.

    Attributes:
        per_unit: leave `grad_sample` [units, *shape] on the adapter's parameters in place of
            `grad`.
        bounds: the tokens [begin, end) of each unit in a packed sequence; empty where every row
            of the batch is a unit.
    """

    per_unit: bool = False
    bounds: tuple[tuple[int, int], ...] = ()


def fuse_base(model: torch.nn.Module) -> int:
    """Replace the norms and gated MLPs of `model` (frozen) where that is exact; how many were."""
    replaced = 0
    for module in model.modules():
        if _is_norm(module):
            replaced += _replace(module, _norm_forward(module))
        elif all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
            replaced += _replace(module, _mlp_forward(module))
    return replaced


def fuse_adapter(model: torch.nn.Module, flow: Flow) -> bool:
    """Replace the adapted layers of `model`; False if any had to stay as it is."""
    from peft.tuners.lora.layer import LoraLayer

    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    plain = [layer for layer in layers if _is_plain(layer)]
    for layer in plain:
        layer.forward = _adapted_forward(layer, flow)
    return bool(layers) and len(plain) == len(layers)


def _replace(module: torch.nn.Module, forward: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    """Let `module` compute `forward` if that gives the same."""
    parameter = next(module.parameters(), None)
    if parameter is None or parameter.device.type == "meta" or parameter.requires_grad:
        return False
    width, dtype = parameter.shape[-1], parameter.dtype
    first: Any = getattr(module, "gate_proj", module)
    if is_packed(first):
        width, dtype = first.in_features, first.compute_dtype
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, width, generator=generator).to(parameter.device, dtype)
    try:
        with torch.no_grad():
            truth, got = module(x), forward(x)
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return False
    if got.shape != truth.shape or got.dtype != truth.dtype:
        return False
    error = (got - truth).float().norm() / truth.float().norm()
    if not bool(error <= _TOLERANCE.get(dtype, 0.0)):
        return False
    module.forward = forward
    return True


# RMSNorm ---------------------------------------------------------------------------------


def _is_norm(module: torch.nn.Module) -> bool:
    parameters = dict(module.named_parameters())
    return "RMSNorm" in type(module).__name__ and set(parameters) == {"weight"}


def _norm_forward(module: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    epsilon = float(getattr(module, "variance_epsilon", getattr(module, "eps", 0.0)))

    def forward(hidden_states: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = _Norm.apply(hidden_states, module.weight, epsilon)  # type: ignore[no-untyped-call]
        return result

    return forward


class _Norm(torch.autograd.Function):
    """w x / rms(x), rms(x)^2 = mean(x^2) + epsilon (Zhang and Sennrich 2019, arXiv 1910.07467)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        wide = x.to(_wide(x))
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(x, weight, scale)
        return (wide.mul_(scale) if wide is not x else wide * scale).to(x.dtype) * weight

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> Any:
        x, weight, scale = ctx.saved_tensors
        normed = x * scale  # in the wide format
        gradient = outputs[0] * weight.to(scale.dtype)
        along = (gradient * normed).mean(-1, keepdim=True)
        return gradient.addcmul_(normed, along, value=-1).mul_(scale).to(x.dtype), None, None


def _wide(x: torch.Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


# Gated MLP -------------------------------------------------------------------------------


def _mlp_forward(module: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    def forward(x: torch.Tensor) -> torch.Tensor:
        product = _GatedProduct.apply(module.gate_proj(x), module.up_proj(x))  # type: ignore[no-untyped-call]
        result: torch.Tensor = module.down_proj(product)
        return result

    return forward


class _GatedProduct(torch.autograd.Function):
    """silu(gate) * up (Shazeer 2020, arXiv 2002.05202)."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> Any:
        gate, up = ctx.saved_tensors
        d_up = F.silu(gate).mul_(outputs[0])
        return torch.ops.aten.silu_backward(outputs[0] * up, gate), d_up


# Adapted linear layer --------------------------------------------------------------------


def _is_plain(layer: Any) -> bool:
    """Whether the layer is W x + s B A x and nothing else, W as it is or in 4 bits."""
    from peft.tuners.lora.layer import Linear

    names = list(layer.lora_A)
    dense = type(layer) is Linear and type(layer.base_layer) is torch.nn.Linear
    return (
        (dense or is_packed(layer.base_layer))
        and len(names) == 1
        and layer.active_adapters == names
        and not layer.lora_variant
        and not layer.fan_in_fan_out
        and isinstance(layer.lora_dropout[names[0]], torch.nn.Identity)
        and layer.lora_A[names[0]].bias is None
        and layer.lora_B[names[0]].bias is None
    )


def _adapted_forward(layer: Any, flow: Flow) -> Callable[..., torch.Tensor]:
    name = layer.active_adapters[0]
    usual = type(layer).forward

    def forward(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if layer.disable_adapters or layer.merged or args or kwargs:
            result: torch.Tensor = usual(layer, x, *args, **kwargs)
            return result
        base = layer.base_layer
        out: torch.Tensor = _Adapted.apply(  # type: ignore[no-untyped-call]
            x,
            layer.lora_A[name].weight,
            layer.lora_B[name].weight,
            base.weight,
            base.bias,
            layer.scaling[name],
            flow,
        )
        return out

    return forward


class _Adapted(torch.autograd.Function):
    """y = W x + b + s B A x with W and b frozen, in the number format of x; W may be in 4 bits,
    and is then made from them in each pass.

    The product with A is small beside that with W, so what is kept for the gradient is A x and,
    where A is trained, x, which layers that share their input share.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        a: torch.Tensor,
        b: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        scale: float,
        flow: Flow,
    ) -> torch.Tensor:
        y = F.linear(x, matrix(weight, x.dtype), bias)
        low = F.linear(x, a.to(x.dtype))
        y.view(-1, y.shape[-1]).addmm_(low.view(-1, low.shape[-1]), b.to(x.dtype).T, alpha=scale)
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, low, a, b)
        ctx.weight = weight  # as it is: a saved tensor forgets how it is packed
        ctx.scale, ctx.per_unit, ctx.bounds = scale, flow.per_unit, flow.bounds
        return y

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> Any:
        x, low, a, b = ctx.saved_tensors
        d_y = outputs[0]
        to_x, to_a, to_b = ctx.needs_input_grad[:3]
        d_x = d_a = None
        if to_x or to_a:
            d_low = (d_y @ b.to(d_y.dtype)).mul_(ctx.scale)
            d_a = _gradient(d_low, x, ctx, a) if to_a else None
            if to_x:
                d_x = d_y @ matrix(ctx.weight, d_y.dtype)
                d_x.view(-1, d_x.shape[-1]).addmm_(d_low.view(-1, len(a)), a.to(d_y.dtype))
        d_b = _gradient(d_y, low, ctx, b).mul_(ctx.scale) if to_b else None
        if ctx.per_unit:
            _leave(a, d_a)
            _leave(b, d_b)
            d_a = d_b = None
        return d_x, d_a, d_b, None, None, None, None


def _gradient(
    d_out: torch.Tensor, inputs: torch.Tensor, ctx: Any, parameter: torch.Tensor
) -> torch.Tensor:
    """Sum over tokens of d_out [rows, tokens, out] times inputs [rows, tokens, in]: [out, in], or
    [units, out, in], in the parameter's format."""
    if not ctx.per_unit:
        product = d_out.reshape(-1, d_out.shape[-1]).T @ inputs.reshape(-1, inputs.shape[-1])
    elif ctx.bounds:
        units = [d_out[0, i:j].T @ inputs[0, i:j] for i, j in ctx.bounds]
        product = torch.stack(units)
    else:
        product = d_out.transpose(-1, -2) @ inputs
    return product.to(parameter.dtype)


def _leave(parameter: Any, gradients: torch.Tensor | None) -> None:
    """Add to what an earlier use of the parameter in the same pass left."""
    if gradients is not None:
        before = getattr(parameter, "grad_sample", None)
        parameter.grad_sample = gradients if before is None else before + gradients
