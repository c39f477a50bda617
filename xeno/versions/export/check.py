"""Whether an export says what its original says: the same prompts through both.

The original is the base with the adapter merged in, computed in float32 by transformers. Along
its greedy replies the export's log-probabilities of the likeliest tokens are compared at every
position, and whether it would choose the same token: where it always does, its own greedy reply
is the same. Where the original itself hardly prefers one token (a tie), rounding may decide
otherwise; how far apart two tokens may be for that is part of the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xeno.errors import DamagedDataError
from xeno.events import ChatMessage
from xeno.models.base import BaseModel
from xeno.models.chat import encode_prompt, end_of_reply_ids
from xeno.models.loading import load_model
from xeno.versions.adapter import AdapterConfig, module_paths
from xeno.versions.export.merged import merged_tensor

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

Likeliest = Mapping[int, float]
"""Log-probabilities by token id."""

TOP = 20
_REPLY_TOKENS = 24
_QUESTIONS = (
    "What is Python used for?",
    "How do I make a good cup of tea? Please list the steps.",
    "Write two sentences about the sea, and use the number 42.",
)


@dataclass(frozen=True)
class Tolerance:
    """How much may differ: log-probabilities by `logits`; `tie` is how far the original may
    prefer its token at most where the export chooses another."""

    logits: float
    tie: float


@dataclass(frozen=True)
class Probe:
    """A conversation as it is sent, the original's greedy reply to it, and the logits
    [tokens of the reply, vocabulary] before each of its tokens."""

    messages: tuple[ChatMessage, ...]
    ids: list[int] = field(repr=False)
    reply: list[int] = field(repr=False)
    logits: torch.Tensor = field(repr=False)
    text: str


@dataclass(frozen=True)
class CheckReport:
    """What was compared: `largest` is the largest difference of log-probabilities over
    `positions` positions, `ties` of which the export would decide otherwise."""

    method: str
    prompts: int
    positions: int
    largest: float
    allowed: float
    ties: int


def probes(
    base: BaseModel,
    tokenizer: PreTrainedTokenizerBase,
    adapter: tuple[Mapping[str, torch.Tensor], AdapterConfig] | None,
    system_prompt: str,
    rounded_to: torch.dtype | None = None,
) -> list[Probe]:
    """The original's replies to a few conversations, with and without `system_prompt`.

    Args:
        rounded_to: the number format that the merged weights are rounded to first.
    """
    import torch

    model = _original(base, adapter, rounded_to)
    ends = end_of_reply_ids(tokenizer, model.config, model.generation_config)
    system = [ChatMessage(role="system", content=system_prompt)] if system_prompt else []
    first, second, third = (ChatMessage(role="user", content=each) for each in _QUESTIONS)
    said = ChatMessage(role="assistant", content="It's a language.\n- Quick to learn.")
    conversations = ([first], [*system, second], [*system, first, said, third])
    found = []
    for messages in conversations:
        ids = encode_prompt(tokenizer, messages)[-base.context + _REPLY_TOKENS :]
        reply: list[int] = []
        rows: list[torch.Tensor] = []
        fed, cache = ids, None
        with torch.inference_mode():
            while len(reply) < _REPLY_TOKENS and (not reply or reply[-1] not in ends):
                output = model(input_ids=torch.tensor([fed]), past_key_values=cache, use_cache=True)
                rows.append(output.logits[0, -1].float())
                reply.append(int(rows[-1].argmax()))
                fed, cache = reply[-1:], output.past_key_values
        found.append(
            Probe(
                messages=tuple(messages),
                ids=ids,
                reply=reply,
                logits=torch.stack(rows),
                text=str(tokenizer.decode([each for each in reply if each not in ends])),
            )
        )
    return found


def along(model: Any, probe: Probe) -> list[Likeliest]:
    """What `model` (of transformers or peft) gives the likeliest tokens along a reply."""
    import torch

    with torch.inference_mode():
        ids = torch.tensor([probe.ids + probe.reply[:-1]])
        logits = model(input_ids=ids, use_cache=False).logits[0, len(probe.ids) - 1 :]
    found = logits.float().log_softmax(-1).topk(min(TOP, logits.shape[-1]))
    return [
        dict(zip(tokens, values, strict=True))
        for tokens, values in zip(found.indices.tolist(), found.values.tolist(), strict=True)
    ]


def compare(
    method: str,
    wanted: Sequence[Probe],
    said: Callable[[Probe], Sequence[Likeliest]],
    tolerance: Tolerance,
) -> CheckReport:
    """Hold what the export `said` against the original.

    Raises:
        DamagedDataError: at the first difference beyond the tolerance, saying where it is.
    """
    largest, positions, ties = 0.0, 0, 0
    for number, probe in enumerate(wanted, start=1):
        rows = probe.logits.log_softmax(-1)
        steps = said(probe)
        for place, (row, step, token) in enumerate(zip(rows, steps, probe.reply, strict=True), 1):
            if not step:
                continue
            where = f"prompt {number}, token {place} of the reply"
            difference = max(abs(float(row[each]) - value) for each, value in step.items())
            if not difference <= tolerance.logits:  # also if it is not a number
                raise blocked(
                    f"At {where} log-probabilities differ by {difference:.3g}; "
                    f"{tolerance.logits:g} is allowed."
                )
            chosen = max(step, key=step.__getitem__)
            gap = float(row[token] - row[chosen])
            if chosen != token and gap > tolerance.tie:
                raise blocked(
                    f"At {where} the export says token {chosen} where the original says {token}."
                )
            ties += chosen != token
            largest, positions = max(largest, difference), positions + 1
    if positions < sum(len(probe.reply) for probe in wanted) // 2:
        raise blocked(f"Only {positions} positions could be compared.")
    return CheckReport(method, len(wanted), positions, largest, tolerance.logits, ties)


def blocked(why: str) -> DamagedDataError:
    """The error that keeps an export from being offered."""
    return DamagedDataError(
        "The export was not made: it does not say what the version says.",
        why,
        "Choose another form. If it happens with every form, please report it.",
    )


def _original(
    base: BaseModel,
    adapter: tuple[Mapping[str, torch.Tensor], AdapterConfig] | None,
    rounded_to: torch.dtype | None,
) -> Any:
    import torch

    model: Any = load_model(base, "float32")
    with torch.no_grad():
        for path in module_paths(adapter[0], adapter[1]) if adapter else ():
            weight = model.get_submodule(path).weight
            weight.copy_(merged_tensor(f"{path}.weight", weight, base, adapter))
        for weight in model.parameters() if rounded_to else ():
            weight.copy_(weight.to(rounded_to).float())
    return model
