"""The own loop says what transformers says; what it cannot say right, transformers says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import make_llama, make_model

from xeno.events import ChatMessage, Sampling
from xeno.inference import parity
from xeno.inference.decoder import LibraryDecoder
from xeno.inference.engine import Engine
from xeno.inference.own_loop import OwnLoop
from xeno.inference.parity import TOLERANCE, choose_decoder
from xeno.models.base import inspect_base
from xeno.models.chat import encode_prompt
from xeno.models.loading import load_model
from xeno.versions.adapter import AdapterConfig, tensor_names

SIZES: dict[str, Any] = {
    "vocab_size": 270,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
QUESTION = [ChatMessage(role="user", content="What is tea, and how is it made? " * 3)]
SHORT = Sampling(max_tokens=16)


def llama(**changes: Any) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(**SIZES | changes)


def mistral(**changes: Any) -> Any:
    from transformers import MistralConfig

    return MistralConfig(**SIZES | {"sliding_window": None} | changes)


def qwen2(**changes: Any) -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(**SIZES | changes)


def qwen3(**changes: Any) -> Any:
    from transformers import Qwen3Config

    return Qwen3Config(**SIZES | {"head_dim": 16} | changes)


LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
KNOWN = {
    "llama": lambda: llama(),
    "llama, tied": lambda: llama(tie_word_embeddings=True),
    "llama, one key head": lambda: llama(num_key_value_heads=1),
    "llama, biases": lambda: llama(attention_bias=True, mlp_bias=True),
    "llama, scaled positions": lambda: llama(rope_parameters=LLAMA3_ROPE),
    "mistral": lambda: mistral(),
    "qwen2": lambda: qwen2(),
    "qwen3": lambda: qwen3(),
}
UNKNOWN = {
    "mistral with a window": (lambda: mistral(sliding_window=40), "sliding window"),
    "qwen2 with a window": (
        lambda: qwen2(use_sliding_window=True, sliding_window=40, max_window_layers=1),
        "do not attend to all",
    ),
    "another activation": (lambda: llama(hidden_act="gelu"), "activation is gelu"),
    "positions by length": (
        lambda: llama(rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}),
        "depend on how much",
    ),
}


def loaded(folder: Path, config: Any, dtype: str = "float32") -> Any:
    return load_model(inspect_base(make_model(folder, config)), dtype)


def with_biases(model: Any) -> Any:
    """The library starts biases and norms at 0 and 1, which would hide that they are left out."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) + 1)
    return model


@pytest.mark.parametrize("name", KNOWN)
def test_the_own_loop_computes_the_librarys_logits(tmp_path: Path, name: str) -> None:
    model = with_biases(loaded(tmp_path / "model", KNOWN[name]()))
    decoder, notes = choose_decoder(model)
    assert isinstance(decoder, OwnLoop), notes
    assert notes == ()
    ids = torch.randint(0, 262, (330,), generator=torch.Generator().manual_seed(2)).tolist()
    with torch.no_grad():
        wanted = model(torch.tensor([ids])).logits[0]
    for begin in range(0, 320, 64):  # past the first room for keys and values
        logits = decoder.read(ids[begin : begin + 64], lambda: False)
        assert logits is not None
        torch.testing.assert_close(logits, wanted[begin + 63], atol=TOLERANCE, rtol=0)
    for place in range(320, 330):
        torch.testing.assert_close(decoder.step(ids[place]), wanted[place], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_the_own_loop_does_not_know_the_library_computes_and_that_is_said(
    tmp_path: Path, name: str
) -> None:
    config, why = UNKNOWN[name]
    folder = make_model(tmp_path / "model", config())
    engine = Engine(inspect_base(folder))
    assert isinstance(engine.decoder, LibraryDecoder)
    assert any(why in note for note in engine.notes)
    ids = encode_prompt(engine.tokenizer, QUESTION)
    expected = engine.model.generate(
        torch.tensor([ids]), max_new_tokens=16, do_sample=False, pad_token_id=1
    )[0, len(ids) :]
    reply = engine.generate(QUESTION, SHORT)
    assert reply.text == engine.tokenizer.decode(expected, skip_special_tokens=True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("place", "what"), [("head_norms", None), ("before_mlp", 1.02), ("bias", 0.01)]
)
def test_a_loop_that_leaves_something_out_is_found_and_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, place: str, what: float | None
) -> None:
    from xeno.inference import own_loop

    make = own_loop._layer

    def wrong(*arguments: Any) -> Any:
        layer = make(*arguments)
        if place == "bias":
            layer.down.bias = torch.full((32,), what, dtype=layer.down.weight.dtype)
        elif what is None:
            object.__setattr__(layer, place, what)
        else:
            object.__setattr__(layer, place, getattr(layer, place) * what)
        return layer

    monkeypatch.setattr(own_loop, "_layer", wrong)
    model = loaded(tmp_path / "model", qwen3(), dtype)
    decoder, notes = choose_decoder(model)
    assert isinstance(decoder, LibraryDecoder)
    assert "logits differ" in notes[0]


def test_a_model_built_otherwise_than_its_family_is_left_to_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xeno.inference import own_loop

    def other(*_: Any) -> Any:
        raise AttributeError("q_proj")

    monkeypatch.setattr(own_loop, "_layer", other)
    decoder, notes = choose_decoder(loaded(tmp_path / "model", llama()))
    assert isinstance(decoder, LibraryDecoder)
    assert "built otherwise" in notes[0]


def test_a_model_in_bfloat16_is_represented_by_a_small_one_of_its_class(tmp_path: Path) -> None:
    model = loaded(tmp_path / "model", qwen3(tie_word_embeddings=True), "bfloat16")
    small = parity._miniature(model)
    assert type(small) is type(model)
    assert small.dtype == torch.float32
    assert sum(each.numel() for each in small.parameters()) < sum(
        each.numel() for each in model.parameters()
    )
    assert isinstance(choose_decoder(model)[0], OwnLoop)


def test_the_models_weights_are_not_held_twice(tmp_path: Path) -> None:
    model = loaded(tmp_path / "model", llama())
    decoder = OwnLoop(model)
    held = decoder._products["model.layers.0.self_attn.k_proj"].weight
    key = model.model.layers[0].self_attn.k_proj.weight
    assert key.untyped_storage().data_ptr() == held.untyped_storage().data_ptr()


def test_a_stop_is_noticed_between_two_layers_and_nothing_is_kept(tmp_path: Path) -> None:
    decoder = OwnLoop(loaded(tmp_path / "model", llama()))
    asked = iter(range(100))
    assert decoder.read(list(range(64)), lambda: next(asked) == 1) is None
    assert next(asked) == 2
    assert decoder.length == 0


def test_weights_in_8_bits_stay_near_the_whole_ones_and_follow_an_adapter(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "tiny")
    engine = Engine(inspect_base(folder), dtype="int8")
    exact = Engine(inspect_base(folder), dtype="bfloat16")
    assert (engine.decoder.name, engine.dtype) == ("own loop, int8", "bfloat16")
    config = AdapterConfig(rank=2, alpha=4.0, target_modules=("down_proj",))
    down, up = tensor_names("model.layers.0.mlp.down_proj")
    generator = torch.Generator().manual_seed(0)
    tensors = {
        down: torch.randn(2, 48, generator=generator),
        up: torch.randn(32, 2, generator=generator),
    }

    def steps(of: Engine) -> torch.Tensor:
        of.decoder.crop(0)
        of.decoder.read(list(range(10, 40)), lambda: False)
        return torch.stack([of.decoder.step(token) for token in range(40, 60)]).float()

    def near(found: torch.Tensor, wanted: torch.Tensor) -> bool:
        return float((found - wanted).norm() / wanted.norm()) < 0.06

    plain = steps(engine)
    assert near(plain, steps(exact))
    for each in (engine, exact):
        each.activate("0" * 64, tensors, config)
    assert not near(steps(engine), plain), "the adapter did not reach the rounded weights"
    assert near(steps(engine), steps(exact))
    engine.deactivate()
    assert torch.equal(steps(engine), plain)


def test_8_bits_need_the_own_loop_and_that_is_said(tmp_path: Path) -> None:
    engine = Engine(inspect_base(make_model(tmp_path / "m", mistral(sliding_window=40))), "int8")
    assert isinstance(engine.decoder, LibraryDecoder)
    assert any("8 bits need the own loop" in note for note in engine.notes)
