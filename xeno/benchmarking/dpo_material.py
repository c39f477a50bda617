"""What the DPO benchmark trains: a model of SmolLM2-135M's shape, and pairs of real lengths.

The weights are random and so are the tokens: neither changes how long a step takes. A token of
text is taken as four characters, which is near what tokenizers of this vocabulary make of
English; both sides of a comparison get the same token ids.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xeno.errors import InvalidValueError

VOCABULARY = 49152
HIDDEN = 576
LAYERS = 30
MLP = 1536
HEADS = 9
KEY_HEADS = 3
HEAD_WIDTH = HIDDEN // HEADS

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj")
RANK = 16
ALPHA = 32.0
BETA = 0.1
LEARNING_RATE = 1e-4

LONGEST = 1024
"""Tokens of a prompt with one reply: TRL's default."""

_CHARACTERS_PER_TOKEN = 4
_END = 1  # the token that ends a reply
_FIRST_WORD = 3

# (prompt, chosen, rejected) in tokens: each tenth of the prompts, chosen and rejected replies of
# the OASST pairs (English, human, 732 pairs), put together in a fixed order.
LENGTHS = (
    (11, 198, 58),
    (19, 40, 122),
    (26, 302, 205),
    (38, 145, 17),
    (60, 486, 288),
    (95, 108, 159),
    (145, 241, 425),
    (263, 74, 36),
    (327, 378, 93),
)


@dataclass(frozen=True)
class Example:
    """A pair as token ids; both replies end with the ending token."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]


def examples(count: int, data: Path | None, seed: int = 0) -> list[Example]:
    """`count` pairs of random tokens with the lengths of pairs of `data`, drawn with `seed`.

    Raises:
        InvalidValueError: if the file cannot be read as preference pairs.
    """
    order = random.Random(seed)
    lengths = list(LENGTHS) if data is None else _lengths(data)
    order.shuffle(lengths)

    def words(number: int) -> tuple[int, ...]:
        return tuple(order.randrange(_FIRST_WORD, VOCABULARY) for _ in range(number))

    found = []
    for i in range(count):
        prompt, chosen, rejected = lengths[i % len(lengths)]
        prompt = min(prompt, LONGEST // 2)
        room = LONGEST - prompt
        found.append(
            Example(
                words(prompt),
                (*words(min(chosen, room) - 1), _END),
                (*words(min(rejected, room) - 1), _END),
            )
        )
    return found


def _lengths(data: Path) -> list[tuple[int, int, int]]:
    def tokens(value: Any) -> int:
        if isinstance(value, list):
            value = "\n".join(str(turn["content"]) for turn in value)
        return max(2, len(str(value)) // _CHARACTERS_PER_TOKEN)

    try:
        lines = [json.loads(line) for line in data.read_text("utf-8").splitlines() if line.strip()]
        return [(tokens(x["prompt"]), tokens(x["chosen"]), tokens(x["rejected"])) for x in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidValueError(
            f"{data} cannot be read as preference pairs.",
            f"{type(error).__name__}: {error}",
            "Give a file of JSON lines with prompt, chosen and rejected.",
        ) from error


def write_model(folder: Path, layers: int = LAYERS) -> None:
    """Write the model, in bfloat16 as its original is published, with a tokenizer whose words are
    the numbers of its tokens."""
    import torch
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=MLP,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=_END,
        pad_token_id=2,
    )
    model: Any = LlamaForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(str(folder))
    special = ("<s>", "</s>", "<pad>")
    words = {name: i for i, name in enumerate(special)}
    words |= {str(i): i for i in range(_FIRST_WORD, VOCABULARY)}
    raw = Tokenizer(models.WordLevel(words, unk_token="<s>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.add_special_tokens([AddedToken(name, special=True) for name in special])
    fast: Any = PreTrainedTokenizerFast
    fast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(str(folder))


def text(tokens: tuple[int, ...]) -> str:
    """What the tokenizer makes `tokens` of; the ending token is left to the trainer."""
    return "".join(f" {token}" for token in tokens if token != _END)


def useful_flops(each: Example, layers: int = LAYERS) -> float:
    """Floating-point operations that a training step needs for a pair: two per multiplication in
    the forward pass, as many for the gradient of every layer's input.

    Counted: the linear layers on every token of the pair with the prompt once, the head on every
    reply token, the products of causal attention. Not counted: the gradient of frozen weights,
    which nobody needs, the adapter, everything that is not a product of matrices, and whatever
    is computed twice.
    """
    prompt, chosen, rejected = len(each.prompt), len(each.chosen), len(each.rejected)
    tokens, targets = prompt + chosen + rejected, chosen + rejected
    per_token = 2 * HIDDEN * HIDDEN + 2 * HIDDEN * KEY_HEADS * HEAD_WIDTH + 3 * HIDDEN * MLP
    whole = prompt + chosen
    seen = whole * (whole + 1) / 2 + rejected * prompt + rejected * (rejected + 1) / 2
    linear = 2 * (layers * per_token * tokens + VOCABULARY * HIDDEN * targets)
    attention = 2 * 2 * layers * HIDDEN * seen
    return 2 * linear + 3 * attention
