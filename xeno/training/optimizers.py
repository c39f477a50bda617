"""From the settings to a torch optimizer over the adapter's parameters.

The learning rate is not set here: every step has its own (`set_rate`). With LoRA+ (Hayou, Ghosh
and Yu 2024, arXiv 2402.12354) the adapter's B learns faster than its A by a constant ratio.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xeno.errors import InvalidValueError
from xeno.models.four_bit import has_bitsandbytes
from xeno.training.plan import TrainingPlan

if TYPE_CHECKING:
    import torch

_EIGHT_BIT = ("adamw_8bit", "paged_adamw_8bit")
_SCALE = "rate_scale"
_ADAPTIVE_STATES = {
    "adamw": 8.0,
    "nadam": 8.0,
    "radam": 8.0,
    "adafactor": 0.5,  # rows and columns of a matrix only
    "rmsprop": 8.0,
    "adagrad": 4.0,
    "sgd": 4.0,
    "adamw_8bit": 2.0,
    "paged_adamw_8bit": 2.0,
}


def chosen(plan: TrainingPlan) -> str:
    """The name of the optimizer that `plan` gets; "auto" is resolved.

    AdamW without privacy. SGD with it: Adam would divide by a second moment that is mostly noise,
    and so blow up the directions that carry nothing. Over a base in 4 bits on a graphics card,
    which is there to save memory, AdamW's state has 8 bits and may leave the card.
    """
    if plan.optimizer != "auto":
        return plan.optimizer
    if plan.private:
        return "sgd"
    saving = plan.quantisation == "nf4" and plan.device == "cuda"
    return "paged_adamw_8bit" if saving else "adamw"


def unusable(plan: TrainingPlan, device: str = "cpu") -> str:
    """Why the optimizer of `plan` cannot be used on `device`; empty where it can."""
    if plan.optimizer not in _EIGHT_BIT:
        return ""
    if device != "cuda":
        return f"The optimizer {plan.optimizer} needs a CUDA graphics card."
    if not has_bitsandbytes():
        return f"The optimizer {plan.optimizer} needs bitsandbytes, which is not installed."
    return ""


def state_bytes(plan: TrainingPlan) -> float:
    """Bytes that the optimizer keeps for each trained number."""
    name = chosen(plan)
    kept = _ADAPTIVE_STATES[name]
    if name == "adamw" and plan.amsgrad:
        kept += 4.0
    if name == "sgd" and plan.momentum == 0:
        kept = 0.0
    if name == "rmsprop" and plan.momentum == 0:
        kept = 4.0
    return kept


def build(plan: TrainingPlan, model: torch.nn.Module, device: str = "cpu") -> torch.optim.Optimizer:
    """The optimizer for the trainable parameters of `model`, on `device` ("cpu", "cuda", "mps").

    Raises:
        InvalidValueError: if it cannot be used here.
    """
    if reason := unusable(plan, device):
        raise InvalidValueError(
            "This optimizer cannot be used here.",
            reason,
            "Choose 'auto' or 'adamw' as optimizer.",
        )
    return _make(chosen(plan), plan)(_groups(plan, model))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give the next step of `optimizer` the learning rate `rate`, times each group's scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(_SCALE, 1.0)


def _groups(plan: TrainingPlan, model: torch.nn.Module) -> list[dict[str, Any]]:
    """A and B apart where they learn at different rates; one group otherwise, in the order in
    which the model lists them."""
    named = [(name, each) for name, each in model.named_parameters() if each.requires_grad]
    if plan.lora_plus_ratio == 1:
        return [{"params": [each for _, each in named], _SCALE: 1.0}]
    fast = [each for name, each in named if "lora_B" in name]
    slow = [each for name, each in named if "lora_B" not in name]
    if not slow or not fast:
        return [{"params": fast or slow, _SCALE: 1.0}]
    return [{"params": slow, _SCALE: 1.0}, {"params": fast, _SCALE: plan.lora_plus_ratio}]


def _make(name: str, plan: TrainingPlan) -> Callable[[Any], torch.optim.Optimizer]:
    import torch

    betas = (plan.adam_beta1, plan.adam_beta2)
    decay, eps = plan.weight_decay, plan.optimizer_eps
    optim = torch.optim
    match name:
        case "adamw":
            return lambda groups: optim.AdamW(
                groups, betas=betas, eps=eps, weight_decay=decay, amsgrad=plan.amsgrad
            )
        case "nadam":
            return lambda groups: optim.NAdam(
                groups, betas=betas, eps=eps, weight_decay=decay, decoupled_weight_decay=True
            )
        case "radam":
            return lambda groups: optim.RAdam(
                groups, betas=betas, eps=eps, weight_decay=decay, decoupled_weight_decay=True
            )
        case "adafactor":
            return lambda groups: optim.Adafactor(
                groups,
                weight_decay=decay,
                d=plan.adafactor_clip,
                beta2_decay=plan.adafactor_decay,
            )
        case "rmsprop":
            return lambda groups: optim.RMSprop(
                groups,
                alpha=plan.squares_memory,
                eps=eps,
                weight_decay=decay,
                momentum=plan.momentum,
            )
        case "adagrad":
            return lambda groups: optim.Adagrad(
                groups, lr_decay=plan.adagrad_decay, eps=eps, weight_decay=decay
            )
        case "sgd":
            return lambda groups: optim.SGD(
                groups,
                lr=1.0,
                momentum=plan.momentum,
                dampening=plan.dampening,
                weight_decay=decay,
                nesterov=plan.nesterov,
            )
        case _:
            import bitsandbytes

            kind: Any = bitsandbytes.optim
            form = kind.PagedAdamW8bit if name.startswith("paged") else kind.AdamW8bit
            return lambda groups: form(groups, betas=betas, eps=eps, weight_decay=decay)
