"""Small random models with a byte-level tokenizer, made where a test needs one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ("<s>", "</s>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")


def make_tokenizer(folder: Path, chat_template: str | None = CHAT_TEMPLATE) -> None:
    """A byte-level tokenizer: one token per byte, and the special ones of a chat."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {name: number for number, name in enumerate([*SPECIAL, *alphabet])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(str(folder))


def make_llama(folder: Path, *, chat_template: str | None = CHAT_TEMPLATE, **changes: Any) -> Path:
    """A Llama of 20,000 random parameters and 512 tokens of context; `changes` are settings."""
    from transformers import LlamaConfig

    sizes: dict[str, Any] = {
        "vocab_size": len(SPECIAL) + 256,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "tie_word_embeddings": True,
    }
    return make_model(folder, LlamaConfig(**{**sizes, **changes}), chat_template)


def make_model(folder: Path, config: Any, chat_template: str | None = CHAT_TEMPLATE) -> Path:
    """A model with random weights, always the same ones, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(str(folder))
    make_tokenizer(folder, chat_template)
    return folder


def change_json(path: Path, **values: Any) -> None:
    """Set top-level keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
