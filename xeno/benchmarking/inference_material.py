"""What the inference benchmark asks: a model of SmolLM2-135M's shape that knows real words, the
same prompts for every contender, and versions to switch between.

The weights are random: what is said is nonsense and takes as long as sense.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from xeno.benchmarking import dpo_material
from xeno.events import ChatMessage
from xeno.models.base import BaseModel, inspect_base
from xeno.models.starter import starter_folder

if TYPE_CHECKING:
    from xeno.store.profile import Profile

REPLY = 64  # tokens
FIRST_PROMPT = 48  # words: with the template about 64 tokens
LONG_PROMPT = 1200  # words
_WORDS = "tea water leaf cup pot heat time wait pour taste warm green black sweet steam morning"


def write(folder: Path) -> None:
    """Write the model to `folder`, with the starter's tokenizer, and as F16.gguf beside it.

    Raises:
        InvalidValueError: if it cannot be written as GGUF.
    """
    from xeno.models.chat import load_tokenizer
    from xeno.versions.export.gguf import write_model

    dpo_material.write_model(folder / "model")
    for path in starter_folder().iterdir():
        if "token" in path.name or path.suffix == ".jinja":
            shutil.copy(path, folder / "model")
    base = inspect_base(folder / "model")
    write_model(folder / "F16.gguf", base, load_tokenizer(base), "F16")


def first_turn(number: int) -> list[ChatMessage]:
    """A conversation's beginning, another for each `number`."""
    return [_user(number, FIRST_PROMPT)]


def second_turn(number: int, said: int = 4) -> tuple[list[ChatMessage], list[ChatMessage]]:
    """A conversation of `said` exchanges up to the user's next message, and without it."""
    turns = []
    for place in range(said):
        turns.append(_user(1000 * number + place, FIRST_PROMPT))
        words = _words(2000 * number + place, FIRST_PROMPT)
        turns.append(ChatMessage(role="assistant", content=words))
    return [*turns, _user(3000 * number, 12)], turns


def long_turn(number: int) -> list[ChatMessage]:
    """A prompt that takes long to read."""
    return [_user(number, LONG_PROMPT)]


def release_versions(profile: Profile, base: BaseModel, count: int = 2) -> None:
    """Versions v1, v2, … with random adapters of the DPO benchmark's shape."""
    import time

    import torch

    from xeno.versions.adapter import AdapterConfig, tensor_names
    from xeno.versions.content import content_address
    from xeno.versions.registry import Manifest, Registry

    config = AdapterConfig(
        rank=dpo_material.RANK, alpha=dpo_material.ALPHA, target_modules=dpo_material.MODULES
    )
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        tensors = {}
        for name, shape in sorted(base.shapes.items()):
            path = name.removesuffix(".weight")
            if path.endswith(dpo_material.MODULES):
                down, up = tensor_names(path)
                tensors[down] = 0.02 * torch.randn(config.rank, shape[1], generator=generator)
                tensors[up] = 0.02 * torch.randn(shape[0], config.rank, generator=generator)
        manifest = Manifest(
            address=content_address(tensors, config, base.base_hash),
            base_hash=base.base_hash,
            base_name=base.name,
            adapter=config,
            created=time.time(),
        )
        Registry(profile).release(tensors, manifest)


def _user(seed: int, words: int) -> ChatMessage:
    return ChatMessage(role="user", content=_words(seed, words))


def _words(seed: int, count: int) -> str:
    return " ".join(random.Random(seed).choices(_WORDS.split(), k=count))
